"""Train again what the released records claim, and judge each. Never writes to their store."""

import argparse
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy import stats

from fmnist_lib import paths
from fmnist_lib.commands.job import released_records, tell
from fmnist_lib.errors import UserError
from fmnist_lib.execution.forecast import longest_first
from fmnist_lib.execution.here import train_and_store
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import describe_environment, usable_cores
from fmnist_lib.runs.plans import parse_models, parse_seeds
from fmnist_lib.runs.record import DamagedRecordError, RunRecord, metrics_of
from fmnist_lib.runs.store import RunStore

IDENTICAL = "identical to the bit"
SO_FAR = "identical so far"  # all that a replay of the first epochs can say
PREDICTIONS = "same predictions"
WITHIN = "within tolerance"
DIFFERS = "differs"
FAILED = "could not be run"

QUICK_EPOCHS = 2
SEEDS_NEEDED = 3  # below that, a spread over seeds says next to nothing
Tolerance = tuple[float, str]  # points of test accuracy that two runs may lie apart, and by what
EARLY: Tolerance = 5.0, "fixed, for single early epochs"  # between two, it moves that much: 4.7
SAME = {"data_sha256", "code_sha256", "packages", "python", "cpu"}  # then a run's bits are too


class Verdict(NamedTuple):
    """What comparing a record with the run trained again came to: how far, from when, why."""

    name: str
    kind: str
    details: str = ""


def command(options: argparse.Namespace) -> int:
    """Train the released runs again and print a verdict on each; return 1 where one differs."""
    seeds = [f"{seed}-" for seed in parse_seeds(options.seeds)] if options.seeds else [""]
    starts = tuple(f"{model}-s{seed}" for model in parse_models(options.models) for seed in seeds)
    scratch, jobs = RunStore(paths.RUNS / "verify"), options.jobs or usable_cores()
    verdicts = verify(released_records(), scratch, starts, jobs=jobs, quick=options.quick)
    names, kinds = (max(len(verdict[place]) for verdict in verdicts) for place in (0, 1))
    for name, kind, details in verdicts:
        print(f"{name:{names}}  {kind:{kinds}}  {details}".rstrip())
    counts = Counter(verdict.kind for verdict in verdicts)
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"{len(verdicts)} runs: {told}")
    return 1 if counts.keys() & {DIFFERS, FAILED} else 0


def verify(
    released: RunStore, scratch: RunStore, starts: tuple[str, ...], *, jobs: int, quick: bool
) -> list[Verdict]:
    """Train the runs whose names start so by their own configs; return a verdict on each.

    With `quick` only the first epochs are trained. What an interrupted call has trained is in
    `scratch` and is used by the next one on the same machine; a finished call leaves its runs
    beside it, in `verified`. Raises `UserError` where there are none.
    """
    known: list[RunRecord] = []
    verdicts: list[Verdict] = []
    for name in released.names():
        try:
            known.append(released.read(name))
        except DamagedRecordError as error:
            verdicts += [Verdict(name, DIFFERS, str(error))] * name.startswith(starts)
    claims = [record for record in known if record.name.startswith(starts)]
    if not (claims or verdicts):
        raise UserError(f"{released.folder}: holds no such record; there is nothing to verify")
    configs = [replayed(record, quick=quick) for record in claims]
    with scratch.lock():
        failures = train_again(list({c.name: c for c in configs}.values()), scratch, jobs)
        for record, name in zip(claims, [config.name for config in configs], strict=True):
            if name in failures:
                verdicts.append(Verdict(record.name, FAILED, failures[name]))
                continue
            again = scratch.read(name)
            same = not quick and all(
                np.array_equal(
                    released.predictions(record, rule)["predicted"],
                    scratch.predictions(again, rule)["predicted"],
                )
                for rule in record.stops
            )
            verdicts.append(compare(record, again, known, quick=quick, same_classes=same))
        for name in {config.name for config in configs} & set(scratch.names()):
            kept = scratch.folder.with_name("verified") / name
            shutil.rmtree(kept, ignore_errors=True)
            os.renames(scratch.folder / name, kept)  # so that the next call trains it anew
    return sorted(verdicts)


def replayed(record: RunRecord, *, quick: bool) -> RunConfig:
    """Return what to train: the record's own run with all its rules, or the head of it."""
    epochs = min(QUICK_EPOCHS, len(record.history)) if quick else record.config.max_epochs
    return record.config.model_copy(update={"max_epochs": epochs})


def train_again(configs: list[RunConfig], scratch: RunStore, jobs: int) -> dict[str, str]:
    """Train what the scratch store lacks; return, by name, the errors of runs that failed."""
    here = describe_environment().model_dump(include=SAME)
    found = [(config, scratch.find(config)) for config in configs]
    missing = [c for c, run in found if not run or run.environment.model_dump(include=SAME) != here]
    tell(f"training {len(missing)} of {len(configs)} runs again, {jobs} side by side")
    return train_and_store(longest_first(missing), scratch, jobs=jobs).failures


# --- how far two records of one run agree ---


def compare(
    recorded: RunRecord,
    again: RunRecord,
    known: Sequence[RunRecord] = (),
    *,
    quick: bool = False,
    same_classes: bool = False,
) -> Verdict:
    """Return the verdict on a record, given the same run, or with `quick` its head, `again`.

    `known` are records to take a spread over seeds from. `same_classes` says whether all predicted
    classes are equal, which holds even where a probability differs in its last bit.
    """
    rows = [metrics_of(run.history) for run in (recorded, again)]
    rows[0] = rows[0][: len(rows[1])] if quick else rows[0]
    parted = next((n for n, (a, b) in enumerate(zip_longest(*rows), start=1) if a != b), None)
    rest = [(run.parameters, run.stops) for run in (recorded, again)]
    if parted is None and (quick or rest[0] == rest[1]):
        return Verdict(recorded.name, SO_FAR if quick else IDENTICAL)
    if recorded.result_digest == again.result_digest:
        return Verdict(recorded.name, DIFFERS, "its figures are not those its digest stands for")
    alike = [run for run in known if not run.config.differs(recorded.config, ignoring={"seed"})]
    old, new, *others = (  # by epoch, else by rule at its best epoch
        {row.epoch: row.test_accuracy for row in run.history}
        if quick
        else {rule: kept.test_accuracy for rule, kept in run.stops.items()}
        for run in (recorded, again, *alike)
    )
    images = sum(map(sum, next(iter(recorded.stops.values())).confusion))
    gaps = []
    for place in new:
        otherwise = EARLY if quick else binomial(old[place], images)
        most = tolerance([other[place] for other in others if place in other], otherwise)
        gaps.append((abs(old[place] - new[place]), most))
    points, (most, origin) = max(gaps, key=lambda gap: gap[0] - gap[1][0])
    before, now = (run.environment.model_dump(include=SAME) for run in (recorded, again))
    causes = ", ".join(name for name in now if now[name] != before[name])
    details = [f"test accuracy {points:.2f} points apart, tolerance {most:.2f} ({origin})"]
    details += [f"histories part in epoch {parted}"] if parted else []
    details += [f"of another kind: {causes or 'nothing that is recorded'}"]
    kind = DIFFERS if points > most else PREDICTIONS if same_classes else WITHIN
    return Verdict(recorded.name, kind, "; ".join(details))


def tolerance(accuracies: Sequence[float], otherwise: Tolerance) -> Tolerance:
    """Return what the difference of two more such values stays within in 95 of 100 cases."""
    if (n := len(accuracies)) < SEEDS_NEEDED:
        return otherwise
    points = stats.t.ppf(0.975, n - 1) * sqrt(2) * np.std(accuracies, ddof=1)
    return float(points), f"spread over {n} seeds"


def binomial(accuracy: float, images: int) -> Tolerance:
    """Return likewise what two accuracies on that many images stay within."""
    points = stats.norm.ppf(0.975) * sqrt(2 * accuracy * (100 - accuracy) / images)
    return float(points), f"binomial spread over {images:,} test images"
