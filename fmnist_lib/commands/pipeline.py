"""From a plan to a report: train what is missing, time it alone, have the report made."""

from collections.abc import Collection, Sequence
from pathlib import Path

from fmnist_lib.commands.assembly import MADE_FROM, is_current, made_from, make_pages
from fmnist_lib.commands.job import Job, Report, RunFailedError, check_output, tell
from fmnist_lib.commands.released import check_release
from fmnist_lib.commands.train import Found, train_missing
from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.reporting.folder import files_in, scratch, write_files
from fmnist_lib.reporting.words import names_of
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import ROUNDS, cost_name, measure_costs
from fmnist_lib.runs.environment import code_sha256, has_device
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.runs.store import RunStore, write_atomically

BUSY_PERCENT = 10  # of all cores, by others, above which times are called into question


def make_report(job: Job) -> Report:
    """Train, time, execute, render; return what came out. Raises `FailedError`, `UserError`.

    Finished runs are stored as they finish, so that the same call goes on after an interruption.
    """
    if job.release:
        check_release(job)
    check_output(job)
    report = Report(job.output)
    with job.store.lock():
        shown = {config.name for config in job.shown}
        runs = [run for run in train_missing(job, report) if run.record.name in shown]
        if not runs:
            raise RunFailedError("no run succeeded; there is nothing to report")
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


def measure_missing(job: Job, records: Sequence[RunRecord], report: Report) -> None:
    """Time each model that was not, in turns, now that nothing of ours runs beside it.

    A cluster may have trained what this machine cannot, for lack of a device: then the report has
    no times.
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
    costs = measure_costs(missing, data, on_round=lambda number: tell(f"round {number}"))
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
        released = job.released.costs()
        costs += [c for c in released if not c.config.differs(config, ignoring={"seed"})]
    return any(cost.environment.code_sha256 in codes for cost in costs)


def one_a_model(records: Sequence[RunRecord]) -> list[RunConfig]:
    """Return the config of each model's first run."""
    return list({record.config.model: record.config for record in reversed(records)}.values())[::-1]


def collect(job: Job, runs: Sequence[Found]) -> None:
    """Put the report's records into its folder, without weights.

    Other records leave the folder, but for a release, whose evidence only ever grows.
    """
    with scratch(job.output) as made:
        fresh = RunStore(Path(made) / "records")
        for record, store in runs:
            store.copy(record, fresh)
        for config in one_a_model([run.record for run in runs]):
            if cost := job.store.find_cost(cost_name(config)):
                fresh.write_cost(cost)
        write_files(job.output, "records", files_in(fresh.folder), keep=job.release)
