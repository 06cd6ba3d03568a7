"""How many images a second six models train on, in five ways: `benchmarks/throughput.py --help`."""

import argparse
import importlib.util
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from common import (
    REFERENCE,
    Parser,
    Rates,
    between,
    chosen,
    measured_on,
    publish,
    rates_of,
    row_of,
    rows_of,
    table,
)
from ways import Work, matrix_gflops, prepare, run_block

from fmnist_lib.data.obtain import ensure_data
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.environment import ONE_THREAD, usable_cores
from fmnist_lib.runs.plans import parse_models

PEERS = {"lightning": "lightning", "skorch": "skorch"}  # way -> package
LOADER_WORKERS = {"dataloader": (0, 2), "lightning": (0, 2), "skorch": (0, 2)}  # the better counts
ALL_WAYS = ("dataloader", "lightning", "skorch", "ours_single", "ours_per_core")
MAX_IMAGES = 50_000  # and the warm-up's: no more than there are


class Bench:
    """One fresh process a way (one a core for `ours_per_core`), kept for the whole comparison."""

    def __init__(self, ways: list[str], cores: int, stack: ExitStack) -> None:
        context = multiprocessing.get_context("spawn")
        self.pools = {}
        for way in ways:
            side_by_side = cores if way == "ours_per_core" else 1
            threads = {"ours_single": cores, "ours_per_core": 1}.get(way)
            together = context.Barrier(side_by_side) if side_by_side > 1 else None
            self.pools[way] = [
                stack.enter_context(ProcessPoolExecutor(1, context, prepare, (threads, together)))
                for _ in range(side_by_side)
            ]

    def rate(self, way: str, work: Work) -> float:
        """Return the images a second of one block, in all of the way's processes together."""
        futures = [pool.submit(run_block, way, work) for pool in self.pools[way]]
        blocks = [future.result() for future in futures]
        seconds = max(b.finished for b in blocks) - min(b.started for b in blocks)
        rate = len(blocks) * work.images / seconds
        workers = f", {work.workers} workers" if way in LOADER_WORKERS else ""
        result = f"loss {blocks[0].loss:.3f}, accuracy {blocks[0].accuracy:.1f} %"
        print(f"  {way}{workers}: {rate:,.0f} images/s, {result}", file=sys.stderr)
        return rate


def measure(bench: Bench, models: list[str], ways: list[str], options: argparse.Namespace) -> Rates:
    """Time all blocks, interleaved."""
    timings: dict[tuple[str, str, int], list[float]] = {}
    for number in range(1, options.rounds + 1):
        for model in models:
            print(f"round {number} of {options.rounds}, {model}", file=sys.stderr)
            for way in ways:
                for workers in LOADER_WORKERS.get(way, (0,)):
                    rate = bench.rate(way, Work(model, options.images, workers))
                    timings.setdefault((model, way, workers), []).append(rate)
    return rates_of(timings)


def share_of_limit(rates: Rates, model: str, way: str, cores: int, gflops: float) -> str:
    """Return how much of the machine's arithmetic a model reaches in a way."""
    if model not in MODELS:
        return ""
    # Forward, and backward for weights and for inputs: three times.
    operations = 2 * 3 * count_macs(model, {}) * rates[model, way]
    return f"{100 * operations / cores / (1e9 * gflops):.0f} %"


def run(options: argparse.Namespace) -> None:
    """Measure, print and write. Raises `UserError`."""
    ways = chosen(options.ways, ALL_WAYS, "ways")
    models = parse_models(options.models)
    for way in ways:
        if way in PEERS and importlib.util.find_spec(PEERS[way]) is None:
            raise UserError(
                f"{PEERS[way]} is not installed: pip install -e '.[benchmarks]', or leave it out "
                "with --ways"
            )
    if REFERENCE not in ways:
        raise UserError(f"ways: {REFERENCE} is what the others are compared with")
    # What each way does by itself is what is compared.
    for name in ONE_THREAD:
        os.environ.pop(name, None)
    ensure_data()
    cores = usable_cores()
    prepare(1, None)
    gflops = matrix_gflops()
    with ExitStack() as stack:
        rates = measure(Bench(ways, cores, stack), models, ways, options)
    packages = ["torchvision", *(PEERS[way] for way in ways if way in PEERS)]
    rows = [
        [*row_of(rates, model, ways), share_of_limit(rates, model, ways[-1], cores, gflops)]
        for model in dict.fromkeys(model for model, _ in rates)
    ]
    section = (
        f"{measured_on(*packages)}; medians of {options.rounds} rounds of {options.images:,} "
        f"images. The machine's limit: {gflops:.0f} GFLOP/s a core (fp32 matrix product).\n\n"
        + table(["model", *ways, f"share of the limit, {ways[-1]}"], rows)
    )
    whole = (ways, models) == (list(ALL_WAYS), list(MODELS))
    publish("throughput", section, rows_of(rates), options.output, whole=whole)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = Parser(
        "throughput.py",
        "Time the same training in several ways, interleaved; write a CSV and, where there is a "
        "README.md beside it, the table in it. Nothing else may run meanwhile.",
    )
    add, images = parser.add_argument, between(1, MAX_IMAGES)
    add("--models", default="", metavar="a,b", help="these models only (default: all six)")
    add("--ways", default="", metavar="a,b", help=f"default: {','.join(ALL_WAYS)}")
    add("--images", type=images, default=3200, metavar="N", help="per block (default: %(default)s)")
    add("--rounds", type=between(1), default=5, metavar="N", help="default: %(default)s")
    add("--output", type=Path, metavar="CSV", help="default, if all was measured: beside this file")
    return parser.carry_out(run, arguments)


if __name__ == "__main__":  # the ways' processes import this file
    sys.exit(main())
