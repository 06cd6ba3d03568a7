"""What a user sees of a training: a bar where somebody watches, a line now and then elsewhere."""

import io
import sys
import time

import pytest

from fmnist_lib.execution import progress as progress_module
from fmnist_lib.execution.progress import NAMED, Progress, is_watched
from fmnist_lib.runs.config import make_config


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def configs():
    return [make_config(model="lenet5"), make_config(model="vit_tiny", seed=1)]


def row(epoch):
    return {"epoch": epoch, "test_accuracy": 80.0 + epoch}


def test_without_a_watcher_there_is_a_line_now_and_then(configs, monkeypatch):
    """Also where no epoch ends meanwhile: a silent log looks like a hanging command."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress_module, "LINE_EVERY", 0.01)
    with Progress(configs) as progress:
        progress.epoch(configs[1].name, row(3))
        while sys.stderr.getvalue().count("\n") < 3:
            time.sleep(0.01)
    line = sys.stderr.getvalue().splitlines()[-1]
    assert line.startswith("0/2 runs, about ")
    assert line.endswith(" left: ViT-Tiny seed 1 epoch 3, 83.0 %")


def test_a_line_names_few_of_many_runs(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    many = [make_config(model="lenet5", seed=seed) for seed in range(24)]
    with Progress(many) as progress:
        for config in many:
            progress.epoch(config.name, row(1))
        assert progress.line().count("LeNet-5") == NAMED
        assert progress.line().endswith(" and 20 more")


def test_a_terminal_shows_one_bar_over_all_runs(configs, small_run, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    configs = [small_run.record.config, *configs]
    with Progress(configs) as progress:
        progress.epoch(configs[1].name, row(3))
        progress.epoch(configs[0].name, row(2))
        progress.finish(small_run.record)
    shown = sys.stderr.getvalue()
    (result,) = small_run.record.stops.values()
    assert f"LeNet-5 seed 0: test {result.test_accuracy:.2f} % at epoch " in shown
    last = shown.split("\r")[-1]
    assert "1/3 runs" in last
    assert "LeNet-5 seed 0 epoch 3, 83.0 %" in last  # still running
    assert 0 < progress.bar.n < progress.bar.total


def test_more_epochs_than_expected_only_make_it_longer(configs, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress(configs[:1]) as progress:
        for epoch in (1, 50, 99):
            progress.epoch(configs[0].name, row(epoch))
            assert progress.bar.n < progress.bar.total


def test_nothing_to_train_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress([]):
        pass
    assert sys.stderr.getvalue() == ""


def test_a_notebook_is_watched_though_it_is_no_terminal(monkeypatch):
    from ipykernel.iostream import OutStream

    monkeypatch.setattr(sys, "stderr", OutStream.__new__(OutStream))
    monkeypatch.setattr(OutStream, "isatty", lambda self: False)
    assert is_watched()
