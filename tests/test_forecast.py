"""What is expected of runs: from their like, else from their work."""

import pytest

from fmnist_lib.execution.forecast import (
    EXPECTED_EPOCHS,
    expected_seconds,
    forecast,
    in_words,
    longest_first,
    past_runs,
    wall_seconds,
)
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.store import RunStore


def test_earlier_runs_tell_and_are_scaled(small_run):
    (rows, config) = small_run.record.history, small_run.record.config
    seconds = sum(row.train_seconds + row.inference_ms / 1000 for row in rows)
    assert expected_seconds(config, [small_run.record]) == pytest.approx(seconds)
    whole = make_config(model="lenet5")
    scale = 60_000 / 256 * EXPECTED_EPOCHS / len(rows)
    assert expected_seconds(whole, [small_run.record]) == pytest.approx(scale * seconds)


def test_without_any_the_work_tells(small_run):
    configs = [make_config(model=name) for name in ("lenet5", "vit_tiny", "baseline_cnn")]
    assert [c.model for c in longest_first(configs)] == ["vit_tiny", "baseline_cnn", "lenet5"]
    other = make_config(model="lenet5", precision="bf16")  # no run of its kind
    assert expected_seconds(other, [small_run.record]) == expected_seconds(other)


@pytest.mark.parametrize(
    ("seconds", "workers", "end"),
    [([3, 1, 2], 1, 6), ([3, 1, 2], 2, 3), ([1, 1, 1, 3], 2, 3), ([2], 9, 2), ([], 2, 0)],
)
def test_each_free_worker_takes_the_longest_that_is_left(seconds, workers, end):
    assert wall_seconds(seconds, workers) == end


def test_the_forecast_in_words():
    assert forecast([], [], 2) == "forecast: nothing to train"
    line = forecast([make_config(model="lenet5", seed=seed) for seed in range(3)], [], 2)
    assert line.startswith("forecast: 3 runs to train, ")
    assert line.endswith(" with 2 side by side")
    assert [in_words(seconds) for seconds in (1, 60, 61, 3600)] == [
        *("1 min", "1 min", "2 min", "1 h 00 min"),
    ]


def test_damaged_records_are_left_out(small_run, tmp_path):
    store = RunStore(tmp_path)
    store.write(small_run)
    assert len(past_runs(store)) == 1
    (tmp_path / small_run.record.name / "record.json").write_text("{")
    assert past_runs(store) == []
