"""Times by hand, of records with turns and of earlier ones with blocks."""

from math import isnan, sqrt

import numpy as np
import pytest
from made_up import make_cost, make_run, make_turn

from fmnist_lib.results.times import apart, quieter_half, times_of, timing

CONFIGS = {
    model: make_run(model, test_images=100).record.config for model in ("lenet5", "vit_tiny")
}


def cost(model="lenet5", turns=(), **options):
    return make_cost(CONFIGS[model], turns=turns, name=f"{model}-cost", **options)


def test_the_quieter_half_is_that_of_the_smaller_rulers():
    loud = (30.0, 30.0, 90.0)  # while testing alone
    turns = [make_turn(n, ruler) for n, ruler in enumerate((40.0, loud, 30.0, 35.0, 99.0), start=1)]
    assert quieter_half(cost(turns=turns)).train_seconds.tolist() == [3, 4, 1]


def test_a_steady_machine_leaves_times_as_they_are():
    found = times_of({"lenet5": cost(turns=[make_turn(float(n)) for n in range(1, 42)])})["lenet5"]
    train = found["train_seconds"]  # of 1 to 21, all being as quiet
    assert (train, train.low, train.high) == (11, 2, 20)
    assert train.std == pytest.approx(np.std(range(1, 22), ddof=1))
    assert train.sources == ("costs/lenet5-cost",)
    others = [found[name] for name in ("inference_ms", "latency_ms", "latency_ms_p90")]
    assert others == pytest.approx([550, 1.1, 2.2])
    assert others[0].interval == pytest.approx((100, 1000))


def test_the_ruler_takes_out_how_fast_the_machine_was():
    slow, between = (60.0, 60.0, 60.0), (30.0, 60.0, 60.0)
    costs = {
        "lenet5": cost(turns=[make_turn(10.0), make_turn(10.0), *[make_turn(99.0, 999.0)] * 2]),
        "vit_tiny": cost("vit_tiny", [make_turn(40.0, slow), *[make_turn(99.0, 999.0)]]),
    }
    found = times_of(costs)
    assert found["lenet5"]["train_seconds"] == 10  # the reference is 30, of 30, 30, 60
    assert found["vit_tiny"]["train_seconds"] == 20
    assert isnan(found["vit_tiny"]["train_seconds"].std)
    assert found["vit_tiny"]["latency_ms"].sources == ("costs/vit_tiny-cost", "costs/lenet5-cost")
    costs["vit_tiny"] = cost("vit_tiny", [make_turn(40.0, between)])
    found = times_of(costs)["vit_tiny"]
    assert found["train_seconds"] == pytest.approx(40 * 30 / 45)  # the mean of before and after
    assert found["inference_ms"] == pytest.approx(2000 * 30 / 60)


def test_earlier_records_have_medians_and_ranges():
    earlier = cost(blocks=(9, 14, 10))
    found = times_of({"lenet5": earlier, "vit_tiny": cost("vit_tiny", [make_turn(1.0)])})["lenet5"]
    assert (found["train_seconds"], *found["train_seconds"].interval) == (10, 9, 14)
    assert found["train_seconds"].std == pytest.approx(sqrt(7))
    assert (found["inference_ms"], *found["inference_ms"].interval) == (500, 400, 600)
    assert (found["latency_ms"], found["latency_ms_p90"]) == (6, 10)
    assert found["latency_ms"].sources == ("costs/lenet5-cost",)
    short = earlier.model_copy(update={"scaled_to_images": 6_000})
    assert times_of({"lenet5": short})["lenet5"]["train_seconds"] == 100


def test_times_differ_where_their_ranges_do_not_meet():
    def timed(*blocks):
        return times_of({"lenet5": cost(blocks=blocks)})["lenet5"]["train_seconds"]

    assert apart(timed(1, 2), timed(3, 4))
    assert apart(timed(3, 4), timed(1, 2))
    assert not apart(timed(1, 3), timed(3, 4))
    assert not apart(timed(1, 9), timed(3, 4))


def test_how_the_measuring_went():
    turns = [make_turn(10.0, others=1.0), make_turn(20.0, 60.0, steal=4.0), make_turn(99.0, 90.0)]
    costs = {"lenet5": cost(turns=turns), "vit_tiny": cost("vit_tiny", [make_turn(5.0)])}
    found = timing(costs)
    assert (found["turns"], found["minutes"], found["ruler_moved"]) == (
        4,
        1.5,
        3,
    )  # from 10:00:00 to 10:01:30
    assert (found["others_percent"], found["steal_percent"]) == (0.25, 1)
    # LeNet-5's quiet half: 10 and 20 s, the ruler being twice as slow for the latter.
    assert found["spread_plain"] == pytest.approx((100 * 9 / 15 + 0) / 2)
    assert found["spread_normalised"] == pytest.approx(0)
    assert found["turns"].sources == ("costs/lenet5-cost", "costs/vit_tiny-cost")
    assert all(map(isnan, timing({"lenet5": cost()}).values()))
