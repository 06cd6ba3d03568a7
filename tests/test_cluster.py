"""Many runs: the same results in this process and on workers, and one failure is not all."""

import pytest
import torch

from fmnist_lib.errors import FailedError
from fmnist_lib.execution.here import run_many
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.training.loop import NonFiniteLossError

TINY = {"train_images": 100, "test_images": 50, "max_epochs": 2, "batch_size": 20}


@pytest.fixture(scope="module")
def configs():
    """Two runs that work and, between them, one that cannot."""
    return [
        make_config(model="lenet5", **TINY),
        make_config(model="lenet5", learning_rate=1e38, **TINY),
        make_config(model="baseline_cnn", seed=1, **TINY),
    ]


def collect(configs, jobs):
    """What all runs came to, by name, and the epochs they reported."""
    epochs, outcomes = [], {}
    for config, outcome in run_many(
        configs, jobs=jobs, on_epoch=lambda name, row: epochs.append((name, row))
    ):
        assert config.name not in outcomes
        outcomes[config.name] = outcome
    return outcomes, epochs


@pytest.fixture(scope="module")
def finished(configs):
    """The same runs in this process and on two workers."""
    return {jobs: collect(configs, jobs) for jobs in (1, 2)}


either_way = pytest.mark.parametrize("jobs", [1, 2])


@either_way
def test_every_run_is_yielded_once(finished, configs, jobs):
    outcomes, _ = finished[jobs]
    assert set(outcomes) == {config.name for config in configs}


@either_way
def test_an_error_is_yielded_and_the_others_finish(finished, configs, jobs):
    outcomes, _ = finished[jobs]
    error = outcomes[configs[1].name]
    assert isinstance(error, NonFiniteLossError)
    assert str(error).startswith("lenet5: the training loss is not finite in epoch 1, step ")
    for config in (configs[0], configs[2]):
        output = outcomes[config.name]
        assert isinstance(output, RunOutput)
        assert output.record.name == config.name
        assert output.weights.keys() == output.predictions.keys() == output.record.stops.keys()


@either_way
def test_epochs_are_reported_in_order(finished, configs, jobs):
    outcomes, epochs = finished[jobs]
    for config in (configs[0], configs[2]):
        rows = [row for name, row in epochs if name == config.name]
        assert [row["epoch"] for row in rows] == [1, 2]
        history = outcomes[config.name].record.history
        assert [row["test_loss"] for row in rows] == [row.test_loss for row in history]
    assert not [row for name, row in epochs if name == configs[1].name]


def test_results_do_not_depend_on_the_number_of_jobs(finished, configs):
    for config in (configs[0], configs[2]):
        here, there = (finished[jobs][0][config.name] for jobs in (1, 2))
        assert here.record.result_digest == there.record.result_digest
        assert there.record.environment.threads == 1


def test_workers_that_cannot_start_are_told_in_one_line_with_the_cause(configs, monkeypatch):
    def refuse(**_):
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("Nanny failed to start.") from error

    monkeypatch.setattr("fmnist_lib.execution.local.Client", refuse)
    with pytest.raises(FailedError, match=r"2 worker processes \(.*No space left") as error:
        list(run_many(configs[:2], jobs=2, on_epoch=print))
    assert "\n" not in str(error.value)


def test_nothing_to_do_needs_no_data_and_no_workers(monkeypatch):
    monkeypatch.setattr("fmnist_lib.execution.here.ensure_data", None)
    assert list(run_many([], jobs=2, on_epoch=print)) == []


def test_a_caller_that_stops_early_leaves_the_rest_undone(configs):
    epochs, threads = [], torch.get_num_threads()
    runs = run_many(configs[::2], jobs=1, on_epoch=lambda name, row: epochs.append(name))
    first, _ = next(runs)
    runs.close()
    assert set(epochs) == {first.name}
    assert torch.get_num_threads() == threads
