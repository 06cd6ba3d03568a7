"""The released report: what may become it, and how to make it again from its records alone."""

import argparse
from pathlib import Path

from fmnist_lib import paths
from fmnist_lib.commands.job import Job, check_output, finish, released_records
from fmnist_lib.commands.notebook import HOW
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.report.files import files_in, write_files
from fmnist_lib.report.page import PdfUnavailableError, import_weasyprint
from fmnist_lib.results.load import as_recorded
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import git, usable_cores
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore


def command(options: argparse.Namespace) -> int:
    """Make the report from the released records alone, and say whether its tables are equal.

    Nothing is trained or timed.
    """
    from fmnist_lib.commands.make_report import make_pages  # which checks releases by this

    records = released_records()
    if not (configs := complete_seeds(records)):
        raise UserError(f"{records.folder}: has no seed with all models; nothing to rebuild")
    folder, jobs = options.output or paths.BUILD / "released", options.jobs or usable_cores()
    check_output(folder)
    write_files(folder, "records", files_in(records.folder))
    failures = make_pages(Job("paper", configs, folder, jobs, keep_going=options.keep_going))
    states = compare_tables(folder, paths.REPORT)
    print(", ".join(f"{name} {state}" for name, state in states.items()))
    return finish(folder / "index.html", failures) or int(set(states.values()) != {"equal"})


def compare_tables(folder: Path, released: Path) -> dict[str, str]:
    """Return by name whether each CSV of two reports, figures' aside, is `equal` or `differs`.

    One that only one of them has differs.
    """
    ours, theirs = (
        {p.name: p.read_bytes() for p in [*r.glob("results.csv"), *r.glob("tables/*.csv")]}
        for r in (folder, released)
    )
    names = sorted(ours | theirs)
    return {n: "equal" if ours.get(n) == theirs.get(n) else "differs" for n in names}


def complete_seeds(released: RunStore) -> list[RunConfig]:
    """Return the runs of those seeds of which there is every model."""
    configs: list[RunConfig] = []
    for seed in sorted({run.config.seed for run in released.runs()}):
        runs = as_recorded(released, plan("paper", seeds=str(seed)), free=HOW)
        configs += runs if all(map(released.find, runs)) else []
    return configs


def check_release(job: Job) -> None:
    """Raise `UserError` unless the plan may become the released report.

    What was released stays: a report of fewer runs than its evidence could not be made from it.
    """
    if any(config.shortened for config in job.configs):
        allowed = "allowed: paper, study"
        raise UserError(f"release: the runs of profile {job.profile!r} are shortened; {allowed}")
    if job.models != list(MODELS):
        raise UserError("release: needs all models; leave --models out")
    if job.keep_going:
        raise UserError("release: needs every run; leave --keep-going out")
    names = {config.name for config in job.configs}
    if missing := [c for c in complete_seeds(job.released) if c.name not in names]:
        seeds = ",".join(map(str, sorted({c.seed for c in missing} | set(job.seeds))))
        raise UserError(
            f"release: leaves out {missing[0].name}, released before; allowed: --seeds {seeds} and "
            "more, with the device and precision of the release before"
        )
    try:
        import_weasyprint()
    except PdfUnavailableError as error:
        raise UserError(f"release: needs its PDF, but {error}") from None
    # What an interrupted release has left in report/ is made anew.
    if git("status", "--porcelain", "--", ".", ":(exclude)report") != "":
        raise UserError("release: needs a git checkout without uncommitted changes")
