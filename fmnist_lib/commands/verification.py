"""Two records of one run become a verdict: how far they agree, and what may have parted them.

Not here: any training or file (`replay`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from fmnist_lib.runs.record import EpochRow, RunRecord, metrics_of

IDENTICAL = "identical to the bit"
SO_FAR = "identical so far"  # all that a replay of the first epochs can say
PREDICTIONS = "same predictions"
WITHIN = "within tolerance"
DIFFERS = "differs"
FAILED = "could not be run"

SEEDS_NEEDED = 3  # below that, a spread over seeds says next to nothing
EARLY_POINTS = 5.0
"""How far the test accuracy of a single early epoch may lie from the record, without a spread.

Between two epochs of one run it moves that much (DenseNet-Tiny, 4.7 points), since it is read
wherever training stands just then.
"""


@dataclass(frozen=True)
class Tolerance:
    """Up to how many points of test accuracy two runs may lie apart, and where that comes from."""

    points: float
    origin: str


@dataclass(frozen=True)
class Verdict:
    """What comparing a record with the run trained again came to."""

    name: str
    kind: str
    points: float = 0.0  # largest difference of test accuracy, in percentage points
    tolerance: Tolerance | None = None
    parted: int | None = None  # the first epoch whose metrics differ in any bit
    causes: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the record is confirmed."""
        return self.kind not in (DIFFERS, FAILED)

    @property
    def details(self) -> str:
        """How far, from when, and why; empty where there is nothing to say."""
        parts = []
        if self.tolerance:
            parts.append(
                f"test accuracy {self.points:.2f} points apart, tolerance "
                f"{self.tolerance.points:.2f} ({self.tolerance.origin})"
            )
        if self.parted:
            parts.append(f"histories part in epoch {self.parted}")
        if self.causes:
            parts.append(f"likely cause: {', '.join(self.causes)}")
        return "; ".join(parts)


Gap = tuple[float, Tolerance]
"""Difference of test accuracy in points, and what it may be."""


def compare(
    recorded: RunRecord,
    retrained: RunRecord,
    known: Sequence[RunRecord] = (),
    *,
    same_classes: bool = False,
) -> Verdict:
    """Return the verdict on a record, given the same run trained again.

    `known` are the records to take a spread over seeds from. `same_classes` says whether all
    predicted classes are equal, which holds even where a probability differs in its last bit.
    """
    gaps = [
        (
            abs(kept.test_accuracy - retrained.stops[rule].test_accuracy),
            result_tolerance(recorded, rule, known),
        )
        for rule, kept in recorded.stops.items()
    ]
    faults: tuple[str, ...] = ()
    if recorded.result_digest == retrained.result_digest:
        if figures_of(recorded) == figures_of(retrained):
            return Verdict(recorded.name, IDENTICAL)
        faults = ("the record's figures are not those its digest stands for",)
    hashes = [
        {rule: kept.predictions_sha256 for rule, kept in record.stops.items()}
        for record in (recorded, retrained)
    ]
    agrees = PREDICTIONS if same_classes or hashes[0] == hashes[1] else None
    return judge(recorded, retrained, gaps, faults, agrees)


def compare_start(
    recorded: RunRecord, retrained: RunRecord, known: Sequence[RunRecord] = ()
) -> Verdict:
    """Return the verdict on a record, given a replay of its first epochs alone."""
    epochs = min(len(recorded.history), len(retrained.history))
    pairs = list(zip(recorded.history[:epochs], retrained.history[:epochs], strict=True))
    if first_difference(*map(list, zip(*pairs, strict=True))) is None:
        return Verdict(recorded.name, SO_FAR)
    gaps = [
        (abs(old.test_accuracy - new.test_accuracy), epoch_tolerance(recorded, old.epoch, known))
        for old, new in pairs
    ]
    start = recorded.model_copy(update={"history": recorded.history[:epochs]})
    return judge(start, retrained, gaps)


def judge(
    recorded: RunRecord,
    retrained: RunRecord,
    gaps: Sequence[Gap],
    faults: tuple[str, ...] = (),
    agrees: str | None = None,
) -> Verdict:
    """Return the verdict on two records that are not equal; `agrees` says in what they still are.

    One with `faults` is never confirmed; one that contradicts itself was refused by its store.
    """
    points, tolerance = max(gaps, key=lambda gap: gap[0] - gap[1].points)
    near = points <= tolerance.points
    return Verdict(
        recorded.name,
        DIFFERS if faults or not near else agrees or WITHIN,
        points,
        tolerance,
        first_difference(recorded.history, retrained.history),
        faults or likely_causes(recorded, retrained),
    )


def figures_of(record: RunRecord) -> list:
    """Return everything a record claims about the result, times aside."""
    return [record.parameters, metrics_of(record.history), record.stops]


def first_difference(one: list[EpochRow], other: list[EpochRow]) -> int | None:
    """Return the first epoch whose metrics are not equal to the bit, or which only one has."""
    for epoch, (a, b) in enumerate(zip(metrics_of(one), metrics_of(other), strict=False), start=1):
        if a != b:
            return epoch
    return None if len(one) == len(other) else min(len(one), len(other)) + 1


def result_tolerance(record: RunRecord, rule: str, known: Sequence[RunRecord] = ()) -> Tolerance:
    """Return how far the accuracy at a rule's best epoch may lie from the record's.

    In 95 of 100 cases two runs that differ in chance alone lie nearer: that is taken from the
    spread over seeds, else from the binomial spread of two accuracies over the test images.
    """
    kept = record.stops[rule]
    accuracies = [r.stops[rule].test_accuracy for r in alike(record, known) if rule in r.stops]
    if len(accuracies) >= SEEDS_NEEDED:
        return spread_tolerance(accuracies)
    images = max(sum(map(sum, kept.confusion)), 1)
    share = min(max(kept.test_accuracy / 100, 0), 1)
    error = 100 * sqrt(2 * share * (1 - share) / images)
    return Tolerance(
        float(stats.norm.ppf(0.975)) * error, f"binomial spread over {images:,} test images"
    )


def epoch_tolerance(record: RunRecord, epoch: int, known: Sequence[RunRecord] = ()) -> Tolerance:
    """Return how far the test accuracy after an epoch may lie from the record's."""
    accuracies = [
        r.history[epoch - 1].test_accuracy for r in alike(record, known) if len(r.history) >= epoch
    ]
    if len(accuracies) >= SEEDS_NEEDED:
        return spread_tolerance(accuracies)
    return Tolerance(EARLY_POINTS, "fixed, for single early epochs")


def spread_tolerance(accuracies: Sequence[float]) -> Tolerance:
    """Return what the difference of two more such values stays within in 95 of 100 cases."""
    quantile = float(stats.t.ppf(0.975, len(accuracies) - 1))
    points = quantile * sqrt(2) * float(np.std(accuracies, ddof=1))
    return Tolerance(points, f"spread over {len(accuracies)} seeds")


def alike(record: RunRecord, known: Sequence[RunRecord]) -> list[RunRecord]:
    """Return those records that differ from this one in nothing but the seed, one a seed."""
    found = [r for r in known if not r.config.differs(record.config, ignoring={"seed"})]
    return list({r.config.seed: r for r in found}.values())


def likely_causes(recorded: RunRecord, retrained: RunRecord) -> tuple[str, ...]:
    """Return what differs between two records' surroundings, the gravest first."""
    old, new = recorded.environment, retrained.environment
    causes = []
    if recorded.key != recorded.config.key:
        causes.append("recorded with another training version, or its settings were changed")
    if old.data_sha256 != new.data_sha256:
        causes.append("other data")
    if old.code_sha256 != new.code_sha256:
        causes.append("other training code")
    for package in ("torch", "numpy"):
        versions = [e.packages.get(package, "unknown") for e in (old, new)]
        if versions[0] != versions[1]:
            causes.append(f"{package} {versions[1]}, recorded {versions[0]}")
    if old.threads != new.threads:
        causes.append(f"{new.threads} threads, recorded {old.threads}")
    if old.cpu != new.cpu:
        causes.append(f"other CPU ({new.cpu}, recorded {old.cpu})")
    return tuple(causes) or ("none that is recorded; perhaps another processor of the same name",)


def table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as text: a line a run, then how many there are of each kind."""
    names, kinds = (
        max(len(getattr(verdict, field)) for verdict in verdicts) for field in ("name", "kind")
    )
    lines = [f"{v.name:{names}}  {v.kind:{kinds}}  {v.details}".rstrip() for v in verdicts]
    counts = Counter(verdict.kind for verdict in verdicts)
    total = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return "\n".join([*lines, f"{len(verdicts)} runs: {total}"])
