"""Processes beside this one end when it is interrupted, at once and in silence."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from fmnist_lib.reporting.processes import fresh_processes

INTERRUPTED = """
import os, time
from fmnist_lib.reporting.processes import fresh_processes

if __name__ == "__main__":
    try:
        with fresh_processes(1) as pool:
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


def test_ctrl_c_ends_them_without_a_word(tmp_path):
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
        process = psutil.Process(int(started.stdout.readline()))
        os.killpg(started.pid, signal.SIGINT)
        assert started.communicate() == ("interrupted\n", "")
    assert not process.is_running()
