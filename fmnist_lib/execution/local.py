"""Runs on worker processes, one core each."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue

from loky import ProcessPoolExecutor
from loky.backend import get_context
from loky.process_executor import BrokenProcessPool

from fmnist_lib.errors import FailedError
from fmnist_lib.execution.here import OnEpoch, RunEnds
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import ONE_THREAD
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.runs.run import run_experiment

# A larger model than the last one's is no leak of memory.
ENVIRONMENT = {**ONE_THREAD, "LOKY_MAX_MEMORY_LEAK_SIZE": "1e12"}


def run_on_workers(
    configs: Sequence[RunConfig], *, jobs: int, on_epoch: OnEpoch, **given: object
) -> RunEnds:
    """Do what `run_many` does on `jobs` workers, which end with this process or the caller.

    Raises `FailedError` where workers cannot be started, or one is killed.
    """
    context = get_context("loky")
    with ExitStack() as at_the_end:
        try:
            epochs, (alive, ours) = context.SimpleQueue(), context.Pipe(duplex=False)
            at_the_end.callback(ours.close)
            pool = ProcessPoolExecutor(
                min(jobs, len(configs)),
                context=context,
                initializer=start_worker,
                initargs=(epochs, alive),
                env=ENVIRONMENT,
            )
            at_the_end.callback(pool.shutdown, kill_workers=True)
            with not_now(signal.SIGINT, signal.SIGTERM):  # half-started workers would not end well
                runs = {pool.submit(run_in_worker, c, **given): c for c in configs}
        except (OSError, RuntimeError, NotImplementedError) as error:
            raise FailedError(
                f"cannot start {jobs} worker processes ({error}); --jobs 1 trains without any"
            ) from None
        listener = threading.Thread(target=listen, args=(epochs, on_epoch), daemon=True)
        listener.start()
        for future in as_completed(runs):
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                raise FailedError(
                    "a worker process was killed, as happens where memory runs out; fewer --jobs "
                    "take less; finished runs are stored, and the same command goes on from here"
                )
            yield runs.pop(future), error or future.result()
        epochs.put(None)
        listener.join()


@contextmanager
def not_now(*signals: signal.Signals) -> Iterator[None]:
    """Hold back signals, of which the first comes afterwards.

    What is started meanwhile has them blocked, but on Windows. That alone would not do: the kernel
    gives a signal to any thread that does not block it, such as one of NumPy's.
    """
    came: list[int] = []
    heeded = [each for each in signals if signal.getsignal(each) != signal.SIG_IGN]
    before = [signal.signal(each, lambda number, _: came.append(number)) for each in heeded]
    if known := hasattr(signal, "pthread_sigmask"):
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        if known:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for each, handler in zip(heeded, before, strict=True):
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0])


def listen(epochs: SimpleQueue, on_epoch: OnEpoch) -> None:
    """Pass on what workers tell of their epochs."""
    while told := epochs.get():
        on_epoch(*told)


# --- in a worker ---


def start_worker(epochs: SimpleQueue, alive: Connection) -> None:
    """Make ready to tell of epochs, and to end with the process at the other end of `alive`."""
    run_in_worker.epochs = epochs
    if hasattr(signal, "pthread_sigmask"):  # what was held back; an interrupt is the parent's alone
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=end_with, args=(alive,), daemon=True).start()


def end_with(alive: Connection) -> None:
    """Wait until the other end is closed, as its process's death does, and end."""
    alive.poll(None)
    os._exit(1)


def run_in_worker(config: RunConfig, **given: object) -> RunOutput:
    """Carry out a run and tell of its epochs."""
    return run_experiment(
        config, on_epoch=lambda row: run_in_worker.epochs.put((config.name, row)), **given
    )
