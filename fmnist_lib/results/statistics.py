"""What chance leaves of means, shares, differences and orders; an interval is a 95 % interval.

Not here: of which numbers (`tables`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import hypot, inf, nan

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from fmnist_lib.results.value import Interval, Value, value

ALPHA, POWER = 0.05, 0.8
MOST = 3  # times n − 1; simulated with 2 to 5 seeds, without it 95 % intervals hold 89 to 98 %
KNOWN = 1e6  # degrees of freedom of a variance that counts as known, that over 10,000 images


def t_interval(values: Sequence[float]) -> Interval:
    """That of the mean of two or more independent values; without width if all are equal."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0:
        return Interval(mean, mean)
    return Interval(*map(float, stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)))


def next_interval(values: Sequence[float]) -> Interval:
    """Where one more independent value lies, given two or more of a normal sample.

    Hahn and Meeker, Statistical Intervals (Wiley, 1991), section 4.7.
    """
    mean, runs = float(np.mean(values)), len(values)
    reach = stats.t.ppf(0.975, runs - 1) * float(np.std(values, ddof=1)) * np.sqrt(1 + 1 / runs)
    return Interval(mean - float(reach), mean + float(reach))


def wilson_interval(accuracy: float, images: int) -> Interval:
    """Wilson's interval, in percent, of an accuracy in percent over so many images."""
    low, high = proportion_confint(round(accuracy / 100 * images), images, method="wilson")
    return Interval(100 * float(low), 100 * float(high))


def share_interval(shares: np.ndarray) -> Interval:
    """That over images, in percent, of an accuracy; `shares` has for each the share of runs right.

    Wald's with two images added on each side: Agresti and Coull, The American Statistician 52
    (1998) 119.
    """
    images = len(shares) + 4
    middle = (float(np.sum(shares)) + 2) / images
    square = (float(np.sum(np.square(shares))) + 2) / images
    reach = float(stats.norm.ppf(0.975)) * np.sqrt((square - middle**2) / images)
    return Interval(100 * max(middle - reach, 0.0), 100 * min(middle + reach, 1.0))


def joined(number: float, *intervals: Interval) -> Interval:
    """That of a number uncertain in several independent ways, each with an interval.

    Their reaches add up as squares: Zou and Donner, Statistics in Medicine 27 (2008) 1693.
    """
    down = hypot(*(number - low for low, _ in intervals))
    up = hypot(*(high - number for _, high in intervals))
    return Interval(number - down, number + up)


def most_of(found: int, runs: int) -> float:
    """The exact one-sided 95 % bound, in percent, on a share found so often (Clopper, Pearson).

    With none found it is 1 − 0.05^(1/runs).
    """
    return 100 * float(proportion_confint(found, runs, alpha=2 * ALPHA, method="beta")[1])


@dataclass(frozen=True)
class Estimate:
    """An effect, the standard errors that seeds and images leave it with, and how well known."""

    effect: float
    seed_error: float
    image_error: float
    df: float  # degrees of freedom
    seeds: int  # of the side with the fewest

    @property
    def error(self) -> float:
        """The standard error; 0 only where equal differences tell nothing of chance."""
        return hypot(self.seed_error, self.image_error)

    @property
    def interval(self) -> Interval:
        """The 95 % interval, uncorrected."""
        reach = float(stats.t.ppf(1 - ALPHA / 2, self.df)) * self.error if self.error else inf
        return Interval(self.effect - reach, self.effect + reach)

    def p_above(self, bound: float) -> float:
        """One-sided p of the effect being above `bound`."""
        return float(stats.t.sf((self.effect - bound) / self.error, self.df)) if self.error else 1.0

    def p_below(self, bound: float) -> float:
        """One-sided p of the effect being below `bound`."""
        return replace(self, effect=-self.effect).p_above(-bound)

    def p_short(self, margin: float, towards: int) -> float:
        """One-sided p of falling short of the margin: below it, or above −margin if towards −1."""
        return self.p_below(margin) if towards > 0 else self.p_above(-margin)

    def p_differs(self) -> float:
        """Two-sided p of the effect being other than zero."""
        return min(1.0, 2 * min(self.p_above(0), self.p_below(0)))

    def p_equal(self, margin: float) -> float:
        """The p of equivalence within ± `margin`: two one-sided tests, the larger counts."""
        return max(self.p_above(-margin), self.p_below(margin))

    def significant_from(self, comparisons: int) -> float:
        """The smallest estimate with a two-sided p below 0.05 at Holm's strictest step."""
        return float(stats.t.isf(ALPHA / 2 / comparisons, self.df)) * self.error

    def shown_from(self, comparisons: int, margin: float = 0.0) -> float:
        """The smallest true effect that gets there, and above the margin, in 80 % of repeats."""
        needed = float(stats.t.isf(ALPHA / 2 / comparisons, self.df))
        # T = (Z + shift) / √(Q / df) passes `needed`: the mean over 2,000 equal slices of Q.
        roots = np.sqrt(stats.chi2.ppf((np.arange(2000) + 0.5) / 2000, self.df) / self.df)
        shift = optimize.brentq(
            lambda shift: np.mean(stats.norm.sf(needed * roots - shift)) - POWER, 0, 4 * needed + 4
        )
        return max(shift * self.error, margin + float(stats.norm.ppf(POWER)) * self.error)


def combined(effect: float, seeds: Sequence[tuple[float, int]], images: float) -> Estimate:
    """The estimate from the variances of its parts: of the seeds with their n − 1, of the images.

    Degrees of freedom: Satterthwaite, Biometrics Bulletin 2 (1946) 110, within the least n − 1 and
    `MOST` times that; without seeds those of the images, of which there are many.
    """
    if not seeds:
        return Estimate(effect, 0.0, images**0.5, KNOWN, 1)
    least = min(df for _, df in seeds)
    over_seeds = sum(variance for variance, _ in seeds)
    uncertain = sum(variance**2 / df for variance, df in seeds)
    welch = (over_seeds + images) ** 2 / uncertain if uncertain else MOST * least
    df = min(max(welch, least), MOST * least)
    return Estimate(effect, over_seeds**0.5, images**0.5, df, least + 1)


def estimate(by_seed: Sequence[Sequence[float]], lead: np.ndarray | None = None) -> Estimate:
    """By how much the first mean exceeds the others, which are not paired with it.

    `by_seed` has numbers by seed: of each of two models or, paired, variant minus control of one
    model or of two. `lead` has for each test image by how much the share of runs that get it right
    exceeds the others', in percent. A side of one run tells nothing of seeds.
    """
    effect = float(np.mean(by_seed[0]) - sum(np.mean(other) for other in by_seed[1:]))
    parts = [(_of_mean(numbers), len(numbers) - 1) for numbers in by_seed if len(numbers) > 1]
    return combined(effect, parts, 0.0 if lead is None or len(lead) < 2 else _of_mean(lead))


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
    """Spearman's rank correlation and its exact two-sided p, of the sources of both.

    p is the share of all orders (720 of six models) that correlate as strongly or more. Both are
    nan where a number is nan, or one side all the same.
    """
    ranks = [stats.rankdata(side) - (len(side) + 1) / 2 for side in (first, second)]
    scale = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    if not scale > 0:
        return value(nan, first, second), value(nan, first, second)
    found = np.array([*permutations(ranks[1])]) @ ranks[0] / scale  # their own order comes first
    p = float(np.mean(np.abs(found) >= abs(found[0]) - 1e-12))
    return value(float(found[0]), first, second), value(p, first, second)
