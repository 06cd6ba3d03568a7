"""Many runs become many records: trained wherever they are to be, stored as they finish."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

from fmnist_lib.data.obtain import ensure_data
from fmnist_lib.errors import FailedError
from fmnist_lib.execution.forecast import Progress
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore
from fmnist_lib.training.checkpoint import Checkpoint
from fmnist_lib.training.loop import OutOfTimeError
from fmnist_lib.training.stopping import Row

OnEpoch = Callable[[str, Row], None]
"""Called with a run's name and the metrics of an epoch it has finished."""

RunEnds = Iterator[tuple[RunConfig, RunOutput | Exception]]

JOBS_ON_GPU = 24  # runs side by side; 16 to 32 are about equally fast (`benchmarks/README.md`)


def train_and_store(
    configs: Sequence[RunConfig],
    store: RunStore,
    *,
    jobs: int = 1,
    minutes: float = math.inf,
    keep_going: bool = True,
) -> tuple[dict[str, str], list[str]]:
    """Train runs, `jobs` side by side; store each as it finishes.

    They start in this order, leave checkpoints in the store's folder and go on from them; after
    `minutes` all have stopped in good order. Returns the errors of runs that failed, by name, and
    the names of those that ran out of time. Raises `FailedError` where a record cannot be stored
    and, unless it is to `keep_going`, at the first run that fails.
    """
    failures: dict[str, str] = {}
    unfinished: list[str] = []
    checkpoints, deadline = store.folder / "checkpoints", time.monotonic() + 60 * minutes
    given = {"checkpoints": checkpoints, "deadline": deadline}
    with (
        Progress(configs) as progress,
        closing(run_many(configs, jobs=jobs, on_epoch=progress.epoch, **given)) as ends,
    ):
        for config, end in ends:
            if isinstance(end, OutOfTimeError):
                unfinished.append(config.name)
            elif isinstance(end, Exception):
                fault = f"{type(end).__name__}: {' '.join(str(end).split())}"
                failures[config.name] = fault
                if not keep_going:
                    raise FailedError(f"{config.name}: {fault}")
                progress.end(config.name, f"failed: {fault}")
            else:
                store.write(end)
                Checkpoint(checkpoints, config).remove()
                best = next(iter(end.record.stops.values()))
                when = f"epoch {best.best_epoch} of {best.epochs}"
                progress.end(config.name, f"test {best.test_accuracy:.2f} % at {when}")
    return failures, unfinished


def run_many(
    configs: Sequence[RunConfig], *, jobs: int, on_epoch: OnEpoch, **given: object
) -> RunEnds:
    """Yield each run with its output, or with the error that ended it, as they finish.

    Started in this order; `given` is what `run_steps` takes besides. The results depend neither on
    `jobs` nor on where the runs happen. Raises `FailedError`, `UserError`.
    """
    if not configs:
        return
    ensure_data()  # once, before several workers ask for it
    on_gpu = [config for config in configs if config.device == "cuda"]
    others = [config for config in configs if config.device != "cuda"]
    if on_gpu:
        from fmnist_lib.execution.gpu import run_side_by_side

        yield from run_side_by_side(on_gpu, jobs=jobs, on_epoch=on_epoch, **given)
    if min(jobs, len(others)) > 1:
        from fmnist_lib.execution.local import run_on_workers  # nothing else needs loky

        yield from run_on_workers(others, jobs=jobs, on_epoch=on_epoch, **given)
    else:
        for config in others:
            try:
                end = run_experiment(config, on_epoch=partial(on_epoch, config.name), **given)
            except Exception as error:  # the caller decides whether the other runs go on
                end = error
            yield config, end
