"""What a variant adds to its model, counted by hand, and how trials reach the table of claims."""

from dataclasses import replace
from math import isnan, sqrt

import numpy as np
import pytest
from made_up import BY_TEST, BY_VALIDATION, labels, split_run, stored

from fmnist_lib.claims.experiments import effects, joined
from fmnist_lib.claims.judge import judge_all, outcome
from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.results import classes

RELU = {"model_options": {"activation": "relu"}}
SKIPLESS = {"model_options": {"shortcuts": False}}


def family(folder, *runs, rule=BY_VALIDATION.name):
    return stored(folder, *(split_run(*run, **more) for *run, more in runs), rule=rule)


@pytest.fixture
def trial(tmp_path):
    """LeNet-5 with ReLU and two seeds: 7 and 8 images of 100 wrong; one more variant, one seed."""
    relu = [("lenet5", seed, 30, wrong, RELU) for seed, wrong in ((1, 7), (2, 8))]
    other = ("resnet_mini", 5, 30, 9, SKIPLESS)
    return family(tmp_path / "trial", *relu, other)


@pytest.fixture
def control(tmp_path):
    """The models as they are, 10 and 12 wrong, and a seed before them that the trial does not have.

    Read at the other rule, at which the trial is not.
    """
    lenet = [("lenet5", seed, 30, wrong, {}) for seed, wrong in enumerate((50, 10, 12))]
    net = ("resnet_mini", 0, 30, 9, {})
    return family(tmp_path / "control", *lenet, net, rule=BY_TEST.name)


def test_an_effect_is_paired_by_seed_and_has_the_chance_of_seeds_and_images(trial, control):
    frame = effects(trial, control)
    row = frame.loc["LeNet-5, relu"]
    assert (row.model, row.variant, row.n, row.test_accuracy) == ("lenet5", "relu", 2, 92.5)
    assert (row.effect, row.effect.parts) == (3.5, {"seed 1": 3, "seed 2": 4})
    # Leads by image: 1/2 three times, 1 twice, else 0; 7 to 11 are those that differ.
    squares = 3 * 0.25 + 2 - 100 * 0.035**2
    error = sqrt(0.5 / 2 + 100**2 * squares / 99 / 100)
    low, high = row.effect.interval
    assert (low + high) / 2 == pytest.approx(3.5)
    assert (high - low) / 2 == pytest.approx(3.182446 * error)  # t with 3 = 3 · (n − 1) degrees
    assert {*row.effect.sources} == {
        r.name for r in (*replace(trial, variant="relu").of("lenet5"), *control.of("lenet5"))
    }


def test_without_two_seeds_in_common_there_is_no_effect(trial, control):
    row = effects(trial, control).loc["ResNet-Mini, no shortcuts"]
    assert isnan(row.effect)
    assert (row.effect.parts, row.p_holm, row.differs) == ({}, 1, "undecided")


def test_one_run_is_compared_with_all_seeds_of_its_control(tmp_path, control):
    one = family(tmp_path / "one", ("lenet5", 9, 30, 20, RELU))
    row = effects(one, control).loc["LeNet-5, relu"]
    assert (row.n, row.effect, row.effect.parts) == (1, 80 - 76, {})
    error = sqrt(((90 - 76) ** 2 + (88 - 76) ** 2 + (50 - 76) ** 2) / 2) * sqrt(1 + 1 / 3)
    assert row.effect.high - 4 == pytest.approx(4.302653 * error)  # t with 2 degrees of freedom
    assert len(row.effect.sources) == 4


def test_recall_changes_are_counted_class_by_class(trial, control):
    true = labels(100)
    frame = classes.recall_changes(trial, control).set_index(["model", "class"])
    for place, name in enumerate(CLASS_NAMES):
        lost = [np.sum(true[:wrong] == place) for wrong in (10, 12, 7, 8)]
        expected = 100 * (lost[0] - lost[2] + lost[1] - lost[3]) / 2 / np.sum(true == place)
        assert frame.change["lenet5", name] == pytest.approx(expected)
    assert isnan(frame.change["resnet_mini", CLASS_NAMES[0]])


def test_trials_are_judged_at_both_rules_against_runs_with_validation_images(tmp_path):
    """Without shortcuts 20 images more are wrong where validation chose, as many where the test
    loss did."""
    seeds = range(5)
    plain = [("resnet_mini", seed, 10 + seed % 2, 10 + seed % 2, {}) for seed in seeds]
    skipless = [("resnet_mini", seed, 11 - seed % 2, 31 - seed % 2, SKIPLESS) for seed in seeds]
    held, trial = family(tmp_path / "held", *plain), family(tmp_path / "trial", *skipless)
    by_test = replace(held, rule=BY_TEST.name)
    judged = judge_all(by_test, held, [trial]).set_index("id")
    assert (judged.outcome["C16"], judged.validated["C16"]) == ("undecided", "holds")
    runs = [joined([held, trial], rule.name) for rule in (BY_TEST, BY_VALIDATION)]
    assert [outcome("C16", each) for each in runs] == ["undecided", "holds"]
    found = judged.evidence["C16"].values["effect0"]
    assert found == pytest.approx(-0.2)  # of five seeds three have one more wrong, two one less
    assert set(judge_all(by_test, held).outcome) == {"not tested"}
