"""What models cost, against counts made by hand and files really written."""

import time
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest
import torch

from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.models import MODELS
from fmnist_lib.runs import cost
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.cost import cost_name, count_macs, measure_costs
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore

# Of one image, counted by hand from the layers' shapes, without biases, norms and pooling.
MACS = (416_520, 1_257_696, 3_863_872, 1_515_968, 5_926_016, 508_352)
SIZES = (247_640, 55_528, 54_584, 63_576, 426_008, 27_600)  # bytes


FEW = {"train_images": 64, "test_images": 50}


@pytest.fixture(scope="module")
def images():
    return load(**FEW)


def configs(*models):
    return [make_config(model=model, max_epochs=1, **FEW) for model in models]


@pytest.mark.parametrize(("model", "macs", "size"), [*zip(MODELS, MACS, SIZES, strict=True)])
def test_a_record_has_the_macs_by_hand_and_the_bytes_of_the_released_weights(
    model, macs, size, images
):
    record = run_experiment(*configs(model), data=images).record
    assert (record.macs, record.checkpoint_bytes) == (macs, size)


def test_options_change_the_macs():
    before = torch.get_rng_state()
    by_hand = 9 * (28 * 28 * 16 + 14 * 14 * 16 * 16 + 7 * 7 * 16 * 32) + 32 * 10
    assert count_macs("baseline_cnn", {"widths": [16, 16, 32]}) == by_hand
    assert torch.equal(torch.get_rng_state(), before)  # no weights are drawn


# --- times ---


@pytest.mark.parametrize(("minutes", "rounds"), [(0, 2), (2, 6)])
def test_models_take_turns_for_the_time_given_but_two_at_least(
    images, tmp_path, monkeypatch, minutes, rounds
):
    """With a clock that moves by 20 seconds whenever it is asked."""
    order, told, seconds = [], [], iter(range(0, 10_000, 20))
    turn = cost.Timing.take_turn

    def noted(self):
        order.append(self.config.model)
        return turn(self)

    monkeypatch.setattr(cost.Timing, "take_turn", noted)
    clock = SimpleNamespace(monotonic=lambda: next(seconds), perf_counter=time.perf_counter)
    monkeypatch.setattr(cost, "time", clock)
    pair, store = configs("lenet5", "baseline_cnn"), RunStore(tmp_path)
    first, second = measure_costs(pair, images, minutes=minutes, on_minute=told.append)
    assert told == list(range(1, minutes + 1))
    assert order == ["lenet5", "baseline_cnn"] * (1 + rounds)  # once to warm up
    assert [len(record.turns) for record in (first, second)] == [rounds, rounds]
    assert [record.config for record in (first, second)] == pair
    assert first.environment.threads == 1
    store.write_cost(first)
    assert store.costs() == [first]


def test_times_are_of_all_images_and_a_busy_neighbour_shows_beside_them(images, monkeypatch):
    """A minute and a half in the warm-up, one in the first round, half of one in the second."""
    seconds, clock, turn = iter([90.0, 60.0, 30.0]), SimpleNamespace(now=0.0), cost.Timing.take_turn

    def timed(self):
        clock.turn = next(seconds)
        return turn(self)

    def seconds_of(action):
        action()
        clock.now += 0.01  # of two cores: a quarter idle, a tenth stolen, two fifths ours
        return clock.turn

    times = namedtuple("Times", ["user", "system", "idle", "iowait", "steal", "guest"])
    share = times(0.52, 0.08, 0.25, 0.05, 0.10, 0.30)  # what guests take is in `user`
    own = SimpleNamespace
    monkeypatch.setattr(cost.Timing, "take_turn", timed)
    monkeypatch.setattr(cost, "seconds_of", seconds_of)
    monkeypatch.setattr(psutil, "cpu_times", lambda: times(*(2 * clock.now * s for s in share)))
    monkeypatch.setattr(
        *(psutil.Process, "cpu_times"),
        lambda self: own(user=0.7 * clock.now, system=0.1 * clock.now),
    )
    (record,) = measure_costs(configs("lenet5"), images, minutes=0)
    assert (record.block_images, record.inference_images) == (64, 50)
    assert record.scaled_to_images == 60_000
    for took, measured in zip((60, 30), record.turns, strict=True):
        assert measured.train_seconds == pytest.approx(took * 60_000 / 64)
        assert measured.inference_ms == pytest.approx(took * 1000 * 10_000 / 50)
        assert {measured.latency_ms, measured.latency_ms_p90, *measured.ruler_ms} == {took * 1000}
        assert measured.steal_percent == pytest.approx(10)
        assert measured.others_percent == pytest.approx(20)


def test_runs_that_cost_the_same_share_a_measurement():
    def name(**settings):
        return cost_name(make_config(**{"model": "lenet5"} | settings))

    assert name(seed=1) == name(stops=[Stop(patience=20)]) == name()
    others = name(batch_size=128), name(model_options={"activation": "relu"}), name(device="cuda")
    assert len({*others, name(model="baseline_cnn"), name(train_images=640), name()}) == 6
