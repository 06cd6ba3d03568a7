"""What is expected of runs, from their like or their work, and what a user sees of them."""

import io
import sys
import time

import pytest

from fmnist_lib.execution import forecast as room
from fmnist_lib.execution.forecast import (
    EXPECTED_EPOCHS,
    NAMED,
    Progress,
    expected_seconds,
    forecast,
    is_watched,
    longest_first,
    past_runs,
)
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.store import RunStore


def test_earlier_runs_tell_and_are_scaled(small_run, tmp_path):
    store = RunStore(tmp_path)
    store.write(small_run)
    known, config = past_runs(store), small_run.record.config
    rows = small_run.record.history
    seconds = sum(row.train_seconds + row.inference_ms / 1000 for row in rows)
    assert expected_seconds(config, known) == pytest.approx(seconds)
    whole = make_config(model="lenet5")
    scale = 60_000 / 256 * EXPECTED_EPOCHS / len(rows)
    assert expected_seconds(whole, known) == pytest.approx(scale * seconds)
    split = make_config(model="lenet5", protocol="split", epochs=7)
    scale = 50_000 / 256 * 7 / len(rows)
    assert expected_seconds(split, known) == pytest.approx(scale * seconds)
    other = make_config(model="lenet5", precision="bf16")  # no run of its kind
    assert expected_seconds(other, known) == expected_seconds(other)
    (tmp_path / small_run.record.name / "record.json").write_text("{")
    assert past_runs(store) == []


def test_without_any_the_work_tells():
    configs = [make_config(model=name) for name in ("lenet5", "vit_tiny", "baseline_cnn")]
    assert [c.model for c in longest_first(configs)] == ["vit_tiny", "baseline_cnn", "lenet5"]


@pytest.mark.parametrize(
    ("hours", "workers", "wall"),
    [([3, 1, 2], 1, 6), ([3, 1, 2], 2, 3), ([1, 1, 1, 5], 2, 5), ([2], 9, 2)],
)
def test_no_worker_idles_while_there_is_work(monkeypatch, hours, workers, wall):
    monkeypatch.setattr(room, "expected_seconds", lambda hours, _: 3600 * hours)
    line = forecast(hours, [], workers)
    assert f"; {wall} h 00 min with {workers} side by side" in line
    assert f"{len(hours)} runs to train, {sum(hours)}.0 core hours" in line


def test_the_forecast_in_words():
    assert forecast([], [], 2) == "forecast: nothing to train"
    assert [room.in_words(seconds) for seconds in (1, 60, 61, 3600)] == [
        *("1 min", "1 min", "2 min", "1 h 00 min"),
    ]


# --- what a user sees of a training ---


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
    assert room.LINE_EVERY <= 120
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(room, "LINE_EVERY", 0.01)
    with Progress(configs) as progress:
        progress.epoch(configs[1].name, row(3))
        while sys.stderr.getvalue().count("\n") < 3:
            time.sleep(0.01)
    line = sys.stderr.getvalue().splitlines()[-1]
    assert line.startswith("0/2 runs, about ")
    assert line.endswith(" left: ViT-Tiny seed 1 epoch 3, 83.0 %")
    many = [make_config(model="lenet5", seed=seed) for seed in range(24)]
    with Progress(many) as progress:
        for config in many:
            progress.epoch(config.name, row(1))
        assert progress.line().count("LeNet-5") == NAMED
        assert progress.line().endswith("20 more")


def test_a_terminal_shows_one_bar_over_all_runs(configs, small_run, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress([]):
        assert sys.stderr.getvalue() == ""
    with Progress(configs[:1]) as progress:
        for epoch in (1, 50, 99):  # more than are expected only make it longer
            progress.epoch(configs[0].name, row(epoch))
            assert 0 < progress.bar.n < progress.bar.total
    with Progress([small_run.record.config, *configs]) as progress:
        progress.epoch(configs[1].name, row(3))
        progress.epoch(configs[0].name, row(99))
        progress.finish(small_run.record)
        assert 0 < progress.bar.n < progress.bar.total
    shown = sys.stderr.getvalue()
    (result,) = small_run.record.stops.values()
    assert f"LeNet-5 seed 0: test {result.test_accuracy:.2f} % at epoch " in shown
    last = shown.split("\r")[-1]
    assert "1/3 runs" in last
    assert "LeNet-5 seed 0 epoch 99, 179.0 %" in last  # still running


def test_a_notebook_is_watched_though_it_is_no_terminal(monkeypatch):
    from ipykernel.iostream import OutStream

    monkeypatch.setattr(sys, "stderr", OutStream.__new__(OutStream))
    monkeypatch.setattr(OutStream, "isatty", lambda self: False)
    assert is_watched()
