"""What chance leaves of means, shares, differences and orders; an interval is a 95 % interval.

Not here: of which numbers (`tables`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import hypot, isnan, nan

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from fmnist_lib.results.value import Interval, Value

ALPHA = 0.05
POWER = 0.8  # at which a difference counts as one that would have been seen
MOST = 3  # times n − 1; simulated with 2 to 5 seeds, without it 95 % intervals hold 89 to 98 %
KNOWN = 1e6  # degrees of freedom of a variance that counts as known, that over 10,000 images


def wilson_interval(accuracy: float, images: int) -> Interval:
    """Wilson's interval, in percent, of an accuracy in percent over so many images."""
    low, high = proportion_confint(round(accuracy / 100 * images), images, method="wilson")
    return Interval(100 * float(low), 100 * float(high))


def share_interval(shares: np.ndarray) -> Interval:
    """That over images, in percent, of an accuracy; `shares` has for each the share of runs right.

    Wald's with two images added on each side: Agresti, Coull, American Statistician 52 (1998) 119.
    """
    images = len(shares) + 4
    middle = (float(np.sum(shares)) + 2) / images
    square = (float(np.sum(np.square(shares))) + 2) / images
    reach = float(stats.norm.ppf(0.975)) * np.sqrt((square - middle**2) / images)
    return Interval(100 * max(middle - reach, 0.0), 100 * min(middle + reach, 1.0))


def accuracy_interval(accuracy: Value, shares: np.ndarray) -> Interval:
    """That of a mean accuracy over seeds and images; `shares` as in `share_interval`.

    Where it has none over seeds, being of one run, Wilson's. Else the reaches of both add up as
    squares: Zou and Donner, Statistics in Medicine 27 (2008) 1693.
    """
    if isnan(accuracy.std):
        return wilson_interval(accuracy, len(shares))
    mean, by_seed, by_image = float(accuracy), accuracy.interval, share_interval(shares)
    low = mean - hypot(mean - by_seed.low, mean - by_image.low)
    high = mean + hypot(by_seed.high - mean, by_image.high - mean)
    return Interval(max(low, 0.0), min(high, 100.0))


def most_of(found: int, runs: int) -> float:
    """The exact one-sided 95 % bound, in percent, on a share found so often (Clopper, Pearson)."""
    return 100 * float(proportion_confint(found, runs, alpha=2 * ALPHA, method="beta")[1])


@dataclass(frozen=True)
class Estimate:
    """An effect, its standard error, and how well that is known."""

    effect: float
    error: float  # of seeds and images; 0 only where equal differences tell nothing of chance
    df: float  # degrees of freedom
    seeds: int  # of the side with the fewest

    @property
    def interval(self) -> Interval:
        """The 95 % interval, uncorrected; nan where nothing tells of chance."""
        reach = float(stats.t.ppf(1 - ALPHA / 2, self.df)) * self.error or nan
        return Interval(self.effect - reach, self.effect + reach)

    def p_above(self, bound: float) -> float:
        """One-sided p of the effect being above `bound`."""
        return float(stats.t.sf((self.effect - bound) / self.error, self.df)) if self.error else 1.0

    def p_below(self, bound: float) -> float:
        """One-sided p of the effect being below `bound`."""
        return float(stats.t.sf((bound - self.effect) / self.error, self.df)) if self.error else 1.0

    def p_differs(self) -> float:
        """Two-sided p of the effect being other than zero."""
        return min(1.0, 2 * min(self.p_above(0), self.p_below(0)))

    def detectable(self) -> float:
        """The effect that such runs would show four times in five, uncorrected."""
        reach = stats.t.ppf(1 - ALPHA / 2, self.df) + stats.t.ppf(POWER, self.df)
        return float(reach) * self.error

    def p_equal(self, margin: float) -> float:
        """The p of equivalence within ± `margin`: two one-sided tests, the larger counts."""
        return max(self.p_above(-margin), self.p_below(margin))


def combined(effect: float, seeds: Sequence[tuple[float, int]], images: float) -> Estimate:
    """The estimate from the variances of its parts: of the seeds with their n − 1, of the images.

    Degrees of freedom: Satterthwaite, Biometrics Bulletin 2 (1946) 110, within the least n − 1 and
    `MOST` times that; without seeds those of the images, of which there are many.
    """
    if not seeds:
        return Estimate(effect, images**0.5, KNOWN, 1)
    least = min(df for _, df in seeds)
    over_seeds = sum(variance for variance, _ in seeds)
    uncertain = sum(variance**2 / df for variance, df in seeds)
    welch = (over_seeds + images) ** 2 / uncertain if uncertain else MOST * least
    df = min(max(welch, least), MOST * least)
    return Estimate(effect, hypot(over_seeds**0.5, images**0.5), df, least + 1)


def estimate(by_seed: Sequence[Sequence[float]], lead: np.ndarray | None = None) -> Estimate:
    """By how much the first mean exceeds the others, which are not paired with it.

    `by_seed` has numbers by seed: of each of two models or, paired, variant minus control of one
    model or of two. `lead` has for each test image by how much the share of runs that get it right
    exceeds the others', in percent. A side of one run tells nothing of seeds.
    """
    effect = float(np.mean(by_seed[0]) - sum(np.mean(other) for other in by_seed[1:]))
    parts = [(_of_mean(numbers), len(numbers) - 1) for numbers in by_seed if len(numbers) > 1]
    return combined(effect, parts, 0.0 if lead is None or len(lead) < 2 else _of_mean(lead))


def resampled(differences: Sequence[float], *, folds: int, tested: float) -> Estimate:
    """The estimate of a mean difference over the folds of one or more whole partitions.

    `tested` is the ratio of images tested on to those trained on. Folds share training images, so
    that their plain variance is too small: Nadeau and Bengio, Machine Learning 52 (2003) 239.
    """
    variance = float(np.var(differences, ddof=1)) * (1 / folds + tested)
    freedom = len(differences) // folds * (folds - 1)
    return Estimate(float(np.mean(differences)), variance**0.5, freedom, len(differences))


def _of_mean(numbers: Sequence[float]) -> float:
    """The variance of the mean."""
    return float(np.var(numbers, ddof=1)) / len(numbers)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the same order (Scandinavian Journal of Statistics 6, 1979).

    Not by statsmodels, which collects all garbage at every call: half a second, a hundred times.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected.tolist()


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> tuple[Value, Value]:
    """Spearman's rank correlation and its exact two-sided p, the share of all orders as strong.

    Both are nan where a number is nan, or one side all the same.
    """
    ranks = [stats.rankdata(side) - (len(side) + 1) / 2 for side in (first, second)]
    scale = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    found = np.array([*permutations(ranks[1])]) @ ranks[0] / (scale or nan)  # own order first
    p = np.mean(np.abs(found) >= abs(found[0]) - 1e-12) if found[0] == found[0] else nan
    return Value(found[0], first, second), Value(p, first, second)
