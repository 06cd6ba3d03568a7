"""Processes beside this one end when it is interrupted, at once and in silence."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from fmnist_lib.errors import FailedError
from fmnist_lib.report.processes import fresh_processes

INTERRUPTED = """
import os, subprocess, sys, time
from fmnist_lib.report.processes import fresh_processes

def start():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # such as a kernel

if __name__ == "__main__":
    try:
        with fresh_processes(1) as pool:
            pool.submit(start).result()
            print(pool.submit(os.getpid).result(), flush=True)
            pool.submit(time.sleep, 600).result()
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_they_are_others_and_give_results_and_errors_back():
    with fresh_processes(2) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()


def test_an_exception_ends_them_and_what_waits_in_line_is_never_done(tmp_path):
    processes = []

    def fail_with_tasks_in_line():
        with fresh_processes(1) as pool:
            processes.append(psutil.Process(pool.submit(os.getpid).result()))
            pool.submit(time.sleep, 600)
            pool.submit((tmp_path / "done").touch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_with_tasks_in_line()
    assert not processes[0].is_running()
    assert not list(tmp_path.iterdir())


def test_one_that_is_ended_from_outside_is_one_line():
    with pytest.raises(FailedError), fresh_processes(1) as pool:
        pool.submit(os._exit, 1).result()


@pytest.mark.parametrize("error", [OSError(38, "Function not implemented"), FileNotFoundError(2)])
def test_where_there_are_no_semaphores_the_cause_is_told(monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("_multiprocessing.SemLock", refuse)
    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", refuse)
    with pytest.raises(FailedError, match="semaphores"), fresh_processes(1):
        pass


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_their_parent_whatever_ended_it(tmp_path, sign):
    """A process beside another, and one of its own; Ctrl-C comes to all and is told once."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # whoever starts the tests in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as started:
        beside = psutil.Process(int(started.stdout.readline()))
        processes = [beside, *beside.children()]
        assert len(processes) == 2
        (os.killpg if sign == signal.SIGINT else os.kill)(started.pid, sign)
        if sign == signal.SIGINT:
            assert started.communicate() == ("interrupted\n", "")
    assert psutil.wait_procs(processes, timeout=60)[1] == []
