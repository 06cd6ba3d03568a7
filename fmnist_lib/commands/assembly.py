"""From a folder of records to a report: notebooks executed, data files written, pages rendered.

Not here: training, and which records there are (`pipeline`, `released`).
"""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import nbformat

from fmnist_lib import paths
from fmnist_lib.commands.job import Job, Report, fail, tell
from fmnist_lib.reporting.analysis import Results, load_results
from fmnist_lib.reporting.execute import execute_notebooks
from fmnist_lib.reporting.folder import MADE_FROM
from fmnist_lib.reporting.processes import fresh_processes
from fmnist_lib.reporting.publish import (
    MODELS_FOLDER,
    WEIGHTS,
    write_figures,
    write_models,
    write_readme,
    write_tables,
)
from fmnist_lib.reporting.render import write_report
from fmnist_lib.reporting.words import names_of
from fmnist_lib.runs.record import Arrays, DamagedRecordError
from fmnist_lib.runs.store import RunStore, read_arrays

COMPARISON = "comparison"
WHOLE = ("index.html", "report.pdf", "README.md", "results.csv", "tables", "figures", "models")
"""What a whole report has, besides its notebooks and records."""


def make_pages(job: Job, report: Report) -> None:
    """Make the report from the records in its folder. Raises `FailedError`."""
    (job.output / MADE_FROM).unlink(missing_ok=True)  # until all of it is made anew
    start = time.perf_counter()
    notebooks = execute(job, report)
    publish(job, notebooks, report, seconds=time.perf_counter() - start)


def made_from(job: Job) -> str:
    """Return one digest of records, notebooks, library and plan: equal digests, equal reports."""
    digest = hashlib.sha256(json.dumps([job.profile, job.models, job.seeds]).encode())
    for path in [*sources(), *sorted((job.output / "records").rglob("*.json"))]:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def sources() -> list[Path]:
    """Return the files of the project that a report's content depends on."""
    library = (paths.ROOT / "fmnist_lib").rglob("*")
    files = [path for path in library if path.is_file() and "__pycache__" not in path.parts]
    return sorted([*files, *paths.NOTEBOOKS.glob("*.ipynb"), paths.ROOT / "CITATION.cff"])


def is_current(job: Job, digest: str) -> bool:
    """Return whether the folder holds a whole report made from just this."""
    whole = all((job.output / name).exists() for name in (MADE_FROM, "notebooks", *WHOLE))
    return whole and (job.output / MADE_FROM).read_text() == digest


def execute(job: Job, report: Report) -> list[Path]:
    """Execute the notebooks into the report's folder; return their paths, in the report's order."""
    notebooks = [paths.NOTEBOOKS / f"{name}.ipynb" for name in (COMPARISON, *job.models)]
    folder = job.output / "notebooks"
    tell(f"executing {len(notebooks)} notebooks, {job.jobs} side by side")
    errors = execute_notebooks(notebooks, job.output, notebook_parameters(job), jobs=job.jobs)
    for name, error in errors.items():
        fail(job, report, f"notebook {name}: {error}; see {folder / name}.ipynb")
    return [folder / notebook.name for notebook in notebooks]


def notebook_parameters(job: Job) -> dict[str, str | bool]:
    """Return what the notebooks are told."""
    return {
        "profile": "smoke" if job.profile == "smoke" else "paper",
        "seeds": ",".join(map(str, job.seeds)),
        "records": (job.output / "records").resolve().as_posix(),
        "train": False,
    }


def publish(job: Job, notebooks: Sequence[Path], report: Report, *, seconds: float) -> None:
    """Write tables, figures, models, HTML and PDF; the notebooks took `seconds` to execute."""
    tell("writing tables, figures, models, HTML and PDF")
    results = load_results(RunStore(job.output / "records"), job.shown)
    weights = find_weights(job, results)
    if without := [model for model in results.models if model not in weights]:
        report.notices.append(
            f"no weights of {names_of(without)} in the report: none here belong to its records; "
            "to have some, train those runs again with --force"
        )
    with fresh_processes(1) as beside:  # the pages take longer
        figures = beside.submit(write_figures, results, job.output)
        write_tables(results, job.output)
        write_models(results, weights, job.output)
        write_readme(results, job.output)
        files = write_report(
            [nbformat.read(path, as_version=4) for path in notebooks],
            job.output,
            title="Six lightweight classifiers on FashionMNIST, trained again",
            subtitle="A reproduction of “Benchmarking Lightweight CNN Architectures on "
            "FashionMNIST”",
            date=f"From runs finished by {last_day_of(results)}",
            draft=results.draft,
            seconds=seconds,
        )
        figures.result()
    if files.warning:
        report.notices.append(files.warning)


def last_day_of(results: Results) -> str:
    """Return the day (UTC) on which the last run was finished, such as `24 November 2026`."""
    last = datetime.fromisoformat(max(run.environment.finished for run in results.runs))
    return f"{last.day} {last:%B %Y}"


def find_weights(job: Job, results: Results) -> dict[str, Arrays]:
    """Return the weights of each model's first seed, where there are some its record vouches for.

    They come from this machine's run, else from the released report, whose records hold none.
    """
    found = {}
    for model in results.models:
        run = results.of(model)[0]
        own = job.store.path_of(run, "weights", results.rule)
        released = job.released.folder.parent / MODELS_FOLDER / model / WEIGHTS
        for path in (own, released):
            with suppress(DamagedRecordError):
                found[model] = read_arrays(path, results.kept(run).weights_sha256)
                break
    return found
