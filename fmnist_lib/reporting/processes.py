"""Fresh processes beside this one, which leave Ctrl-C to it."""

import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context


@contextmanager
def fresh_processes(number: int) -> Iterator[Executor]:
    """Yield an executor of so many new processes; an exception in the block ends them at once.

    They share nothing with this one but what they are sent, and ignore the interrupt that Ctrl-C
    sends to all: this process obeys it, alone and once.
    """
    others = set(active_children())
    with ProcessPoolExecutor(
        number,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        try:
            yield pool
        except BaseException:
            for process in set(active_children()) - others:
                process.terminate()
            raise
