"""Processes beside this one end when it is interrupted, at once and in silence."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from fmnist_lib.errors import FailedError
from fmnist_lib.reporting.processes import fresh_processes

INTERRUPTED = """
import os, subprocess, sys, time
from fmnist_lib.reporting.processes import fresh_processes

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


def test_an_exception_in_the_block_ends_them():
    processes = []

    def fail_beside_a_long_task():
        with fresh_processes(1) as pool:
            processes.append(psutil.Process(pool.submit(os.getpid).result()))
            pool.submit(time.sleep, 600)
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fail_beside_a_long_task()
    assert not processes[0].is_running()


def test_what_waits_in_line_is_never_done(tmp_path):
    def interrupt_with_tasks_in_line():
        with fresh_processes(1) as pool:
            pool.submit(os.getpid).result()
            for name in "abcd":
                pool.submit(time.sleep, 1 if name == "a" else 0)
                pool.submit((tmp_path / name).touch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt_with_tasks_in_line()
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


def run_interrupted(tmp_path):
    """A process with one beside it, which started one of its own."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    return subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # whoever starts the tests in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def family(started):
    process = psutil.Process(int(started.stdout.readline()))
    found = [process, *process.children()]
    assert len(found) == 2
    return found


def test_ctrl_c_ends_them_without_a_word(tmp_path):
    with run_interrupted(tmp_path) as started:
        processes = family(started)
        os.killpg(started.pid, signal.SIGINT)
        assert started.communicate() == ("interrupted\n", "")
    assert psutil.wait_procs(processes, timeout=60)[1] == []


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_their_parent_whatever_ended_it(tmp_path, sign):
    with run_interrupted(tmp_path) as started:
        processes = family(started)
        os.kill(started.pid, sign)
    assert psutil.wait_procs(processes, timeout=60)[1] == []
