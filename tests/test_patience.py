"""What a longer patience adds, from records with both rules whose numbers are chosen."""

import re

import numpy as np
import pytest
from made_up import make_run, mistaken
from test_findings import N, results_of  # noqa: F401, a fixture

from fmnist_lib.reporting import patience, standing
from fmnist_lib.reporting.analysis import load_results
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.store import RunStore

SHORT, LONG = Stop(patience=2), Stop(patience=4)
LOSSES = {
    False: (0.9, 0.5, 0.6, 0.7, 0.8, 0.9),  # best epoch 2 for both
    True: (0.9, 0.5, 0.6, 0.7, 0.4, 0.5),  # the patient rule finds epoch 5
}


def both(store, model, seed, short, long):
    """A run that is wrong on `short` images at the first rule and on `long` at the second."""
    predicted = {SHORT.name: mistaken(N, range(short)), LONG.name: mistaken(N, range(long))}
    losses = LOSSES[short != long]
    run = make_run(
        model, seed, predicted=predicted, losses=losses, stops=(SHORT, LONG), test_images=N
    )
    store.write(run)
    return run.record.config


@pytest.fixture
def results(tmp_path):
    """Two models with two seeds; the patient rule helps ViT-Tiny alone."""
    store = RunStore(tmp_path)
    runs = [
        *(("mobilenet_lite", 0, 10, 10), ("mobilenet_lite", 1, 12, 12)),
        *(("vit_tiny", 0, 40, 20), ("vit_tiny", 1, 41, 19)),
    ]
    configs = [both(store, *run) for run in runs]
    return load_results(store, configs, rule=SHORT.name)


def test_what_was_kept_at_both_stands_in_one_row(results):
    mobilenet, vit = patience.table(results).itertuples(index=False)
    assert (vit.n, vit.later, vit.best_epoch, vit.best_epoch_long) == (2, 2, 2, 5)
    assert (vit.epochs, vit.epochs_long) == (4, 6)
    assert (vit.test_loss, vit.test_loss_long) == (0.5, 0.4)
    assert (vit.test_accuracy, vit.test_accuracy_long, vit.gain) == (59.5, 80.5, 21)
    assert vit.test_accuracy_long_std == pytest.approx(np.sqrt(0.5))
    assert (mobilenet.later, mobilenet.best_epoch_long, mobilenet.gain) == (0, 2, 0)
    assert mobilenet.gain_low == mobilenet.gain_high == 0  # the same weights, on any images
    assert vit.gain_low < 21 - 12.706 < 21 + 12.706 < vit.gain_high  # 20 and 22: t, and the images


def test_every_runs_gain_is_its_own(results):
    each = patience.gain_of_each(results)
    assert each.gain.tolist() == [0, 0, 20, 22]
    assert each.seed.tolist() == [0, 1, 0, 1]


def test_the_effect_in_words(results):
    found = patience.effect(results)
    assert (found.shorter, found.longer, found.runs, found.later) == (2, 4, 4, 2)
    assert (found.most_model, found.most, found.least) == ("ViT-Tiny", 21, 0)
    assert found.clear == "By more than chance it rises for ViT-Tiny."
    assert found.largest == 21
    assert re.fullmatch(
        r"2 of 4 runs \(.+, seed \d and .+, seed \d\) reached the limit of 100 epochs before the"
        r" longer patience was used up\.",
        found.cut,
    )
    assert found.factor == (6 + 6 + 6 + 6) / (4 + 4 + 4 + 4)
    assert "what a longer patience adds" in standing.shown(results).new
    # ViT-Tiny gains, MobileNet-Lite nothing: a claim about both does not hold.
    assert standing.judged(results).set_index("id").outcome["C12"] == "does not hold"


def test_the_largest_change_may_be_a_loss(tmp_path):
    store = RunStore(tmp_path)
    configs = [both(store, "lenet5", 0, 10, 9), both(store, "vit_tiny", 0, 10, 40)]
    found = patience.effect(load_results(store, configs, rule=SHORT.name))
    assert (found.least, found.most) == (-30, 1)
    assert (found.most_model, found.largest) == ("ViT-Tiny", -30)
    assert found.clear.endswith("falls for ViT-Tiny.")


def test_only_runs_that_hold_both_rules_count(tmp_path):
    store = RunStore(tmp_path)
    plain = make_run(seed=7, stops=(SHORT,), test_images=N)
    store.write(plain)
    configs = [both(store, "lenet5", 0, 9, 3), plain.record.config]
    results = load_results(store, configs, rule=SHORT.name)
    (row,) = patience.table(results).itertuples()
    assert (row.n, row.test_accuracy, row.test_accuracy_long) == (1, 91, 97)


def test_without_a_longer_patience_there_is_nothing(results_of):  # noqa: F811
    results = results_of({}, {"seed": 1})
    assert patience.read_twice(results) is None
    assert patience.effect(results) is None
    assert patience.table(results).empty
    assert standing.judged(results).set_index("id").outcome["C12"] == "not tested here"
