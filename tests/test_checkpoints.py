"""A run that is stopped at any moment goes on from its last epoch, to the same result."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training import checkpoint as checkpoints_module
from fmnist_lib.training.checkpoint import Checkpoint

SHORT = {"train_images": 256, "test_images": 200, "max_epochs": 4}
TWO_RULES = (Stop(patience=1), Stop(patience=3))


@pytest.fixture(autouse=True)
def _after_every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints_module, "EVERY_SECONDS", 0)


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def stop_after(epochs):
    def on_epoch(row):
        if row["epoch"] == epochs:
            raise StoppedError

    return on_epoch


def short_config(model="lenet5", **settings):
    return make_config(model=model, **{"stops": TWO_RULES} | SHORT | settings)


def interrupted(config, data, folder, *, after=2):
    with pytest.raises(StoppedError):
        run_experiment(config, data=data, checkpoints=folder, on_epoch=stop_after(after))
    return Checkpoint(folder, config).path


@pytest.mark.parametrize("model", MODELS)
def test_a_run_that_goes_on_ends_like_one_never_stopped(small_data, tmp_path, model):
    config = short_config(model)
    whole = run_experiment(config, data=small_data).record
    interrupted(config, small_data, tmp_path, after=1)
    torch.manual_seed(1)  # another process would not have our random state
    seen = []
    resumed = run_experiment(
        config,
        data=small_data,
        checkpoints=tmp_path,
        on_epoch=lambda row: seen.append(row["epoch"]),
    ).record
    assert seen[0] == 2  # the first epoch was not trained again
    assert resumed.result_digest == whole.result_digest


def test_a_finished_run_whose_record_was_lost_trains_no_epoch(small_data, tmp_path):
    config = short_config()
    whole = run_experiment(config, data=small_data, checkpoints=tmp_path).record
    again = run_experiment(
        config, data=small_data, checkpoints=tmp_path, on_epoch=stop_after(1)
    ).record
    assert again.result_digest == whole.result_digest


def flip(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-100], id="cut"),
        pytest.param(lambda content: flip(content, len(content) // 2), id="a bit in the middle"),
        pytest.param(lambda content: flip(content, 3), id="a bit in the header"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"[]\n", id="another file"),
        pytest.param(lambda content: b"\xff" * 100, id="noise"),
    ],
)
def test_a_damaged_checkpoint_is_named_set_aside_and_not_used(small_data, tmp_path, damage):
    config = short_config(max_epochs=2)
    whole = run_experiment(config, data=small_data).record
    path = interrupted(config, small_data, tmp_path, after=1)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=rf"{path.name}.* starts anew"):
        record = run_experiment(config, data=small_data, checkpoints=tmp_path).record
    assert record.result_digest == whole.result_digest
    assert len(list((tmp_path / "damaged").iterdir())) <= 1


def test_a_checkpoint_that_holds_code_is_not_run(small_data, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    config = short_config(max_epochs=1)
    torch.set_num_threads(1)
    checkpoint = Checkpoint(tmp_path, config)
    checkpoint.save({"model": Hostile()})
    with pytest.warns(UserWarning, match="is damaged; the run starts anew"):
        run_experiment(config, data=small_data, checkpoints=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_other_code_or_rules_is_named_and_not_used(
    small_data, tmp_path, monkeypatch
):
    config = short_config(max_epochs=2)
    interrupted(config, small_data, tmp_path, after=1)
    other_rules = config.model_copy(update={"stops": (Stop(patience=2),)})
    with pytest.warns(UserWarning, match=r"another run \(differs in rules\)"):
        assert Checkpoint(tmp_path, other_rules).load() is None
    monkeypatch.setattr(checkpoints_module, "code_sha256", lambda: "other")
    with pytest.warns(UserWarning, match=r"another run \(differs in training code\)"):
        assert Checkpoint(tmp_path, config).load() is None


def test_a_disk_that_refuses_checkpoints_is_named_once_and_the_run_goes_on(
    small_data, tmp_path, monkeypatch
):
    def refuse(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints_module, "write_atomically", refuse)
    config = short_config(max_epochs=2)
    with pytest.warns(UserWarning, match="no checkpoints") as caught:
        record = run_experiment(config, data=small_data, checkpoints=tmp_path).record
    assert len(record.history) == 2
    assert len(caught) == 1


# --- killed -------------------------------------------------------------------------------------

PROGRAM = """
import json, sys, warnings
from pathlib import Path
from fmnist_lib.runs.config import make_config, Stop
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training import checkpoint
checkpoint.EVERY_SECONDS = 0
settings = json.loads(sys.argv[1])
stops = tuple(Stop(**stop) for stop in settings.pop("stops"))
config = make_config(stops=stops, **settings)
folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
print("ready", flush=True)
record = run_experiment(config, checkpoints=folder).record
print(record.result_digest, flush=True)
"""


def start(settings, *folder):
    command = [sys.executable, "-c", PROGRAM, json.dumps(settings), *map(str, folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(settings, *folder):
    output, _ = start(settings, *folder).communicate(timeout=600)
    return output.split()[-1]


def kill_until_done(settings, folder, generator, *, longest):
    """Kill the run at random moments, again and again; return its digest and the kills it took."""
    for kills in range(100):
        process = start(settings, folder)
        process.stdout.readline()
        try:
            output, _ = process.communicate(timeout=generator.uniform(0, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            longest *= 1.1  # a machine slower than the kills still gets there
            continue
        return output.split()[-1], kills
    raise AssertionError("the run never finished")


def killed_settings(model):
    return {
        "model": model,
        "train_images": 2000,
        "test_images": 500,
        "max_epochs": 6,
        "stops": [{"patience": 2}, {"patience": 6}],
    }


def test_a_killed_run_ends_like_one_never_disturbed(tmp_path):
    settings = killed_settings("lenet5")
    whole = finish(settings)
    process = start(settings, tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(tmp_path.glob("*.pt"))
    assert finish(settings, tmp_path) == whole


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", ["lenet5", "baseline_cnn", "vit_tiny"])
def test_a_run_killed_at_random_moments_ends_the_same(tmp_path, model, seed):
    settings = killed_settings(model)
    whole = finish(settings)
    digest, kills = kill_until_done(settings, tmp_path, random.Random(seed), longest=6)
    assert digest == whole
    assert kills > 0
