"""Tables against hand counts and second implementations, from records with chosen numbers."""

import io

import numpy as np
import pandas as pd
import pytest
from made_up import ENVIRONMENT, labels, make_cost, make_run, mistaken

from fmnist_lib.data.fashion_mnist import CLASS_NAMES, raw_images
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.reporting import analysis, predictions
from fmnist_lib.reporting.analysis import load_results, row_of
from fmnist_lib.reporting.claims import judge_claims
from fmnist_lib.reporting.intervals import (
    combined,
    next_interval,
    paired_interval,
    share_interval,
    t_interval,
)
from fmnist_lib.reporting.paper import wilson_interval
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore

N = 100  # test images of a made-up run
TABLE1 = (
    *("model", "parameters", "n"),
    *("train_loss", "test_loss", "train_accuracy", "test_accuracy", "best_epoch"),
    *("train_loss_eval", "train_accuracy_eval", "test_accuracy_low", "test_accuracy_high"),
)
TABLE2 = (
    *("model", "n", "train_seconds_mean", "train_seconds_std"),
    *("inference_ms_mean", "inference_ms_std", "epochs", "total_train_seconds"),
    *("train_us_per_parameter", "train_us_per_parameter_std"),
    *("latency_ms_median", "latency_ms_p90"),
    *("train_seconds_in_runs", "ratio"),
)
HISTORY = (
    *("model", "seed", "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"),
    *("train_seconds", "inference_ms"),
)
Z = 1.959964  # of a two-sided 95 % interval


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


@pytest.fixture
def results_of(store):
    """Results of runs that are written first; each run is what `make_run` takes."""

    def write_and_load(*runs, costs=(), **options):
        outputs = [make_run(**{"test_images": N, **run}) for run in runs]
        for output in outputs:
            store.write(output)
        for cost in costs:
            store.write_cost(cost)
        return load_results(store, [output.record.config for output in outputs], **options)

    return write_and_load


def wrong(count):
    return mistaken(N, slice(0, count))


# --- loading ---


def test_models_come_in_the_papers_order_and_seeds_in_theirs(results_of):
    runs = [("vit_tiny", 0), ("lenet5", 2), ("baseline_cnn", 0), ("lenet5", 0)]
    results = results_of(*({"model": model, "seed": seed} for model, seed in runs))
    assert results.models == ["lenet5", "vit_tiny", "baseline_cnn"]
    assert [run.config.seed for run in results.of("lenet5")] == [0, 2]


def test_a_store_without_the_runs_is_named(store, results_of):
    with pytest.raises(UserError, match=r"no record of lenet5-s0"):
        load_results(store, [make_run(test_images=N).record.config])
    results = results_of({})
    with pytest.raises(UserError, match="no results for 'vit_tiny'; there are: lenet5"):
        results.of("vit_tiny")


def test_missing_runs_are_left_out_and_asking_twice_counts_once(store, results_of):
    present = results_of({}).runs[0].config
    absent = make_run("vit_tiny", test_images=N).record.config
    assert len(load_results(store, [present, absent, present]).runs) == 1


def test_a_damaged_record_is_named_and_left_out(store, results_of):
    first, second = (run.config for run in results_of({}, {"seed": 1}).runs)
    (store.folder / second.name / "record.json").write_text("{")
    with pytest.warns(UserWarning, match=second.name):
        assert [run.name for run in load_results(store, [first, second]).runs] == [first.name]


def test_runs_of_a_model_that_differ_in_more_than_the_seed_are_refused(results_of):
    with pytest.raises(UserError, match="more than the seed"):
        results_of({}, {"seed": 1, "batch_size": 32})


def test_a_rule_without_result_is_refused(results_of):
    with pytest.raises(UserError, match=r"'test_loss-p9'; there are: test_loss-p5"):
        results_of({}, rule="test_loss-p9")


def test_one_shortened_run_makes_a_draft(results_of):
    whole = {"test_images": None}
    assert not results_of(whole, whole | {"model": "vit_tiny"}).draft
    assert results_of(whole, {"model": "vit_tiny"}).draft


# --- table 1 ---


def test_table1_of_one_run_is_its_record(results_of):
    table = analysis.table1(results_of({"predicted": wrong(7)}, {"model": "vit_tiny"}))
    assert tuple(table) == TABLE1
    lenet, vit = table.itertuples(index=False)
    assert lenet[:10] == ("lenet5", 60_000, 1, 1 / 2, 0.5, 82.0, 93.0, 2, 0.25, 83.0)
    assert (vit.model, vit.test_accuracy) == ("vit_tiny", 100.0)
    assert table.best_epoch.dtype.kind == "i"
    assert not table.isna().any(axis=None)


@pytest.mark.parametrize("mistakes", [0, 7, 50, 100])
def test_the_interval_of_one_run_is_wilsons(results_of, mistakes):
    table = analysis.table1(results_of({"predicted": wrong(mistakes)}))
    p, shrink = 1 - mistakes / N, 1 + Z**2 / N
    middle = (p + Z**2 / (2 * N)) / shrink
    reach = Z * np.sqrt(p * (1 - p) / N + Z**2 / (4 * N**2)) / shrink
    expected = np.clip([100 * (middle - reach), 100 * (middle + reach)], 0, 100)
    assert [*table.loc[0, ["test_accuracy_low", "test_accuracy_high"]]] == pytest.approx(
        expected, abs=1e-4
    )


def test_table1_of_several_runs_has_means_and_spreads(results_of):
    losses = [(0.9, 0.5, 0.7), (0.4, 0.5), (0.9, 0.8, 0.3)]  # best epochs 2, 1, 3
    table = analysis.table1(
        results_of(
            {"model": "vit_tiny"},
            *({"seed": s, "losses": losses[s], "predicted": wrong(5 + 2 * s)} for s in range(3)),
        )
    )
    metrics = TABLE1[3:10]
    spreads = [name for metric in metrics for name in (metric, f"{metric}_std")]
    assert list(table) == [*TABLE1[:3], *spreads, *TABLE1[10:], "next_run_low", "next_run_high"]
    lenet, vit = table.itertuples(index=False)
    assert (lenet.n, lenet.best_epoch, lenet.best_epoch_std) == (3, 2.0, 1.0)
    assert lenet.test_loss == pytest.approx((0.5 + 0.4 + 0.3) / 3)
    assert lenet.test_loss_std == pytest.approx(0.1)
    assert (lenet.test_accuracy, lenet.test_accuracy_std) == (pytest.approx(93), pytest.approx(2))
    over_seeds = 4.302653 * 2 / np.sqrt(3)  # the 97.5 % quantile of t with 2 degrees of freedom
    # Wrong are 5, 7 and 9 images, always the first ones: 5 in all runs, 2 in two, 2 in one.
    low, high = share_interval(np.repeat([0, 1 / 3, 2 / 3, 1], [5, 2, 2, 91]))
    assert lenet.test_accuracy_low == pytest.approx(93 - np.hypot(over_seeds, 93 - low))
    assert lenet.test_accuracy_high == pytest.approx(93 + np.hypot(over_seeds, high - 93))
    reach = 4.302653 * 2 * np.sqrt(1 + 1 / 3)
    assert (lenet.next_run_low, lenet.next_run_high) == pytest.approx((93 - reach, 93 + reach))
    assert vit.n == 1
    assert np.isnan([vit.test_accuracy_std, vit.next_run_low, vit.next_run_high]).all()


def test_the_spread_of_one_run_is_an_empty_cell(results_of):
    table = analysis.table1(results_of({}, {"seed": 1}, {"model": "vit_tiny"}))
    read = pd.read_csv(io.StringIO(table.to_csv(index=False)), dtype=str, keep_default_na=False)
    assert read.test_loss_std.tolist() == ["0.0", ""]
    of_several = [c for c in table if c.endswith("_std") or c.startswith("next_run")]
    assert not table.drop(columns=of_several).isna().any(axis=None)


def test_intervals_of_several_runs_stay_within_0_and_100_and_never_vanish(results_of):
    runs = [{"seed": 0, "predicted": wrong(0)}, {"seed": 1, "predicted": wrong(1)}]
    table = analysis.table1(results_of(*runs))
    assert table.test_accuracy_high.item() == 100
    same = analysis.table1(results_of({"model": "vit_tiny"}, {"model": "vit_tiny", "seed": 1}))
    found = (same.test_accuracy_low.item(), same.test_accuracy_high.item())
    assert found == share_interval(np.ones(N))  # other images may yet be mistaken


# --- table 2, histories ---


def test_table2_by_hand(results_of):
    run = {"losses": (0.9, 0.5, 0.7), "test_images": None}
    cost = make_cost(make_run(test_images=None).record.config, blocks=(9, 10, 14))
    table = analysis.table2(results_of(run, run | {"seed": 1, "losses": (0.5, 0.7)}, costs=[cost]))
    of_several = {"epochs_std", "total_train_seconds_std"}
    assert tuple(name for name in table if name not in of_several) == TABLE2
    row = row_of(table, "lenet5")
    assert (row.n, row.epochs, row.epochs_std) == (2, 2.5, pytest.approx(np.sqrt(0.5)))
    assert row.train_seconds_mean == pytest.approx(11)
    assert row.train_seconds_std == pytest.approx(np.sqrt((4 + 1 + 9) / 2))
    assert row.inference_ms_mean == pytest.approx(500)
    assert row.inference_ms_std == pytest.approx(100 * np.sqrt(2))
    assert row.total_train_seconds == pytest.approx(11 * 2.5)
    assert row.total_train_seconds_std == pytest.approx(11 * np.sqrt(0.5))
    assert row.train_us_per_parameter == pytest.approx(11 * 1e6 / 60_000)
    assert row.train_us_per_parameter_std == pytest.approx(np.sqrt(7) * 1e6 / 60_000)
    assert (row.latency_ms_median, row.latency_ms_p90) == (6, 10)
    assert row.train_seconds_in_runs == pytest.approx(20)  # the median of 10, 20, 30 and 10, 20
    assert row.ratio == pytest.approx(20 / 11)


def test_times_of_shortened_runs_are_scaled_as_the_blocks_are(results_of):
    table = analysis.table2(results_of({"train_images": 600, "losses": (0.9, 0.5)}))
    assert table.train_seconds_in_runs.item() == pytest.approx(15 * 60_000 / 600)
    split = {"protocol": "split", "validation_images": 10_000, "losses": (0.9, 0.5), "seed": 1}
    table = analysis.table2(results_of(split))
    assert table.train_seconds_in_runs.item() == pytest.approx(15 * 60_000 / 50_000)


def test_a_model_that_was_not_timed_has_no_times(results_of):
    config = make_run(test_images=N).record.config
    table = analysis.table2(results_of({}, {"model": "vit_tiny"}, costs=[make_cost(config)]))
    lenet, vit = table.itertuples(index=False)
    assert tuple(table) == TABLE2
    assert not pd.Series(lenet).isna().any()
    assert (vit.n, vit.epochs, vit.train_seconds_in_runs) == (1, 3, 20)
    assert all(np.isnan(value) for value in (*vit[2:6], *vit[7:12], vit.ratio))


def test_times_within_runs_are_those_of_the_processor_that_was_timed(results_of):
    elsewhere = ENVIRONMENT.model_copy(update={"cpu": "Another processor"})
    cost = make_cost(make_run(test_images=N).record.config, blocks=(9, 10, 14))
    here = {"losses": (0.9, 0.5)}  # epochs of 10 and 20 s
    there = {"losses": (0.9, 0.5, 0.4, 0.3), "seed": 1, "environment": elsewhere}
    both = results_of(here, there, costs=[cost])
    assert [run.config.seed for run in analysis.timed_alike(both).runs] == [0]
    row = analysis.table2(both).iloc[0]
    assert (row.train_seconds_in_runs, row.ratio) == (15, pytest.approx(15 / 11))
    row = analysis.table2(results_of(there, costs=[cost])).iloc[0]
    assert row.train_seconds_in_runs == 25  # all there is, but not to be compared
    assert np.isnan(row.ratio)
    assert analysis.timed_alike(results_of(there)).runs == results_of(there).runs


def test_the_newest_cost_of_the_same_config_counts(results_of):
    own = make_run(seed=3, test_images=N).record.config
    other = make_run(batch_size=32, test_images=N).record.config
    costs = [
        make_cost(own, blocks=(2, 2), name="b-new", finished="2026-03-01T00:00:00+00:00"),
        make_cost(own, blocks=(1, 1), name="c-old", finished="2026-02-01T00:00:00+00:00"),
        make_cost(other, blocks=(3, 3), name="a-other", finished="2026-04-01T00:00:00+00:00"),
    ]
    assert analysis.table2(results_of({}, costs=costs)).train_seconds_mean.item() == 2


def test_all_times_are_of_one_machine(results_of):
    lenet, vit = (make_run(model, test_images=N).record.config for model in ("lenet5", "vit_tiny"))
    here = [
        make_cost(config, blocks=(1, 1), name=f"here-{config.model}") for config in (lenet, vit)
    ]
    newer = make_cost(lenet, blocks=(2, 2), name="there", finished="2026-04-01T00:00:00+00:00")
    elsewhere = newer.environment.model_copy(update={"cpu": "Another processor"})
    there = newer.model_copy(update={"environment": elsewhere})
    runs = ({}, {"model": "vit_tiny"})
    both = analysis.table2(results_of(*runs, costs=[*here, there]))
    assert both.train_seconds_mean.tolist() == [1, 1]
    alone = analysis.table2(results_of({}, costs=[*here, there]))
    assert alone.train_seconds_mean.tolist() == [2]


def test_runs_are_found_as_recorded_for_the_rules_asked_for(store, results_of):
    asked = make_run(test_images=N).record.config
    results_of({"precision": "bf16", "stops": (Stop(), Stop(patience=20))})
    (found,) = analysis.as_recorded(store, [asked], free=frozenset({"precision"}))
    assert (found.precision, found.stops) == ("bf16", (Stop(),))
    assert store.find(found)
    more = asked.model_copy(update={"stops": (Stop(patience=7),)})
    (found,) = analysis.as_recorded(store, [more], free=frozenset({"precision"}))
    assert not store.find(found)


def test_everything_is_read_at_the_stopping_rule(store, results_of):
    short, long = Stop(patience=2), Stop(patience=4)
    losses = (0.9, 0.5, 0.6, 0.7, 0.4, 0.5)  # patience 2 ends it at epoch 4
    run = {"stops": (short, long), "losses": losses}
    at_short, at_long = (results_of(run, rule=rule.name) for rule in (short, long))
    assert analysis.table1(at_short).best_epoch.item() == 2
    assert analysis.table1(at_long).best_epoch.item() == 5
    assert analysis.histories(at_short).test_loss.tolist() == [0.9, 0.5, 0.6, 0.7]
    assert analysis.histories(at_long).test_loss.tolist() == list(losses)
    assert analysis.table2(at_short).epochs.item() == 4
    assert analysis.run_table(at_short).fired.tolist() == [True]
    assert analysis.run_table(at_long).fired.tolist() == [False]
    assert analysis.table2(at_short).train_seconds_in_runs.item() == pytest.approx(25)


def test_epochs_of_shortened_runs_are_timed_as_if_whole(results_of):
    frame = analysis.histories(results_of({"train_images": 600, "losses": (0.9, 0.5)}))
    assert frame.train_seconds.tolist() == pytest.approx([1000, 2000])  # 10 and 20 s for 600


def test_times_beside_other_runs_are_no_times_of_a_run(results_of):
    crowded = ENVIRONMENT.model_copy(update={"runs_beside": 23})
    frame = analysis.histories(results_of({"environment": crowded}, {"seed": 1}))
    times = frame.set_index("seed")[["train_seconds", "inference_ms"]]
    assert times.loc[0].isna().all(axis=None)
    assert times.loc[1].notna().all(axis=None)
    assert frame.test_loss.notna().all()


def test_histories_are_tidy(results_of):
    runs = [{"losses": (0.9,)}, {"seed": 1}, {"model": "vit_tiny", "losses": (0.5, 0.4)}]
    frame = analysis.histories(results_of(*runs))
    assert tuple(frame) == HISTORY
    assert frame.model.tolist() == ["lenet5"] * 4 + ["vit_tiny"] * 2
    assert frame.seed.tolist() == [0, 1, 1, 1, 0, 0]
    assert frame.epoch.tolist() == [1, 1, 2, 3, 1, 2]


def test_run_table_is_one_row_a_run(results_of):
    frame = analysis.run_table(results_of({}, {"seed": 1}))
    assert frame.seed.tolist() == [0, 1]
    assert frame.wall_seconds.tolist() == pytest.approx(
        [60.6, 60.6]
    )  # the epochs', not the clock's
    assert frame.name.str.match(r"lenet5-s[01]-[0-9a-f]{12}").all()


# --- one row a model ---


def test_summary_is_what_claims_are_judged_on(results_of):
    runs = [{"model": model, "predicted": wrong(5 + n)} for n, model in enumerate(MODELS)]
    costs = [make_cost(make_run(model, test_images=N).record.config) for model in MODELS]
    results = results_of(*runs, costs=costs)
    frame = analysis.summary(results)
    assert list(frame.index) == list(MODELS)
    assert not frame.isna().any(axis=None)
    verdicts = judge_claims(frame, analysis.histories(results))
    untested = verdicts[verdicts.outcome == "not tested here"]
    assert untested.evidence.str.startswith("It takes").all()  # none for want of a column
    assert len(untested) < len(verdicts)


def test_row_of_keeps_each_columns_type(results_of):
    frame = analysis.summary(results_of({"predicted": wrong(3)}))
    row = row_of(frame, "lenet5")
    assert f"{row.parameters:,} {row.best_epoch} {row.test_accuracy:.1f}" == "60,000 2 97.0"
    assert row_of(frame.reset_index(), "lenet5")[:5] == row[:5]
    with pytest.raises(UserError, match=r"0 rows of 'vit_tiny'; there are: lenet5"):
        row_of(frame, "vit_tiny")


def test_provenance_names_run_time_and_commit(results_of):
    row = row_of(analysis.provenance(results_of({})), "lenet5")
    assert (row.seed, row.finished) == (0, "2026-01-01T10:01:30+00:00")
    assert row.minutes == pytest.approx(60.6 / 60)  # three epochs and their tests
    assert (row.commit, row.dirty) == ("c0ffee", False)


def test_environments_are_listed_once_with_their_use(results_of):
    later = ENVIRONMENT.model_copy(update={"started": "2026-05-05T00:00:00+00:00"})
    other = ENVIRONMENT.model_copy(update={"cpu": "Another processor"})
    runs = [{"seed": 0}, {"seed": 1, "environment": later}, {"seed": 2, "environment": other}]
    cost = make_cost(make_run(test_images=N).record.config)
    frame = analysis.environments(results_of(*runs, costs=[cost]))
    assert frame.cpu.tolist() == ["A processor", "Another processor"]
    assert frame[["runs", "costs"]].to_numpy().tolist() == [[2, 1], [1, 0]]
    assert frame.packages.tolist() == ["torch 2.14.1, numpy 2.4.6"] * 2


# --- intervals ---


def differences(only_first, only_second, images):
    """One image each: what the first gets right minus what the second does."""
    return np.repeat([1, -1, 0], [only_first, only_second, images - only_first - only_second])


@pytest.mark.parametrize(
    ("only_first", "only_second", "images", "expected"),
    [
        (1, 7, 21, (-50.8, -1.3)),  # Fagerland et al., Statistics in Medicine 33 (2014) 2850
        (26, 4, 48, (25.48067, 62.51933)),  # Bonett's R package statpsych, ci.prop.ps
    ],
)
def test_paired_interval_against_published_examples(only_first, only_second, images, expected):
    places = len(str(expected[0]).partition(".")[2])
    interval = paired_interval(differences(only_first, only_second, images))
    assert tuple(round(bound, places) for bound in interval) == expected
    swapped = paired_interval(differences(only_second, only_first, images))
    assert swapped == pytest.approx((-interval[1], -interval[0]))


@pytest.mark.parametrize(("accuracy", "images"), [(90, 10_000), (91.5, 10_000), (88, 500)])
def test_share_interval_of_one_run_is_close_to_wilsons(accuracy, images):
    correct = round(images * accuracy / 100)
    found = share_interval(np.repeat([1, 0], [correct, images - correct]))
    reach = np.diff(wilson_interval(accuracy, images))
    assert found == pytest.approx(wilson_interval(accuracy, images), abs=0.02 * reach.item())


def test_share_interval_narrows_where_runs_err_on_different_images():
    one = np.repeat([1.0, 0.0], [900, 100])
    same, other = share_interval(one), share_interval((one + np.roll(one, 100)) / 2)
    assert np.diff(other) < np.diff(same)
    assert np.mean(other) == pytest.approx(np.mean(same))


def test_one_more_value_lies_in_the_next_interval_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(90, 0.3, size=(4000, 6))
    ends = np.array([next_interval(values[:5]) for values in draws])
    inside = (ends[:, 0] <= draws[:, 5]) & (draws[:, 5] <= ends[:, 1])
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)


def test_more_runs_on_the_same_images_narrow_the_interval_by_what_they_average_out():
    one_run = differences(8, 4, 200)
    assert paired_interval(np.mean([one_run] * 5, axis=0)) == pytest.approx(
        paired_interval(one_run)
    )
    other_run = np.roll(one_run, 100)  # right and wrong on other images
    low, high = paired_interval(np.mean([one_run, other_run], axis=0))
    assert high - low < np.diff(paired_interval(one_run))


@pytest.mark.parametrize(("first", "second", "images"), [(0.02, 0.01, 500), (0.1, 0.06, 100)])
def test_paired_interval_covers_the_truth_as_often_as_it_says(first, second, images):
    random = np.random.default_rng(0)
    draws = random.multinomial(images, [first, second, 1 - first - second], size=2000)
    intervals = np.array([paired_interval(differences(a, b, images)) for a, b, _ in draws])
    truth = 100 * (first - second)
    assert 0.94 <= np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])) <= 0.98


def test_paired_interval_stays_within_bounds():
    assert paired_interval(differences(3, 0, 3))[1] == 100
    low, high = paired_interval(differences(0, 0, 10_000))
    assert -0.1 < low < 0 < high < 0.1


def test_combined_intervals_add_their_reaches_as_squares():
    assert combined(10, (7, 14), (6, 13)) == (5, 15)  # 3, 4 and 5
    assert combined(10, (7, 14)) == (7, 14)
    assert combined(10) == (10, 10)


def test_t_interval_by_hand():
    reach = 2.776445 * np.sqrt(2.5 / 5)  # the 97.5 % quantile of t with 4 degrees of freedom
    assert t_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - reach, 3 + reach), abs=1e-6)
    assert t_interval([0.1, 0.1, 0.1]) == pytest.approx((0.1, 0.1))


# --- what is mistaken for what ---


@pytest.fixture
def guessed():
    """Random predictions of two runs."""
    random = np.random.default_rng(1)
    return [np.where(random.random(N) < 0.6, labels(N), random.integers(0, 9, N)) for _ in "ab"]


def slow_scores(predicted, label):
    """Precision, recall, specificity and F1 (percent) of one class and run."""
    pairs = [*zip(labels(N), predicted, strict=True)]
    hit = pairs.count((label, label))
    missed = sum(true == label != guess for true, guess in pairs)
    false_alarm = sum(true != label == guess for true, guess in pairs)
    rest = len(pairs) - hit - missed - false_alarm
    return {
        "precision": 100 * hit / max(hit + false_alarm, 1),
        "recall": 100 * hit / (hit + missed),
        "specificity": 100 * rest / (rest + false_alarm),
        "f1": 100 * 2 * hit / (2 * hit + false_alarm + missed),
    }


def test_confusion_and_scores_against_a_slow_count(results_of, guessed):
    results = results_of(*({"seed": s, "predicted": p} for s, p in enumerate(guessed)))
    pairs = [pair for predicted in guessed for pair in zip(labels(N), predicted, strict=True)]
    counts = predictions.confusion(results, "lenet5")
    scores = predictions.per_class(results, "lenet5").set_index("class")
    assert (counts.index.name, counts.columns.name) == ("true", "predicted")
    assert scores.support.tolist() == [(labels(N) == label).sum() for label in range(10)]
    for label, name in enumerate(CLASS_NAMES):
        for other, other_name in enumerate(CLASS_NAMES):
            assert counts.loc[name, other_name] == pairs.count((label, other))
        one, two = (slow_scores(predicted, label) for predicted in guessed)
        for score in one:
            assert scores[score][name] == pytest.approx((one[score] + two[score]) / 2, abs=1e-4)
            spread = abs(one[score] - two[score]) / np.sqrt(2)
            assert scores[f"{score}_std"][name] == pytest.approx(spread, abs=1e-4)


def test_scores_of_one_run_have_no_spread_and_those_of_all_models_stand_together(results_of):
    results = results_of({}, {"model": "vit_tiny"}, {"model": "vit_tiny", "seed": 1})
    assert list(predictions.per_class(results, "lenet5")) == [
        *("class", "precision", "recall", "specificity", "f1", "support")
    ]
    together = predictions.class_scores(results)
    assert together.model.tolist() == ["lenet5"] * 10 + ["vit_tiny"] * 10
    assert together.f1_std.isna().tolist() == [True] * 10 + [False] * 10


def test_the_most_confused_pairs_come_first_and_ties_in_class_order(results_of):
    true = labels(N)
    predicted = true.copy()
    for label, taken_for, count in [(6, 0, 3), (9, 7, 2), (0, 6, 2), (0, 2, 2), (4, 2, 1)]:
        predicted[np.flatnonzero((true == label) & (predicted == true))[:count]] = taken_for
    results = results_of({"predicted": predicted}, {"model": "vit_tiny"})
    top = predictions.most_confused(results, "lenet5", 4)
    names = CLASS_NAMES
    assert list(top) == ["true", "predicted", "count", "share"]
    assert [*zip(top.true, top.predicted, top["count"], strict=True)] == [
        (names[6], names[0], 3),
        (names[0], names[2], 2),
        (names[0], names[6], 2),
        (names[9], names[7], 2),
    ]
    assert top.share.tolist() == pytest.approx([30, 20, 20, 20])  # of ten images of each class
    assert len(predictions.most_confused(results, "lenet5", 50)) == 5
    assert predictions.most_confused(results, "vit_tiny").empty


def test_the_share_of_a_mistake_has_a_spread_over_runs(results_of):
    shirts = np.flatnonzero(labels(N) == CLASS_NAMES.index("Shirt"))
    runs = []
    for seed, number in enumerate((2, 4)):
        predicted = labels(N).copy()
        predicted[shirts[:number]] = CLASS_NAMES.index("Coat")
        runs.append({"seed": seed, "predicted": predicted})
    row = predictions.most_confused(results_of(*runs), "lenet5").iloc[0]
    one, two = 200 / len(shirts), 400 / len(shirts)
    assert (row["count"], row.share) == (6, pytest.approx((one + two) / 2))
    assert row.share_std == pytest.approx((two - one) / np.sqrt(2))


def test_the_surest_mistakes_come_first(results_of):
    shirts = np.flatnonzero(labels(N) == CLASS_NAMES.index("Shirt"))[:4]
    predicted, probability = labels(N).copy(), np.full(N, 0.99)
    predicted[shirts] = CLASS_NAMES.index("Coat")
    probability[shirts] = [0.5, 0.75, 0.5, 0.25]
    results = results_of({"predicted": predicted, "probability": probability}, {"seed": 1})
    found = predictions.confused_examples(results, "lenet5", "Shirt", "Coat", 3)
    assert list(found) == ["index", "probability", "probability_of_true"]
    assert found["index"].tolist() == [shirts[1], shirts[0], shirts[2]]
    assert found.probability.tolist() == [0.75, 0.5, 0.5]
    assert predictions.confused_examples(results, "lenet5", "Bag", "Coat").empty
    with pytest.raises(UserError, match="unknown class 'Hat'; allowed: T-shirt/top"):
        predictions.confused_examples(results, "lenet5", "Hat", "Coat")


@pytest.mark.parametrize("test_images", [N, None])
def test_images_are_those_the_run_was_tested_on(results_of, test_images):
    results = results_of({"test_images": test_images})
    raw, raw_labels = (tensor.numpy() for tensor in raw_images())
    own = labels(test_images)
    images = predictions.images_at(results, "lenet5", [3, 90])
    assert images.shape == (2, 28, 28)
    for image, label in zip(images, own[[3, 90]], strict=True):
        same = np.abs(raw / 255 - image).max(axis=(1, 2)) < 1e-5
        assert same.any()
        assert set(raw_labels[same]) == {label}


# --- from really trained runs ---


@pytest.mark.parametrize("models", ["", "lenet5", "vit_tiny"])
def test_every_table_works_on_short_real_runs(smoke_store, models):
    seeds = "0" if models == "vit_tiny" else "0,1"
    results = load_results(smoke_store, plan("smoke", models=models, seeds=seeds))
    assert results.draft
    tables = (analysis.run_table, analysis.histories, analysis.table2, analysis.provenance)
    for table in tables:
        # One run has no spread; the made-up times are of another processor.
        lacking = ["epochs_std", "total_train_seconds_std", "ratio"]
        frame = table(results).drop(columns=lacking, errors="ignore")
        assert not frame.isna().any(axis=None)
    frame = analysis.summary(results)
    assert list(frame.index) == results.models
    assert frame.test_accuracy.between(frame.test_accuracy_low, frame.test_accuracy_high).all()
    assert len(analysis.environments(results)) == 2  # the real one, and that of the made-up times
    for model in results.models:
        counts = predictions.confusion(results, model)
        accuracy = 100 * np.trace(counts) / counts.to_numpy().sum()
        assert accuracy == pytest.approx(frame.test_accuracy[model])
        worst = predictions.most_confused(results, model, 1).iloc[0]
        examples = predictions.confused_examples(results, model, worst.true, worst.predicted, 2)
        assert (examples.probability >= examples.probability_of_true).all()
