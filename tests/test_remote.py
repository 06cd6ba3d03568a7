"""Many runs: the same results in this process, on workers of our own, and on a Dask cluster.

The cluster is a real one on this machine: scheduler and workers, started by command.
"""

import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from distributed import Client

from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.execution.here import run_many, train_and_store
from fmnist_lib.execution.remote import check_address, closed_after, connect
from fmnist_lib.paths import ROOT
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore
from fmnist_lib.training.loop import NonFiniteLossError

TINY = {"train_images": 100, "test_images": 50, "max_epochs": 4, "batch_size": 20}


def ignore(name, row):
    """Take no note of an epoch."""


# --- here, and on workers of our own ---


@pytest.fixture(scope="module")
def configs():
    """Two runs that work and, between them, one that cannot."""
    return [
        make_config(model="lenet5", **TINY),
        make_config(model="lenet5", learning_rate=1e38, **TINY),
        make_config(model="baseline_cnn", seed=1, **TINY),
    ]


def test_two_workers_of_our_own_give_what_one_process_gives(configs):
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
    def refuse(**_):
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("Nanny failed to start.") from error

    monkeypatch.setattr("fmnist_lib.execution.remote.Client", refuse)
    with pytest.raises(FailedError, match=r"2 worker processes \(.*No space left") as error:
        list(run_many(configs[:2], jobs=2, on_epoch=ignore))
    assert "\n" not in str(error.value)


def test_an_interrupt_stays_one_where_workers_are_slow_to_close():
    def close():
        raise TimeoutError

    with pytest.raises(KeyboardInterrupt), closed_after(SimpleNamespace(close=close)):
        raise KeyboardInterrupt


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


# --- a cluster that exists already ---

# This code, and no installed one.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


class Place:
    """A scheduler on a free port, and workers when they are asked for."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes = []
        self.scheduler = self.start(
            "scheduler", "--host=127.0.0.1", f"--port={self.port}", "--no-dashboard"
        )

    def start(self, what, *options):
        with (self.folder / f"{what}-{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{what}", *options],
                cwd=self.folder,
                env={**ENVIRONMENT, "FMNIST_RUNS": str(self.folder)},
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def worker(self, threads=1):
        options = (f"--nthreads={threads}", "--host=127.0.0.1", "--no-nanny", "--no-dashboard")
        return self.start("worker", self.address, *options)

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.close()


ADDRESSES = {
    None: ("tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:1", "tls://far:8786"),
    "--trust-network": ("tcp://10.0.0.1:8786", "tcp://far.example:1", "tcp://127.0.0.1.far:8786"),
    "is no address": ("far:8786", "tcp://far", "inproc://1", "tcp://[::1", "", "x", "tcp://a:b"),
}


@pytest.mark.parametrize(("fault", "address"), [(f, a) for f in ADDRESSES for a in ADDRESSES[f]])
def test_a_scheduler_is_on_this_machine_or_encrypted_or_trusted(fault, address):
    for trust_network in (False, True):
        if fault is None or (trust_network and fault == "--trust-network"):
            check_address(address, trust_network=trust_network)
        else:
            with pytest.raises(UserError, match=fault):
                check_address(address, trust_network=trust_network)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("fmnist_lib.execution.remote.ANSWER_SECONDS", 0.5)
    with pytest.raises(UserError, match="no answer from tcp:"):
        connect("tcp://127.0.0.1:1").__enter__()


def test_a_cluster_gives_what_one_process_gives(place):
    """Its first worker is killed in the midst of a run, once there is another."""
    configs = [make_config(model="lenet5", seed=seed, **TINY) for seed in range(4)]
    first = place.worker()
    epochs, found = [], {}

    def on_epoch(name, row):
        epochs.append(name)
        if len(epochs) == 1:
            place.worker()
            first.kill()

    for config, output in run_many(configs, jobs=1, on_epoch=on_epoch, scheduler=place.address):
        found[config.name] = output.record.result_digest
    assert found == {c.name: run_experiment(c).record.result_digest for c in configs}
    assert not list(place.folder.glob("checkpoints/*"))


@pytest.mark.long
def test_a_worker_with_other_software_leaves_by_name(place, capsys):
    stranger = place.worker(threads=2)
    config = make_config(model="lenet5", **TINY)
    runs = run_many([config], jobs=1, on_epoch=ignore, scheduler=place.address)
    with ThreadPoolExecutor() as pool:
        found = pool.submit(next, runs)
        stranger.wait(60)
        place.worker()
        assert found.result()[1].record.name == config.name
    (line,) = {line for line in capsys.readouterr().err.splitlines() if "refused" in line}
    assert re.fullmatch(r"refused the worker tcp://127.0.0.1:\d+: threads is 2, not 1", line)


@pytest.mark.long
def test_a_killed_scheduler_loses_nothing_that_was_finished(place, tmp_path, monkeypatch):
    configs = [make_config(model="lenet5", seed=seed, **TINY) for seed in range(3)]
    store = RunStore(tmp_path / "store")
    place.worker()
    write = store.write

    def write_and_kill(output, **how):
        write(output, **how)
        place.scheduler.kill()

    monkeypatch.setattr(store, "write", write_and_kill)
    with pytest.raises(FailedError, match="lost; finished runs are stored"):
        train_and_store(configs, store, scheduler=place.address)
    assert len(store.names()) == 1


@pytest.mark.long
def test_a_caller_that_stops_takes_the_rest_back(place):
    configs = [make_config(model="lenet5", seed=s, **TINY | {"max_epochs": 500}) for s in range(3)]
    place.worker()
    runs = run_many(configs, jobs=1, on_epoch=ignore, scheduler=place.address)
    next(runs)
    runs.close()

    def at_work(client):
        executing = client.run(lambda dask_worker: len(dask_worker.state.executing))
        return any(client.processing().values()) or any(executing.values())

    with Client(place.address) as client:
        deadline = time.monotonic() + 60
        while at_work(client) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not at_work(client)
