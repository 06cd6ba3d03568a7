"""Settings of a run: refused before any work when wrong, and hashed into a key when right."""

import json

import pytest
from pydantic import ValidationError

from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs import config
from fmnist_lib.runs.config import RunConfig, Stop, make_config

GOLDEN_KEYS = {
    "lenet5": "08a2fc439ed9f010ab9a40ec1c8b847b00f69b075e88a347d5c57824cfa9515f",
    "mobilenet_lite": "99042473d08e3ba43d8aa7e820cec65de3099febb6e3154aea9e7800108aeafc",
}

# Every setting that decides the result, once away from its default.
OTHERS = {
    "model": "vit_tiny",
    "seed": 1,
    "model_options": {"activation": "relu"},
    "protocol": "split",
    "max_epochs": 50,
    "batch_size": 128,
    "learning_rate": 1e-2,
    "train_images": 640,
    "test_images": 500,
    "device": "cuda",
    "augment": "mixup",
    "optimizer": "adamw",
    "average": 0.99,
    "label_smoothing": 0.1,
    "epochs": 12,
    "precision": "bf16",
}
ONE_VALUE_ALONE = {"engine"}
WITH_OTHERS = {  # with what they need, against that alone
    "validation_images": ({"protocol": "split", "validation_images": 5000}, {"protocol": "split"}),
    "fold": ({"protocol": "fold", "fold": 1}, {"protocol": "fold", "fold": 0}),
    "folds": ({"protocol": "fold", "fold": 0, "folds": 4}, {"protocol": "fold", "fold": 0}),
    "partition": ({"protocol": "fold", "fold": 0, "partition": 1}, {"protocol": "fold", "fold": 0}),
    "momentum": ({"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "sgd"}),
    "weight_decay": ({"optimizer": "adamw", "weight_decay": 0.1}, {"optimizer": "adamw"}),
    "schedule": ({"schedule": "onecycle", "epochs": 9}, {"epochs": 9}),
}
NOT_IN_THE_KEY = {"stops"}


def key(**settings):
    return make_config(**{"model": "lenet5"} | settings).key


def test_a_config_cannot_be_changed():
    run = make_config(model="lenet5")
    with pytest.raises(ValidationError, match="frozen"):
        run.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        run.stops[0].patience = 1


@pytest.mark.parametrize(
    ("settings", "where", "why"),
    [
        ({"lerning_rate": 0.1}, "lerning_rate", "allowed: model, seed"),
        ({"stops": [{"patients": 5}]}, "stops.0.patients", "allowed: monitor, patience"),
        ({"model": "lenet6"}, "'lenet6'", "lenet5, resnet_mini"),
        ({"model": ["lenet5"]}, "model", "string"),
        ({"model": "lenet6", "model_options": {"widths": (4, 8)}}, "'lenet6'", "lenet5"),
        ({"model_options": {"activation": "sigmoid"}}, "activation", "tanh, relu"),
        ({"model_options": {"width": 3}}, "'width'", "activation, pooling, batch_norm"),
        ({"model_options": {"batch_norm": 0}}, "batch_norm", "true or false"),  # though 0 == False
        ({"model_options": ["relu"]}, "model_options", "dictionary"),
        ({"model": "resnet_mini", "model_options": {"widths": {4, 8}}}, "widths", "list"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"seed": 2**32}, "seed", str(2**32 - 1)),
        ({"seed": "1"}, "seed", "integer"),
        ({"seed": True}, "seed", "integer"),
        ({"batch_size": 0}, "batch_size", "greater than 0"),
        ({"batch_size": 64.0}, "batch_size", "integer"),
        ({"max_epochs": 0}, "max_epochs", "greater than 0"),
        ({"learning_rate": 0}, "learning_rate", "greater than 0"),
        ({"learning_rate": float("inf")}, "learning_rate", "finite"),
        ({"learning_rate": float("nan")}, "learning_rate", "finite"),
        ({"learning_rate": "fast"}, "learning_rate", "number"),
        ({"optimizer": "lion"}, "optimizer", "'adam'"),
        ({"device": "tpu"}, "device", "'cpu', 'cuda' or 'mps'"),
        ({"engine": "compiled"}, "engine", "'eager'"),
        ({"precision": "fp16"}, "precision", "'fp32' or 'bf16'"),
        ({"protocol": "cross"}, "protocol", "'paper', 'split' or 'fold'"),
        ({"train_images": 60_001}, "train_images", "60000"),
        ({"test_images": 0}, "test_images", "greater than 0"),
        ({"stops": []}, "stops", "at least one"),
        ({"stops": [Stop(), Stop()]}, "stops", "twice"),
        ({"stops": [{"patience": 0}]}, "stops.0.patience", "greater than 0"),
        ({"stops": [{"monitor": "accuracy"}]}, "stops.0.monitor", "'test_loss'"),
        ({"stops": [Stop(monitor="validation_loss")]}, "validation_loss", "protocol='split'"),
        ({"protocol": "split", "train_images": 10_000}, "validation_images", "1 to 9999"),
        ({"protocol": "split", "validation_images": 60_000}, "validation_images", "1 to 59999"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(settings, where, why):
    with pytest.raises(UserError) as error:
        make_config(**{"model": "lenet5"} | settings)
    message = str(error.value)
    assert "\n" not in message
    assert where in message
    assert why in message


def test_a_model_is_needed():
    with pytest.raises(UserError, match="model: Field required"):
        make_config()


def test_a_bad_value_is_shown():
    with pytest.raises(UserError, match="not 'tpu'"):
        make_config(model="lenet5", device="tpu")


# --- the key -----------------------------------------------------------------------------------


def test_every_setting_is_tried_below():
    tried = set(OTHERS) | set(WITH_OTHERS) | ONE_VALUE_ALONE | NOT_IN_THE_KEY
    assert tried == set(RunConfig.model_fields), "a new setting needs a line in OTHERS"


@pytest.mark.parametrize("setting", OTHERS)
def test_each_setting_changes_the_key(setting):
    assert key(**{setting: OTHERS[setting]}) != key()


@pytest.mark.parametrize("setting", WITH_OTHERS)
def test_so_does_each_that_goes_with_another(setting):
    with_it, without_it = WITH_OTHERS[setting]
    assert key(**with_it) != key(**without_it)


def test_no_two_settings_share_a_key():
    assert len({key(**{name: value}) for name, value in OTHERS.items()}) == len(OTHERS)


def test_defaults_given_explicitly_do_not_change_the_key():
    defaults = {
        name: field.default for name, field in RunConfig.model_fields.items() if name != "model"
    }
    for name, value in defaults.items():
        assert key(**{name: value}) == key(), name
    assert key(**{**defaults, "epochs": None}) == key()


def test_stopping_rules_are_not_in_the_key():
    more = [Stop(), Stop(patience=20), Stop(monitor="validation_loss")]
    assert key(protocol="split", stops=more) == key(protocol="split")


@pytest.mark.parametrize("model", MODELS)
def test_model_options_at_their_defaults_are_dropped(model):
    for name, value in MODELS[model].defaults.items():
        run = make_config(model=model, model_options={name: value})
        assert run.model_options == {}, name
    run = make_config(model=model, model_options=dict(MODELS[model].defaults))
    assert run == make_config(model=model)


def test_only_options_at_their_defaults_are_dropped():
    run = make_config(model="vit_tiny", model_options={"depth": 3, "heads": 4, "dropout": 0})
    assert run.model_options == {"heads": 4}


def test_tuples_are_lists_and_whole_numbers_are_numbers():
    tuples, lists = (
        make_config(model="resnet_mini", model_options={"widths": kind((16, 32, 64))})
        for kind in (tuple, list)
    )
    assert tuples == lists
    assert tuples.key == lists.key
    assert key(learning_rate=1) == key(learning_rate=1.0)
    whole, real = (
        make_config(model="baseline_cnn", model_options={"dropout": zero}) for zero in (0, 0.0)
    )
    assert whole.key == real.key


def test_a_config_survives_json():
    run = make_config(
        model="resnet_mini", model_options={"widths": (16, 32, 64)}, stops=[Stop(patience=3)]
    )
    again = RunConfig.model_validate(json.loads(run.model_dump_json()))
    assert again == run
    assert again.key == run.key


@pytest.mark.parametrize("model", GOLDEN_KEYS)
def test_the_key_stays_what_it_was(model):
    """Old records are found by it: a new setting must have a default that leaves it alone."""
    assert config.TRAINING_VERSION == 1, "renew the golden keys"
    assert make_config(model=model).key == GOLDEN_KEYS[model]


def test_the_key_changes_with_data_and_training_version(monkeypatch):
    before = key()
    with monkeypatch.context() as patch:
        patch.setattr(config, "TRAINING_VERSION", config.TRAINING_VERSION + 1)
        assert key() != before
    monkeypatch.setattr(config, "DATA_SHA256", "0" * 64)
    assert key() != before


def test_the_name_says_model_and_seed():
    run = make_config(model="lenet5", seed=7)
    assert run.name == f"lenet5-s7-{run.key[:12]}"
    assert Stop(monitor="validation_loss", patience=20).name == "validation_loss-p20"


@pytest.mark.parametrize(
    ("settings", "shortened"),
    [
        ({}, False),
        ({"max_epochs": 200}, False),
        ({"protocol": "split", "stops": [Stop(monitor="validation_loss", patience=20)]}, False),
        ({"max_epochs": 99}, True),
        ({"train_images": 59_999}, True),
        ({"test_images": 500}, True),
    ],
)
def test_shortened(settings, shortened):
    assert make_config(model="lenet5", **settings).shortened is shortened
