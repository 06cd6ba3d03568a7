"""From a plan to a report: train what is missing, time it alone, run the notebooks, render."""

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import nbformat

from fmnist_lib import paths
from fmnist_lib.checkpoints import Checkpoint
from fmnist_lib.cluster import ClusterLostError, Outcome, run_many
from fmnist_lib.config import RunConfig
from fmnist_lib.cost import cost_name, measure_cost
from fmnist_lib.data import load
from fmnist_lib.engine import CompilationError
from fmnist_lib.environment import git
from fmnist_lib.errors import UserError
from fmnist_lib.forecast import forecast, past_runs
from fmnist_lib.models import MODELS
from fmnist_lib.notebook import HOW
from fmnist_lib.progress import Progress
from fmnist_lib.records import RunRecord, describe_difference
from fmnist_lib.reporting.analysis import as_recorded, load_results
from fmnist_lib.reporting.execute import execute_notebooks
from fmnist_lib.reporting.publish import write_figures, write_tables
from fmnist_lib.reporting.render import write_report
from fmnist_lib.store import RunStore, write_atomically
from fmnist_lib.study import plan

COMPARISON = "comparison"
MADE_FROM = ".made-from"  # in the report's folder: the digest of what it was made from
BUSY_PERCENT = 10  # of all cores, by others, above which times are called into question


@dataclass(frozen=True)
class Job:
    """What one call of the command asks for."""

    profile: str
    configs: Sequence[RunConfig]
    output: Path
    jobs: int = 1
    scheduler: str = ""  # of a cluster that trains in place of this machine
    force: bool = False
    keep_going: bool = False
    release: bool = False
    auto_engine: bool = False  # an eager record serves as well as a compiled one
    store: RunStore = field(default_factory=lambda: RunStore(paths.RUNS))
    released: RunStore = field(
        default_factory=lambda: RunStore(paths.REPORT / "records", read_only=True)
    )

    @property
    def checkpoints(self) -> Path:
        """Where runs leave their checkpoints until their record is stored."""
        return self.store.folder / "checkpoints"

    @property
    def models(self) -> list[str]:
        """The models of the plan, in the paper's order."""
        return [name for name in MODELS if any(c.model == name for c in self.configs)]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the plan."""
        return sorted({config.seed for config in self.configs})


@dataclass(frozen=True)
class RunState:
    """What the plan makes of one run, in the words of `--dry-run`."""

    config: RunConfig
    record: RunRecord | None  # what will be used as it is
    text: str  # cached; released, …; to train, because …


def state_of(job: Job, config: RunConfig) -> RunState:
    """Return whether a run is used as it is or trained, and why.

    A release builds on the evidence released before it; any other report rests on runs of the
    machine it is made on.
    """
    if job.force:
        return RunState(config, None, "to train, because --force asks for it")
    if record := job.store.find(config):
        return RunState(config, record, "cached")
    if record := job.released.find(config):
        if job.release:
            return RunState(config, record, "released")
        return RunState(config, None, "released, to be trained here too")
    return RunState(config, None, f"to train, because {job.store.why_missing(config)}")


@dataclass
class Report:
    """What a call has made, and what went wrong on the way."""

    folder: Path
    failures: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


class RunFailedError(Exception):
    """A run or a notebook failed and the call was not told to keep going."""


def make_report(job: Job) -> Report:
    """Train, time, execute, render; return what came out. Raises `RunFailedError`, `UserError`.

    Finished runs are stored as they finish, so that the same call goes on after an interruption.
    """
    if job.release:
        check_release(job)
    check_output(job)
    report = Report(job.output)
    with job.store.lock():
        job = settle_engines(job)
        records = train_missing(job, report)
        job = settle_engines(job)  # after a fallback
        measure_missing(job, records)
        made_from = collect(job, records)
        if not job.force and is_current(job, made_from):
            report.notices.append("nothing has changed since this report was made")
            return report
        notebooks = execute(job, report)
        publish(job, notebooks, report)
        if not report.failures:
            write_atomically(job.output / MADE_FROM, made_from.encode())
    return report


def check_output(job: Job) -> None:
    """Raise `UserError` unless the output folder can be written to."""
    try:
        job.output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=job.output):
            pass
    except OSError as error:
        raise UserError(f"output: cannot write to {job.output} ({error.strerror})") from None


def settle_engines(job: Job) -> Job:
    """Return the job with the engines its records have, where the choice was left to us."""
    if not job.auto_engine:
        return job
    return replace(job, configs=as_recorded(job.store, job.configs, free=frozenset({"engine"})))


def train_missing(job: Job, report: Report) -> list[RunRecord]:
    """Train what has no record, store it, and return the records of all runs that succeeded."""
    states = [state_of(job, config) for config in job.configs]
    missing = [
        job.store.with_recorded_rules(state.config) for state in states if state.record is None
    ]
    if missing:
        where = f"at {job.scheduler}" if job.scheduler else f"{job.jobs} side by side"
        tell(f"training {len(missing)} of {len(states)} runs, {where}")
    fallbacks = train_all(job, missing, report)
    if fallbacks:
        report.notices.extend(fallbacks.values())
        eager = [c.model_copy(update={"engine": "eager"}) for c in missing if c.name in fallbacks]
        train_all(job, eager, report, notes=tuple(sorted(set(fallbacks.values()))))
    configs = settle_engines(job).configs
    return [record for config in configs if (record := find_record(job, config))]


def train_all(
    job: Job, configs: Sequence[RunConfig], report: Report, *, notes: tuple[str, ...] = ()
) -> dict[str, str]:
    """Train and store runs, `notes` in their records; return what should be trained eagerly.

    That is what cannot be compiled where the choice was left to us: the run's name, and why.
    """
    fallbacks: dict[str, str] = {}
    with Progress(configs) as progress:
        for config, outcome in train_somewhere(job, configs, progress):
            if isinstance(outcome, CompilationError) and job.auto_engine:
                fallbacks[config.name] = f"trained eagerly, since {outcome}"
                continue
            if isinstance(outcome, Exception):
                fail(job, report, f"{config.name}: {type(outcome).__name__}: {outcome}")
                continue
            output = outcome.with_notes(notes)
            job.store.write(output)
            Checkpoint(job.checkpoints, config).remove()
            progress.finish(output.record)
    return fallbacks


def train_somewhere(
    job: Job, configs: Sequence[RunConfig], progress: Progress
) -> Iterator[tuple[RunConfig, Outcome]]:
    """Yield runs as they finish, here or on a cluster; raise `RunFailedError` when that is lost."""
    try:
        yield from run_many(
            configs,
            jobs=job.jobs,
            on_epoch=progress.epoch,
            scheduler=job.scheduler,
            records=past_runs(job.store, job.released),
            checkpoints=job.checkpoints,
        )
    except ClusterLostError as error:
        raise RunFailedError(str(error)) from None


def forecast_of(job: Job) -> str:
    """Return one line on how long the training of what is missing will take."""
    missing = [c for c in job.configs if state_of(job, c).record is None]
    return forecast(missing, past_runs(job.store, job.released), job.jobs)


def find_record(job: Job, config: RunConfig) -> RunRecord | None:
    """Return a run's record, for a release from the evidence too."""
    return job.store.find(config) or (job.released.find(config) if job.release else None)


def measure_missing(job: Job, records: Sequence[RunRecord]) -> None:
    """Time each model once, one after another, now that nothing of ours runs beside it."""
    for config in one_a_model(records):
        if not job.force and has_cost(job, config):
            continue
        tell(f"timing {MODELS[config.model].title} alone")
        data = load(train_images=config.train_images, test_images=config.test_images)
        cost = measure_cost(config, data)
        if cost.busy_percent > BUSY_PERCENT:
            tell(f"the machine was {cost.busy_percent:.0f} % busy with other work: times are high")
        job.store.write_cost(cost)


def has_cost(job: Job, config: RunConfig) -> bool:
    """Return whether a model was timed: on this machine, or for a release by the one before."""
    if job.store.find_cost(cost_name(config)):
        return True
    return job.release and any(same_but_seed(cost.config, config) for cost in job.released.costs())


def same_but_seed(one: RunConfig, other: RunConfig) -> bool:
    """Return whether two runs take the same time: they differ at most in seed and rules."""
    return not describe_difference(one.model_copy(update={"seed": other.seed}), other)


def one_a_model(records: Sequence[RunRecord]) -> list[RunConfig]:
    """Return the config of each model's first run."""
    return list({record.config.model: record.config for record in reversed(records)}.values())[::-1]


def collect(job: Job, records: Sequence[RunRecord]) -> str:
    """Put the report's records into its folder; return what the report is made from.

    That is one digest of records, notebooks, library and plan: equal digests, equal reports. Other
    records leave the folder, but for a release, whose evidence only ever grows.
    """
    target = job.output / "records"
    with tempfile.TemporaryDirectory(dir=job.output, prefix=".records-") as scratch:
        fresh = RunStore(Path(scratch) / "records")  # with ordinary permissions
        for record in records:
            source = job.store if job.store.find(record.config) else job.released
            source.copy(record, fresh)
        for config in one_a_model(records):
            if cost := job.store.find_cost(cost_name(config)):
                fresh.write_cost(cost)
        if not job.release:
            shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(fresh.folder, target, dirs_exist_ok=True)
    sources = sorted(
        path
        for folder, pattern in ((paths.ROOT / "fmnist_lib", "**/*"), (paths.NOTEBOOKS, "*.ipynb"))
        for path in folder.glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    )
    digest = hashlib.sha256(json.dumps([job.profile, job.models, job.seeds]).encode())
    for path in [*sources, *sorted(target.rglob("*.json"))]:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_current(job: Job, made_from: str) -> bool:
    """Return whether the folder holds a whole report made from just this."""
    names = (MADE_FROM, "index.html", "report.pdf", "tables", "figures", "notebooks")
    whole = all((job.output / name).exists() for name in names)
    return whole and (job.output / MADE_FROM).read_text() == made_from


def execute(job: Job, report: Report) -> list[Path]:
    """Execute the notebooks into the report's folder; return their paths, in the report's order."""
    sources = [paths.NOTEBOOKS / f"{name}.ipynb" for name in (COMPARISON, *job.models)]
    folder = job.output / "notebooks"
    tell(f"executing {len(sources)} notebooks, {job.jobs} side by side")
    errors = execute_notebooks(sources, folder, notebook_parameters(job), jobs=job.jobs)
    for name, error in errors.items():
        fail(job, report, f"notebook {name}: {error}; see {folder / name}.ipynb")
    return [folder / source.name for source in sources]


def notebook_parameters(job: Job) -> dict[str, str | bool]:
    """Return what the notebooks are told; paths within the project are relative to it."""
    records = (job.output / "records").resolve()
    if records.is_relative_to(paths.ROOT):
        records = records.relative_to(paths.ROOT)
    return {
        "profile": job.profile,
        "seeds": ",".join(map(str, job.seeds)),
        "records": records.as_posix(),
        "train": False,
    }


def publish(job: Job, notebooks: Sequence[Path], report: Report) -> None:
    """Write tables, figures, HTML and PDF."""
    tell("writing tables, figures, HTML and PDF")
    results = load_results(RunStore(job.output / "records"), job.configs)
    write_tables(results, job.output / "tables")
    write_figures(results, job.output / "figures")
    files = write_report(
        [nbformat.read(path, as_version=4) for path in notebooks],
        job.output,
        title="Six lightweight classifiers on FashionMNIST, trained again",
        subtitle="A reproduction of “Benchmarking Lightweight CNN Architectures on FashionMNIST”",
        draft=results.draft,
    )
    if files.warning:
        report.notices.append(files.warning)


def released_plan(released: RunStore) -> list[RunConfig]:
    """Return the runs of the released report: those seeds of which there is every model."""
    configs: list[RunConfig] = []
    for seed in sorted({run.config.seed for run in released.runs()}):
        runs = as_recorded(released, plan("paper", seeds=str(seed)), free=HOW)
        configs += runs if all(map(released.find, runs)) else []
    if not configs:
        raise UserError(f"{released.folder}: has no seed with all models; nothing to rebuild")
    return configs


def rebuild(job: Job) -> Report:
    """Make the report from the released records alone; nothing is trained or timed.

    Raises as `make_report` does.
    """
    check_output(job)
    report = Report(job.output)
    target = job.output / "records"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(job.released.folder, target, ignore=shutil.ignore_patterns(".*"))
    publish(job, execute(job, report), report)
    return report


def compare_tables(folder: Path, released: Path) -> dict[str, str]:
    """Return, by file name, whether each table of two reports is `equal`, or how it is not."""
    ours, theirs = (
        {path.name: path.read_bytes() for path in (report / "tables").glob("*.csv")}
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


def check_release(job: Job) -> None:
    """Raise `UserError` unless the plan may become the released report."""
    if any(config.shortened for config in job.configs):
        raise UserError(
            f"release: the runs of profile {job.profile!r} are shortened; allowed: paper, study"
        )
    if job.models != list(MODELS):
        raise UserError("release: needs all models; leave --models out")
    if git("status", "--porcelain") != "":
        raise UserError("release: needs a git checkout without uncommitted changes")


def fail(job: Job, report: Report, message: str) -> None:
    """Note a failure; raise `RunFailedError` unless the call keeps going."""
    report.failures.append(message)
    if not job.keep_going:
        raise RunFailedError(message)


def tell(message: str) -> None:
    """Tell the user what happens now."""
    print(message, file=sys.stderr, flush=True)
