"""The claims that take variants, on made-up runs: by hand, by scipy, with a known truth."""

from math import log, sqrt

import numpy as np
import pandas as pd
import pytest
from made_up import mistaken, stored
from scipy import stats

from fmnist_lib.claims.experiments import AUGMENTATIONS, LENET, RIVALS
from fmnist_lib.claims.judge import judge_all
from fmnist_lib.claims.variants import foreseen, judge
from fmnist_lib.claims.verdicts import CLAIMS, Outcome
from fmnist_lib.errors import UserError

HOLDS, IN_PART, FAILS, UNDECIDED, NOT_TESTED = Outcome
OPTIONS = ({}, {"shortcuts": False})
CONTROL = np.array([90.1, 89.9, 90.3, 89.8, 90.0])
SPREAD = np.array([-0.03, 0.02, 0.0, 0.04, -0.03])  # of differences over five seeds, mean 0
MENDED = (*LENET, "half dense", "quarter dense")


def rows(model, variant, values, measure="test_accuracy", macs=1000, **more):
    return [
        {"model": model, "variant": variant, "seed": seed, "fold": None, measure: value}
        | {"parameters": 100, "macs": macs, **more}
        for seed, value in enumerate(values)
    ]


def variants(effects, spread=SPREAD):
    """Runs in which a (model, variant) differs from its control by an effect, give or take."""
    made = [row for model, _ in effects for row in rows(model, "paper", CONTROL)]
    for (model, variant), effect in effects.items():
        made += rows(model, variant, CONTROL + effect + spread)
    return pd.DataFrame(made).drop_duplicates(["model", "variant", "seed"])


def skipless(effect, spread=SPREAD):
    return variants({("resnet_mini", "no shortcuts"): effect}, spread)


def lenet(*effects):
    return variants({("lenet5", v): e for v, e in zip(MENDED, effects, strict=True)})


def augmented(vit, rival, name="mixup"):
    """ViT-Tiny's gain by one augmentation and its rivals' at most; by the other all gain 1."""
    other = next(a for a in AUGMENTATIONS if a != name)
    gains = {("vit_tiny", name): vit, ("vit_tiny", other): 1.0}
    gains |= {(m, name): rival if m == "lenet5" else 0.0 for m in RIVALS}
    return variants(gains | {(m, other): 1.0 for m in RIVALS})


def test_families_are_planned_as_a_whole():
    counted = [(c.family, need.counted) for c in CLAIMS.values() if c.family for need in c.needs]
    assert counted.count(("ablations", True)) == 7
    assert counted.count(("augmentation", True)) == 10


@pytest.mark.parametrize(
    ("number", "runs", "expected"),
    [
        ("C11", variants({("densenet_tiny", "plain blocks"): 0.0}), HOLDS),
        ("C11", variants({("densenet_tiny", "plain blocks"): 1.0}), HOLDS),
        ("C11", variants({("densenet_tiny", "plain blocks"): -1.0}), FAILS),
        ("C11", variants({("densenet_tiny", "plain blocks"): -0.3}), UNDECIDED),
        ("C16", skipless(-1.0), HOLDS),
        ("C16", skipless(-0.1), FAILS),
        ("C16", skipless(1.0), FAILS),
        ("C16", skipless(-1.0, 30 * SPREAD), UNDECIDED),
        ("C16", variants({("resnet_mini", "plain blocks"): -1.0}), NOT_TESTED),
        ("C18", lenet(1, 1, 1, 0, 1), HOLDS),
        ("C18", lenet(1, 0, 1, 0, 0), IN_PART),
        ("C18", lenet(0, 0, 1, 0, 0), IN_PART),
        ("C18", lenet(0, 0, 0, 0, -1), FAILS),
        ("C18", lenet(0, 0, 0.3, 0, 0), UNDECIDED),
        ("C19", augmented(2.0, 0.5), IN_PART),
        ("C19", augmented(1.0, 1.3), FAILS),
        ("C19", augmented(1.0, 0.7), UNDECIDED),  # leads by the margin, and is not shown to by more
        ("C19", augmented(-1.0, -2.0), FAILS),
    ],
)
def test_each_verdict(number, runs, expected):
    assert judge(number, runs).outcome == expected


def test_c18_and_c19_say_for_what_they_hold():
    assert judge("C18", lenet(1, 0, 1, 0, 1)).parts == ("relu", "dense layers", "relu + batch norm")
    assert judge("C19", augmented(2.0, 0.5)).parts == ("mixup",)
    leads = {(m, a): 2.0 * (m == "vit_tiny") for a in AUGMENTATIONS for m in ("vit_tiny", *RIVALS)}
    both = judge("C19", variants(leads))
    assert (both.outcome, both.parts) == (HOLDS, AUGMENTATIONS)


def timed(factor):
    seconds = 10 * np.exp([0.01, -0.01, 0.0, 0.02, -0.02])
    full = factor * seconds[::-1]
    made = rows("mobilenet_lite", "paper", seconds, "train_seconds")
    made += rows("mobilenet_lite", "full convolutions", full, "train_seconds", macs=7000)
    return pd.DataFrame(made)


@pytest.mark.parametrize(("factor", "expected"), [(0.7, HOLDS), (1.5, FAILS), (0.96, UNDECIDED)])
def test_c17_asks_about_the_epoch_and_tells_of_the_mac(factor, expected):
    result = judge("C17", timed(factor))
    assert result.outcome == expected
    epoch, mac = result.findings
    assert epoch.estimate.effect == pytest.approx(100 * log(factor))
    assert mac.estimate.effect == pytest.approx(100 * log(factor / 7))
    assert mac.answer is True  # and yet it decides nothing
    assert result.at_margins.keys() == {2.5, 5.0, 10.0}


def test_numbers_of_a_comparison_against_scipy():
    """Over seeds alone it is the paired t test."""
    effect = np.array([-0.2, 0.1, 0.05, -0.1, 0.0])
    (found,) = judge("C16", skipless(0.0, effect)).findings
    reference = stats.ttest_rel(CONTROL + effect, CONTROL)
    assert found.estimate.p_differs() == pytest.approx(reference.pvalue)
    assert found.estimate.interval == pytest.approx(tuple(reference.confidence_interval()))
    assert (found.estimate.df, found.estimate.seeds) == (4, 5)
    assert found.p == pytest.approx(min(1, 7 * reference.pvalue))  # six planned ones have no runs


def test_margins_and_power_stand_beside_the_verdict():
    result = judge("C16", skipless(-0.4, 6 * SPREAD))
    (found,) = result.findings
    assert found.estimate.p_differs() < 0.05 < found.p
    assert result.outcome == UNDECIDED
    assert found.shown_from > 0.4
    sharp = judge("C16", skipless(-0.4))
    assert [*sharp.at_margins.values()] == [HOLDS, HOLDS, FAILS]
    assert sharp.findings[0].shown_from is None


def test_images_that_one_side_alone_gets_right_add_their_variance():
    """Ten images, two seeds. Leads by image: 1, 1/2, −1/2 and seven 0, in shares of the runs."""
    right = np.zeros((4, 10), bool)
    right[:, 5:] = True
    right[2:, 0] = right[2, 1] = right[0, 2] = True  # rows 0 and 1 are the control's
    accuracies = 100 * right.mean(axis=1)  # 60, 50; 70, 60
    made = rows("resnet_mini", "paper", accuracies[:2])
    made += rows("resnet_mini", "no shortcuts", accuracies[2:])
    found = judge("C16", pd.DataFrame(made), right).findings[0].estimate
    assert (found.effect, found.seed_error) == (10, 0)
    squares = (1 + 0.25 + 0.25) - 10 * 0.1**2
    assert found.image_error == pytest.approx(100 * sqrt(squares / 9 / 10))
    assert found.df == 3  # at most three times n − 1


def test_what_few_seeds_cannot_show_is_known_beforehand():
    assert not foreseen(2).query("comparisons > 1").reachable.any()
    assert foreseen(3).reachable.all()
    assert not foreseen(3, images=False).query("comparisons == 7").reachable.any()
    for n, limits in {3: (1.9, 2.2), 5: (1.0, 1.4)}.items():
        smallest = foreseen(n).groupby("comparisons").significant_from.first().round(1)
        assert (smallest[7], smallest[10]) == limits


NONSENSE = {
    "no column macs": lambda f: f.drop(columns="macs"),
    "test_accuracy 101.0 cannot be": lambda f: f.assign(test_accuracy=101.0),
    "leave out the runs of folds": lambda f: f.assign(fold=1),
    "twice": lambda f: pd.concat([f, f]),
    "macs are 1.20 times": lambda f: f.assign(macs=f.macs.where(f.variant == "paper", 1200)),
}


@pytest.mark.parametrize("message", NONSENSE)
def test_nonsense_is_refused_in_one_line(message):
    with pytest.raises(UserError, match=message) as refused:
        judge("C16", NONSENSE[message](skipless(-1.0)))
    assert "\n" not in str(refused.value)


def test_other_claims_are_refused():
    with pytest.raises(UserError, match="unknown 'C2'"):
        judge("C2", skipless(-1.0))


def test_runs_of_variants_reach_the_table_of_claims(tmp_path):
    """Without its shortcuts ResNet-Mini is wrong on 30 or 31 images of 100, else on 10 or 11."""
    wrong = [
        (seed, options, 10 + seed + 20 * bool(options)) for seed in (0, 1) for options in OPTIONS
    ]
    runs = [
        {"model": "resnet_mini", "seed": seed, "predicted": mistaken(100, range(count))}
        | ({"model_options": options} if options else {})
        for seed, options, count in wrong
    ]
    results = stored(tmp_path, *runs)
    judged = judge_all(results, timings=timed(0.7).assign(name="costs/made up")).set_index("id")
    assert (judged.outcome["C11"], judged.outcome["C16"]) == ("not tested", "undecided")
    assert judged.evidence["C11"].template.startswith("It takes an ablation, dense")
    effect = judged.evidence["C16"].values["effect0"]
    assert effect == -20
    assert set(effect.sources) == {run.name for run in results.runs}
    assert (judged.outcome["C17"], judged.margins["C17"]) == ("holds", "same at 2.5 and 10")
