"""Many runs: the same results in this process and on workers, which end when they should."""

import os
import signal
import threading
import time

import psutil
import pytest

from fmnist_lib.errors import FailedError
from fmnist_lib.execution.here import run_many, train_and_store
from fmnist_lib.execution.local import not_now
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore
from fmnist_lib.training.loop import NonFiniteLossError

TINY = {"train_images": 100, "test_images": 50, "max_epochs": 4, "batch_size": 20}


def ignore(name, row):
    """Take no note of an epoch."""


@pytest.fixture(scope="module")
def configs():
    """Two runs that work and, between them, one that cannot."""
    return [
        make_config(model="lenet5", **TINY),
        make_config(model="lenet5", learning_rate=1e38, **TINY),
        make_config(model="baseline_cnn", seed=1, **TINY),
    ]


def test_two_workers_give_what_one_process_gives(configs):
    digests = []
    for jobs in (1, 2):
        epochs, outcomes = [], {}
        for config, outcome in run_many(
            configs, jobs=jobs, on_epoch=lambda name, row, to=epochs: to.append((name, row))
        ):
            assert config.name not in outcomes
            outcomes[config.name] = outcome
        first, bad, last = (outcomes[config.name] for config in configs)
        assert isinstance(bad, NonFiniteLossError)  # and the others finish
        assert str(bad).startswith("lenet5: the training loss is not finite in epoch 1, step ")
        for output in (first, last):
            seen = [row for name, row in epochs if name == output.record.name]
            assert [row["epoch"] for row in seen] == [1, 2, 3, 4]
            assert [row["test_loss"] for row in seen] == [
                row.test_loss for row in output.record.history
            ]
            assert output.weights.keys() == output.predictions.keys() == output.record.stops.keys()
            assert output.record.environment.threads == 1
        digests.append([output.record.result_digest for output in (first, last)])
    assert digests[0] == digests[1]


def test_workers_that_cannot_start_are_told_in_one_line_with_the_cause(configs, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fmnist_lib.execution.local.ProcessPoolExecutor", refuse)
    with pytest.raises(FailedError, match=r"2 worker processes \(.*No space left") as error:
        list(run_many(configs[:2], jobs=2, on_epoch=ignore))
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals differ on Windows")
def test_a_held_signal_waits_though_another_thread_would_take_it_and_comes_once():
    came, done = [], threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    other = threading.Thread(target=done.wait)
    other.start()  # and does not block it, as those of NumPy do not
    try:
        with not_now(signal.SIGUSR1):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.05)
            assert came == []
        assert came == [signal.SIGUSR1]
        assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        done.set()
        signal.signal(signal.SIGUSR1, before)


def workers() -> list[psutil.Process]:
    """Return the processes that carry out runs."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "loky.backend.popen_loky_posix" in child.cmdline()]


def test_a_killed_worker_is_told_and_loses_nothing_that_was_finished(tmp_path):
    long = TINY | {"epochs": 40, "max_epochs": 40}  # none ends while the first is written
    configs = [make_config(model="lenet5", **TINY)]
    configs += [make_config(model="lenet5", seed=seed, **long) for seed in range(1, 4)]
    store = RunStore(tmp_path)

    def kill(*_):
        for worker in workers():
            worker.kill()

    write, store.write = store.write, lambda output: (write(output), kill())
    with pytest.raises(FailedError, match=r"killed.* finished runs are stored"):
        train_and_store(configs, store, jobs=2)
    assert store.names() == [configs[0].name]
    store.write = write
    assert train_and_store(configs[1:], store, jobs=2) == ({}, [])
    assert {run.result_digest for run in store.runs()} == {
        run_experiment(config).record.result_digest for config in configs
    }


def test_workers_end_with_a_caller_that_stops():
    configs = [make_config(model="lenet5", seed=s, **TINY | {"max_epochs": 500}) for s in range(3)]
    short = make_config(model="lenet5", **TINY | {"max_epochs": 1})
    runs = run_many([short, *configs], jobs=2, on_epoch=ignore)
    next(runs)
    found = workers()
    assert len(found) == 2
    runs.close()
    _gone, alive = psutil.wait_procs(found, timeout=10)
    assert not alive


def test_what_is_done_is_stored_and_what_fails_is_named(configs, tmp_path):
    store = RunStore(tmp_path)
    failures, _ = train_and_store(configs[:2], store)
    assert store.names() == [configs[0].name]
    assert list(failures) == [configs[1].name]
    assert not list((tmp_path / "checkpoints").glob(f"{configs[0].name}*"))
    with pytest.raises(FailedError, match=configs[1].name):
        train_and_store(configs[1:], store, keep_going=False)
    assert store.names() == [configs[0].name]
    assert train_and_store(configs[2:], store, minutes=1e-9) == ({}, [configs[2].name])
