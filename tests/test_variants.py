"""What a variant adds to its model: counted by hand, and judged where the truth is known."""

from dataclasses import replace
from math import isnan, sqrt

import numpy as np
import pandas as pd
import pytest
from made_up import BY_TEST, BY_VALIDATION, labels, split_run, stored

from fmnist_lib.claims.experiments import (
    LENET,
    RIVALS,
    Comparison,
    effect,
    effects,
    joined,
    judge_experiment,
)
from fmnist_lib.claims.judge import AT, judge_all, outcome
from fmnist_lib.claims.verdicts import CLAIMS, Outcome, outcome_of
from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.models import build_model, count_parameters
from fmnist_lib.results import classes
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.plans import ABLATED, AUGMENTED

HOLDS, IN_PART, FAILS, UNDECIDED, UNTESTED = Outcome
RELU = {"model_options": {"activation": "relu"}}
SKIPLESS = {"model_options": {"shortcuts": False}}
CONTROL = np.array([90.1, 89.9, 90.3, 89.8, 90.0])
SPREAD = np.array([-0.03, 0.02, 0.0, 0.04, -0.03])  # of differences over five seeds, mean 0


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
    assert judged.margins["C16"] == "same at 0.15 and 0.6"  # by either
    runs = [joined([held, trial], rule.name) for rule in (BY_TEST, BY_VALIDATION)]
    assert [outcome("C16", each) for each in runs] == ["undecided", "holds"]
    found = judged.evidence["C16"].values["effect0"]
    assert found == pytest.approx(-0.2)  # of five seeds three have one more wrong, two one less
    assert {*found.sources} == {run.name for run in (*held.runs, *trial.runs)}
    assert set(judge_all(by_test, held).outcome) == {"not tested"}


def test_margins_tell_of_validation_images_where_they_hang_on_them_otherwise(tmp_path, monkeypatch):
    told = iter(["same", "holds at 0.6"])
    frame = {"margins": "", **dict.fromkeys(AT, "undecided")}
    monkeypatch.setattr(
        "fmnist_lib.claims.judge.judge", lambda *_: pd.DataFrame([frame | {"margins": next(told)}])
    )
    held = family(tmp_path, ("lenet5", 0, 10, 10, {}))
    (margins,) = judge_all(replace(held, rule=BY_TEST.name), held).margins
    assert margins == "same; by validation images holds at 0.6"


# --- the verdicts ---


def rows(model, variant, values, measure="test_accuracy"):
    return [
        {"name": f"{model} {variant} {seed}", "model": model, "variant": variant, "seed": seed}
        | {measure: value}
        for seed, value in enumerate(values)
    ]


def variants(effects, spread=SPREAD):
    """Runs in which a (model, variant) differs from its control by an effect, give or take."""
    made = [row for model, _ in effects for row in rows(model, "paper", CONTROL)]
    for (model, variant), by in effects.items():
        made += rows(model, variant, CONTROL + by + spread)
    return pd.DataFrame(made).drop_duplicates(["model", "variant", "seed"])


def plain(by):
    return variants({("densenet_tiny", "plain blocks"): by})


def skipless(by, spread=SPREAD):
    return variants({("resnet_mini", "no shortcuts"): by}, spread)


def lenet(*effects):
    return variants({("lenet5", v): e for v, e in zip(LENET, effects, strict=True)})


def augmented(vit, rival, other=1.0):
    """ViT-Tiny's gain by MixUp and its rivals' at most; by flip+shift its own, theirs being 1."""
    gains = {("vit_tiny", "mixup"): vit, ("vit_tiny", "flip+shift"): other}
    gains |= {(m, "mixup"): rival if m == "lenet5" else 0.0 for m in RIVALS}
    return variants(gains | {(m, "flip+shift"): 1.0 for m in RIVALS})


def timed(factor):
    """Five rounds of MobileNet-Lite's epochs; the full convolutions have seven times its MACs."""
    seconds = 10 * np.exp([0.01, -0.01, 0.0, 0.02, -0.02])
    made = rows("mobilenet_lite", "paper", seconds, "train_seconds")
    made += rows("mobilenet_lite", "full convolutions", factor * seconds[::-1], "train_seconds")
    per_mac = [row["train_seconds"] / (1 if row["variant"] == "paper" else 7) for row in made]
    return pd.DataFrame(made).assign(per_mac=per_mac)


def outcomes(number, runs):
    """The verdicts at the three margins; one without runs."""
    return [outcome_of(answer) for answer, _ in judge_experiment(number, runs).values()]


@pytest.mark.parametrize(
    ("number", "runs", "expected"),
    [
        ("C11", plain(0.0), HOLDS),
        ("C11", plain(1.0), HOLDS),
        ("C11", plain(-1.0), FAILS),
        ("C11", plain(-0.3), UNDECIDED),
        ("C16", skipless(-1.0), HOLDS),
        ("C16", skipless(-0.1), FAILS),
        ("C16", skipless(1.0), FAILS),
        ("C16", skipless(-1.0, 30 * SPREAD), UNDECIDED),
        ("C17", timed(0.7), HOLDS),
        ("C17", timed(1.5), FAILS),
        ("C17", timed(0.96), UNDECIDED),
        ("C18", lenet(1, 1, 1, 0, 1), HOLDS),
        ("C18", lenet(1, 0, 1, 0, 0), IN_PART),
        ("C18", lenet(0, 0, 1, 0, 0), IN_PART),
        ("C18", lenet(0, 0, 0, 0, -1), FAILS),
        ("C18", lenet(0, 0, 0.3, 0, 0), UNDECIDED),
        ("C19", augmented(2.0, 0.5), IN_PART),
        ("C19", augmented(2.0, 0.5, other=2.0), HOLDS),
        ("C19", augmented(1.0, 1.3), FAILS),
        ("C19", augmented(1.0, 0.7), UNDECIDED),  # leads by the margin, and is not shown to by more
        ("C19", augmented(-1.0, -2.0), FAILS),
    ],
)
def test_each_verdict(number, runs, expected):
    assert outcomes(number, runs)[1] == expected


def test_without_its_runs_a_claim_is_not_tested():
    for runs in (plain(-1.0), skipless(-1.0).query("seed == 0"), None):
        assert outcomes("C16", runs) == [UNTESTED]


def test_verdicts_stand_at_two_more_margins():
    assert outcomes("C16", skipless(-0.4)) == [HOLDS, HOLDS, FAILS]
    assert [*judge_experiment("C17", timed(0.7))] == [2.5, 5.0, 10.0]


def test_planned_comparisons_count_without_their_runs_too():
    """Shown by itself, an effect is not when corrected over the seven of the ablations."""
    runs = skipless(-0.4, 6 * SPREAD)
    (comparison,) = CLAIMS["C16"].needs
    p = effect(comparison, runs).p_differs()
    assert p < 0.05 < 7 * p
    assert outcomes("C16", runs)[1] == UNDECIDED
    planned = [c.family for claim in CLAIMS.values() for c in claim.needs if type(c) is Comparison]
    assert (planned.count("ablations"), planned.count("augmentation")) == (7, 10)


def test_every_comparison_is_planned_and_those_of_a_mechanism_at_equal_cost():
    planned = {(variant.model, variant.name): variant for variant in (*ABLATED, *AUGMENTED)}
    asked = [c for claim in CLAIMS.values() for c in claim.needs if type(c) is Comparison]
    asked = {(model, c.variant) for c in asked for model in (c.model, c.rival) if model}
    for model, variant in asked:
        if variant in ("plain blocks", "no shortcuts", *LENET[:3]):
            options = planned[model, variant].settings["model_options"]
            macs = count_macs(model, options) / count_macs(model, {})
            parameters = count_parameters(build_model(model, **options))
            assert 1 / 1.1 <= macs <= 1.1
            assert 1 / 1.1 <= parameters / count_parameters(build_model(model)) <= 1.1
    assert asked <= planned.keys()


def test_times_of_a_variant_reach_the_table_of_claims(tmp_path, monkeypatch):
    monkeypatch.setattr("fmnist_lib.claims.judge.rounds", lambda costs: timed(0.7))
    judged = judge_all(stored(tmp_path, {})).set_index("id")
    assert (judged.outcome["C17"], judged.margins["C17"]) == ("holds", "same at 2.5 and 10")
    epoch, per_mac = judged.evidence["C17"].values.values()
    assert epoch == pytest.approx(0.7)
    assert per_mac == pytest.approx(0.1)
