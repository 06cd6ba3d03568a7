"""From a plan to records: what is there, what is missing, and the training of that.

This needs the packages of training alone, so that a machine may train that makes no report.
"""

import argparse

from fmnist_lib.commands.job import Job, finish, job_of
from fmnist_lib.execution.forecast import forecast, tell
from fmnist_lib.execution.here import train_and_store
from fmnist_lib.paths import ROOT
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import git
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.runs.store import RunStore

Found = tuple[RunRecord, RunStore]  # a finished run, and the store that has it


def command(options: argparse.Namespace) -> int:
    """Train and store what is missing, or say what would be; make no report."""
    job = job_of(options)
    if options.dry_run:
        if job.release:
            from fmnist_lib.commands.make_report import check_release

            check_release(job)
        for config in sorted(job.configs, key=lambda config: config.seed):
            print(f"{config.name:36} {state_of(job, config)}")
        past = [*job.store.readable(), *job.released.readable()]
        print(forecast(missing_of(job), past, job.jobs))
        return 0
    with job.store.lock():
        failures = train_missing(job)
    return finish(job.store.folder, failures)


def find_run(job: Job, config: RunConfig) -> Found | None:
    """Return a run where there is a record of it: here, else where released ones count too."""
    shared = job.release or config in job.beside
    stores = (job.store, job.released) if shared else (job.store,)
    return next(((run, store) for store in stores if (run := store.find(config))), None)


def state_of(job: Job, config: RunConfig) -> str:
    """Return in words whether a run is used as it is or trained."""
    if job.force:
        return "to train, because --force asks for it"
    if found := find_run(job, config):
        return "cached" if found[1] is job.store else "released"
    if job.released.find(config):
        return "released, to be trained here too"
    return "to train"


def missing_of(job: Job) -> list[RunConfig]:
    """Return the runs that are to be trained, with the rules that their records have."""
    missing = [config for config in job.configs if job.force or not find_run(job, config)]
    return [job.store.with_recorded_rules(config) for config in missing]


def train_missing(job: Job) -> list[str]:
    """Train what has no record, and store it; return the runs that failed, each with its fault."""
    if missing := missing_of(job):
        if not git("rev-parse", "HEAD"):
            tell(f"the records will name no commit: git finds none of {ROOT}")
        tell(f"training {len(missing)} of {len(job.configs)} runs, {job.jobs} side by side")
    how = {name: getattr(job, name) for name in ("jobs", "minutes", "keep_going")}
    failures, unfinished = train_and_store(missing, job.store, **how)
    if unfinished:
        tell(f"note: {len(unfinished)} runs are not finished; the same command goes on from here")
    return [f"{name}: {fault}" for name, fault in failures.items()]
