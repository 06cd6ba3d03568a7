"""Which runs a profile consists of, and the words they are picked with."""

import pytest

from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.plans import PROFILES, parse_models, parse_seeds, plan, usable_cores


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", [0]),
        ("0-4,7", [0, 1, 2, 3, 4, 7]),
        ("7,0-2", [0, 1, 2, 7]),
        ("3-5,4,4", [3, 4, 5]),
        (" 1 , 2 - 3 ", [1, 2, 3]),
        ("5-5", [5]),
        ("4294967295", [2**32 - 1]),
    ],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "1,", "a", "-1", "1-", "4-0", "1.5", "1e3", "0x1", "1;2", "0-4-7"),
        *("4294967296", "0-99999", "0-4294967295", "9" * 5000),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_seeds_that_make_no_sense(text):
    with pytest.raises(UserError, match=r"^seeds: cannot read .*; allowed: e\.g\. 0 or 0-4,7$"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("", list(MODELS)),
        ("lenet5", ["lenet5"]),
        ("baseline_cnn, lenet5,lenet5", ["lenet5", "baseline_cnn"]),  # each once, paper's order
    ],
)
def test_models(text, models):
    assert parse_models(text) == models


@pytest.mark.parametrize("text", ["alexnet", "lenet5,alexnet", "LeNet5", ",", "lenet5,"])
def test_models_that_do_not_exist(text):
    with pytest.raises(UserError, match=r"^models: unknown '.*'; allowed: lenet5, "):
        parse_models(text)


def test_paper_is_the_papers_protocol_with_one_run_a_model():
    configs = plan("paper")
    assert [config.model for config in configs] == list(MODELS)
    for config in configs:
        assert (config.seed, config.protocol, config.stops) == (0, "paper", (Stop(),))
        assert not config.shortened


def test_study_is_the_same_with_five_seeds_and_a_patient_rule_besides():
    configs = plan("study")
    assert {config.stops for config in configs} == {(Stop(), Stop(patience=20))}
    assert len({config.key for config in configs}) == 5 * len(MODELS)
    assert {config.seed for config in configs} == {0, 1, 2, 3, 4}
    assert {c.key for c in plan("paper")} <= {config.key for config in configs}


def test_smoke_runs_are_other_runs():
    assert all(config.shortened for config in plan("smoke"))
    assert not {c.key for c in plan("smoke")} & {c.key for c in plan("study")}


def test_models_and_seeds_override_the_profiles():
    configs = plan("study", models="vit_tiny,lenet5", seeds="8-9")
    assert [(config.model, config.seed) for config in configs] == [
        ("lenet5", 8),
        ("lenet5", 9),
        ("vit_tiny", 8),
        ("vit_tiny", 9),
    ]


def test_unknown_profile():
    with pytest.raises(UserError, match=r"^profile: unknown 'fast'; allowed: smoke, paper, study$"):
        plan("fast")


def test_every_profile_can_be_planned_and_says_what_it_is_for():
    for name, profile in PROFILES.items():
        assert plan(name)
        assert profile.purpose


def test_device_reaches_every_run():
    assert {config.device for config in plan("smoke", device="cuda")} == {"cuda"}
    with pytest.raises(UserError, match="device"):
        plan("smoke", device="tpu")


def test_at_least_one_core():
    assert usable_cores() >= 1
