"""Differences between models, and between stopping rules, counted by hand."""

from dataclasses import replace
from math import hypot

import numpy as np
import pytest
from made_up import mistaken
from scipy import stats
from test_findings import N, results_of  # noqa: F401, a fixture

from fmnist_lib.errors import UserError
from fmnist_lib.reporting.intervals import paired_interval
from fmnist_lib.reporting.paired import Side, difference

MISTAKES = {"lenet5": (3, 9, 4, 1), "vit_tiny": (8, 9, 12, 7)}  # by seed; the first images


@pytest.fixture
def several(results_of):  # noqa: F811
    """Four seeds of two models, and one that only LeNet-5 has."""
    runs = [
        {"model": model, "seed": seed, "predicted": mistaken(N, range(count))}
        for model, counts in MISTAKES.items()
        for seed, count in enumerate(counts)
    ]
    return results_of(*runs, {"model": "lenet5", "seed": 9, "predicted": mistaken(N, range(90))})


def between(results, measure="test_accuracy"):
    return difference(Side(results, "lenet5"), Side(results, "vit_tiny"), measure)


def test_of_one_seed_it_is_over_the_images_that_one_side_alone_gets_right(results_of):  # noqa: F811
    runs = [("lenet5", [1, 2, 3]), ("vit_tiny", [3, 4, 5, 6, 7, 8])]
    results = results_of(
        *({"model": model, "predicted": mistaken(N, wrong)} for model, wrong in runs)
    )
    found = between(results)
    images = np.repeat([1, -1, 0], [5, 2, N - 7])
    assert (found.mean, dict(found.by_seed)) == (3, {0: 3})
    assert (found.low, found.high) == pytest.approx(paired_interval(images))


def test_of_several_seeds_it_joins_seeds_and_images(several):
    found = between(several)
    by_seed = [5, 0, 8, 6]
    assert list(found.by_seed.values()) == pytest.approx(by_seed)
    assert found.mean == pytest.approx(4.75)
    reach = 3.182446 * np.std(by_seed, ddof=1) / 2  # the 97.5 % quantile of t, 3 degrees of freedom
    # By image, how many of the four pairs LeNet-5 alone gets right: images 1 to 12 by hand.
    images = np.zeros(N)
    images[:12] = 0, 1, 1, 2, 3, 3, 3, 2, 1, 1, 1, 1
    low, high = paired_interval(images / 4)
    assert found.low == pytest.approx(4.75 - hypot(reach, 4.75 - low), abs=1e-5)
    assert found.high == pytest.approx(4.75 + hypot(reach, high - 4.75), abs=1e-5)
    over_seeds = stats.ttest_rel(MISTAKES["vit_tiny"], MISTAKES["lenet5"]).confidence_interval()
    assert found.low < over_seeds.low < over_seeds.high < found.high


def test_the_gap_grows_as_the_test_accuracy_falls(several):
    accuracy, gap = between(several), between(several, "gap")  # all train accuracies are alike
    assert gap.mean == pytest.approx(-accuracy.mean)
    assert (gap.low, gap.high) == pytest.approx((-accuracy.high, -accuracy.low))
    assert between(several, "gap_eval").mean == pytest.approx(gap.mean)


def test_best_epochs_differ_over_seeds_alone(results_of):  # noqa: F811
    losses = {1: (0.1, 0.2), 2: (0.2, 0.1), 3: (0.3, 0.2, 0.1)}  # by best epoch
    best = {"lenet5": (3, 3), "vit_tiny": (1, 2)}
    runs = [
        {"model": model, "seed": seed, "losses": losses[epoch]}
        for model, epochs in best.items()
        for seed, epoch in enumerate(epochs)
    ]
    found = between(results_of(*runs), "best_epoch")
    assert found.mean == 1.5
    assert found.high - found.mean == pytest.approx(12.7062 * 0.5, abs=1e-3)  # t, 1 degree
    alone = between(results_of(*runs[::2]), "best_epoch")
    assert (alone.low, alone.high) == (2, 2)


def test_what_cannot_be_paired_is_refused(results_of):  # noqa: F811
    for other, message in (
        ({"seed": 1}, "lenet5 and vit_tiny have no seed in common"),
        ({"test_images": 50}, "same images"),
    ):
        results = results_of({}, {"model": "vit_tiny", **other})
        with pytest.raises(UserError, match=message):
            between(results)


def test_a_model_differs_from_itself_in_nothing(several):
    side = Side(several, "lenet5")
    found = difference(side, Side(replace(several), "lenet5"))
    assert found.mean == 0
    assert set(found.by_seed) == {0, 1, 2, 3, 9}
