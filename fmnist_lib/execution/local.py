"""Runs side by side on workers, one core each: of our own, or those of a Dask cluster."""

import atexit
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from uuid import uuid4

import dask
from distributed import CancelledError, Client, Future, as_completed, get_worker
from distributed.deploy.spec import close_clusters

from fmnist_lib import paths
from fmnist_lib.errors import FailedError
from fmnist_lib.execution.here import OnEpoch, Outcome, Outcomes
from fmnist_lib.execution.remote import connect, have_data, send_data
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training.stopping import Row

Task = Callable[[RunConfig, str], RunOutput]
"""What a worker does: a run, and under which name its call tells what happens."""

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

OWN = "own"  # the folder for checkpoints that each worker has
AT_ONCE = 2000  # runs that a scheduler knows of: more than there are workers, and few to it


class RunStoppedError(Exception):
    """Nobody waits for this run any more."""


def run_on_cluster(
    configs: Sequence[RunConfig], jobs: int, scheduler: str, on_epoch: OnEpoch, **given: object
) -> Outcomes:
    """Yield runs as they finish: on the cluster of `scheduler`, else on `jobs` workers of our own.

    On a cluster the checkpoints lie in each worker's own folder; without a folder there are none.
    Raises `FailedError`, `UserError`.
    """
    place = connect(scheduler) if scheduler else local_client(min(jobs, len(configs)))
    if scheduler:
        given = {"checkpoints": given["checkpoints"] and OWN}
    task = partial(run_in_worker, **given)
    with place as client:
        yield from run_on(client, configs, on_epoch, task)


@contextmanager
def local_client(jobs: int) -> Iterator[Client]:
    """Open a client on workers of our own, which only programs of this machine can reach.

    They end with this process, however it ends. Raises `FailedError` where none can be started.
    """
    settings = {
        "distributed.worker.daemon": False,
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "distributed.scheduler.worker-saturation": 1.0,  # no run waits at a busy worker
    }
    with dask.config.set(settings):
        try:
            client = Client(
                n_workers=jobs,
                threads_per_worker=1,
                host="127.0.0.1",  # Dask's messages are pickled: nobody beyond may send any
                dashboard_address="127.0.0.1:0",  # any free port: two commands can run at once
                memory_limit=0,  # a run's memory is known and small
                silence_logs=logging.CRITICAL,
            )
        except KeyboardInterrupt:
            atexit.unregister(close_clusters)  # cannot close what has not started
            raise
        except (OSError, RuntimeError, ValueError) as error:
            cause: BaseException = error
            while cause.__cause__ or cause.__context__:
                cause = cause.__cause__ or cause.__context__
            reason = " ".join(str(cause).split()) or type(cause).__name__
            raise FailedError(
                f"cannot start {jobs} worker processes ({reason}); --jobs 1 trains without any"
            ) from None
        with client:
            yield client


def run_on(client: Client, configs: Sequence[RunConfig], on_epoch: OnEpoch, task: Task) -> Outcomes:
    """Hand runs to a cluster in this order; yield each with its outcome as they finish.

    Nobody waits for the rest once the caller stops: it is taken back, and what is being trained
    ends with its epoch. Raises `FailedError`.
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

    try:
        submit(AT_ONCE)
        for future in runs:
            yield futures.pop(future), outcome_of(future)
            future.release()
            submit(1)
    finally:
        if client.status == "running":
            client.cancel(list(futures))


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
    config: RunConfig, call: str, *, checkpoints: Path | str | None = OWN, **given: object
) -> RunOutput:
    """Carry out a run, its checkpoints in this worker's own folder unless another is given."""
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
