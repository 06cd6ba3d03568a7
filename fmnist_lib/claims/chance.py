"""What chance leaves of a difference between variants: standard errors, tests, Holm's correction.

Written, like `experiments`, before any run that it judges was trained. Not here: which differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot, inf

import numpy as np
from scipy import optimize, stats

ALPHA, POWER = 0.05, 0.8
MOST = 3  # times n − 1; simulated with 2 to 5 seeds, without it 95 % intervals hold 89 to 98 %


@dataclass(frozen=True)
class Estimate:
    """An effect, the standard errors that seeds and images leave it with, and how well known."""

    effect: float
    seed_error: float
    image_error: float
    df: float  # degrees of freedom
    seeds: int

    @property
    def error(self) -> float:
        """The standard error; 0 only where equal differences tell nothing of chance."""
        return hypot(self.seed_error, self.image_error)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, uncorrected."""
        reach = float(stats.t.ppf(1 - ALPHA / 2, self.df)) * self.error if self.error else inf
        return self.effect - reach, self.effect + reach

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


def estimate(by_seed: Sequence[np.ndarray], lead: np.ndarray | None = None) -> Estimate:
    """The effect on a model, or by how much it exceeds that on a second one.

    `by_seed` has, for each model, variant minus control at every seed. `lead` has, for each test
    image, the effect on the share of runs that get it right, in percent.
    """
    effect = float(np.mean(by_seed[0]) - sum(np.mean(other) for other in by_seed[1:]))
    parts = [(float(np.var(d, ddof=1)) / len(d), len(d) - 1) for d in by_seed]
    return combined(effect, parts, 0.0 if lead is None else float(np.var(lead, ddof=1)) / len(lead))


def combined(effect: float, seeds: Sequence[tuple[float, int]], images: float) -> Estimate:
    """The estimate from the variances of its parts: of the seeds with their n − 1, of the images.

    There are so many images that their variance counts as known.
    """
    least = min(df for _, df in seeds)
    over_seeds = sum(variance for variance, _ in seeds)
    uncertain = sum(variance**2 / df for variance, df in seeds)
    welch = (over_seeds + images) ** 2 / uncertain if uncertain else MOST * least
    df = min(max(welch, least), MOST * least)
    return Estimate(effect, over_seeds**0.5, images**0.5, df, least + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values (Scandinavian Journal of Statistics 6 (1979) 65), same order."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected.tolist()
