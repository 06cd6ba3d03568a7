"""From a plan to a report: train what is missing, time it, execute notebooks, write it all."""

import argparse
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import nbformat
import yaml

from fmnist_lib import paths
from fmnist_lib.commands.job import Job, check_output, finish, job_of
from fmnist_lib.commands.released import check_release
from fmnist_lib.commands.train import Found, find_run, train_missing
from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.execution.forecast import tell
from fmnist_lib.models import MODELS
from fmnist_lib.report import files
from fmnist_lib.report.data_files import data_files, find_weights
from fmnist_lib.report.execute import execute_notebooks
from fmnist_lib.report.page import write_report
from fmnist_lib.results.load import load_results
from fmnist_lib.results.times import timing
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import FOR_RELEASE, MINUTES, cost_name, measure_costs
from fmnist_lib.runs.store import RunStore

TITLE = "Six lightweight classifiers on FashionMNIST, trained again"
SUBTITLE = "A reproduction of “Benchmarking Lightweight CNN Architectures on FashionMNIST”"
CITATION = paths.ROOT / "CITATION.cff"
FOLDERS = ("tables", "figures", "models")
BUSY_PERCENT = 10  # of all cores, by others, above which times are called into question
ENOUGH_TURNS = 100  # behind a release's times; half an hour of six models gave twice as many


def command(options: argparse.Namespace) -> int:
    """Train, time, execute, render; print where the report lies.

    Finished runs are stored as they finish, so that the same call goes on after an interruption.
    Raises `FailedError`, `UserError`.
    """
    job = job_of(options)
    if not job.shown:
        raise UserError("families: no report shows these; allowed: --train-only, or paper besides")
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
        measure_missing(job, configs)
        put_records(job, runs, configs)
        failures += make_pages(job)
    return finish(job.output / "index.html", failures)


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
        missing, data, minutes=minutes, on_round=lambda n: n % 10 or tell(f"round {n}")
    )
    for cost in costs:
        job.store.write_cost(cost)
    went = timing({cost.model: cost for cost in costs})
    if (busy := went["others_percent"] + went["steal_percent"]) > BUSY_PERCENT:
        tell(
            f"note: others took {busy:.0f} % of the machine while models were timed: their times "
            "are too high; with --force they are measured again"
        )


def has_cost(job: Job, config: RunConfig) -> bool:
    """Return whether a model was timed in turns: here, or for a release by the one before."""
    costs = [cost] if (cost := job.store.find_cost(cost_name(config))) else []
    if job.release:
        released = job.released.costs()
        costs += [c for c in released if not c.config.differs(config, ignoring={"seed"})]
    return any(len(cost.turns) >= (ENOUGH_TURNS if job.release else 1) for cost in costs)


def put_records(job: Job, runs: Sequence[Found], timed: Sequence[RunConfig]) -> None:
    """Put the report's records into its folder, without weights.

    Other records leave the folder, but for a release, whose evidence only ever grows.
    """
    with files.scratch(job.output) as made:
        fresh = RunStore(Path(made) / "records")
        for record, store in runs:
            store.copy(record, fresh)
        for config in timed:
            if cost := job.store.find_cost(cost_name(config)):
                fresh.write_cost(cost)
        files.write_files(job.output, "records", files.files_in(fresh.folder), keep=job.release)


# --- pages ---


def make_pages(job: Job) -> list[str]:
    """Make the report from the records in its folder; return what failed. Raises `FailedError`.

    What the notebooks show is what is written; beside it lie the flat tables and the models.
    """
    start = time.perf_counter()
    failures = execute(job)
    seconds = time.perf_counter() - start
    tell("writing tables, figures, models, HTML and PDF")
    results = load_results(RunStore(job.output / "records"), job.shown)
    weights = find_weights(results, job.store, job.released.folder.parent)
    if without := ", ".join(name for name in results.models if name not in weights):
        tell(f"note: no weights of {without}; train again with --force to have some")
    paths_of = [job.output / "notebooks" / f"{name}.ipynb" for name in ("comparison", *job.models)]
    notebooks = [nbformat.read(path, as_version=4) for path in paths_of]
    numbers, made = files.collect(*notebooks)
    bare = zip(paths_of, notebooks, strict=True)  # what was collected is theirs no longer
    written = [(path.name, nbformat.writes(book).encode()) for path, book in bare]
    files.write_files(job.output, "notebooks", written)
    made |= data_files(results, weights)
    made["numbers.json"] = files.numbers_json(numbers).encode()
    for folder in FOLDERS:
        own = [path for path in made if path.startswith(f"{folder}/")]
        below = [(path.partition("/")[2], made.pop(path)) for path in own]
        files.write_files(job.output, folder, below)
    for path, content in made.items():
        files.write(job.output, path, content)
    last = datetime.fromisoformat(max(run.environment.finished for run in results.runs))
    warning = write_report(
        notebooks,
        job.output,
        title=TITLE,
        subtitle=SUBTITLE,
        date=f"From runs finished by {last.day} {last:%B %Y}",
        published=f"{last:%Y-%m-%d}",
        citation=yaml.safe_load(CITATION.read_text("utf-8")),
        numbers=numbers,
        draft=results.draft,
        seconds=seconds,
    )
    if warning:
        tell(f"note: {warning}")
    return failures


def execute(job: Job) -> list[str]:
    """Execute the notebooks into the report's folder; return, or raise, what failed."""
    notebooks = [paths.NOTEBOOKS / f"{name}.ipynb" for name in ("comparison", *job.models)]
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
