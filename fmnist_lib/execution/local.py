"""Where runs happen: in this process, or side by side on workers, one core each."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from uuid import uuid4

import dask
from distributed import CancelledError, Client, Future, LocalCluster, as_completed, get_worker

from fmnist_lib import paths
from fmnist_lib.data.fashion_mnist import ensure_data
from fmnist_lib.errors import FailedError
from fmnist_lib.execution.forecast import longest_first
from fmnist_lib.execution.remote import connect, have_data, send_data
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.record import RunOutput, RunRecord
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training.loop import Row

OnEpoch = Callable[[str, Row], None]
"""Called with a run's name and the metrics of an epoch it has finished."""

Outcome = RunOutput | Exception
Task = Callable[[RunConfig, str], RunOutput]
"""What a worker does: a run, and under which name its call tells what happens."""
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

AT_ONCE = 2000  # runs that a scheduler knows of: more than there are workers, and few to it
OWN = "own"  # checkpoints lie in a remote worker's own folder, of which the client knows nothing


class ClusterLostError(FailedError):
    """The connection to the scheduler is gone, and with it what had not come back yet."""


class RunStoppedError(Exception):
    """Nobody waits for this run any more."""


def run_many(
    configs: Sequence[RunConfig],
    *,
    jobs: int,
    on_epoch: OnEpoch,
    scheduler: str = "",
    records: Sequence[RunRecord] = (),
    checkpoints: Path | None = None,
) -> Iterator[tuple[RunConfig, Outcome]]:
    """Yield each run with its output, or with the error that ended it, as they finish.

    Longest first, judged by `records` of earlier runs, so that no core idles at the end. The
    results do not depend on `jobs`, nor on whether a cluster's `scheduler` hands out the runs.
    Runs leave `checkpoints` in that folder and go on from them; on a cluster, in each worker's own.
    Raises `ClusterLostError`, `UserError`.
    """
    if not configs:
        return
    ensure_data()  # once, before several workers ask for it
    configs = longest_first(configs, records)
    if scheduler:
        with connect(scheduler) as client:
            yield from run_on(client, configs, on_epoch, partial(_run_in_worker, checkpoints=OWN))
    elif jobs == 1 or len(configs) == 1:
        yield from _run_here(configs, on_epoch, checkpoints)
    else:
        with local_client(min(jobs, len(configs))) as client:
            task = partial(_run_in_worker, checkpoints=checkpoints)
            yield from run_on(client, configs, on_epoch, task)


def _run_here(
    configs: Sequence[RunConfig], on_epoch: OnEpoch, checkpoints: Path | None
) -> Iterator[tuple[RunConfig, Outcome]]:
    for config in configs:
        try:
            outcome: Outcome = run_experiment(
                config,
                on_epoch=lambda row, name=config.name: on_epoch(name, row),
                checkpoints=checkpoints,
            )
        except Exception as error:  # the caller decides whether the other runs go on
            outcome = error
        yield config, outcome


@contextmanager
def local_client(jobs: int) -> Iterator[Client]:
    """Open a client on workers of our own, which only programs of this machine can reach."""
    with (
        dask.config.set(
            {
                "distributed.worker.daemon": False,
                "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
                "distributed.scheduler.worker-saturation": 1.0,  # no run waits at a busy worker
            }
        ),
        LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            host="127.0.0.1",  # Dask's messages are pickled: nobody beyond may send any
            dashboard_address="127.0.0.1:0",  # any free port: two commands can run at once
            memory_limit=0,  # a run's memory is known and small
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def run_on(
    client: Client, configs: Sequence[RunConfig], on_epoch: OnEpoch, task: Task
) -> Iterator[tuple[RunConfig, Outcome]]:
    """Hand runs to a cluster in this order; yield each with its outcome as they finish.

    Nobody waits for the rest once the caller stops: it is taken back, and what is being trained
    ends with its epoch. Raises `ClusterLostError`.
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
            yield futures.pop(future), _outcome(future)
            future.release()
            submit(1)
    finally:
        if client.status == "running":
            client.cancel(list(futures))


def _outcome(future: Future) -> Outcome:
    if future.status != "cancelled":
        try:
            error = future.exception()
            return error if error is not None else future.result()
        except (CancelledError, OSError, TimeoutError):  # lost between two steps
            pass
    raise ClusterLostError(
        "the connection to the scheduler is lost; finished runs are stored, and the same command "
        "goes on from here"
    )


def _run_in_worker(config: RunConfig, call: str, *, checkpoints: Path | str | None) -> RunOutput:
    worker = get_worker()
    key = worker.get_current_task()

    def on_epoch(row: Row) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise RunStoppedError(config.name)
        worker.log_event(f"{call}-epochs", (config.name, row))

    have_data(worker, f"{call}-data")
    folder = paths.RUNS / "checkpoints" if checkpoints == OWN else checkpoints
    return run_experiment(config, on_epoch=on_epoch, checkpoints=folder)
