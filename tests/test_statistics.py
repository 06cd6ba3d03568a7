"""Formulas against libraries' own, against each other, and by hand."""

from math import isnan, nan, sqrt

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind

from fmnist_lib.results.statistics import (
    accuracy_interval,
    estimate,
    holm,
    most_of,
    rank_correlation,
    resampled,
    share_interval,
    wilson_interval,
)
from fmnist_lib.results.value import Value

ONE, OTHER = [90.1, 90.9, 90.4, 91.0, 90.2], [89.4, 90.3, 89.9, 90.6, 89.2]


def test_two_models_are_compared_as_by_welch():
    found, welch = estimate([ONE, OTHER]), stats.ttest_ind(ONE, OTHER, equal_var=False)
    assert found.interval == pytest.approx(welch.confidence_interval())
    assert (found.p_differs(), found.df) == pytest.approx((welch.pvalue, welch.df))
    assert estimate([OTHER, ONE]).interval == pytest.approx([-end for end in found.interval[::-1]])
    for margin in (0.1, 0.7, 2.0):
        equal, *_ = ttost_ind(np.array(ONE), np.array(OTHER), -margin, margin, usevar="unequal")
        assert found.p_equal(margin) == pytest.approx(equal)


def test_variants_of_one_model_are_paired():
    found, paired = estimate([np.subtract(ONE, OTHER)]), stats.ttest_rel(ONE, OTHER)
    assert found.interval == pytest.approx(paired.confidence_interval())
    assert found.p_above(0) == pytest.approx(paired.pvalue / 2)


def test_images_add_their_variance():
    lead = np.repeat([100.0, -100.0, 0.0], [7, 3, 90])  # which images one of the two gets right
    over_images = np.var(lead, ddof=1) / 100
    found = estimate([ONE, OTHER], lead)
    assert found.error**2 == pytest.approx(estimate([ONE, OTHER]).error ** 2 + over_images)
    assert found.df == 12  # at most three times n − 1
    one_run = stats.norm.interval(0.95, 4, sqrt(over_images))
    assert estimate([[4.0], [0.0]], lead).interval == pytest.approx(one_run, abs=1e-4)


def test_the_degrees_of_freedom_have_bounds():
    assert estimate([ONE, [89.9, 90.0, 90.0, 90.1, 90.0]]).df == pytest.approx(4, abs=0.5)
    assert estimate([[1.0, 2.0], [5.0, 9.0]]).df >= 1
    same = estimate([[1.0, 1.0], [2.0, 2.0]])
    assert same.p_differs() == 1  # equal numbers tell nothing of chance
    assert all(map(isnan, same.interval))


def test_folds_share_training_images():
    """By hand: variance 2.5 over five folds, 12,000 images tested on 43,200 trained on."""
    found = resampled([1, 2, 3, 4, 5], folds=5, tested=12_000 / 43_200)
    assert (found.effect, found.df) == (3, 4)
    assert found.error == pytest.approx(sqrt(2.5 * (0.2 + 0.2778)), rel=1e-4)
    twice = resampled([1, 2, 3, 4, 5] * 2, folds=5, tested=12_000 / 43_200)
    assert (twice.effect, twice.df, twice.seeds) == (3, 8, 10)
    assert twice.error < found.error  # but only since the variance is better known


def test_what_is_detectable_is_seen_four_times_in_five():
    draws = np.random.default_rng(0).normal(size=(2, 2_000, 6))
    effect = estimate([[0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 1]]).detectable() / np.std(
        [0, 1, 0, 1, 0, 1], ddof=1
    )
    seen = [
        estimate([one + effect, other]).p_differs() < 0.05
        for one, other in zip(*draws, strict=True)
    ]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.parametrize(("right", "images"), [(0, 100), (93, 100), (9107, 10_000)])
def test_the_interval_of_one_run_is_wilsons(right, images):
    expected = stats.binomtest(right, images).proportion_ci(method="wilson")
    found = wilson_interval(100 * right / images, images)
    shares = np.repeat([1, 0], [right, images - right])
    assert found == pytest.approx((100 * expected.low, 100 * expected.high))
    assert accuracy_interval(Value(100 * right / images), shares) == found
    assert share_interval(shares) == pytest.approx(found, abs=130 / images)


def test_shares_of_several_runs_count_as_such():
    half, split = share_interval(np.full(400, 0.5)), share_interval(np.repeat([0.0, 1.0], 200))
    assert half.high - half.low < 0.2 * (split.high - split.low)
    low, high = share_interval(np.array([1, 0.5, 0]))
    reach = 1.959964 * sqrt(((1 + 0.25 + 2) / 7 - 0.25) / 7)  # of seven, two added on each side
    assert (low, high) == pytest.approx((50 - 100 * reach, 50 + 100 * reach), abs=1e-4)


@pytest.mark.parametrize(("found", "runs"), [(0, 5), (0, 30), (2, 5), (4, 5)])
def test_the_most_that_could_be_is_exact(found, runs):
    assert stats.binom.cdf(found, runs, most_of(found, runs) / 100) == pytest.approx(0.05)
    assert most_of(runs, runs) == 100


def test_orders_of_six_models_have_an_exact_p():
    macs = [Value(n, "model:x") for n in (1, 2, 3, 4, 5, 6)]
    rho, p = rank_correlation(macs, [Value(n**2, "costs/y") for n in macs])
    assert (rho, p) == pytest.approx((1, 2 / 720))
    assert rho.sources == p.sources == ("model:x", "costs/y")
    mixed = [2.0, 1.0, 6.0, 3.0, 3.0, 5.0]
    every = stats.pearsonr(macs, stats.rankdata(mixed), method=stats.PermutationMethod())
    assert rank_correlation(macs, mixed) == pytest.approx((every.statistic, every.pvalue))
    for unknown in ([nan, *macs[1:]], [1.0] * 6):
        assert all(map(isnan, rank_correlation(macs, unknown)))
