"""A run that is stopped at any moment goes on from its last epoch, to the same result."""

import json
import os
import random
import subprocess
import sys
import time
import warnings

import pytest
import torch

from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training import checkpoint as checkpoints_module
from fmnist_lib.training.checkpoint import Checkpoint

ON_VALIDATION = (Stop(monitor="validation_loss", patience=9),)


@pytest.fixture(autouse=True)
def _after_every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints_module, "EVERY_SECONDS", 0)


def stop(row):
    raise KeyboardInterrupt


def short_config(model="lenet5", **settings):
    rules = (Stop(patience=1), Stop(patience=3))
    short = {"stops": rules, "train_images": 256, "test_images": 200, "max_epochs": 2}
    return make_config(model=model, **short | settings)


@pytest.mark.parametrize(
    "settings",
    [
        *({"model": model} for model in MODELS if model != "baseline_cnn"),
        {"augment": "mixup"},
        {"augment": "flip+shift"},
        {"optimizer": "sgd", "momentum": 0.9},
        {"average": 0.9, "label_smoothing": 0.1},
        {"optimizer": "adamw", "schedule": "onecycle", "stops": (), "epochs": 3, "average": 0.9},
        {"protocol": "fold", "fold": 1, "validation_images": 32, "stops": ON_VALIDATION},
        {"protocol": "split", "validation_images": 56, "batch_size": 30},
    ],
    ids=lambda settings: "+".join(map(str, settings.values())),
)
def test_a_run_that_goes_on_ends_like_one_never_stopped(small_data, tmp_path, settings):
    config = short_config(**{"model": "baseline_cnn", "max_epochs": 3} | settings)
    given = {"data": small_data, "checkpoints": tmp_path}
    whole = run_experiment(config, data=small_data).record
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, **given, on_epoch=stop)
    torch.manual_seed(1)  # another process would not have our random state
    seen = []
    resumed = run_experiment(config, **given, on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == list(range(2, len(whole.history) + 1))  # the first was not trained again
    assert resumed.record.result_digest == whole.result_digest
    again = run_experiment(config, **given, on_epoch=stop)  # the finished run's record was lost
    assert again.record.result_digest == whole.result_digest


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-100],
        lambda content: content[:80] + b"bad" + content[83:],  # in what it belongs to
        lambda content: b"",
    ],
)
def test_a_damaged_checkpoint_is_named_set_aside_and_not_used(tmp_path, damage):
    checkpoint = Checkpoint(tmp_path, short_config())
    checkpoint.save({"weights": torch.rand(1000)})
    path = checkpoint.path
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=rf"{path.name}.* is damaged .*kept as.* starts anew"):
        assert checkpoint.load() is None
    assert [each.parent.name for each in tmp_path.rglob("*.pt*")] == ["damaged"]


def test_a_checkpoint_that_holds_code_is_not_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    checkpoint = Checkpoint(tmp_path, short_config())
    checkpoint.save({"model": Hostile()})
    with pytest.warns(UserWarning, match="is damaged"):
        assert checkpoint.load() is None
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_other_code_or_rules_is_named_and_not_used(tmp_path, monkeypatch):
    config = short_config()
    Checkpoint(tmp_path, config).save({"history": []})
    assert Checkpoint(tmp_path, config).load() == {"history": []}
    other_rules = config.model_copy(update={"stops": (Stop(patience=2),)})
    with pytest.warns(UserWarning, match=r"another run \(differs in rules\)"):
        assert Checkpoint(tmp_path, other_rules).load() is None
    monkeypatch.setattr(checkpoints_module, "code_sha256", lambda: "other")
    with pytest.warns(UserWarning, match=r"another run \(differs in training code\)"):
        assert Checkpoint(tmp_path, config).load() is None


def test_a_checkpoint_is_written_by_time_and_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints_module, "EVERY_SECONDS", 1000)
    checkpoint = Checkpoint(tmp_path, short_config())
    checkpoint.save({"epoch": 1}, now=False)
    assert checkpoint.load() is None
    checkpoint.save({"epoch": 2})
    assert checkpoint.load() == {"epoch": 2}


def test_a_disk_that_refuses_checkpoints_is_named_once_and_the_run_goes_on(
    small_data, tmp_path, monkeypatch
):
    def refuse(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints_module, "write_atomically", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")  # as for a user
        record = run_experiment(short_config(), data=small_data, checkpoints=tmp_path).record
    assert len(record.history) == 2
    assert ["no checkpoints" in str(warning.message) for warning in caught] == [True]


PROGRAM = """
import json, sys
from pathlib import Path
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training import checkpoint
checkpoint.EVERY_SECONDS = 0
config, *folder = make_config(**json.loads(sys.argv[1])), *map(Path, sys.argv[2:])
print("ready", flush=True)
print(run_experiment(config, checkpoints=folder[0] if folder else None).record.result_digest)
"""


def start(model, *folder):
    settings = {"model": model, "train_images": 1000, "test_images": 200, "max_epochs": 5}
    settings["stops"] = [{"patience": 2}, {"patience": 5}]
    command = [sys.executable, "-c", PROGRAM, json.dumps(settings), *map(str, folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(process):
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("model", "kills"),
    [("lenet5", 1), *(pytest.param(model, 6, marks=pytest.mark.long) for model in MODELS)],
)
def test_a_killed_run_ends_like_one_never_disturbed(tmp_path, model, kills):
    """Killed at its first checkpoint, then at random moments."""
    whole = start(model).communicate(timeout=600)[0].split()[-1]
    process, deadline = start(model, tmp_path), time.monotonic() + 120
    while not list(tmp_path.glob("*.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    kill(process)
    assert list(tmp_path.glob("*.pt"))
    for chance in map(random.Random, range(1, kills)):
        process = start(model, tmp_path)
        process.stdout.readline()  # it is ready
        time.sleep(chance.uniform(0, 3))
        kill(process)
    assert start(model, tmp_path).communicate(timeout=600)[0].split()[-1] == whole
