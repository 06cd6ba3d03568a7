"""95 % intervals of means and differences; that of one accuracy is `paper.wilson_interval`."""

from collections.abc import Sequence

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


def paired_interval(only_first: int, only_second: int, images: int) -> Interval:
    """The 95 % interval of accuracy(first) − accuracy(second) over the same images, in points.

    `only_first` and `only_second` count the images that only one of two classifiers gets right.
    Wald's interval with one image added to each count: Bonett and Price, Journal of Educational and
    Behavioral Statistics 37 (2012) 479; it keeps its coverage for few images and few differences.
    """
    first, second = (only_first + 1) / (images + 2), (only_second + 1) / (images + 2)
    error = np.sqrt((first + second - (first - second) ** 2) / (images + 2))
    reach = float(stats.norm.ppf(0.975)) * float(error)
    middle = first - second
    return 100 * max(middle - reach, -1.0), 100 * min(middle + reach, 1.0)
