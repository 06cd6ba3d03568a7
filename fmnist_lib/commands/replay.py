"""Train again what the released records claim, and judge each. Never writes to their store."""

import argparse
import os
import shutil
from collections import Counter
from itertools import zip_longest
from math import sqrt

from fmnist_lib import paths
from fmnist_lib.commands.job import released_records
from fmnist_lib.errors import UserError
from fmnist_lib.execution.forecast import longest_first, tell
from fmnist_lib.execution.here import train_and_store
from fmnist_lib.runs.config import TEST_IMAGES, RunConfig
from fmnist_lib.runs.environment import describe_environment, has_device, usable_cores
from fmnist_lib.runs.plans import parse_models, parse_seeds
from fmnist_lib.runs.record import DamagedRecordError, RunRecord, metrics_of
from fmnist_lib.runs.store import RunStore

IDENTICAL = "identical to the bit"
SO_FAR = "identical so far"  # all that a replay of the first epochs can say
WITHIN = "within tolerance"
DIFFERS = "differs"
FAILED = "could not be run"

QUICK_EPOCHS = 2
EARLY_POINTS = 5.0  # of test accuracy; between two early epochs it moves that much: 4.7
SAME = {"data_sha256", "code_sha256", "packages", "python", "cpu"}  # then a run's bits are too

Verdict = tuple[str, str]  # one of the above; and where not identical how far, from when, why


def command(options: argparse.Namespace) -> int:
    """Train the released runs again and print a verdict on each; return 1 where one differs."""
    seeds = [f"{seed}-" for seed in parse_seeds(options.seeds)] if options.seeds else [""]
    starts = tuple(f"{model}-s{seed}" for model in parse_models(options.models) for seed in seeds)
    verdicts = verify(starts, jobs=options.jobs or usable_cores(), quick=options.quick)
    counts = Counter(kind for kind, _ in verdicts.values())
    names, kinds = (max(map(len, column)) for column in (verdicts, counts))
    for name, (kind, details) in verdicts.items():
        print(f"{name:{names}}  {kind:{kinds}}  {details}".rstrip())
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"{len(verdicts)} runs: {told}")
    return 1 if counts.keys() & {DIFFERS, FAILED} else 0


def verify(starts: tuple[str, ...], *, jobs: int, quick: bool) -> dict[str, Verdict]:
    """Train the released runs whose names start so; return the verdict on each by its name.

    With `quick` only the first epochs are trained. What an interrupted call has trained is in
    `runs/verify` and is used by the next one on the same machine; a finished call leaves its runs
    beside it, in `verified`. Those of a device that is not here are left out. Raises `UserError`
    where there are none.
    """
    released, scratch = released_records(), RunStore(paths.RUNS / "verify")
    names = [name for name in released.names() if name.startswith(starts)]
    if not names:
        raise UserError(f"{released.folder}: holds no such record; there is nothing to verify")
    verdicts: dict[str, Verdict] = {}
    claims: list[tuple[RunRecord, RunConfig]] = []  # what is claimed, and what to train
    for name in names:
        try:
            record = released.read(name)
        except DamagedRecordError as error:  # or what its own predictions contradict
            verdicts[name] = DIFFERS, str(error)
            continue
        if has_device(record.config.device):
            head = {"max_epochs": min(QUICK_EPOCHS, len(record.history))} if quick else {}
            claims.append((record, record.config.model_copy(update=head)))
    if left_out := len(names) - len(verdicts) - len(claims):
        fault = f"{left_out} runs take a GPU, and PyTorch finds none here"
        if left_out == len(names):
            raise UserError(f"{released.folder}: all {fault}; there is nothing to verify")
        tell(f"note: left out: {fault}")
    with scratch.lock():
        failures = train_again([config for _, config in claims], scratch, jobs)
        for record, config in claims:
            if config.name in failures:
                verdicts[record.name] = FAILED, failures[config.name]
                continue
            verdicts[record.name] = compare_runs(record, scratch.read(config.name), quick=quick)
            kept = scratch.folder.with_name("verified") / config.name
            shutil.rmtree(kept, ignore_errors=True)
            os.renames(scratch.folder / config.name, kept)  # so that the next call trains it anew
    return dict(sorted(verdicts.items()))


def train_again(configs: list[RunConfig], scratch: RunStore, jobs: int) -> dict[str, str]:
    """Train what the scratch store lacks; return, by name, the errors of runs that failed."""
    here = describe_environment().model_dump(include=SAME)
    found = [(config, scratch.find(config)) for config in configs]
    missing = [c for c, run in found if not run or run.environment.model_dump(include=SAME) != here]
    tell(f"training {len(missing)} of {len(configs)} runs again, {jobs} side by side")
    return train_and_store(longest_first(missing), scratch, jobs=jobs)[0]


def compare_runs(recorded: RunRecord, again: RunRecord, *, quick: bool = False) -> Verdict:
    """Return the verdict on a record, given the same run, or with `quick` its head, `again`."""
    if quick:
        head = recorded.history[: len(again.history)]
        recorded = recorded.model_copy(update={"history": head})
    rows = [metrics_of(run.history) for run in (recorded, again)]
    parted = next((n for n, (a, b) in enumerate(zip_longest(*rows), start=1) if a != b), None)
    if quick and not parted:
        return SO_FAR, ""
    if recorded.result_digest == again.result_digest:
        if (recorded.parameters, recorded.stops) == (again.parameters, again.stops):
            return IDENTICAL, ""
        return DIFFERS, "its figures are not those its digest stands for"
    old, new = (  # test accuracies by epoch, else by rule at its best epoch
        {row.epoch: row.test_accuracy for row in run.history}
        if quick
        else {rule: kept.test_accuracy for rule, kept in run.stops.items()}
        for run in (recorded, again)
    )
    points, accuracy = max((abs(old[place] - new[place]), old[place]) for place in new)
    most, origin = EARLY_POINTS, "fixed, for single early epochs"
    if not quick:
        images = recorded.config.test_images or TEST_IMAGES
        most = 1.96 * sqrt(2 * accuracy * (100 - accuracy) / images)  # of 95 in 100 differences
        origin = f"binomial spread over {images:,} test images"
    before, now = (run.environment.model_dump(include=SAME) for run in (recorded, again))
    causes = ", ".join(name for name in now if now[name] != before[name])
    details = [f"test accuracy {points:.2f} points apart, tolerance {most:.2f} ({origin})"]
    details += [f"histories part in epoch {parted}"] if parted else []
    details += [f"of another kind: {causes or 'nothing that is recorded'}"]
    return DIFFERS if points > most else WITHIN, "; ".join(details)
