"""Frames against hand counts, and against what follows from the named sources alone."""

from itertools import combinations
from math import hypot, isnan, sqrt

import numpy as np
import pytest
from made_up import ENVIRONMENT, make_cost, make_run, make_turn, mistaken, stored

from fmnist_lib.errors import UserError
from fmnist_lib.results import tables
from fmnist_lib.results.columns import column
from fmnist_lib.results.load import Results, as_recorded, load_results, variant_of
from fmnist_lib.results.statistics import share_interval
from fmnist_lib.results.value import Value, framed
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.plans import ABLATED, AUGMENTED, DESIGNS, plan
from fmnist_lib.runs.store import RunStore

N = 100  # test images of a made-up run
SHORT, LONG = Stop(patience=2), Stop(patience=4)
MOVES = (0.9, 0.5, 0.6, 0.7, 0.4, 0.5)  # best epoch 2, at the longer patience 5
STAYS = (0.9, 0.5, 0.6, 0.7, 0.8, 0.9)


def wrong(count):
    return mistaken(N, slice(count))


def both(model, seed, short, long):
    """A run that is wrong on `short` images at the first rule and on `long` at the second."""
    predicted = {SHORT.name: wrong(short), LONG.name: wrong(long)}
    losses = MOVES if short != long else STAYS
    run = {"model": model, "seed": seed, "predicted": predicted, "losses": losses}
    return {**run, "stops": (SHORT, LONG)}


@pytest.fixture
def patient(tmp_path):
    """Two models with two seeds; the longer patience helps ViT-Tiny alone."""
    runs = [("mobilenet_lite", 0, 10, 10), ("mobilenet_lite", 1, 12, 12)]
    runs += [("vit_tiny", 0, 40, 20), ("vit_tiny", 1, 41, 19)]
    return stored(tmp_path, *(both(*run) for run in runs), rule=SHORT.name)


# --- loading ---


def test_runs_come_in_the_papers_order_then_by_seed(tmp_path):
    relu = {"model_options": {"activation": "relu"}}
    runs = [{"model": "vit_tiny"}, relu, {"seed": 2}, {"model": "baseline_cnn"}, {}]
    results = stored(tmp_path, *runs)
    assert results.models == ["lenet5", "vit_tiny", "baseline_cnn"]
    assert [run.config.seed for run in results.of("lenet5")] == [0, 2]
    assert [variant_of(run.config) for run in results.runs][1:4] == ["paper", "relu", "paper"]
    assert tables.models_frame(results).n["lenet5"] == 2
    with pytest.raises(UserError, match="no results for 'resnet_mini'"):
        results.of("resnet_mini")


def test_planned_variants_have_their_names_whatever_the_protocol():
    protocol = {"protocol": "split", "seed": 3, "test_images": 500}
    for known in (*ABLATED, *DESIGNS, *AUGMENTED):
        config = make_config(model=known.model, **known.settings, **protocol)
        assert variant_of(config) == known.name
    assert variant_of(make_config(model="lenet5", **protocol)) == "paper"
    assert variant_of(make_config(model="lenet5", batch_size=7)) == '{"batch_size": 7}'


def test_what_is_missing_is_left_out_and_nothing_counts_twice(tmp_path):
    results = stored(tmp_path, {})
    (config,), absent = (run.config for run in results.runs), make_config(model="vit_tiny")
    assert len(load_results(results.store, [config, absent, config]).runs) == 1
    assert results.draft  # being shortened
    assert not Results(None, (make_run().record,)).draft
    with pytest.raises(UserError, match=f"no record of {absent.name}"):
        load_results(results.store, [absent])
    with pytest.raises(UserError, match=r"'test_loss-p9'; there are: test_loss-p5"):
        load_results(results.store, [config], rule="test_loss-p9")
    with pytest.raises(UserError, match="more than the seed"):  # whose mean would mean nothing
        stored(tmp_path, {}, {"seed": 1, "test_images": 50})


def test_runs_are_found_as_recorded_for_the_rules_asked_for(tmp_path):
    asked = make_run(test_images=N).record.config
    store = stored(tmp_path, {"precision": "bf16", "stops": (Stop(), LONG)}).store
    (found,) = as_recorded(store, [asked])
    assert (found.precision, found.stops) == ("bf16", (Stop(),))


def test_costs_are_the_newest_of_the_machine_that_timed_the_most(tmp_path):
    models = ("lenet5", "vit_tiny", "baseline_cnn")
    lenet, vit, cnn = (make_run(model, test_images=N).record.config for model in models)
    later = [f"2026-{month:02}-01T00:00:00+00:00" for month in range(10)]
    elsewhere = ENVIRONMENT.model_copy(update={"cpu": "Another", "finished": later[9]})
    costs = [
        *(make_cost(lenet, name="new", finished=later[3]), make_cost(lenet, name="old")),
        make_cost(make_run(batch_size=32, test_images=N).record.config, finished=later[4]),
        make_cost(lenet, name="there").model_copy(update={"environment": elsewhere}),
        make_cost(lenet, name="bare", finished=later[5]).model_copy(update={"turns": ()}),
        *(make_cost(vit, name="vit"), make_cost(cnn, name="cnn")),
    ]
    found = stored(tmp_path, {}, {"model": "vit_tiny"}, costs=costs).costs
    # Also of a model without runs, since the ruler is that of all models timed.
    names = {model: cost.name for model, cost in found.items()}
    assert names == dict(zip(models, ("new", "vit", "cnn"), strict=True))


# --- one row a model ---


def test_means_spreads_and_intervals_by_hand(tmp_path):
    losses = [(0.9, 0.5, 0.7), (0.4, 0.5), (0.9, 0.8, 0.3)]  # best epochs 2, 1, 3
    runs = ({"seed": s, "losses": losses[s], "predicted": wrong(5 + 2 * s)} for s in range(3))
    results = stored(tmp_path, *runs, {"model": "vit_tiny", "predicted": wrong(7)})
    frame = tables.models_frame(results)
    lenet, vit = tables.namespace(frame).values()
    assert (lenet.name, lenet.title, lenet.n, lenet.parameters) == ("lenet5", "LeNet-5", 3, 60_000)
    assert (lenet.macs.sources, lenet.difference.sources[3:]) == (("model:lenet5",), ("paper",))
    assert (lenet.best_epoch, lenet.best_epoch.std, lenet.epochs) == (2, 1, pytest.approx(8 / 3))
    assert (lenet.test_loss, lenet.test_loss.std) == (pytest.approx(0.4), pytest.approx(0.1))
    assert (lenet.test_accuracy, lenet.test_accuracy.std) == (93, 2)
    assert lenet.test_accuracy.parts == {"seed 0": 95, "seed 1": 93, "seed 2": 91}
    over_seeds = 4.302653 * 2 / sqrt(3)  # the 97.5 % quantile of t with 2 degrees of freedom
    # Wrong are 5, 7 and 9 images, always the first ones: 5 in all runs, 2 in two, 2 in one.
    low, high = share_interval(np.repeat([0, 1 / 3, 2 / 3, 1], [5, 2, 2, 91]))
    assert lenet.test_accuracy.low == pytest.approx(93 - hypot(over_seeds, 93 - low))
    assert lenet.test_accuracy.high == pytest.approx(93 + hypot(over_seeds, high - 93))
    assert lenet.next_run.high == pytest.approx(93 + 4.302653 * 2 * sqrt(4 / 3))
    assert lenet.gap.parts == {"seed 0": 82 - 95, "seed 1": 81 - 93, "seed 2": 83 - 91}
    assert (lenet.difference, lenet.test_accuracy_paper) == (pytest.approx(93 - 89.07), 89.07)
    assert (lenet.train_seconds_paper.std, lenet.parameters_paper) == (0.65, 62_000)
    assert vit.test_accuracy.interval == pytest.approx((86.25, 96.57), abs=0.01)  # Wilson's
    assert isnan(vit.test_accuracy.std)
    assert isnan(vit.next_run.low)
    same = stored(tmp_path / "same", {}, {"seed": 1})
    assert tables.measured(same, "lenet5", "test_accuracy").interval == share_interval(np.ones(N))


def test_times_and_what_follows_from_them(tmp_path):
    elsewhere = ENVIRONMENT.model_copy(update={"cpu": "Another processor"})
    crowded = ENVIRONMENT.model_copy(update={"runs_beside": 23})
    costs = [make_cost(make_run(test_images=N).record.config, blocks=(9.0, 10.0, 14.0))]
    runs = [
        {"losses": (0.9, 0.5)},  # epochs of 10 and 20 s
        {"losses": (0.9, 0.5, 0.4, 0.3), "seed": 1, "environment": elsewhere},
        {"losses": (0.9, 0.5, 0.4, 0.3), "seed": 2, "environment": crowded},
        {"model": "vit_tiny", "environment": elsewhere},
    ]
    frame = tables.models_frame(stored(tmp_path, *runs, costs=costs))
    lenet, vit = tables.namespace(frame).values()
    assert lenet.total_train_seconds == pytest.approx(10 * 10 / 3)
    low, high = lenet.train_seconds.interval
    assert lenet.total_train_seconds.interval == pytest.approx((low * 10 / 3, high * 10 / 3))
    assert lenet.total_train_seconds.std == pytest.approx(10 * lenet.epochs.std)
    assert lenet.total_train_seconds.parts["seed 0"] == 20
    assert lenet.train_us_per_parameter.high == pytest.approx(high * 1e6 / 60_000)
    assert (lenet.train_seconds_in_runs, lenet.ratio, lenet.ratio.high) == (15, 1.5, 15 / low)
    unknown = (vit.train_seconds, vit.total_train_seconds, vit.train_seconds_in_runs, vit.ratio)
    assert all(map(isnan, unknown))


def test_epochs_are_timed_as_if_over_all_training_images():
    fold = {"protocol": "fold", "fold": 1, "validation_images": 4_800}
    for settings, images in (({"train_images": 600}, 600), (fold, 43_200)):
        run = make_run(test_images=N, losses=(0.9, 0.5), **settings).record
        frame = tables.epochs_frame(Results(None, (run,)))
        assert (frame.train_seconds * images).tolist() == pytest.approx([600_000, 1_200_000])
        assert (frame.epoch.tolist(), frame.test_loss.tolist()) == ([1, 2], [0.9, 0.5])
        assert tables.results_csv(Results(None, (run,))).train_images.tolist() == [images]


def test_everything_is_read_at_the_stopping_rule(patient):
    long = patient.longer()
    assert (long.rule, long.longer()) == (LONG.name, None)
    assert tables.runs_frame(patient).best_epoch.tolist() == [2, 2, 2, 2]
    assert tables.runs_frame(long).best_epoch.tolist() == [2, 2, 5, 5]
    assert tables.runs_frame(patient).fired.all()
    assert len(tables.epochs_frame(patient)) == 4 * 4
    assert len(tables.epochs_frame(long)) == 4 * 6


def test_what_the_longer_patience_adds(patient):
    mobilenet, vit = tables.namespace(tables.models_frame(patient)).values()
    assert (vit.test_accuracy, vit.test_accuracy_long, vit.gain) == (59.5, 80.5, 21)
    assert (vit.best_epoch_long, vit.epochs_long, vit.test_loss_long) == (5, 6, 0.4)
    assert vit.gain.parts == {"seed 0": 20, "seed 1": 22}
    lead = np.repeat([0, 0.5, 1, 0.5, 0], [19, 1, 20, 1, 59])  # of both runs, on each image
    reach = hypot(1, 100 * np.std(lead, ddof=1) / 10)
    assert vit.gain.high > 21 + 2 * reach
    assert (vit.later, vit.later_most) == (2, 100)
    assert (mobilenet.gain, mobilenet.later) == (0, 0)
    assert isnan(mobilenet.gain.high)  # equal in these runs, which is no interval without width
    assert mobilenet.later_most == pytest.approx(100 * (1 - sqrt(0.05)))


def test_only_runs_that_hold_both_rules_gain(tmp_path):
    runs = both("lenet5", 0, 9, 3), {"seed": 7, "stops": (SHORT,)}
    results = stored(tmp_path, *runs, rule=SHORT.name)
    row = tables.models_frame(results).loc["lenet5"]
    assert (row.n, row.gain, row.test_accuracy_long) == (2, 6, 97)
    assert row.gain.sources == (results.of("lenet5")[0].name,)
    assert row.gain.low == pytest.approx(6 - 1.96 * 100 * sqrt(0.06 * 0.94 / 99), abs=1e-3)
    plain = tables.models_frame(stored(tmp_path / "plain", {}))
    assert plain[["gain", "later", "later_most", "epochs_long"]].isna().all(axis=None)


# --- pairs ---


def test_pairs_are_corrected_for_all_of_them(tmp_path):
    mistakes = {"lenet5": (3, 9, 4), "vit_tiny": (48, 49, 52), "baseline_cnn": (5, 7, 4)}
    wrongs = [(model, *each) for model, counts in mistakes.items() for each in enumerate(counts)]
    runs = ({"model": m, "seed": seed, "predicted": wrong(count)} for m, seed, count in wrongs)
    results = stored(tmp_path, *runs)
    frame = tables.pairs(results)
    row = frame.loc["lenet5_vit_tiny"]
    assert (row["first"], row.second) == ("LeNet-5", "ViT-Tiny")
    assert row.difference == pytest.approx((48 + 49 + 52 - 16) / 3)
    assert frame.differs.tolist() == ["yes", "undecided", "yes"]
    found = [tables.compare(results, *pair)[1] for pair in combinations(mistakes, 2)]
    low, middle, high = sorted(each.p_differs() for each in found)
    corrected = [3 * low, max(3 * low, 2 * middle), max(2 * middle, high)]
    assert sorted(frame.p_holm) == pytest.approx(corrected)
    both_models = {run.name for m in ("lenet5", "vit_tiny") for run in results.of(m)}
    assert set(row.difference.sources) == both_models
    assert set(row.p_holm.sources) == {run.name for run in results.runs}
    low, high = frame.difference["lenet5_baseline_cnn"].interval
    assert low < 0 < high
    turned, _ = tables.compare(results, "vit_tiny", "lenet5")
    assert turned.interval == pytest.approx((-row.difference.high, -row.difference.low))
    gap, _ = tables.compare(results, "vit_tiny", "lenet5", "gap")  # all train accuracies are alike
    assert gap.interval == pytest.approx(row.difference.interval)
    epochs, found = tables.compare(results, "vit_tiny", "lenet5", "best_epoch")
    assert (epochs, found.p_differs(), isnan(epochs.low)) == (0, 1, True)


def test_equal_models_are_shown_to_be_so(tmp_path):
    size = 10_000
    one, other = mistaken(size, slice(0, 2)), mistaken(size, slice(2, 4))
    runs = [{"predicted": one}, {"model": "vit_tiny", "predicted": other}]
    results = stored(tmp_path, *({**run, "test_images": None} for run in runs))
    row = tables.pairs(results).iloc[0]
    assert (row.difference, row.differs) == (0, "no")
    assert row.difference.high == pytest.approx(1.96 * 100 * 2 / size, abs=1e-3)
    same = tables.pairs(stored(tmp_path / "same", {}, {"model": "vit_tiny"})).iloc[0]
    assert (same.p_holm, same.differs) == (1, "undecided")
    with pytest.raises(UserError, match="same images"):
        tables.pairs(stored(tmp_path / "unlike", {}, {"model": "vit_tiny", "test_images": 50}))
    assert tables.pairs(stored(tmp_path / "alone", {})).empty


# --- prose and files ---


def test_rows_for_prose(patient):
    frame = tables.models_frame(patient)
    assert tables.top(frame, "test_accuracy").name == "mobilenet_lite"
    assert tables.top(frame, "test_accuracy", lowest=True).title == "ViT-Tiny"
    assert tables.top(frame, "train_seconds").name == "mobilenet_lite"  # neither was timed


def test_flat_frames_hold_numbers_and_their_spread():
    first = {"title": "A", "n": Value(2), "test_loss": Value(0.5, std=0.1)}
    frame = framed({"a": first, "b": {**first, "test_loss": Value(1)}}).rename_axis("model")
    text = tables.to_csv(tables.flat(frame)).decode()
    assert text == "model,title,n,test_loss,test_loss_std\na,A,2,0.5,0.1\nb,A,2,1.0,\n"


@pytest.mark.parametrize("models", ["", "lenet5", "vit_tiny"])
def test_every_frame_works_on_short_real_runs_and_is_described(smoke_store, models):
    seeds = "0" if models == "vit_tiny" else "0,1"
    results = load_results(smoke_store, plan("smoke", models=models, seeds=seeds))
    frame = tables.models_frame(results)
    assert list(frame.index) == results.models
    for accuracy in frame.test_accuracy:
        assert accuracy.low <= accuracy <= accuracy.high
    files = [tables.in_file(tables.flat(frame), table) for table in ("table1", "table2")]
    for each in (frame, tables.pairs(results), tables.results_csv(results), *files):
        assert tables.to_csv(tables.flat(each))
        assert all(column(name) for name in each)


def test_numbers_follow_from_the_sources_that_they_name(tmp_path):
    """Each Value again, from a store that holds nothing but the records it names."""
    lenet, vit = (make_run(m, test_images=N).record.config for m in ("lenet5", "vit_tiny"))
    costs = [make_cost(lenet, turns=[make_turn(10.0), make_turn(12.0, 40.0)])]
    costs += [make_cost(vit, turns=[make_turn(30.0, 60.0)])]
    runs = [("lenet5", 0, 9, 3), ("lenet5", 1, 8, 3), ("vit_tiny", 0, 20, 20)]
    runs += [("vit_tiny", 1, 30, 21)]
    results = stored(tmp_path / "all", *(both(*r) for r in runs), costs=costs, rule=SHORT.name)
    configs, again = [run.config for run in results.runs], {}

    def of_these(names):
        store = RunStore(tmp_path / str(len(again)))
        for run in [run for run in results.runs if run.name in names]:
            results.store.copy(run, store)
        for cost in [cost for cost in costs if f"costs/{cost.name}" in names]:
            store.write_cost(cost)
        return tables.models_frame(load_results(store, configs, rule=SHORT.name))

    for model, row in tables.models_frame(results).iterrows():
        for name, number in row.items():
            if name == "title" or isnan(number) or name.endswith("_paper"):
                continue
            own, named = results.of(model), frozenset(number.sources)
            if not named & {run.name for run in own}:  # what a model is, any run of it tells
                named |= {own[0].name}
            if named not in again:
                again[named] = of_these(named)
            found = again[named].loc[model, name]
            spreads = [(each, each.std, each.low, each.high) for each in (found, number)]
            assert spreads[0] == pytest.approx(spreads[1], nan_ok=True), name
