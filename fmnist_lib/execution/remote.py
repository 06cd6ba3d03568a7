"""Runs on Dask's workers, one core each: processes of our own, or a cluster that exists already.

Dask's messages are pickled: whoever reaches a scheduler can run code on all of its machines.
"""

import asyncio
import atexit
import logging
import platform
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import dask
from distributed import Client, Future, Worker, WorkerPlugin, as_completed, get_worker
from distributed.deploy.spec import close_clusters
from distributed.utils import CancelledError, silence_logging_cmgr
from distributed.versions import VersionMismatchWarning
from tqdm import tqdm

from fmnist_lib import paths
from fmnist_lib.data.obtain import DataError, accept_files, ensure_data, read_files
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.execution.here import OnEpoch, Outcome, Outcomes
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import code_sha256, package_version
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training.stopping import Row

Task = Callable[[RunConfig, str], RunOutput]
"""What a worker does: a run, and under which name its call tells what happens."""

TIMEOUT_SECONDS = 10  # for a scheduler to answer
DATA_TIMEOUT_SECONDS = 300  # for the data to come from the client
COMPARED = ("torch", "fmnist_lib", "dask", "distributed")
OWN = "own"  # the folder for checkpoints that each worker has
AT_ONCE = 2000  # runs that a scheduler knows of: more than there are workers, and few to it
LOCAL = {
    "distributed.worker.daemon": False,
    "distributed.nanny.pre-spawn-environ": {
        f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")
    },
    "distributed.scheduler.worker-saturation": 1.0,  # no run waits at a busy worker
}


class RunStoppedError(Exception):
    """Nobody waits for this run any more."""


def run_on_workers(
    configs: Sequence[RunConfig], jobs: int, scheduler: str, on_epoch: OnEpoch, **given: object
) -> Outcomes:
    """Yield runs as they finish: on the cluster of `scheduler`, else on `jobs` workers of our own.

    On a cluster the checkpoints lie in each worker's own folder; without a folder there are none.
    Raises `FailedError`, `UserError`.
    """
    place = connect(scheduler) if scheduler else local_client(min(jobs, len(configs)))
    if scheduler:
        given["checkpoints"] = given["checkpoints"] and OWN
    with place as client:
        yield from run_on(client, configs, on_epoch, partial(run_in_worker, **given))


def run_on(client: Client, configs: Sequence[RunConfig], on_epoch: OnEpoch, task: Task) -> Outcomes:
    """Hand runs to a cluster in this order; yield each with its outcome as they finish.

    Nobody waits for the rest once the caller stops and closes the client: it is taken back, and
    what is being trained ends with its epoch. Raises `FailedError`.
    """
    call = f"fmnist-{uuid4().hex}"  # a scheduler may serve others, with runs of the same names
    client.subscribe_topic(f"{call}-epochs", lambda event: on_epoch(*event[1]))
    send_data(client, f"{call}-data")
    rest = enumerate(configs)
    futures: dict[Future, RunConfig] = {}
    runs = as_completed(loop=client.loop)

    def submit(count: int) -> None:
        for place, config in islice(rest, count):
            # One group of keys: Dask keeps those of a large group back until a worker is free.
            key = ("run", call, config.name)
            future = client.submit(task, config, call, key=key, priority=-place)
            futures[future] = config
            runs.add(future)

    submit(AT_ONCE)
    for future in runs:
        yield futures.pop(future), outcome_of(future)
        future.release()
        submit(1)


def outcome_of(future: Future) -> Outcome:
    """Return what a run came to; raise `FailedError` where it is lost with the scheduler."""
    if future.status != "cancelled":
        with suppress(CancelledError, OSError):  # lost between two steps
            return future.exception() or future.result()
    raise FailedError(
        "the connection to the scheduler is lost; finished runs are stored, and the same command "
        "goes on from here"
    )


def run_in_worker(
    config: RunConfig, call: str, *, checkpoints: Path | str | None, **given: object
) -> RunOutput:
    """Carry out a run in a worker."""
    worker = get_worker()
    key = worker.get_current_task()

    def on_epoch(row: Row) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise RunStoppedError(config.name)
        worker.log_event(f"{call}-epochs", (config.name, row))

    have_data(worker, f"{call}-data")
    folder = paths.RUNS / "checkpoints" if checkpoints == OWN else checkpoints
    return run_experiment(config, on_epoch=on_epoch, checkpoints=folder, **given)


# --- workers of our own ---


@contextmanager
def local_client(jobs: int) -> Iterator[Client]:
    """Open a client on workers of our own, which only programs of this machine can reach.

    They end with this process, however it ends. Raises `FailedError` where none can be started.
    """
    with dask.config.set(LOCAL):
        try:
            client = Client(
                n_workers=jobs,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # any free port: two commands can run at once
                memory_limit=0,  # a run's memory is known and small
                silence_logs=logging.CRITICAL,
            )
        except KeyboardInterrupt:
            atexit.unregister(close_clusters)  # cannot close what has not started
            raise
        except (OSError, RuntimeError, ValueError) as error:
            raise FailedError(
                f"cannot start {jobs} worker processes ({reason_of(error)}); "
                "--jobs 1 trains without any"
            ) from None
        with client:
            yield client


def reason_of(error: BaseException) -> str:
    """Return an error's first cause in one line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return " ".join(str(error).split()) or type(error).__name__


# --- a cluster: who may be talked to, and who may join ---


def check_address(address: str, *, trust_network: bool = False) -> None:
    """Raise `UserError` for what is no scheduler's address, or open to strangers."""
    usable = local = False
    with suppress(ValueError):
        parts = urlsplit(address)
        local = parts.hostname == "localhost"
        usable = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
        local |= ip_address(parts.hostname).is_loopback
    if not usable:
        raise UserError(
            f"scheduler: {address!r} is no address; allowed: tcp://host:port, tls://host:port"
        )
    if parts.scheme == "tcp" and not trust_network and not local:
        raise UserError(
            f"scheduler: {address} is neither encrypted nor on this machine, so that others could "
            "run code here; allowed: tls://…, or --trust-network where nobody else is"
        )


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Open a client on a scheduler that admits only workers like us; raise `UserError`."""
    call, expected = f"fmnist-{uuid4().hex}", describe_software()
    quiet = warnings.catch_warnings(action="ignore", category=VersionMismatchWarning)
    with silence_logging_cmgr(logging.CRITICAL), quiet:  # we compare versions ourselves
        try:
            client = Client(address, timeout=TIMEOUT_SECONDS, set_as_default=False)
        except (OSError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"scheduler: no answer from {address} ({reason_of(error)})") from None
        with client:
            client.subscribe_topic(call, lambda event: say(event[1]))
            for worker, found in client.run(describe_software, on_error="return").items():
                if problem := difference(found, expected):
                    client.retire_workers([worker])
                    say(f"refused the worker {worker}: {problem}")
            try:
                client.register_plugin(Gate(expected, call), name=call)
            except RuntimeError as error:  # of a worker that joined just now
                say(str(error))
            if not client.scheduler_info(n_workers=-1)["workers"]:
                say(f"waiting for workers at {address}")
            try:
                yield client
            finally:
                if client.status == "running":
                    client.unregister_worker_plugin(call)


def describe_software(dask_worker: Worker | None = None) -> dict[str, str]:
    """Return what must be the same for results to be the same."""
    return {
        "Python": platform.python_version(),
        **{name: package_version(name) for name in COMPARED},
        "training code": code_sha256()[:12],
        # Runs that a worker takes at a time would share one random state.
        "threads": str(dask_worker.state.nthreads if dask_worker else 1),
    }


def difference(found: dict[str, str] | Exception, expected: dict[str, str]) -> str:
    """Return in what a worker differs, by name; empty for nothing."""
    if isinstance(found, Exception):
        return reason_of(found)
    apart = {name: value for name, value in expected.items() if found.get(name) != value}
    return ", ".join(f"{name} is {found.get(name)}, not {value}" for name, value in apart.items())


@dataclass
class Gate(WorkerPlugin):
    """Lets a worker join if its software is ours; else the client is told in what it differs.

    It speaks up while it is unpickled, since a worker shrugs off errors of a plugin's `setup` but
    does not start with one that it cannot read.
    """

    expected: dict[str, str]
    topic: str

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        (worker,) = Worker._instances  # no task runs yet, for which Dask would know it
        if problem := difference(describe_software(worker), self.expected):
            message = f"refused the worker {worker.address}: {problem}"
            worker.log_event(self.topic, message)
            raise RuntimeError(message)


def say(line: str) -> None:
    """Tell the user without disturbing a progress bar."""
    tqdm.write(line, file=sys.stderr)


# --- data for workers that cannot get it ---

data_arrived = threading.Event()  # on a worker


def have_data(worker: Worker, topic: str) -> None:
    """Make sure that this worker has the data, from the client where nobody else has it."""
    try:
        ensure_data()
    except DataError as error:
        worker.log_event(topic, worker.address)
        if not data_arrived.wait(DATA_TIMEOUT_SECONDS):
            raise DataError(f"{error} | from the client: nothing came") from None
        ensure_data()


def send_data(client: Client, topic: str) -> None:
    """Send the files to every worker that asks for them, once."""
    sent: set[str] = set()

    async def send(worker: str) -> None:
        await client.run(receive_data, await asyncio.to_thread(read_files), workers=[worker])

    def asked(event: tuple[float, str]) -> None:  # in the client's loop, which must not wait
        if event[1] not in sent:
            sent.add(event[1])
            client.loop.add_callback(send, event[1])

    client.subscribe_topic(topic, asked)


def receive_data(files: dict[str, bytes]) -> None:
    """Verify the files and keep them in this worker's own folder."""
    accept_files(files)
    data_arrived.set()
