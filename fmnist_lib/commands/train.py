"""From a plan to records: what is there, what is missing, and the training of that.

This needs the packages of training alone, so that a machine may train that makes no report.
"""

from dataclasses import dataclass
from typing import NamedTuple

from fmnist_lib.commands.job import Job, Report, tell
from fmnist_lib.execution.forecast import forecast, longest_first, past_runs
from fmnist_lib.execution.here import train_and_store
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import missing_commit_reason
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.runs.store import RunStore


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


def train_missing(job: Job, report: Report) -> list[Found]:
    """Train what has no record, store it, and return all runs that succeeded."""
    missing = missing_of(job)
    if missing:
        where = f"at {job.scheduler}" if job.scheduler else f"{job.jobs} side by side"
        if reason := missing_commit_reason():
            tell(f"the records will name no commit: {reason}")
        tell(f"training {len(missing)} of {len(job.configs)} runs, {where}")
    trained = train_and_store(
        missing,
        job.store,
        jobs=job.jobs,
        scheduler=job.scheduler,
        minutes=job.minutes,
        keep_going=job.keep_going,
        anew=job.force,
    )
    report.failures += [f"{name}: {fault}" for name, fault in trained.failures.items()]
    if trained.unfinished:
        report.notices.append(
            f"{len(trained.unfinished)} runs are not finished; the same command goes on from here"
        )
    return [run for config in job.configs if (run := find_run(job, config))]


def missing_of(job: Job) -> list[RunConfig]:
    """Return the runs that are to be trained, with the rules that their records have.

    Family by family, and the longest of each first, so that no core idles at the end.
    """
    states = [state_of(job, config) for config in job.configs]
    missing = [job.store.with_recorded_rules(s.config) for s in states if s.record is None]
    ordered = longest_first(missing, past_runs(job.store, job.released))
    return sorted(ordered, key=lambda config: job.ranks.get(config.name, 0))


def forecast_of(job: Job) -> str:
    """Return one line on how long the training of what is missing will take."""
    return forecast(missing_of(job), past_runs(job.store, job.released), job.jobs)


def find_run(job: Job, config: RunConfig) -> Found | None:
    """Return a run where there is a record of it: here, for a release in the evidence too."""
    for store in (job.store, job.released) if job.release else (job.store,):
        if record := store.find(config):
            return Found(record, store)
    return None


def train_only(job: Job) -> Report:
    """Train what is missing and store it; make no report. Raises `FailedError`, `UserError`."""
    report = Report(job.store.folder)
    with job.store.lock():
        train_missing(job, report)
    return report
