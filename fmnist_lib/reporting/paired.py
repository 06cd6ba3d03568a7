"""Two models compared, or one model at two stopping rules: over the same seeds and test images.

Not here: what follows from a difference (`judging`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fmnist_lib.errors import UserError
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.images import right
from fmnist_lib.reporting.intervals import combined, paired_interval, t_interval
from fmnist_lib.runs.record import RunRecord, StopResult

# Train minus test accuracy, by the train accuracy that it is taken from.
GAPS: Mapping[str, str] = MappingProxyType(
    {"gap": "train_accuracy", "gap_eval": "train_accuracy_eval"}
)


class Side(NamedTuple):
    """The runs of one model, at the stopping rule of the results."""

    results: Results
    model: str


class Difference(NamedTuple):
    """A difference, first − second: its value at each seed in common, their mean, an interval."""

    by_seed: Mapping[int, float]
    mean: float
    low: float
    high: float


def difference(first: Side, second: Side, measure: str = "test_accuracy") -> Difference:
    """How a measure differs, with its 95 % interval.

    `measure` is `test_accuracy`, one of `GAPS` (both in points), or `best_epoch`. Of one seed in
    common the interval is over the test images: from those that only one side gets right
    (`paired_interval`). Of several it is `combined` with that over the seeds, from the difference
    at each (`t_interval`). All runs share the test images, so that more seeds narrow above all the
    part of the seeds. The best epoch has that part only, and is exact for one seed.

    Raises:
        UserError: the two have no seed in common, or were not tested on the same images.
    """
    pairs = _pairs(first, second)
    values = {
        seed: _value(first.results.kept(one), measure) - _value(second.results.kept(other), measure)
        for seed, (one, other) in pairs.items()
    }
    mean = float(np.mean([*values.values()]))
    parts = [t_interval([*values.values()])] if len(values) > 1 else []
    if measure != "best_epoch":
        lead = np.mean([_right(first, a) - _right(second, b) for a, b in pairs.values()], axis=0)
        accuracy = 100 * float(np.mean(lead))
        low, high = (end - accuracy for end in paired_interval(lead))
        # A gap grows as the test accuracy falls.
        parts.append((mean - high, mean - low) if measure in GAPS else (mean + low, mean + high))
    return Difference(values, mean, *combined(mean, *parts))


def _pairs(first: Side, second: Side) -> dict[int, tuple[RunRecord, RunRecord]]:
    """The runs of both sides by seed, of the seeds that both have."""
    one, other = ({run.config.seed: run for run in results.of(m)} for results, m in (first, second))
    pairs = {seed: (one[seed], other[seed]) for seed in one if seed in other}
    names = " and ".join(dict.fromkeys((first.model, second.model)))
    if not pairs:
        raise UserError(f"{names} have no seed in common; train them with the same seeds")
    if len({run.config.test_images for pair in pairs.values() for run in pair}) > 1:
        raise UserError(f"{names} were not tested on the same images")
    return pairs


def _value(kept: StopResult, measure: str) -> float:
    if measure in GAPS:
        return getattr(kept, GAPS[measure]) - kept.test_accuracy
    return getattr(kept, measure)


def _right(side: Side, run: RunRecord) -> np.ndarray:
    return right(side.results.store, run, side.results.rule)
