"""What is expected of runs, from their like or their work, and what a user sees of them."""

import io
import sys
import time

import pytest
from made_up import make_run

from fmnist_lib.execution import forecast as room
from fmnist_lib.execution.forecast import (
    NAMED,
    Progress,
    expected_seconds,
    forecast,
    longest_first,
    titles_of,
)
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.plans import plan


def test_earlier_runs_tell_and_are_scaled():
    whole = make_run().record  # three epochs of 10.1, 20.2 and 30.3 s
    shortened = make_run(seed=1, test_images=20).record
    assert expected_seconds(whole.config, [whole, shortened]) == pytest.approx(60.6)
    split = make_config(model="lenet5", protocol="split", epochs=7)
    assert expected_seconds(split, [whole]) == pytest.approx(7 * 20.2 * 50_000 / 60_000)
    other = make_config(model="lenet5", precision="bf16")  # no run of its kind
    assert expected_seconds(other, [whole]) == expected_seconds(other)


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


def test_durations_are_rounded_up_to_minutes():
    expected = {1: "1 min", 60: "1 min", 61: "2 min", 3600: "1 h 00 min"}
    assert {seconds: room.in_words(seconds) for seconds in expected} == expected


def row(epoch):
    return {"epoch": epoch, "test_accuracy": 80.0 + epoch}


def test_there_is_a_line_now_and_then(monkeypatch):
    """Also where no epoch ends meanwhile: a silent log looks like a hanging command."""
    assert room.LINE_EVERY <= 120
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(room, "LINE_EVERY", 0.01)
    configs = [make_config(model="lenet5"), make_config(model="vit_tiny", seed=1)]
    with Progress(configs) as progress:
        assert progress.line() == "0/2 runs: starting"
        progress.epoch(configs[1].name, row(99))  # more than are expected
        while sys.stderr.getvalue().count("\n") < 3:
            time.sleep(0.01)
    line = sys.stderr.getvalue().splitlines()[-1]
    assert line.startswith("0/2 runs, about ")
    assert line.endswith(" left: ViT-Tiny seed 1 epoch 99, 179.0 %")
    progress.end(configs[1].name, "failed: no luck")
    progress.epoch(configs[1].name, row(100))  # told late
    assert progress.line().startswith("1/2 runs, about ")
    assert progress.line().endswith(" left: starting")
    assert sys.stderr.getvalue().endswith("ViT-Tiny seed 1: failed: no luck\n")


def test_of_many_runs_a_few_are_named_and_each_by_what_sets_it_apart():
    configs = plan("study", families="quick-search", models="lenet5,vit_tiny")
    progress = Progress(configs)
    for config in configs:
        progress.epoch(config.name, row(1))
    assert progress.line().count("LeNet-5") == NAMED
    assert progress.line().endswith("; 12 more")
    assert "LeNet-5 seed 100 (epochs 4, learning_rate 0.003) epoch 1, 81.0 %" in progress.line()
    ablated = plan("study", families="paper,designs", device="cuda")
    titles = titles_of(ablated)
    assert len(set(titles.values())) == len(ablated)
    assert "ResNet-Mini seed 3 (protocol split, widths [8, 16, 32])" in titles.values()
