"""The released report: what may become it, and how to make it again from its records alone."""

from pathlib import Path

from fmnist_lib.commands.assembly import make_pages
from fmnist_lib.commands.job import Job, Report, check_output
from fmnist_lib.commands.notebook import HOW
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.reporting.analysis import as_recorded
from fmnist_lib.reporting.folder import files_in, write_files
from fmnist_lib.reporting.render import PdfUnavailableError, import_weasyprint
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import git
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore


def check_release(job: Job) -> None:
    """Raise `UserError` unless the plan may become the released report.

    What was released stays: a report of fewer runs than its evidence could not be made from it.
    """
    if any(config.shortened for config in job.configs):
        raise UserError(
            f"release: the runs of profile {job.profile!r} are shortened; allowed: paper, study"
        )
    if job.models != list(MODELS):
        raise UserError("release: needs all models; leave --models out")
    if job.keep_going:
        raise UserError("release: needs every run; leave --keep-going out")
    names = {config.name for config in job.configs}
    if missing := [c for c in complete_seeds(job.released) if c.name not in names]:
        raise UserError(
            f"release: leaves out {missing[0].name}, which is released; allowed: at least --seeds "
            f"{','.join(map(str, sorted({c.seed for c in missing} | set(job.seeds))))}, with the "
            "device and precision of the release before"
        )
    try:
        import_weasyprint()
    except PdfUnavailableError as error:
        raise UserError(f"release: needs its PDF, but {error}") from None
    # What an interrupted release has left in report/ is made anew.
    if git("status", "--porcelain", "--", ".", ":(exclude)report") != "":
        raise UserError("release: needs a git checkout without uncommitted changes")


def released_plan(released: RunStore) -> list[RunConfig]:
    """Return the runs of the released report; raise `UserError` where there are none."""
    configs = complete_seeds(released)
    if not configs:
        raise UserError(f"{released.folder}: has no seed with all models; nothing to rebuild")
    return configs


def complete_seeds(released: RunStore) -> list[RunConfig]:
    """Return the runs of those seeds of which there is every model."""
    configs: list[RunConfig] = []
    for seed in sorted({run.config.seed for run in released.runs()}):
        runs = as_recorded(released, plan("paper", seeds=str(seed)), free=HOW)
        configs += runs if all(map(released.find, runs)) else []
    return configs


def rebuild(job: Job) -> Report:
    """Make the report from the released records alone; nothing is trained or timed.

    Raises `FailedError`, `UserError`.
    """
    check_output(job)
    report = Report(job.output)
    write_files(job.output, "records", files_in(job.released.folder))
    make_pages(job, report)
    return report


def compare_tables(folder: Path, released: Path) -> dict[str, str]:
    """Return, by file name, whether each CSV of two reports is `equal`, or how it is not.

    Those are `results.csv` and the tables, not what the figures show: that is in them.
    """
    ours, theirs = (
        {
            path.name: path.read_bytes()
            for path in [*report.glob("results.csv"), *report.glob("tables/*.csv")]
        }
        for report in (folder, released)
    )
    states = {}
    for name in sorted(ours | theirs):
        if name not in ours:
            states[name] = "was not made"
        elif name not in theirs:
            states[name] = "is not in the released report"
        else:
            states[name] = "equal" if ours[name] == theirs[name] else "differs"
    return states
