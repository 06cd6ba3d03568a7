"""From a plan to a report: train what is missing, time it alone, have the report made."""

import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from fmnist_lib.commands.assembly import MADE_FROM, is_current, made_from, make_pages
from fmnist_lib.commands.job import Job, Report, RunFailedError, check_output, fail, tell
from fmnist_lib.commands.released import check_release
from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.execution.forecast import forecast, past_runs
from fmnist_lib.execution.local import run_many
from fmnist_lib.execution.progress import Progress
from fmnist_lib.reporting.words import names_of
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import ROUNDS, cost_name, measure_costs
from fmnist_lib.runs.environment import code_sha256, has_device
from fmnist_lib.runs.record import RunRecord, describe_difference
from fmnist_lib.runs.store import RunStore, write_atomically
from fmnist_lib.training.checkpoint import Checkpoint
from fmnist_lib.training.engine import CompilationError

BUSY_PERCENT = 10  # of all cores, by others, above which times are called into question


@dataclass(frozen=True)
class RunState:
    """What the plan makes of one run, in the words of `--dry-run`."""

    config: RunConfig
    record: RunRecord | None  # what will be used as it is
    text: str  # cached; released, …; to train, because …


class Found(NamedTuple):
    """A finished run, and the store that has it."""

    record: RunRecord
    store: RunStore


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


def make_report(job: Job) -> Report:
    """Train, time, execute, render; return what came out. Raises `FailedError`, `UserError`.

    Finished runs are stored as they finish, so that the same call goes on after an interruption.
    """
    check_output(job)
    if job.release:
        check_release(settle_engines(job))
    report = Report(job.output)
    with job.store.lock():
        job = settle_engines(job)
        runs = train_missing(job, report)
        if not runs:
            raise RunFailedError("no run succeeded; there is nothing to report")
        job = settle_engines(job)  # after a fallback
        measure_missing(job, [run.record for run in runs], report)
        collect(job, runs)
        digest = made_from(job)
        if not job.force and is_current(job, digest):
            report.notices.append("nothing has changed since this report was made")
            return report
        make_pages(job, report)
        if not report.failures:
            write_atomically(job.output / MADE_FROM, digest.encode())
    return report


def settle_engines(job: Job) -> Job:
    """Return the job with one engine for all runs of a model, where the choice was left to us.

    That is the one which more of its runs have a record with, else the planned one.
    """
    if not job.auto_engine:
        return job
    settled: list[RunConfig] = []
    for model in job.models:
        planned = [config for config in job.configs if config.model == model]
        others = [with_engine(planned, engine) for engine in ("eager", "compiled")]
        settled += max([planned, *others], key=lambda configs: number_found(job, configs))
    return replace(job, configs=settled)


def with_engine(configs: Sequence[RunConfig], engine: str) -> list[RunConfig]:
    """Return the runs as they are made by another engine."""
    return [config.model_copy(update={"engine": engine}) for config in configs]


def number_found(job: Job, configs: Sequence[RunConfig]) -> int:
    """Return of how many runs there is a record."""
    return sum(find_run(job, config) is not None for config in configs)


def train_missing(job: Job, report: Report) -> list[Found]:
    """Train what has no record, store it, and return all runs that succeeded."""
    missing = missing_of(job, job.configs)
    if missing:
        where = f"at {job.scheduler}" if job.scheduler else f"{job.jobs} side by side"
        tell(f"training {len(missing)} of {len(job.configs)} runs, {where}")
    fallbacks = train_all(job, missing, report)
    if fallbacks:
        report.notices.extend(fallbacks.values())
        # All runs of the model, whose mean is to be that of one engine.
        again = with_engine([c for c in job.configs if c.model in fallbacks], "eager")
        train_all(job, missing_of(job, again), report, notes=tuple(sorted(fallbacks.values())))
    configs = settle_engines(job).configs
    return [run for config in configs if (run := find_run(job, config))]


def missing_of(job: Job, configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the runs that are to be trained, with the rules that their records have."""
    states = [state_of(job, config) for config in configs]
    return [job.store.with_recorded_rules(s.config) for s in states if s.record is None]


def train_all(
    job: Job, configs: Sequence[RunConfig], report: Report, *, notes: tuple[str, ...] = ()
) -> dict[str, str]:
    """Train and store runs, `notes` in their records; return what should be trained eagerly.

    That is what cannot be compiled where the choice was left to us: by model, and why.
    """
    fallbacks: dict[str, str] = {}
    with Progress(configs) as progress:
        outcomes = run_many(
            configs,
            jobs=job.jobs,
            on_epoch=progress.epoch,
            scheduler=job.scheduler,
            records=past_runs(job.store, job.released),
            checkpoints=job.checkpoints,
        )
        for config, outcome in outcomes:
            if isinstance(outcome, CompilationError) and job.auto_engine:
                fallbacks[config.model] = f"trained eagerly, since {outcome}"
                continue
            if isinstance(outcome, Exception):
                fail(job, report, f"{config.name}: {type(outcome).__name__}: {outcome}")
                continue
            output = outcome.with_notes(notes)
            job.store.write(output)
            Checkpoint(job.checkpoints, config).remove()
            progress.finish(output.record)
    return fallbacks


def forecast_of(job: Job) -> str:
    """Return one line on how long the training of what is missing will take."""
    missing = missing_of(job, job.configs)
    return forecast(missing, past_runs(job.store, job.released), job.jobs)


def find_run(job: Job, config: RunConfig) -> Found | None:
    """Return a run where there is a record of it: here, for a release in the evidence too."""
    for store in (job.store, job.released) if job.release else (job.store,):
        if record := store.find(config):
            return Found(record, store)
    return None


def measure_missing(job: Job, records: Sequence[RunRecord], report: Report) -> None:
    """Time each model that was not, in turns, now that nothing of ours runs beside it.

    A cluster may have trained what this machine cannot, for lack of a device or of a compiler:
    then the report has no times.
    """
    codes = {code_sha256(), *(record.environment.code_sha256 for record in records)}
    configs = one_a_model(records)
    missing = [config for config in configs if job.force or not has_cost(job, config, codes)]
    if not missing:
        return
    names = names_of(config.model for config in missing)
    if not all(has_device(config.device) for config in missing):
        report.notices.append(
            f"no times of {names}: this machine lacks the device that the runs were made on"
        )
        return
    # The runs of a profile all have the same images.
    data = load(train_images=missing[0].train_images, test_images=missing[0].test_images)
    tell(f"timing {names} alone, in {ROUNDS} rounds")
    try:
        costs = measure_costs(missing, data, on_round=lambda number: tell(f"round {number}"))
    except CompilationError as error:
        report.notices.append(f"no times of {names}: {error}")
        return
    for cost in costs:
        job.store.write_cost(cost)
    if costs[0].busy_percent > BUSY_PERCENT:
        tell(f"the machine was {costs[0].busy_percent:.0f} % busy with other work: times are high")


def has_cost(job: Job, config: RunConfig, codes: Collection[str]) -> bool:
    """Return whether a model was timed: on this machine, or for a release by the one before.

    Only with training code of one of `codes`: with another, a step may take another time.
    """
    own = job.store.find_cost(cost_name(config))
    costs = [own] if own else []
    if job.release:
        costs += [cost for cost in job.released.costs() if same_but_seed(cost.config, config)]
    return any(cost.environment.code_sha256 in codes for cost in costs)


def same_but_seed(one: RunConfig, other: RunConfig) -> bool:
    """Return whether two runs take the same time: they differ at most in seed and rules."""
    return not describe_difference(one.model_copy(update={"seed": other.seed}), other)


def one_a_model(records: Sequence[RunRecord]) -> list[RunConfig]:
    """Return the config of each model's first run."""
    return list({record.config.model: record.config for record in reversed(records)}.values())[::-1]


def collect(job: Job, runs: Sequence[Found]) -> None:
    """Put the report's records into its folder, without weights.

    Other records leave the folder, but for a release, whose evidence only ever grows.
    """
    target = job.output / "records"
    with tempfile.TemporaryDirectory(dir=job.output, prefix=".records-") as scratch:
        fresh = RunStore(Path(scratch) / "records")  # with ordinary permissions
        for record, store in runs:
            store.copy(record, fresh)
        for config in one_a_model([run.record for run in runs]):
            if cost := job.store.find_cost(cost_name(config)):
                fresh.write_cost(cost)
        if not job.release:
            shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(fresh.folder, target, dirs_exist_ok=True)
