"""A run that is stopped at any moment goes on from its last epoch, to the same result."""

import json
import os
import subprocess
import sys
import time
import warnings
from unittest.mock import Mock

import pytest
import torch
from made_up import SMALL
from test_side_by_side import GPU

from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore
from fmnist_lib.training import checkpoint as checkpoints_module
from fmnist_lib.training.checkpoint import Checkpoint

STOP = Mock(side_effect=KeyboardInterrupt)
ON_VALIDATION = (Stop(monitor="validation_loss", patience=9),)


@pytest.fixture(autouse=True)
def _after_every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints_module, "EVERY_SECONDS", 0)


def short_config(model="lenet5", **settings):
    rules = (Stop(patience=1), Stop(patience=3))
    return make_config(model=model, **{"stops": rules, "max_epochs": 2, **SMALL} | settings)


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
        run_experiment(config, **given, on_epoch=STOP)
    torch.manual_seed(1)  # another process would not have our random state
    seen = []
    resumed = run_experiment(config, **given, on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == list(range(2, len(whole.history) + 1))  # the first was not trained again
    assert resumed.record.result_digest == whole.result_digest
    again = run_experiment(config, **given, on_epoch=STOP)  # the finished run's record was lost
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
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(checkpoints_module, "write_atomically", Mock(side_effect=full))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")  # as for a user
        record = run_experiment(short_config(), data=small_data, checkpoints=tmp_path).record
    assert len(record.history) == 2
    assert ["no checkpoints" in str(warning.message) for warning in caught] == [True]


PROGRAM = """
import json, sys
from pathlib import Path
from fmnist_lib.execution.here import train_and_store
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.store import RunStore
from fmnist_lib.training import checkpoint
checkpoint.EVERY_SECONDS = 0
train_and_store([make_config(**json.loads(sys.argv[1]))], RunStore(Path(sys.argv[2])))
"""


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_a_killed_run_ends_like_one_never_disturbed(tmp_path, device):
    """Killed by the system, at its first checkpoint."""
    settings = {"model": "lenet5", "device": device, "train_images": 1000}
    settings |= {"test_images": 200, "max_epochs": 5}
    whole, cut = RunStore(tmp_path / "whole"), RunStore(tmp_path / "cut")

    def start(store):
        return subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(settings), store.folder])

    assert start(whole).wait(600) == 0
    process, deadline = start(cut), time.monotonic() + 200
    while not list(cut.folder.glob("checkpoints/*.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert list(cut.folder.glob("checkpoints/*.pt"))
    assert not cut.names()
    assert start(cut).wait(600) == 0
    config = make_config(**settings)
    assert cut.find(config).result_digest == whole.find(config).result_digest
