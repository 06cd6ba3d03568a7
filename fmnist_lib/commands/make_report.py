"""From a plan to a report: train what is missing, time it, execute notebooks, write it all."""

import argparse
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import nbformat
import yaml

from fmnist_lib import paths
from fmnist_lib.commands.job import Job, finder, finish, job_of, released_records, study_records
from fmnist_lib.commands.train import Found, find_run, train_missing
from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.execution.forecast import tell
from fmnist_lib.models import MODELS
from fmnist_lib.report import files
from fmnist_lib.report.data_files import WEIGHTS, data_files, find_weights
from fmnist_lib.report.execute import execute_notebooks
from fmnist_lib.report.page import why_no_pdf, write_report
from fmnist_lib.results.load import Results, as_recorded, load_results, recorded_family
from fmnist_lib.results.times import timing
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import FOR_RELEASE, MINUTES, cost_name, measure_costs
from fmnist_lib.runs.environment import git, usable_cores
from fmnist_lib.runs.plans import FULL_CONVOLUTIONS, IN_REPORT, plan
from fmnist_lib.runs.store import RunStore

TITLE = "Six lightweight classifiers on FashionMNIST, trained again"
SUBTITLE = "A reproduction of “Benchmarking Lightweight CNN Architectures on FashionMNIST”"
FOLDERS = ("notebooks", "tables", "figures", "models")
CHAPTERS = ("honest_accuracy", "cross_validation", "ablations", "augmentation")
CHAPTERS += ("best_small_nets", "discussion")
BUSY_PERCENT = 10  # of all cores, by others, above which times are called into question
ENOUGH_TURNS = 100  # behind a release's times; half an hour of six models gave twice as many


def command(options: argparse.Namespace) -> int:
    """Train, time, execute, render; print where the report lies.

    Finished runs are stored as they finish, so that the same call goes on after an interruption.
    Raises `FailedError`, `UserError`.
    """
    job = job_of(options)
    if not job.shown:
        job = replace(job, beside=complete_seeds(job.released))
    if not job.shown:
        raise UserError("families: no report shows these alone; allowed: --train-only")
    if job.release:
        check_release(job)
    check_output(job.output, release=job.release)
    with job.store.lock():
        failures = train_missing(job)
        runs = [found for config in job.shown if (found := find_run(job, config))]
        if not runs:
            raise FailedError("no run succeeded; there is nothing to report")
        first = {record.config.model: record.config for record, _ in reversed(runs)}
        configs = [first[model] for model in job.models if model in first]
        measure_missing(job, [] if job.beside else configs)
        study = study_results(job, job.store, job.released, study_records())
        runs += [(run, each.store) for each in study for run in each.runs]
        put_records(job, runs, configs)
        failures += make_pages(job)
    return finish(job.output / "index.html", failures)


def from_released(options: argparse.Namespace) -> int:
    """Make the report from the released records alone, and say whether its tables are equal.

    Nothing is trained or timed.
    """
    records = released_records()
    if not (configs := complete_seeds(records)):
        raise UserError(f"{records.folder}: has no seed with all models; nothing to rebuild")
    folder, jobs = options.output or paths.BUILD / "released", options.jobs or usable_cores()
    check_output(folder)
    copies = ((f"records/{name}", content) for name, content in files.files_in(records.folder))
    files.write_files(folder, copies, "records")
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


# --- what may be made, and where ---


def check_output(folder: Path, *, release: bool = False) -> None:
    """Claim a folder for a report; raise `UserError` unless it will do and nothing is lost.

    It must be new, empty or a report's, can be written to, and is none of the project's own.
    """
    own = [paths.NOTEBOOKS, paths.RUNS, paths.DATA, *([] if release else [paths.REPORT])]
    real = Path(os.path.realpath(folder))
    within = any(real.is_relative_to(os.path.realpath(path)) for path in own)
    if within or paths.ROOT.is_relative_to(real):
        raise UserError(f"output: {real} belongs to the project; allowed: a folder of its own")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / files.MARKER).exists() and any(
            path.name[0] != "." for path in folder.iterdir()
        ):
            allowed = f"a new or empty folder, or a report's, which has a file {files.MARKER}"
            raise UserError(f"output: {folder} holds other files; allowed: {allowed}")
        files.prepare(folder)
    except OSError as error:
        raise UserError(f"output: cannot write to {folder} ({error.strerror})") from None


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
    if reason := why_no_pdf():
        raise UserError(f"release: needs its PDF, but {reason}")
    # What an interrupted release has left in report/ is made anew.
    if git("status", "--porcelain", "--", ".", ":(exclude)report") != "":
        raise UserError("release: needs a git checkout without uncommitted changes")


def complete_seeds(released: RunStore) -> list[RunConfig]:
    """Return the runs of those seeds of which there is every model."""
    seeds = ",".join(str(run.config.seed) for run in released.runs())
    planned = as_recorded(released, plan("paper", seeds=seeds))
    there = [config for config in planned if released.find(config)]
    models = Counter(config.seed for config in there)
    return [config for config in there if models[config.seed] == len(MODELS)]


# --- times and records ---


def measure_missing(job: Job, configs: Sequence[RunConfig]) -> None:
    """Time each model that was not, in turns, now that nothing of ours runs beside it."""
    missing = [config for config in configs if job.force or not has_cost(job, config)]
    if not missing:
        return
    minutes = 0 if job.profile == "smoke" else FOR_RELEASE if job.release else MINUTES
    titles = ", ".join(MODELS[config.model].title for config in missing)
    tell(f"timing {titles} alone for {minutes} min; leave the machine to it")
    # The runs of a profile all have the same images.
    data = load(train_images=missing[0].train_images, test_images=missing[0].test_images)
    costs = measure_costs(
        [*missing, *timed_beside(missing)],
        data,
        minutes=minutes,
        on_minute=lambda passed: tell(f"{passed} of {minutes} min"),
    )
    for cost in costs:
        job.store.write_cost(cost)
    busy = timing({cost.model: cost for cost in costs})["busy_percent"]
    if busy > BUSY_PERCENT:
        tell(
            f"note: others took {busy:.0f} % of the machine while models were timed: their times "
            "are too high; with --force they are measured again"
        )


def timed_beside(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the variant that a claim on times (C17) compares with its model, timed in turn."""
    variant = FULL_CONVOLUTIONS
    return [c.model_copy(update=variant.settings) for c in configs if c.model == variant.model]


def has_cost(job: Job, config: RunConfig) -> bool:
    """Return whether a model was timed in turns: here, or for a release by the one before."""
    costs = [cost] if (cost := job.store.find_cost(cost_name(config))) else []
    if job.release:
        released = job.released.costs()
        costs += [c for c in released if not c.config.differs(config, ignoring={"seed"})]
    return any(len(cost.turns) >= (ENOUGH_TURNS if job.release else 1) for cost in costs)


def study_results(job: Job, *stores: RunStore) -> list[Results]:
    """Return the results of each family that a chapter shows.

    From the store with the most runs, but from the job's where runs of the family are asked for.
    """
    chosen = {"profile": "study", "find": finder(*stores)}
    if job.profile == "smoke":
        chosen, stores = {"profile": "smoke", "models": ",".join(job.models)}, stores[:1]
    asked, found = {config.name for config in job.configs}, []
    for family in IN_REPORT:
        runs = [(recorded_family(store, family=family, **chosen), store) for store in stores]
        own = [each for each in runs[:1] if any(config.name in asked for config in each[0])]
        configs, store = max(own or runs, key=lambda each: len(each[0]))
        if configs:
            rule = configs[0].rules[0].name
            found.append(load_results(store, configs, rule=rule, family=family))
    return found


def put_records(job: Job, runs: Sequence[Found], timed: Sequence[RunConfig]) -> None:
    """Put the report's records into its folder, without weights.

    Other records leave the folder, but for a release, whose evidence only ever grows.
    """
    with files.scratch(job.output) as made:
        fresh = RunStore(Path(made) / "records")
        for record, store in runs:
            store.copy(record, fresh)
        names = map(cost_name, [*timed, *timed_beside(timed)])
        own = [cost for name in names if (cost := job.store.find_cost(name))]
        for cost in own or job.released.costs():
            fresh.write_cost(cost)
        files.write_files(job.output, files.files_in(Path(made)), "records", keep=job.release)


# --- pages ---


def make_pages(job: Job) -> list[str]:
    """Make the report from the records in its folder; return what failed. Raises `FailedError`.

    What the notebooks show is what is written; beside it lie the flat tables and the models.
    """
    start = time.perf_counter()
    chapters = ["comparison", *CHAPTERS, *job.models]
    failures = execute(job, chapters)
    seconds = time.perf_counter() - start
    tell("writing tables, figures, models, HTML and PDF")
    store = RunStore(job.output / "records")
    results, study = load_results(store, job.shown), study_results(job, store)
    weights = find_weights([results, *study], job.store, job.released.folder.parent)
    if without := ", ".join(m for m in results.models if f"{m}/{WEIGHTS}" not in weights):
        tell(f"note: no weights of {without}; train again with --force to have some")
    places = [f"notebooks/{name}.ipynb" for name in chapters]
    notebooks = [nbformat.read(job.output / place, as_version=4) for place in places]
    numbers, made = files.collect(*notebooks)
    for place, book in zip(places, notebooks, strict=True):
        made[place] = nbformat.writes(book).encode()  # what was collected is its no longer
    made |= data_files(results, weights, study)
    made["numbers.json"] = files.numbers_json(numbers).encode()
    files.write_files(job.output, made.items(), *FOLDERS)
    runs = [run for each in (results, *study) for run in each.runs]
    last = datetime.fromisoformat(max(run.environment.finished for run in runs))
    warning = write_report(
        notebooks,
        job.output,
        title=TITLE,
        subtitle=SUBTITLE,
        date=f"From runs finished by {last.day} {last:%B %Y}",
        published=f"{last:%Y-%m-%d}",
        citation=yaml.safe_load((paths.ROOT / "CITATION.cff").read_text("utf-8")),
        numbers=numbers,
        draft=results.draft,
        seconds=seconds,
    )
    if warning:
        tell(f"note: {warning}")
    return failures


def execute(job: Job, chapters: Sequence[str]) -> list[str]:
    """Execute the notebooks into the report's folder; return, or raise, what failed."""
    notebooks = [paths.NOTEBOOKS / f"{name}.ipynb" for name in chapters]
    parameters = {
        "profile": "smoke" if job.profile == "smoke" else "paper",
        "seeds": ",".join(map(str, job.seeds)),
        "records": (job.output / "records").resolve().as_posix(),
        "train": False,
    }
    tell(f"executing {len(notebooks)} notebooks, {job.jobs} side by side")
    errors = execute_notebooks(notebooks, job.output, parameters, jobs=job.jobs)
    folder = job.output / "notebooks"
    failed = [f"notebook {n}: {error}; see {folder / n}.ipynb" for n, error in errors.items()]
    if failed and not job.keep_going:
        raise FailedError(failed[0])
    return failed
