"""Runs on Dask's workers, one core each: processes of our own, or a cluster that exists already.

Dask's messages are pickled: whoever reaches a scheduler can run code on all of its machines.
"""

import atexit
import logging
import math
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import dask
from distributed import Client, Future, Reschedule, as_completed, get_worker
from distributed.deploy.spec import close_clusters
from distributed.utils import CancelledError, silence_logging_cmgr
from distributed.versions import VersionMismatchWarning

from fmnist_lib import paths
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.execution.forecast import tell
from fmnist_lib.execution.here import OnEpoch, RunEnd, RunEnds
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import code_sha256, package_version
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training.checkpoint import Checkpoint
from fmnist_lib.training.stopping import Row

Task = Callable[[RunConfig, str], RunOutput]
"""What a worker does: a run, and under which name its call tells what happens."""

ANSWER_SECONDS = 10  # for a scheduler
COMPARED = ("torch", "fmnist_lib", "dask", "distributed")
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
    configs: Sequence[RunConfig],
    jobs: int,
    scheduler: str,
    on_epoch: OnEpoch,
    checkpoints: Path | None,
    deadline: float,
) -> RunEnds:
    """Yield runs as they finish: on the cluster of `scheduler`, else on `jobs` workers of our own.

    On a cluster, which knows no deadline, the checkpoints lie in each worker's own folder.
    Raises `FailedError`, `UserError`.
    """
    if scheduler:
        place, task = connect(scheduler), partial(run_as_guest, software=describe_software(1))
    else:
        place = local_client(min(jobs, len(configs)))
        task = partial(run_in_worker, checkpoints=checkpoints, deadline=deadline)
    with place as client:
        yield from run_on(client, configs, on_epoch, task)


def run_on(client: Client, configs: Sequence[RunConfig], on_epoch: OnEpoch, task: Task) -> RunEnds:
    """Hand runs to a cluster, to start in this order; yield each as it finishes.

    Nobody waits for the rest once the caller stops and closes the client: it is taken back, and
    what is being trained ends with its epoch. Raises `FailedError`.
    """
    call = f"fmnist-{uuid4().hex}"  # a scheduler may serve others, with runs of the same names
    client.subscribe_topic(f"{call}-epochs", lambda event: on_epoch(*event[1]))
    client.subscribe_topic(f"{call}-refused", lambda event: tell(event[1]))
    runs = {}
    for number, config in enumerate(configs):
        # One group of keys: Dask keeps those of a large group back until a worker is free.
        key = ("run", call, config.name)
        runs[client.submit(task, config, call, key=key, priority=-number)] = config
    for future in as_completed(runs, loop=client.loop):
        yield runs.pop(future), end_of(future)
        future.release()


def end_of(future: Future) -> RunEnd:
    """Return what a run came to; raise `FailedError` where it is lost with the scheduler."""
    if future.status != "cancelled":
        with suppress(CancelledError, OSError):  # lost between two steps
            return future.exception() or future.result()
    raise FailedError(
        "the connection to the scheduler is lost; finished runs are stored, and the same command "
        "goes on from here"
    )


def run_in_worker(
    config: RunConfig, call: str, *, checkpoints: Path | None, deadline: float = math.inf
) -> RunOutput:
    """Carry out a run in a worker."""
    worker = get_worker()
    key = worker.get_current_task()

    def on_epoch(row: Row) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise RunStoppedError(config.name)
        worker.log_event(f"{call}-epochs", (config.name, row))

    return run_experiment(config, on_epoch=on_epoch, checkpoints=checkpoints, deadline=deadline)


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
        with closed_after(client):
            yield client


@contextmanager
def closed_after(client: Client) -> Iterator[None]:
    """Close a client in the end; on a busy machine that may time out, which is no failure."""
    try:
        yield
    finally:
        with suppress(TimeoutError):
            client.close()


def reason_of(error: BaseException) -> str:
    """Return an error's first cause in one line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return " ".join(str(error).split()) or type(error).__name__


# --- a cluster: who may be talked to, and who may take part ---


def check_address(address: str, *, trust_network: bool = False) -> None:
    """Raise `UserError` for what is no scheduler's address, or open to strangers."""
    usable = False
    with suppress(ValueError):
        parts = urlsplit(address)
        usable = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    if not usable:
        raise UserError(
            f"scheduler: {address!r} is no address; allowed: tcp://host:port, tls://host:port"
        )
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme == "tcp" and not trust_network and not local:
        raise UserError(
            f"scheduler: {address} is neither encrypted nor on this machine, so that others could "
            "run code here; allowed: tls://…, or --trust-network where nobody else is"
        )


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Open a client on a scheduler; raise `UserError` where none answers."""
    quiet = warnings.catch_warnings(action="ignore", category=VersionMismatchWarning)
    with silence_logging_cmgr(logging.CRITICAL), quiet:  # we compare versions ourselves
        try:
            client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"scheduler: no answer from {address} ({reason_of(error)})") from None
        with closed_after(client):
            if not client.scheduler_info(n_workers=-1)["workers"]:
                tell(f"waiting for workers at {address}")
            yield client


def describe_software(threads: int) -> dict[str, str]:
    """Return what must be the same for results to be the same."""
    return {
        "Python": platform.python_version(),
        **{name: package_version(name) for name in COMPARED},
        "training code": code_sha256()[:12],
        "threads": str(threads),  # runs that a worker takes at a time would share one random state
    }


def run_as_guest(config: RunConfig, call: str, *, software: dict[str, str]) -> RunOutput:
    """Carry out a run in a worker of a cluster; one whose software is not ours leaves, named."""
    worker, folder = get_worker(), paths.RUNS / "checkpoints"
    found = describe_software(worker.state.nthreads)
    if apart := [name for name in software if found[name] != software[name]]:
        reasons = ", ".join(f"{name} is {found[name]}, not {software[name]}" for name in apart)
        worker.log_event(f"{call}-refused", f"refused the worker {worker.address}: {reasons}")
        worker.loop.add_callback(worker.close)
        raise Reschedule
    output = run_in_worker(config, call, checkpoints=folder)
    Checkpoint(folder, config).remove()
    return output
