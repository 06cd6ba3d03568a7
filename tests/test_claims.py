import math

import numpy as np
import pandas as pd
import pytest
from made_up import reported_over

from fmnist_lib.reporting.claims import CLAIMS, judge_claims, pareto_front
from fmnist_lib.reporting.judging import Interval, Outcome
from fmnist_lib.reporting.paper import REPORTED, reported_results

HOLDS, FAILS, UNDECIDED, NOT_TESTED = Outcome
CLAIM = {claim.id: claim for claim in CLAIMS}
EXPERIMENTS = {"C11", "C12", "C16", "C17", "C18", "C19"}


@pytest.fixture
def results():
    """The paper's own numbers, at face value."""
    return reported_results()


@pytest.fixture
def history():
    """LeNet-5 is at its best from epoch 2 on, the others from epoch 6 on."""
    return pd.DataFrame(
        {
            "model": name,
            "seed": 0,
            "epoch": epoch,
            "test_accuracy": 90.0 if epoch >= (2 if name == "lenet5" else 6) else 80.0,
        }
        for name in REPORTED
        for epoch in range(1, 9)
    )


def with_accuracy(results, margin=0.0, **accuracies):
    """The results with other accuracies, all of them known to ± `margin`."""
    changed = results.copy()
    for name, accuracy in accuracies.items():
        changed.loc[name, "test_accuracy"] = accuracy
    changed["test_accuracy_low"] = changed.test_accuracy - margin
    changed["test_accuracy_high"] = changed.test_accuracy + margin
    return changed


def changed(results, column, **values):
    copy = results.copy()
    copy[column] = copy[column].astype(float)
    for name, value in values.items():
        copy.loc[name, column] = value
    return copy


def outcome(claim, *args, **kwargs):
    return CLAIM[claim].judge(*args, **kwargs).outcome


def test_the_claims_are_c1_to_c20():
    assert [claim.id for claim in CLAIMS] == [f"C{number}" for number in range(1, 21)]
    for claim in CLAIMS:
        assert claim.rule or claim.experiment
        assert claim.statement.endswith(".")
        assert claim.where


@pytest.mark.parametrize(
    ("claim", "expected"),
    {
        "C1": FAILS,  # Custom CNN ranks 3, 1, 2; ResNet-Mini 2, 2, 3
        "C2": FAILS,  # MobileNet-Lite 91.55 against 91.10
        "C3": HOLDS,
        "C4": HOLDS,
        "C5": HOLDS,
        "C6": HOLDS,
        "C7": HOLDS,
        "C8": HOLDS,
        "C9": HOLDS,
        "C10": HOLDS,
        "C13": FAILS,  # 2 or 3 of 6
        "C14": FAILS,  # 4th and 3rd
        "C15": NOT_TESTED,  # no history in the tables
        "C20": UNDECIDED,  # 13 and 16 against 18: less than the patience apart
    }.items(),
)
def test_the_papers_own_numbers(results, claim, expected):
    assert outcome(claim, results) == expected


def test_the_papers_close_calls_are_undecided_over_10_000_images():
    results = reported_over(10_000)
    assert {claim.id for claim in CLAIMS if claim.judge(results).outcome == UNDECIDED} == {
        "C1",
        "C2",
        "C5",
        "C6",
        "C20",
    }


def test_claims_that_need_an_experiment_name_it(results, history):
    for claim in CLAIMS:
        if claim.id in EXPERIMENTS:
            verdict = claim.judge(results, history)
            assert verdict.outcome == NOT_TESTED
            assert claim.experiment in verdict.evidence


def test_c1_weak_form(results):
    """A smaller, faster and clearly better rival dominates; a perhaps better one leaves it open."""
    assert "none" in CLAIM["C1"].judge(results).evidence
    verdict = CLAIM["C1"].judge(with_accuracy(results, baseline_cnn=91.2))
    assert verdict.outcome == FAILS
    assert "train time: no (dominating it, for certain or perhaps: Custom CNN)" in verdict.evidence
    verdict = CLAIM["C1"].judge(with_accuracy(results, margin=0.5, baseline_cnn=91.2))
    assert "train time: undecided (dominating it, for certain or perhaps: C" in verdict.evidence


def test_c1_counts_macs_once_they_are_known(results):
    assert "MACs" not in CLAIM["C1"].judge(results).evidence
    macs = dict.fromkeys(REPORTED, 2e6) | {"resnet_mini": 3e6, "mobilenet_lite": 1e6}
    verdict = CLAIM["C1"].judge(results.assign(macs=pd.Series(macs)))
    assert "MACs: no (dominating it, for certain or perhaps: MobileNet-Lite)" in verdict.evidence


def test_c1_strong_form(results):
    assert "mean rank 2.33; the best is Custom CNN's, 2.00" in (CLAIM["C1"].judge(results).evidence)
    best = with_accuracy(results, resnet_mini=95.0)  # ranks 1, 2, 3: a tie with Custom CNN
    assert outcome("C1", best) == UNDECIDED
    best = changed(best, "train_seconds", resnet_mini=10.0)
    assert outcome("C1", best) == HOLDS


def test_c2_follows_the_data(results):
    assert outcome("C2", with_accuracy(results, resnet_mini=92.0)) == HOLDS
    assert outcome("C2", with_accuracy(results, margin=0.5, resnet_mini=92.0)) == UNDECIDED
    assert outcome("C2", with_accuracy(results, margin=0.5, resnet_mini=94.0)) == HOLDS
    assert outcome("C2", with_accuracy(results, margin=0.5, resnet_mini=89.0)) == FAILS


def test_paired_differences_take_precedence(results):
    wide = with_accuracy(results, margin=0.5)

    def pairs(first, second, measure):
        assert measure == "test_accuracy"
        difference = wide.at[first, "test_accuracy"] - wide.at[second, "test_accuracy"]
        return difference - 0.1, difference + 0.1

    assert outcome("C2", wide) == UNDECIDED
    verdict = CLAIM["C2"].judge(wide, pairs=pairs)
    assert verdict.outcome == FAILS
    assert "−0.55 to −0.35 points" in verdict.evidence


def test_c3_needs_both_accuracy_and_size(results):
    assert outcome("C3", with_accuracy(results, vit_tiny=92.0)) == FAILS
    assert outcome("C3", changed(results, "parameters", resnet_mini=50_000)) == FAILS
    assert outcome("C3", with_accuracy(results, margin=2.5)) == UNDECIDED


def test_c4_needs_accuracy_and_both_times(results):
    assert outcome("C4", with_accuracy(results, mobilenet_lite=89.5)) == FAILS
    assert outcome("C4", changed(results, "inference_ms", vit_tiny=20_000)) == FAILS
    assert outcome("C4", changed(results, "train_seconds", densenet_tiny=164.0)) == UNDECIDED


def test_c5_needs_90_percent_and_the_fewest_parameters(results):
    assert outcome("C5", with_accuracy(results, baseline_cnn=89.9)) == FAILS
    assert outcome("C5", with_accuracy(results, margin=0.5)) == UNDECIDED
    assert outcome("C5", changed(results, "parameters", resnet_mini=5_000)) == FAILS


def test_c6_needs_both_measures_of_train_accuracy_to_agree(results):
    assert outcome("C6", with_accuracy(results, vit_tiny=85.0)) == FAILS
    both = results.assign(train_accuracy_eval=results.train_accuracy)
    assert outcome("C6", both) == HOLDS
    verdict = CLAIM["C6"].judge(changed(both, "train_accuracy_eval", mobilenet_lite=99.0))
    assert verdict.outcome == UNDECIDED
    assert "7.45" in verdict.evidence


def test_c7_follows_the_data(results):
    assert outcome("C7", changed(results, "train_seconds", vit_tiny=1.0)) == FAILS
    assert outcome("C7", changed(results, "train_seconds", vit_tiny=26.0)) == UNDECIDED


def test_c8_follows_the_data(results):
    assert outcome("C8", with_accuracy(results, vit_tiny=89.5)) == FAILS
    assert outcome("C8", changed(results, "parameters", lenet5=200_000)) == FAILS
    assert outcome("C8", with_accuracy(results, margin=1.0)) == UNDECIDED


def test_c9_and_c10_fail_when_size_orders_everything(results):
    order = results.parameters.rank()
    ordered = results.assign(test_accuracy=80 + order, train_seconds=10 * order)
    assert outcome("C9", with_accuracy(ordered)) == FAILS
    assert outcome("C9", with_accuracy(ordered, margin=5.0)) == UNDECIDED
    assert outcome("C10", ordered) == FAILS


def test_c13_needs_best_epoch_and_epochs_to_agree(results):
    most = results.assign(best_epoch=22, epochs=27)
    assert outcome("C13", most) == HOLDS
    assert outcome("C13", most.assign(best_epoch=17)) == UNDECIDED


def test_c14_follows_the_data(results):
    large = changed(results, "parameters", resnet_mini=1e6, baseline_cnn=1e6)
    assert outcome("C14", large) == HOLDS


def test_c15_reads_the_history(results, history):
    verdict = CLAIM["C15"].judge(results, history)
    assert verdict.outcome == HOLDS
    assert "0.5 points of its best at epoch 2 (the median of the others: 6)" in verdict.evidence
    late = history.assign(
        test_accuracy=history.test_accuracy.where(
            history.model != "lenet5", 80.0 + history.epoch.astype(float)
        )
    )
    assert outcome("C15", results, late) == FAILS
    ties = pd.concat([history, late.assign(seed=1)])  # the seeds disagree
    verdict = CLAIM["C15"].judge(results.assign(n=2), ties)
    assert verdict.outcome == UNDECIDED
    assert "mean epoch 5" in verdict.evidence  # 2 and 8
    again = pd.concat([history.assign(seed=seed) for seed in range(3)])
    more = again[(again.seed < 2) | (again.model == "lenet5")]  # one seed too many counts for none
    assert CLAIM["C15"].judge(results, more) == CLAIM["C15"].judge(results, history)
    partial = CLAIM["C15"].judge(results, history[history.model != "vit_tiny"])
    assert partial == (NOT_TESTED, "There is no history for ViT-Tiny.")
    assert outcome("C15", results, history.drop(columns="test_accuracy")) == NOT_TESTED


def test_c12_needs_the_gains_of_a_longer_patience(results):
    gains = {"vit_tiny": Interval(0.1, 0.9), "mobilenet_lite": Interval(0.2, 0.4)}
    verdict = CLAIM["C12"].judge(results, gains=gains)
    assert verdict.outcome == HOLDS
    assert "+0.10 to +0.90 points (95 % interval) to ViT-Tiny: yes" in verdict.evidence
    verdict = CLAIM["C12"].judge(results, gains=gains | {"vit_tiny": Interval(0, 0)})
    assert verdict.outcome == FAILS
    assert "moves no best epoch of ViT-Tiny: no; it adds +0.20" in verdict.evidence
    assert outcome("C12", results, gains=gains | {"vit_tiny": Interval(-0.1, 0.9)}) == UNDECIDED
    assert outcome("C12", results, gains=gains | {"vit_tiny": Interval(-0.9, -0.1)}) == FAILS
    lacking = CLAIM["C12"].judge(results, gains={"vit_tiny": Interval(0, 1)})
    assert lacking == (NOT_TESTED, "There are no results for MobileNet-Lite.")


def test_c20_of_several_runs_asks_whether_the_seeds_agree(results):
    apart = results.assign(best_epoch=[3, 29, 18, 41, 25, 4])

    def known_to(reach):
        def pairs(first, second, measure):
            assert measure == "best_epoch"
            difference = float(apart.at[first, measure] - apart.at[second, measure])
            return difference - reach, difference + reach

        return pairs

    for reach, expected in {0: HOLDS, 13: HOLDS, 14: UNDECIDED}.items():  # the least is 18 − 4
        assert outcome("C20", apart, pairs=known_to(reach)) == expected
    several = CLAIM["C20"].judge(apart.assign(n=5), pairs=known_to(0))
    assert "1st with mean epoch 3 and" in several.evidence


def test_accuracies_of_several_runs_are_told_with_their_spread(results):
    spread = results.assign(n=[5, 5, 5, 5, 1, 5], test_accuracy_std=[0.2, 0.1, 0.1, 0.1, None, 0.1])
    evidence = CLAIM["C3"].judge(spread).evidence
    assert "ResNet-Mini reaches 91.10 ± 0.10 %" in evidence
    assert "ViT-Tiny, which reaches 88.09 %" in evidence


def test_c20_follows_the_data(results):
    assert outcome("C20", results.assign(best_epoch=[3, 29, 18, 41, 25, 4])) == HOLDS
    assert outcome("C20", results.assign(best_epoch=[40, 29, 18, 41, 25, 4])) == FAILS


def test_a_subset_of_models_names_the_missing(results):
    some = results.loc[["resnet_mini", "vit_tiny"]]
    judged = judge_claims(some).set_index("id")
    assert set(judged.index[judged.outcome != "not tested here"]) == {"C3"}
    assert judged.evidence["C2"] == (
        "There are no results for LeNet-5, DenseNet-Tiny, MobileNet-Lite and Custom CNN."
    )
    assert (judge_claims(results.iloc[:0]).outcome == "not tested here").all()


def test_variants_beside_the_six_models_do_not_change_a_verdict(results):
    variant = results.loc[["resnet_mini"]].rename({"resnet_mini": "resnet_wide"})
    variant["test_accuracy"] = math.nan
    more = pd.concat([results, variant])
    pd.testing.assert_frame_equal(judge_claims(more), judge_claims(results))


@pytest.mark.parametrize("hole", [math.nan, None])
def test_missing_numbers_are_named_not_guessed(results, hole):
    holed = results.astype(object)
    holed.loc["vit_tiny", "train_seconds"] = hole
    verdict = CLAIM["C7"].judge(holed)
    assert verdict.outcome == NOT_TESTED
    assert "train_seconds" in verdict.evidence
    assert outcome("C7", results.drop(columns="train_seconds")) == NOT_TESTED


def test_the_table_of_claims(results, history):
    judged = judge_claims(reported_over(10_000), history)
    assert list(judged) == ["id", "claim", "where", "in_paper", "outcome", "evidence"]
    assert len(judged) == 20
    assert set(judged.outcome) | set(judged.in_paper) <= set(map(str, Outcome))
    assert judged.set_index("id").in_paper["C2"] == "does not hold"
    for evidence in judged.evidence:
        assert evidence.endswith(".")
        assert "nan" not in evidence.lower()


def test_pareto_front_against_a_search_over_all_pairs():
    generator = np.random.default_rng(0)
    for _ in range(20):
        points = pd.DataFrame(
            generator.integers(0, 5, size=(8, 2)), columns=["cost", "test_accuracy"]
        )
        front = {
            a
            for a in points.index
            if all(
                tuple(points.loc[a]) == tuple(points.loc[b])
                or points.cost[b] > points.cost[a]
                or points.test_accuracy[b] < points.test_accuracy[a]
                for b in points.index
            )
        }
        found = pareto_front(points, "cost")
        assert set(found) == front
        assert points.cost[found].is_monotonic_increasing


def test_pareto_fronts_of_the_paper(results):
    assert pareto_front(results, "parameters") == ["baseline_cnn", "resnet_mini", "mobilenet_lite"]
    assert pareto_front(results, "train_seconds")[0] == "lenet5"
    assert pareto_front(results, "macs") == []
