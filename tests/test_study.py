"""Which runs a profile consists of, and the words they are picked with."""

from types import SimpleNamespace

import pytest

from fmnist_lib.claims.paper import REPORTED
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.plans import (
    FAMILIES,
    PAPER_ACCURACY,
    best_of,
    parse_models,
    parse_seeds,
    plan,
    plan_families,
)


def test_seeds():
    assert parse_seeds("7,0-2") == [0, 1, 2, 7]
    assert parse_seeds(" 3 - 5,4, 4,9-9") == [3, 4, 5, 9]
    assert parse_seeds("4294967295") == [2**32 - 1]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        *(("cannot read", text) for text in ("", " ", ",", "1,", "a", "-1", "1-", "4-0", "1.5")),
        *(("cannot read", text) for text in ("1e3", "0x1", "1;2", "0-4-7", "4294967296")),
        ("cannot read", "9" * 5000),
        *(("too many", text) for text in ("0-1000", "0-4294967295", "0-599,700-1200")),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_seeds_that_make_no_sense_or_are_more_than_a_plan_has_room_for(fault, text):
    with pytest.raises(UserError, match=f"^seeds: {fault} .*; allowed: "):
        parse_seeds(text)


def test_models_come_once_in_the_papers_order():
    assert parse_models("") == list(MODELS)
    assert parse_models("baseline_cnn, lenet5,lenet5") == ["lenet5", "baseline_cnn"]


@pytest.mark.parametrize(
    ("what", "name"),
    [("models", text) for text in ("alexnet", "lenet5,alexnet", "LeNet5", ",", "lenet5,")]
    + [("profile", "fast"), ("families", "fold"), ("device", "tpu")],
)
def test_what_does_not_exist_is_refused(what, name):
    with pytest.raises(UserError, match=f"^{what}: "):
        plan(**{"profile": "paper", what: name})


# --- profiles ---


def test_paper_is_the_papers_protocol_with_one_run_a_model():
    configs = plan("paper")
    assert [config.model for config in configs] == list(MODELS)
    for config in configs:
        assert (config.seed, config.protocol, config.stops) == (0, "paper", (Stop(),))
        assert not config.shortened
    family = plan("study", families="paper")
    assert {config.stops for config in family} == {(Stop(), Stop(patience=20))}
    assert {config.seed for config in family} == {0, 1, 2, 3, 4}
    assert {c.key for c in configs} <= {c.key for c in family}


def test_smoke_runs_are_other_runs():
    small = [config for configs in plan_families("smoke").values() for config in configs]
    assert all(config.shortened for config in small)
    assert {config.protocol for config in small} == {"paper", "split", "fold"}
    assert not {c.key for c in small} & {c.key for c in plan("study")}


def test_models_and_seeds_override_the_profiles():
    configs = plan("paper", models="vit_tiny,lenet5", seeds="8-9", precision="bf16")
    found = [(config.model, config.seed, config.precision) for config in configs]
    assert found == [(m, s, "bf16") for m in ("lenet5", "vit_tiny") for s in (8, 9)]


# --- families: numbers of runs by hand


@pytest.mark.parametrize(
    ("family", "whole", "reduced"),
    [
        ("paper", 30, 30),
        ("split", 60, 30),
        ("folds", 60, 30),
        ("ablations", 40, 24),
        ("augment", 60, 24),
        ("designs", 60, 36),
        ("recipe-search", 48, 18),
        ("quick-search", 48, 48),
        ("sensitivity", 90, 12),
    ],
)
def test_a_gpu_gets_every_run_and_a_processor_the_reduced_number(family, whole, reduced):
    for device, number in (("cuda", whole), ("cpu", reduced)):
        configs = plan("study", families=family, device=device)
        assert len({config.key for config in configs}) == len(configs) == number
        assert {config.device for config in configs} == {device}
        assert not any(config.shortened for config in configs)


def test_families_come_in_their_order_and_the_papers_stays_with_a_processor():
    assert list(plan_families("study")) == list(FAMILIES)
    assert list(plan_families("study", device="cuda")) == list(FAMILIES)[1:]
    assert list(plan_families("study", families="augment,split")) == ["split", "augment"]
    names = [config.name for config in plan("study", device="cuda")]
    assert len(set(names)) == len(names)  # no two share a run


def test_every_run_of_a_fold_is_there_once():
    configs = plan("study", families="folds", device="cuda", models="lenet5")
    found = [(c.partition, c.fold, c.validation_images) for c in configs]
    assert found == [(partition, fold, 4_800) for partition in (0, 1) for fold in range(5)]


def test_what_a_search_decides_waits_for_it_and_then_takes_the_best():
    """Made-up records of one model's search: 12 epochs are best, 6 enough, better at one rate."""
    searched = plan("study", families="quick-search", models="lenet5")
    accuracies = [80.0, 81.0, 89.5, 89.6, 91.0, 91.5, 92.0, 90.0]
    records = [
        SimpleNamespace(config=c, name=c.name, history=[SimpleNamespace(validation_accuracy=a)])
        for c, a in zip(searched, accuracies, strict=True)
    ]
    by_name = {record.name: record for record in records}

    def planned(profile, *without, **chosen):
        def find(config):
            return None if config.name in without else by_name.get(config.name)

        return plan(profile, find=find, **chosen)

    assert planned("study", records[-1].name, families="quick") == []
    quick = planned("study", families="quick")
    assert planned("quick", models="lenet5") == quick[:1]
    assert {(c.epochs, c.learning_rate, c.protocol) for c in quick} == {(6, 3e-3, "paper")}
    assert [c.seed for c in quick] == [0, 1, 2]
    assert {c.schedule for c in quick} == {"onecycle"}
    assert best_of(records, quickest=False) is records[6]
    assert best_of(records[:1], quickest=True) is records[0]  # none is good enough


def test_the_papers_accuracies_are_those_of_its_tables():
    assert {m: REPORTED[m].test_accuracy for m in REPORTED} == PAPER_ACCURACY
