"""Many runs that take turns: on a CPU everything but the recording, on a GPU all of it."""

import subprocess
import sys
import time

import pytest
import torch

from fmnist_lib.execution import gpu
from fmnist_lib.execution.gpu import run_side_by_side
from fmnist_lib.models import MODELS, build_model
from fmnist_lib.paths import ROOT
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore
from fmnist_lib.training import loop, side_by_side
from fmnist_lib.training.loop import NonFiniteLossError, OutOfTimeError

SHORT = {"train_images": 1050, "test_images": 200, "max_epochs": 2}  # 17 steps and a short one

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and PyTorch finds none here"
)
GPU = (pytest.mark.gpu, needs_gpu)  # for `make test-gpu`


def together(configs, *, jobs, **given):
    """Ends by name, and the order in which epochs were reported."""
    epochs = []
    ends = {
        config.name: end
        for config, end in run_side_by_side(
            configs, jobs=jobs, on_epoch=lambda name, row: epochs.append(name), **given
        )
    }
    return ends, epochs


def digests(ends):
    return {name: output.record.result_digest for name, output in ends.items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "lenet5", "augment": "flip+shift", "average": 0.9},
        {"model": "lenet5", "augment": "mixup", "schedule": "onecycle", "epochs": 2},
        {"model": "lenet5", "optimizer": "sgd", "momentum": 0.9, "batch_size": 350},
        {"model": "baseline_cnn", "protocol": "split", "validation_images": 50},
    ],
    ids=lambda settings: "+".join(map(str, settings.values())),
)
def test_recorded_launches_train_what_a_run_alone_does(settings):
    """Everything but the sums of evaluations, whose batches are larger, is the same to the bit."""
    config = make_config(**SHORT | settings)
    ends, _ = together([config], jobs=1)
    grouped, single = ends[config.name].record, run_experiment(config).record
    for ours, theirs in zip(grouped.history, single.history, strict=True):
        assert ours.train_loss == theirs.train_loss
        assert ours.test_accuracy == theirs.test_accuracy
        assert ours.test_loss == pytest.approx(theirs.test_loss, rel=1e-5)
    for rule, kept in grouped.stops.items():
        assert kept.weights_sha256 == single.stops[rule].weights_sha256


@pytest.fixture(scope="module")
def configs():
    return [make_config(model="lenet5", seed=seed, **SHORT) for seed in range(4)]


def test_runs_take_turns_and_come_out_the_same(configs):
    alone = {}
    for config in configs:
        alone |= together([config], jobs=1)[0]
    beside, epochs = together(configs, jobs=3)
    assert digests(beside) == digests(alone)
    assert len(set(epochs[:3])) == 3  # the first epochs end before any second one
    said = {output.record.environment.runs_beside for output in beside.values()}
    assert said == {2}


def test_a_run_that_fails_or_finds_no_memory_ends_alone(configs, monkeypatch):
    class Refusing(side_by_side.SideBySide):
        def __init__(self, model, parts, config):
            if config.seed == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            super().__init__(model, parts, config)

    monkeypatch.setattr(gpu, "SideBySide", Refusing)
    bad = make_config(model="lenet5", learning_rate=1e38, **SHORT)
    ends, _ = together([bad, *configs[:3]], jobs=3)
    kinds = [type(ends[config.name]) for config in (bad, *configs[:3])]
    assert kinds == [NonFiniteLossError, RunOutput, torch.OutOfMemoryError, RunOutput]


def test_what_runs_out_of_time_goes_on_and_ends_the_same(configs, tmp_path, monkeypatch):
    monkeypatch.setattr("fmnist_lib.training.checkpoint.EVERY_SECONDS", 0)
    whole, _ = together(configs[:2], jobs=2)
    seen = []

    def time_is_up(name, row):
        seen.append((name, row["epoch"]))
        raise OutOfTimeError

    for config, end in run_side_by_side(
        configs[:2], jobs=2, on_epoch=time_is_up, checkpoints=tmp_path
    ):
        assert isinstance(end, OutOfTimeError), config.name
    assert sorted(seen) == sorted((config.name, 1) for config in configs[:2])
    finished, epochs = together(configs[:2], jobs=2, checkpoints=tmp_path)
    assert sorted(epochs) == sorted(config.name for config in configs[:2])  # the second of each
    assert digests(finished) == digests(whole)
    late, _ = together(configs[:2], jobs=2, deadline=time.monotonic())
    assert all(isinstance(end, OutOfTimeError) for end in late.values())
    assert {str(end) for end in late.values()} == {"out of time"}  # in the midst of an epoch


HIDDEN = """
import sys
sys.modules.update(dict.fromkeys({hidden}))  # as if they were not installed
sys.argv = ["run_all.py", "--train-only", "--profile", "smoke", "--models", "lenet5",
            "--jobs", "1", "--store", {store!r}]
sys.path.insert(0, {root!r})
import run_all
sys.exit(run_all.main())
"""


def test_training_alone_needs_few_packages(tmp_path):
    """A machine with a GPU may lack everything that notebooks and pages take."""
    hidden = {
        *("pandas", "matplotlib", "seaborn", "scipy", "jupyterlab", "papermill", "nbconvert"),
        *("nbformat", "nbclient", "IPython", "ipykernel", "weasyprint", "loky"),
        *("torchvision", "torchmetrics", "psutil", "cpuinfo", "tqdm", "pooch", "bs4", "bleach"),
        *("yaml", "mistune", "PIL", "jinja2", "statsmodels", "requests"),
    }
    script = HIDDEN.format(hidden=hidden, root=str(ROOT), store=str(tmp_path))
    how = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([sys.executable, "-c", script], **how)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {record.config.model for record in RunStore(tmp_path).runs()} == {"lenet5"}


RECIPES = [
    {"augment": "flip+shift", "average": 0.99, "schedule": "onecycle", "epochs": 2},
    {"augment": "mixup", "optimizer": "sgd", "momentum": 0.9},
    {"protocol": "fold", "fold": 0, "validation_images": 100},
]


@pytest.mark.gpu
@needs_gpu
def test_bits_alone_are_bits_beside_26_others():
    kinds = [{"model": model} for model in MODELS]
    kinds += [{"model": "baseline_cnn", **recipe} for recipe in RECIPES]
    configs = [make_config(device="cuda", **SHORT | kind) for kind in kinds]
    alone = {}
    for config in configs:
        alone |= together([config], jobs=1)[0]
    others = [config.model_copy(update={"seed": seed}) for config in configs for seed in (1, 2)]
    beside, _ = together([*configs, *others], jobs=27)
    assert len(set(digests(beside).values())) == 27
    assert {name: digests(beside)[name] for name in alone} == digests(alone)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("model", MODELS)
def test_a_gpu_agrees_with_a_processor(model):
    """A short run's losses within 2 %; with dropout, whose draws differ, within 10 %."""
    settings = {"model": model, "train_images": 3200, "test_images": 200, "max_epochs": 2}
    config = make_config(device="cuda", **settings)
    found = together([config], jobs=1)[0][config.name].record.history[-1]
    expected = run_experiment(make_config(**settings)).record.history[-1]
    tolerance = 0.1 if model == "baseline_cnn" else 0.02
    assert found.train_loss == pytest.approx(expected.train_loss, rel=tolerance)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_dropout_is_the_same_in_an_epoch_and_differs_from_epoch_to_epoch(device, monkeypatch):
    """The order is always the same, and the learning rate too small to change a weight."""
    monkeypatch.setattr(loop, "batch_order", lambda images, **when: torch.arange(images))
    config = make_config(model="baseline_cnn", device=device, learning_rate=1e-30, **SHORT)
    data = gpu.data_on(device, config.train_images, config.test_images)  # waits till it is there
    stream = torch.cuda.Stream() if device == "cuda" else None  # none can record on the default
    with torch.cuda.stream(stream):
        model = loop.place_model(build_model("baseline_cnn", dropout=0.9), config)
        trainer = side_by_side.SideBySide(model, loop.split_parts(data, config), config)
        losses = [loop.carry_out(trainer.train_epoch(epoch)).loss for epoch in (1, 2, 1)]
    assert losses[0] == losses[2] != losses[1]
