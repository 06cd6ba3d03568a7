"""Where runs happen: in this process, or side by side on local workers, one core each."""

import logging
from collections.abc import Callable, Iterator, Sequence

import dask
from distributed import Client, Future, LocalCluster, as_completed, get_worker

from fmnist_lib.config import RunConfig
from fmnist_lib.cost import count_macs
from fmnist_lib.data import ensure_data
from fmnist_lib.experiment import run_experiment
from fmnist_lib.records import RunOutput
from fmnist_lib.training import Row

OnEpoch = Callable[[str, Row], None]
"""Called with a run's name and the metrics of an epoch it has finished."""

Outcome = RunOutput | Exception
TOPIC = "epoch"
# In place of Dask's own, which has workers hand every freed block back to the system as well:
# training, which frees and takes the same blocks all the time, spent two fifths of its time on it.
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run_many(
    configs: Sequence[RunConfig], *, jobs: int, on_epoch: OnEpoch
) -> Iterator[tuple[RunConfig, Outcome]]:
    """Yield each run with its output, or with the error that ended it, as they finish.

    Longest first, so that no core idles at the end. The results do not depend on `jobs`.
    """
    if configs:
        ensure_data()  # once, before several workers ask for it
    configs = sorted(configs, key=lambda c: -count_macs(c.model, c.model_options))
    if jobs == 1 or len(configs) == 1:
        yield from _run_here(configs, on_epoch)
    elif configs:
        yield from _run_on_workers(configs, min(jobs, len(configs)), on_epoch)


def _run_here(
    configs: Sequence[RunConfig], on_epoch: OnEpoch
) -> Iterator[tuple[RunConfig, Outcome]]:
    for config in configs:
        try:
            outcome: Outcome = run_experiment(
                config, on_epoch=lambda row, name=config.name: on_epoch(name, row)
            )
        except Exception as error:  # the caller decides whether the other runs go on
            outcome = error
        yield config, outcome


def _run_on_workers(
    configs: Sequence[RunConfig], jobs: int, on_epoch: OnEpoch
) -> Iterator[tuple[RunConfig, Outcome]]:
    with (
        dask.config.set(
            {
                "distributed.worker.daemon": False,
                "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
            }
        ),
        LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            host="127.0.0.1",  # Dask's messages are pickled: nobody else may send any
            dashboard_address="127.0.0.1:0",  # any free port: two commands can run at once
            memory_limit=0,  # a run's memory is known and small
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.subscribe_topic(TOPIC, lambda event: on_epoch(*event[1]))
        futures: dict[Future, RunConfig] = {
            client.submit(_run_in_worker, config, key=config.name, priority=-place): config
            for place, config in enumerate(configs)
        }
        for future in as_completed(futures):
            error = future.exception()
            yield futures[future], error if error is not None else future.result()
            future.release()


def _run_in_worker(config: RunConfig) -> RunOutput:
    worker = get_worker()
    return run_experiment(config, on_epoch=lambda row: worker.log_event(TOPIC, (config.name, row)))
