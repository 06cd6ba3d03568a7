"""95 % intervals of means and differences; that of one accuracy is `paper.wilson_interval`."""

from collections.abc import Sequence
from math import hypot

import numpy as np
from scipy import stats

Interval = tuple[float, float]
"""Lower and upper bound."""


def t_interval(values: Sequence[float]) -> Interval:
    """The 95 % t interval of the mean of two or more independent values; exact if all are equal."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0:
        return mean, mean
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)
    return float(low), float(high)


def next_interval(values: Sequence[float]) -> Interval:
    """Where one more independent value lies with 95 % probability, given two or more.

    The t prediction interval of a normal sample: Hahn and Meeker, Statistical Intervals (Wiley,
    1991), section 4.7.
    """
    mean, runs = float(np.mean(values)), len(values)
    reach = stats.t.ppf(0.975, runs - 1) * float(np.std(values, ddof=1)) * np.sqrt(1 + 1 / runs)
    return mean - float(reach), mean + float(reach)


def share_interval(shares: np.ndarray) -> Interval:
    """The 95 % interval, over the images, of the accuracy of several runs on the same ones.

    `shares` has, for each image, the share of the runs that get it right; the bounds are in
    percent. Wald's interval with two images added on each side, which for a single run is close
    to Wilson's: Agresti and Coull, The American Statistician 52 (1998) 119.
    """
    images = len(shares) + 4
    middle = (float(np.sum(shares)) + 2) / images
    square = (float(np.sum(np.square(shares))) + 2) / images
    reach = float(stats.norm.ppf(0.975)) * np.sqrt((square - middle**2) / images)
    return 100 * max(middle - reach, 0.0), 100 * min(middle + reach, 1.0)


def paired_interval(differences: np.ndarray) -> Interval:
    """The 95 % interval of accuracy(first) − accuracy(second) over the same images, in points.

    `differences` has, for each image, whether the first gets it right minus whether the second
    does: −1, 0 or 1, or the mean of that over several pairs of runs. Wald's interval with one image
    added for each side: Bonett and Price, Journal of Educational and Behavioral Statistics 37
    (2012) 479; it keeps its coverage for few images and few differences.
    """
    images = len(differences) + 2
    middle = float(np.sum(differences)) / images
    square = (float(np.sum(np.square(differences))) + 2) / images
    reach = float(stats.norm.ppf(0.975)) * np.sqrt((square - middle**2) / images)
    return 100 * max(middle - reach, -1.0), 100 * min(middle + reach, 1.0)


def combined(value: float, *intervals: Interval) -> Interval:
    """The 95 % interval of a value that is uncertain in several independent ways.

    Each interval is that of one way alone; their reaches add up as squares, so that the result is
    as wide as each or wider. Zou and Donner, Statistics in Medicine 27 (2008) 1693.
    """
    down = hypot(*(value - low for low, _ in intervals))
    up = hypot(*(high - value for _, high in intervals))
    return value - down, value + up
