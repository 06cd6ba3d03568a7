import numpy as np
import pytest
from made_up import reported_over

from fmnist_lib.reporting.judging import (
    TIME_MARGIN,
    Interval,
    Measured,
    all_of,
    at_least_half,
    exceeds,
    over_seeds,
    slower,
)
from fmnist_lib.reporting.paper import reported_results


def test_unpaired_interval_against_a_simulation():
    """Newcombe's interval for 91.10 − 91.55 % covers 95 % of simulated differences."""
    low, high = Measured(reported_over(10_000)).accuracy_difference("resnet_mini", "mobilenet_lite")
    generator = np.random.default_rng(0)
    simulated = (
        generator.binomial(10_000, 0.9110, 20_000) - generator.binomial(10_000, 0.9155, 20_000)
    ) / 100
    assert (low, high) == pytest.approx(tuple(np.quantile(simulated, [0.025, 0.975])), abs=0.03)


def test_paired_interval_is_taken_as_given():
    measured = Measured(reported_over(10_000), pairs=lambda *of: (0.1, 0.2))
    assert measured.accuracy_difference("lenet5", "vit_tiny") == Interval(0.1, 0.2)
    assert measured.more_accurate("lenet5", "vit_tiny") is True
    assert measured.gap_lead("lenet5", "vit_tiny", "gap_eval") == Interval(0.1, 0.2)


def test_a_later_epoch_is_the_patience_later_and_beyond_the_spread_of_seeds():
    rows = reported_results().assign(best_epoch=[20.0, 14.0, 16.0, 20.0, 20.0, 20.0])
    for low, six_apart in {1: True, -1: None}.items():
        measured = Measured(rows, pairs=lambda *of, low=low: (low, 11))
        assert measured.later("lenet5", "resnet_mini") is six_apart
        assert measured.later("lenet5", "densenet_tiny") is None  # 4 apart


def test_over_seeds():
    assert over_seeds([2.0]) == (2, 2)
    low, high = over_seeds([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 2.484138, 2 + 2.484138))  # 4.302653 / √3


def test_gap_lead_at_face_value():
    lead = Measured(reported_results()).gap_lead("lenet5", "vit_tiny", "gap")
    assert lead == pytest.approx((3.67 - 3.32, 3.67 - 3.32))


def test_time_margin_is_the_papers_largest_spread():
    assert pytest.approx(1.3 / 25.8) == TIME_MARGIN


def test_answers():
    assert all_of([True, None, False]) is False
    assert all_of([True, None]) is None
    assert all_of([]) is True
    assert at_least_half([True, None, False, True]) is True
    assert at_least_half([True, None, None]) is None
    assert at_least_half([True, False, False]) is False
    assert exceeds(5, 5) is None
    assert slower(100.0, 102.0) is None
    assert slower(102.0, 130.0) is False
    assert Interval(-1.234, 0.5).text == "−1.23 to +0.50 points (95 % interval)"
