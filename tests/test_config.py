"""Settings of a run: refused before any work when wrong, and hashed into a key when right."""

import hashlib
import json

import pytest
from pydantic import ValidationError

from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs import config
from fmnist_lib.runs.config import RunConfig, Stop, make_config

FOLD = {"protocol": "fold", "fold": 0}


def key(**settings):
    return make_config(**{"model": "lenet5"} | settings).key


# --- what is refused ---

REFUSED = [  # settings, and the beginning of the one line that says what is wrong
    ({"lerning_rate": 0.1}, "lerning_rate: "),
    ({"stops": [{"patients": 5}]}, "stops.0.patients: "),
    ({"model": ["lenet5"]}, "model: "),
    ({"model": "lenet6", "model_options": {"widths": (4, 8)}}, "unknown model 'lenet6'"),
    ({"model_options": {"activation": "sigmoid"}}, "lenet5: activation"),
    ({"model_options": {"width": 3}}, "lenet5"),
    ({"model_options": {"batch_norm": 0}}, "lenet5: batch_norm"),  # to Python, 0 is False
    ({"model_options": ["relu"]}, "model_options: "),
    ({"model": "resnet_mini", "model_options": {"widths": {4, 8}}}, "resnet_mini: "),
    ({"seed": -1}, "seed: "),
    ({"seed": 2**32}, "seed: "),
    ({"seed": "1"}, "seed: "),
    ({"batch_size": 0}, "batch_size: "),
    ({"batch_size": 64.0}, "batch_size: "),
    ({"max_epochs": 0}, "max_epochs: "),
    ({"learning_rate": 0}, "learning_rate: "),
    ({"learning_rate": float("inf")}, "learning_rate: "),
    ({"device": "tpu"}, "device: Input should be 'cpu', 'cuda' or 'mps', not 'tpu'"),
    ({"engine": "compiled"}, "engine: "),
    ({"train_images": 60_001}, "train_images: "),
    ({"test_images": 0}, "test_images: "),
    ({"average": 1.0}, "average: "),
    ({"augment": "mixup", "batch_size": 1}, "batch_size: "),
    ({"stops": []}, "stops: "),
    ({"stops": [Stop(), Stop()]}, "stops: the same rule"),
    ({"stops": [{"patience": 0}]}, "stops.0.patience: "),
    ({"stops": [{"monitor": "accuracy"}]}, "stops.0.monitor: "),
    ({"stops": [Stop(monitor="validation_loss")]}, "stops: validation_loss needs"),
    ({"stops": [Stop(monitor="last", patience=3)]}, "stops: "),
    ({"epochs": 3, "stops": [Stop()]}, "epochs: "),
    ({"epochs": 101}, "epochs: "),
    ({"schedule": "onecycle"}, "schedule: "),
    ({"momentum": 0.9}, "momentum: needs optimizer sgd"),
    ({"weight_decay": 0.1}, "weight_decay: needs optimizer adamw or sgd"),
    ({"validation_images": 5}, "validation_images: needs protocol split or fold"),
    ({"protocol": "split", "train_images": 10_000}, "validation_images: at most 9999"),
    ({"protocol": "split", "validation_images": 60_000}, "validation_images: at most 59999"),
    ({"protocol": "split", "partition": 1}, "partition: needs protocol fold"),
    ({"fold": 0}, "fold: needs protocol fold"),
    ({"protocol": "fold"}, "fold: "),
    (FOLD | {"fold": 5}, "fold: allowed are 0 to 4"),
    (FOLD | {"folds": 1}, "folds: "),
    (FOLD | {"validation_images": 48_000}, "validation_images: at most 47999"),
    (FOLD | {"folds": 3, "train_images": 640, "validation_images": 426}, "validation_images: "),
]


@pytest.mark.parametrize(("settings", "fault"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_said_in_one_line(settings, fault):
    with pytest.raises(UserError) as error:
        make_config(**{"model": "lenet5"} | settings)
    assert str(error.value).startswith(fault)
    assert "\n" not in str(error.value)


def test_a_config_cannot_be_changed_and_needs_a_model():
    with pytest.raises(ValidationError, match="frozen"):
        make_config(model="lenet5").seed = 1
    with pytest.raises(UserError, match="model: Field required"):
        make_config()


# --- the key ---


def test_the_key_is_of_data_training_and_every_setting_away_from_its_default_but_the_rules():
    what = {"model": "vit_tiny", "seed": 1, "model_options": {"depth": 1}, "device": "cuda"}
    shown = {"protocol": "fold", "fold": 1, "folds": 4, "partition": 1, "validation_images": 64}
    less = {"train_images": 640, "test_images": 500, "epochs": 12, "max_epochs": 50}
    rates = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.1, "average": 0.99}
    how = {"optimizer": "sgd", "schedule": "onecycle", "augment": "mixup", "precision": "bf16"}
    settings = {**what, **shown, **less, **rates, **how, "batch_size": 128, "label_smoothing": 0.1}
    assert {*settings, "engine", "stops"} == set(RunConfig.model_fields), "put a new setting here"
    identity = {"settings": settings, "data": config.DATA_SHA256, "training": 1}
    text = json.dumps(identity, sort_keys=True)
    assert key(**settings) == hashlib.sha256(text.encode()).hexdigest()
    more = [Stop(), Stop(patience=20), Stop(monitor="validation_loss")]
    assert key(protocol="split", stops=more) == key(protocol="split")


def test_defaults_given_explicitly_do_not_change_the_key():
    fields = RunConfig.model_fields.items()
    defaults = {name: field.default for name, field in fields if name != "model"}
    assert {key(**{name: value}) for name, value in defaults.items()} == {key()}
    assert key(**defaults) == key()
    for model, spec in MODELS.items():
        assert make_config(model=model, model_options=spec.defaults) == make_config(model=model)
    other = make_config(model="vit_tiny", model_options={"depth": 3, "heads": 4, "dropout": 0})
    assert other.model_options == {"heads": 4}


def test_tuples_are_lists_and_whole_numbers_are_numbers():
    tuples, lists = ({"widths": kind([16, 32, 64])} for kind in (tuple, list))
    assert key(model="resnet_mini", model_options=tuples) == key(
        model="resnet_mini", model_options=lists
    )
    assert key(learning_rate=1) == key(learning_rate=1.0)


def test_shortened_is_less_than_the_study_sees():
    for settings in ({}, {"max_epochs": 200}, {"protocol": "split"}):
        assert not make_config(model="lenet5", **settings).shortened
    for settings in ({"max_epochs": 99}, {"train_images": 59_999}, {"test_images": 500}):
        assert make_config(model="lenet5", **settings).shortened


def test_runs_differ_in_what_differs():
    one = make_config(model="lenet5", seed=1)
    other = make_config(model="lenet5", seed=2, augment="flip", stops=[Stop(patience=9)])
    assert one.differs(other) == {"seed": (1, 2), "augment": ("none", "flip")}
    assert not one.differs(one.model_copy(update={"seed": 3}), ignoring={"seed"})
