"""What many runs cost scheduler and client: stub runs on loopback, through the real code path.

    python benchmarks/scaling.py --tasks 10000 --workers 200 --seconds 0

A stub sleeps and returns a real record with arrays of a real run's size. Prints one line of JSON.
"""

import argparse
import asyncio
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import psutil
from common import Parser, between, measured_on
from distributed import Client, Worker

from fmnist_lib.execution.remote import run_on
from fmnist_lib.paths import REPORT
from fmnist_lib.runs.config import RunConfig, make_config
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.runs.store import RunStore

MODEL = "lenet5"
PROCESSES = 4  # that the workers live in


@cache
def output() -> RunOutput:
    """Return a released run, with weights of the right size."""
    store = RunStore(REPORT / "records", read_only=True)
    record = next(r for n in store.names() if (r := store.read(n)).config.model == MODEL)
    weights = {"weights": np.zeros(record.parameters, np.float32)}
    return RunOutput(
        record,
        {rule: store.predictions(record, rule) for rule in record.stops},
        dict.fromkeys(record.stops, weights),
    )


def stub(config: RunConfig, call: str) -> RunOutput:
    """Stand in for a run."""
    time.sleep(float(os.environ["STUB_SECONDS"]))
    return pickle.loads(pickle.dumps(output()))  # arrays of its own, as a run has


async def serve(address: str, workers: int) -> None:
    """Run workers in this process until they are closed."""
    output()
    started = [await Worker(address, nthreads=1, memory_limit=0) for _ in range(workers)]
    await asyncio.gather(*(worker.finished() for worker in started))


def mib(process: int) -> float:
    """Return the memory a process holds now."""
    return psutil.Process(process).memory_info().rss / 2**20


def measure(tasks: int, workers: int, seconds: int) -> dict[str, float | str]:
    """Return what it took to hand out `tasks` stubs to `workers` and have them back."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    here = Path(__file__).resolve()
    environment = {
        **os.environ,
        "STUB_SECONDS": str(seconds),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(here.parent),
    }
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    command += ["--host=127.0.0.1", f"--port={port}", "--no-dashboard"]
    quiet = {"env": environment, "stderr": subprocess.DEVNULL, "cwd": tempfile.gettempdir()}
    scheduler = subprocess.Popen(command, **quiet)
    each = -(-workers // PROCESSES)
    nodes = [
        subprocess.Popen([sys.executable, here, "--serve", address, str(each)], **quiet)
        for _ in range(PROCESSES)
    ]
    import scaling  # under the name by which the others know it

    try:
        # Not through the gate of `remote`, which knows one worker a process.
        with Client(address, timeout=30) as client:
            client.wait_for_workers(each * PROCESSES, timeout=300)
            configs = [make_config(model=MODEL, seed=seed) for seed in range(tasks)]
            before = {"scheduler": mib(scheduler.pid), "client": mib(os.getpid())}
            cpu = psutil.Process(scheduler.pid).cpu_times()
            peak = dict(before)
            started, first = time.perf_counter(), 0.0
            outcomes = run_on(client, configs, print, scaling.stub)
            for done, (_, outcome) in enumerate(outcomes, start=1):
                first = first or time.perf_counter() - started
                assert isinstance(outcome, RunOutput), outcome
                if done % 100 == 0:
                    peak["scheduler"] = max(peak["scheduler"], mib(scheduler.pid))
                    peak["client"] = max(peak["client"], mib(os.getpid()))
            wall = time.perf_counter() - started
            used = psutil.Process(scheduler.pid).cpu_times()
    finally:
        for process in (*nodes, scheduler):
            process.kill()
            process.wait()
    return {
        "machine": measured_on("distributed"),
        "tasks": tasks,
        "workers": each * PROCESSES,
        "stub_seconds": seconds,
        "wall_seconds": round(wall, 1),
        "submit_seconds": round(first, 1),
        "tasks_per_second": round(tasks / wall, 1),
        "scheduler_cpu_ms_a_task": round(
            1000 * (used.user + used.system - cpu.user - cpu.system) / tasks, 2
        ),
        "bytes_a_record": len(pickle.dumps(output(), protocol=5)),
        **{f"{who}_mib_before": round(value) for who, value in before.items()},
        **{f"{who}_mib_peak": round(value) for who, value in peak.items()},
    }


def run(options: argparse.Namespace) -> None:
    """Measure once and print, or serve."""
    if options.serve:
        asyncio.run(serve(options.serve[0], int(options.serve[1])))
    else:
        print(json.dumps(measure(options.tasks, options.workers, options.seconds)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = Parser("scaling.py", "Time what many stub runs cost a cluster; one line of JSON.")
    add = parser.add_argument
    add("--tasks", type=between(1), default=1000, metavar="N", help="default: %(default)s")
    add("--workers", type=between(1), default=40, metavar="N", help="default: %(default)s")
    add("--seconds", type=between(0), default=0, metavar="S", help="a stub's (default: 0)")
    add("--serve", nargs=2, help=argparse.SUPPRESS)
    return parser.carry_out(run, arguments)


if __name__ == "__main__":
    sys.exit(main())
