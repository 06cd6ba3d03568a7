"""How a claim is weighed against measurements: answers that may be unknown, and what decides them.

A comparison answers yes (True), no (False) or too close to tell (None), by rules that were declared
before the results they judge.

- Accuracies differ when the 95 % interval of their difference leaves out zero. Of one run a model
  it is over the test images and says nothing of other seeds: such a verdict is about these runs.
  Of several, paired by seed, it joins what other seeds and what other test images would change
  (see `paired`).
- Best epochs differ when their means are `EPOCH_MARGIN` or more apart and, of several runs, the
  interval of the difference over the seeds leaves out zero.
- Times, measured once a model, differ by more than `TIME_MARGIN`. Counts are exact.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import hypot, isfinite
from typing import NamedTuple

import pandas as pd

from fmnist_lib.reporting.intervals import t_interval
from fmnist_lib.reporting.paired import GAPS
from fmnist_lib.reporting.paper import PATIENCE, REPORTED, Spread

Answer = bool | None
PairedInterval = Callable[[str, str, str], tuple[float, float]]
"""Gives the 95 % interval of a paired difference, (first − second) model, in a measure that
`paired.difference` knows."""


def _relative(spread: Spread) -> float:
    return spread.std / spread.mean


# Times closer than the paper's own largest spread between epochs (5 %) count as equal.
TIME_MARGIN = max(_relative(row.train_seconds) for row in REPORTED.values())
# Epochs closer than the patience count as equal: stopping resolves no finer.
EPOCH_MARGIN = PATIENCE


class Outcome(StrEnum):
    """What the data say about a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    NOT_TESTED = "not tested here"


class Verdict(NamedTuple):
    """The outcome for a claim, and one or two sentences with the numbers behind it."""

    outcome: Outcome
    evidence: str


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float

    @property
    def text(self) -> str:
        """Such as `−1.23 to +0.33 points (95 % interval)`, or `−0.45 points` if it is exact."""
        if self.high == self.low:
            return f"{_signed(self.low)} points"
        return f"{_signed(self.low)} to {_signed(self.high)} points (95 % interval)"


def verdict(answer: Answer, evidence: str) -> Verdict:
    """The verdict that goes with an answer."""
    outcomes = {True: Outcome.HOLDS, False: Outcome.FAILS, None: Outcome.UNDECIDED}
    return Verdict(outcomes[answer], re.sub(r"(?<![\w.])-(?=\d)", "−", evidence))


def all_of(answers: Iterable[Answer]) -> Answer:
    """No if any is no, else unknown if any is unknown, else yes."""
    answers = list(answers)
    return False if False in answers else None if None in answers else True


def at_least_half(answers: list[Answer]) -> Answer:
    """Yes if half of the answers are yes, no if more than half are no, else unknown."""
    half = len(answers) / 2
    if answers.count(True) >= half:
        return True
    return False if answers.count(False) > half else None


def agreed(answers: Iterable[Answer]) -> Answer:
    """The answer on which all agree, else unknown."""
    different = set(answers)
    return different.pop() if len(different) == 1 else None


def opposite(answer: Answer) -> Answer:
    """Yes for no, no for yes; unknown stays."""
    return None if answer is None else not answer


def above(interval: Interval) -> Answer:
    """Whether the quantity is above zero: unknown when the interval touches zero."""
    return True if interval.low > 0 else False if interval.high < 0 else None


def over_seeds(differences: Sequence[float]) -> Interval:
    """The interval of the mean of differences, one a seed; that of a single one is exact."""
    if len(differences) > 1:
        return Interval(*t_interval(differences))
    return Interval(*differences, *differences)


def exceeds(first: float, second: float, margin: float = 0) -> Answer:
    """Whether `first` is the larger; unknown when they are equal or closer than `margin`."""
    difference = first - second
    return None if difference == 0 or abs(difference) < margin else bool(difference > 0)


def slower(first: float, second: float) -> Answer:
    """Whether the first of two times is the longer, by more than `TIME_MARGIN` of the longer."""
    return exceeds(first, second, TIME_MARGIN * max(first, second))


@dataclass(frozen=True)
class Measured:
    """What claims are judged on.

    `results`: one row a model (index: its name), means over its runs. `history`: one row an epoch
    of a run, or None. `pairs`: the intervals of paired differences between two models; without
    them accuracies are compared as if the models had seen different images, which is wider.
    `gains`: by model, the interval of what a longer patience adds to its accuracy, or None.
    """

    results: pd.DataFrame
    history: pd.DataFrame | None = None
    pairs: PairedInterval | None = None
    gains: Mapping[str, Interval] | None = None

    @property
    def mean(self) -> str:
        """`mean` (and a space) before a number that is the mean of several runs, else nothing."""
        return "mean " if "n" in self.results and (self.results.n > 1).any() else ""

    @property
    def models(self) -> list[str]:
        """The models there are results for."""
        return list(self.results.index)

    def others(self, *models: str) -> list[str]:
        """All models but these."""
        return [model for model in self.models if model not in models]

    def value(self, model: str, column: str) -> float:
        """One number of one model."""
        return float(self.results.at[model, column])

    def extreme(self, column: str, models: Iterable[str], *, highest: bool = True) -> str:
        """The one of `models` with the highest, or lowest, value."""
        values = self.results.loc[list(models), column]
        return values.idxmax() if highest else values.idxmin()

    def known(self, column: str, models: Iterable[str]) -> bool:
        """Whether the column has a finite number for each of `models`."""
        if column not in self.results:
            return False
        numbers = pd.to_numeric(self.results.loc[list(models), column], errors="coerce")
        return all(map(isfinite, numbers))

    def accuracy_difference(self, first: str, second: str) -> Interval:
        """The interval of the difference in test accuracy, `first` − `second`, in points.

        Unpaired, it combines the two models' own intervals (Newcombe's hybrid score method, 1998).
        """
        if self.pairs is not None:
            return Interval(*self.pairs(first, second, "test_accuracy"))
        accuracy, low, high = (
            {model: self.value(model, f"test_accuracy{part}") for model in (first, second)}
            for part in ("", "_low", "_high")
        )
        difference = accuracy[first] - accuracy[second]
        down = hypot(accuracy[first] - low[first], high[second] - accuracy[second])
        up = hypot(high[first] - accuracy[first], accuracy[second] - low[second])
        return Interval(difference - down, difference + up)

    def more_accurate(self, first: str, second: str) -> Answer:
        """Whether `first` has the higher test accuracy."""
        return above(self.accuracy_difference(first, second))

    def gap_lead(self, first: str, second: str, gap: str) -> Interval:
        """By how much a gap, train − test accuracy, of `first` exceeds that of `second`, in points.

        `gap` is one of `paired.GAPS`. Unpaired, only the test images make it uncertain: there are
        six times as many for training.
        """
        if self.pairs is not None:
            return Interval(*self.pairs(first, second, gap))
        train = self.value(first, GAPS[gap]) - self.value(second, GAPS[gap])
        low, high = self.accuracy_difference(first, second)
        return Interval(train - high, train - low)

    def later(self, first: str, second: str) -> Answer:
        """Whether `first` comes to its best epoch later."""
        column = "best_epoch"
        apart = exceeds(self.value(first, column), self.value(second, column), EPOCH_MARGIN)
        if self.pairs is None:
            return apart
        return agreed([apart, above(Interval(*self.pairs(first, second, column)))])

    def slower(self, first: str, second: str, column: str = "train_seconds") -> Answer:
        """Whether `first` takes longer."""
        return slower(self.value(first, column), self.value(second, column))

    def larger(self, first: str, second: str, column: str = "parameters") -> Answer:
        """Whether `first` has more of what is counted exactly: parameters, MACs."""
        return exceeds(self.value(first, column), self.value(second, column))


def _signed(value: float) -> str:
    """A number with its sign, to two decimals, with a true minus."""
    return f"{value:+.2f}".replace("-", "−")
