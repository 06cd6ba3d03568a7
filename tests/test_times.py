"""Times by hand, of turns beside a ruler."""

from math import isnan

import numpy as np
import pytest
from made_up import make_cost, make_run, make_turn

from fmnist_lib.results.times import quieter_half, rounds, times_of, timing
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.cost import count_macs

CONFIGS = {
    model: make_run(model, test_images=100).record.config for model in ("lenet5", "vit_tiny")
}
LOUD = make_turn(99.0, 999.0)


def cost(*turns, model="lenet5"):
    return make_cost(CONFIGS[model], turns=turns, name=f"{model}-cost")


def test_the_quieter_half_is_that_of_the_smaller_rulers():
    loud = (30.0, 30.0, 90.0)  # while testing alone
    turns = [make_turn(n, ruler) for n, ruler in enumerate((40.0, loud, 30.0, 35.0, 99.0), start=1)]
    assert quieter_half(cost(*turns)).train_seconds.tolist() == [3, 4, 1]


def test_a_steady_machine_leaves_times_as_they_are():
    found = times_of({"lenet5": cost(*(make_turn(float(n)) for n in range(1, 42)))})["lenet5"]
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
        "lenet5": cost(make_turn(10.0), make_turn(10.0), LOUD, LOUD),
        "vit_tiny": cost(make_turn(40.0, slow), LOUD, model="vit_tiny"),
    }
    found = times_of(costs)
    assert found["lenet5"]["train_seconds"] == 10  # the reference is 30, of 30, 30, 60
    assert found["vit_tiny"]["train_seconds"] == 20
    assert isnan(found["vit_tiny"]["train_seconds"].std)
    assert found["vit_tiny"]["latency_ms"].sources == ("costs/vit_tiny-cost", "costs/lenet5-cost")
    costs["vit_tiny"] = cost(make_turn(40.0, between), model="vit_tiny")
    found = times_of(costs)["vit_tiny"]
    assert found["train_seconds"] == pytest.approx(40 * 30 / 45)  # the mean of before and after
    assert found["inference_ms"] == pytest.approx(2000 * 30 / 60)


def test_how_the_measuring_went():
    turns = [make_turn(10.0, others=1.0), make_turn(20.0, 60.0, steal=4.0), make_turn(99.0, 90.0)]
    found = timing({"lenet5": cost(*turns), "vit_tiny": cost(make_turn(5.0), model="vit_tiny")})
    assert found == {"turns": 4, "minutes": 1.5, "ruler_moved": 3, "busy_percent": 1.25}
    assert found["turns"].sources == ("costs/lenet5-cost", "costs/vit_tiny-cost")
    assert all(map(isnan, timing({}).values()))


def test_rounds_are_those_in_which_each_was_quiet_by_its_ruler():
    plain = make_config(model="mobilenet_lite")
    full = make_config(model="mobilenet_lite", model_options={"separable": False})
    one = make_cost(plain, turns=[make_turn(3.0, 30.0), make_turn(9.0, 90.0), make_turn(4.0, 40.0)])
    other = make_cost(
        full, turns=[make_turn(6.0, 30.0), make_turn(8.0, 40.0), make_turn(9.0, 90.0)]
    )
    found = rounds([one, other])
    assert found.variant.tolist() == ["paper"] * 2 + ["full convolutions"] * 2
    assert found.seed.tolist() == [0, 2, 0, 1]
    assert found.train_seconds.tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2])
    macs = count_macs("mobilenet_lite", {"separable": False})
    assert found.per_mac.tolist()[2:] == pytest.approx([0.2 / macs] * 2)
    assert set(found.name) == {f"costs/{cost.name}" for cost in (one, other)}
    assert rounds([]) is None
