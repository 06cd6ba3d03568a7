"""Fresh processes beside this one, which leave Ctrl-C to it and end when it does."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress

import psutil

from fmnist_lib.errors import FailedError


@contextmanager
def fresh_processes(number: int) -> Iterator[Executor]:
    """Yield an executor of so many new processes; an exception in the block ends them at once.

    They share nothing with this one but what they are sent, and ignore the interrupt that Ctrl-C
    sends to all: this process obeys it, alone and once. Raises `FailedError` where the system lets
    none be started, or ends one of them.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    try:
        pool = ProcessPoolExecutor(number, mp_context=context, initializer=_begin)
    except (ImportError, NotImplementedError, OSError) as error:
        raise FailedError(
            f"no process can be started beside this one ({error}); it takes shared memory and "
            "semaphores, on Linux a /dev/shm that can be written to"
        ) from error
    with pool:
        try:
            yield pool
        except BaseException as error:
            kill(p.pid for p in set(multiprocessing.active_children()) - others)
            if isinstance(error, BrokenProcessPool):
                raise FailedError(
                    "a process beside this one ended in the midst of its work: killed from "
                    "outside, or short of memory or file handles"
                ) from error
            raise


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_parent()


def watch_parent() -> None:
    """End this process, and all that it started, within a second of its parent's end.

    Whoever is killed outright can end nobody. Where the system names no new parent (Windows) and
    `multiprocessing` did not start this process, nothing happens.
    """
    known, first = multiprocessing.parent_process(), os.getppid()

    def wait() -> None:
        while os.getppid() == first and (known is None or known.is_alive()):
            time.sleep(1)
        kill([os.getpid()])

    threading.Thread(target=wait, name="watch-parent", daemon=True).start()


def kill(processes: Iterable[int]) -> None:
    """Kill processes and all that they started, such as the kernels of notebooks."""
    for pid in processes:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for doomed in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    doomed.kill()
