"""What choosing by test images adds, where chance comes from, and families of one device."""

from math import isnan, sqrt

import numpy as np
import pytest
from made_up import BY_TEST, BY_VALIDATION, make_cost, make_run, split_run, stored
from scipy import stats

from fmnist_lib.commands.notebook import open_results
from fmnist_lib.errors import UserError
from fmnist_lib.report.sections import tied
from fmnist_lib.results import tables
from fmnist_lib.results.load import Results, recorded_family
from fmnist_lib.results.statistics import share_interval
from fmnist_lib.runs.plans import SPLIT
from fmnist_lib.runs.store import RunStore


@pytest.fixture
def held(tmp_path):
    """Two models with two seeds; epoch 2 has the lowest test loss, 3 the lowest validation loss."""
    runs = [("lenet5", 0, 5, 8), ("lenet5", 1, 6, 10), ("vit_tiny", 0, 20, 19)]
    runs += [("vit_tiny", 1, 20, 21)]
    return stored(tmp_path, *(split_run(*each) for each in runs), rule=BY_VALIDATION.name)


def test_optimism_and_the_parts_of_chance_by_hand(held):
    frame = tables.honesty(held)
    lenet, vit = tables.namespace(frame).values()
    assert (lenet.test_accuracy, lenet.tested, lenet.best_epoch) == (91, 94.5, 3)
    assert lenet.optimism.parts == {"seed 0": 3, "seed 1": 4}
    reach = 12.7062 * sqrt(0.5) / sqrt(2)  # t with one degree of freedom
    assert lenet.optimism.interval == pytest.approx((3.5 - reach, 3.5 + reach), abs=1e-3)
    assert (vit.optimism, vit.optimism.parts) == (0, {"seed 0": -1, "seed 1": 1})
    assert lenet.seed_error == pytest.approx(sqrt(2) / sqrt(2))  # 92 and 90 %
    low, high = share_interval(np.repeat([0, 0.5, 1], [8, 2, 90]))
    assert lenet.image_error == pytest.approx((high - low) / 2 / 1.959964)
    assert set(lenet.seed_error.sources) == {r.name for r in held.of("lenet5")}

    mean = tables.over_models(frame.optimism)
    assert (mean, mean.parts) == (1.75, {"LeNet-5": 3.5, "ViT-Tiny": 0})
    error = sqrt((0.5 / 2 + 2 / 2) / 4)  # variances of both means, over two models squared
    freedom = error**4 / ((0.25 / 4) ** 2 + (1 / 4) ** 2)
    assert freedom == pytest.approx(1.47, abs=0.01)
    assert mean.high - mean == pytest.approx(error * stats.t.ppf(0.975, freedom))


def test_of_one_run_a_model_nothing_is_said_of_chance(tmp_path):
    alone = stored(tmp_path, split_run("lenet5", 0, 5, 8), rule=BY_VALIDATION.name)
    frame = tables.honesty(alone)
    assert (frame.optimism["lenet5"], tables.over_models(frame.optimism)) == (3, 3)
    assert isnan(tables.over_models(frame.optimism).low)
    assert isnan(frame.seed_error["lenet5"])


def by_fold(model, accuracies):
    """Runs that hold a fold out each, with these accuracies on it; all test images are right."""
    for fold, accuracy in enumerate(accuracies):
        how = {"protocol": "fold", "validation_images": 4_800, "partition": fold // 5}
        record = make_run(model, fold=fold % 5, **how).record
        kept = record.stops[BY_TEST.name].model_copy(
            update={"fold_accuracy": accuracy, "fold_loss": 0.5}
        )
        yield record.model_copy(update={"stops": {BY_TEST.name: kept}})


def test_folds_are_paired_and_their_variance_corrected():
    lenet, vit = [90.0, 91.0, 92.0, 93.0, 94.0], [88.0, 90.0, 90.0, 90.0, 92.0]
    results = Results(None, (*by_fold("lenet5", lenet), *by_fold("vit_tiny", vit)))
    assert results.folding == {"folds": 5, "tested": 12_000 / 43_200}
    own = tables.measured(results, "lenet5", "test_accuracy")
    factor = 0.2 + 12_000 / 43_200
    assert (own, own.parts["seed 0, partition 0, fold 4"]) == (92, 94)
    assert own.high - own == pytest.approx(2.776445 * sqrt(2.5 * factor))
    found, estimate = tables.compare(results, "lenet5", "vit_tiny")
    assert (found, estimate.df) == (2, 4)  # 2, 1, 2, 3, 2
    assert found.high - found == pytest.approx(2.776445 * sqrt(0.5 * factor))
    both = Results(None, (*by_fold("lenet5", lenet * 2), *by_fold("vit_tiny", vit * 2)))
    assert tables.compare(both, "lenet5", "vit_tiny")[1].df == 8  # of two partitions
    few = Results(None, (*by_fold("lenet5", lenet), *by_fold("vit_tiny", vit[:4])))
    with pytest.raises(UserError, match="same folds"):
        tables.compare(few, "lenet5", "vit_tiny")


def test_a_fold_is_set_beside_the_test_images_of_the_same_network():
    """All the test images are right: 100 %, so that the folds are harder by what is wrong there."""
    lenet = tables.by_fold(Results(None, tuple(by_fold("lenet5", [90.0, 91.0, 92.0, 93.0, 94.0]))))
    (row,) = tables.namespace(lenet).values()
    assert (row.n, row.fold_accuracy, row.test_accuracy, row.easier) == (5, 92, 100, -8)
    assert row.easier.parts["seed 0, partition 0, fold 4"] == -6
    reach = 2.776445 * sqrt(2.5 * (0.2 + 12_000 / 43_200))
    assert row.easier.interval == pytest.approx((-8 - reach, -8 + reach))


def test_a_family_is_of_the_device_that_trained_the_most_of_it(tmp_path):
    store = RunStore(tmp_path)
    rules = SPLIT["stops"]
    shown = {"protocol": "split", "stops": rules, "validation_losses": (0.9, 0.6, 0.4)}
    for device, seeds in (("cpu", (0, 1)), ("cuda", (0, 1, 7))):
        for seed in seeds:
            store.write(make_run(seed=seed, device=device, **shown))
    found = recorded_family(store, "study", "split")
    assert [(config.device, config.seed) for config in found] == [("cuda", s) for s in (0, 1, 7)]
    assert recorded_family(store, "study", "split", models="vit_tiny") == []
    results = open_results(family="split", rule=BY_VALIDATION.name, records=tmp_path)
    assert {r.config.device for r in results.runs} == {"cuda"}


def test_runs_that_hold_images_out_have_the_times_of_their_models(tmp_path):
    plain = make_run(test_images=100).record.config
    results = stored(tmp_path, split_run("lenet5", 0, 5, 8), costs=[make_cost(plain)])
    assert results.costs["lenet5"].config == plain
    assert tables.models_frame(results).train_seconds["lenet5"] == pytest.approx(10)


def test_who_is_tied_is_who_does_not_differ(held):
    pairs = tables.pairs(held)
    assert pairs.differs["lenet5_vit_tiny"] == "yes"
    assert tied(pairs, "LeNet-5") == []
    assert pairs.detectable["lenet5_vit_tiny"] > 0
