"""How many images a second six models train on, in five ways: `benchmarks/throughput.py --help`."""

import argparse
import csv
import importlib.util
import multiprocessing
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from fmnist_lib.errors import UserError

PEERS = {"lightning": "lightning", "skorch": "skorch"}  # way -> package
LOADER_WORKERS = {"dataloader": (0, 2), "lightning": (0, 2), "skorch": (0, 2)}  # the better counts
ALL_WAYS = ("dataloader", "lightning", "skorch", "ours_single", "ours_per_core")
REFERENCE = "dataloader"
MAX_IMAGES = 50_000  # and the warm-up's: no more than there are
OUTPUT = Path(__file__).with_name("throughput.csv")
BEGIN, END = "<!-- throughput: written by throughput.py -->", "<!-- /throughput -->"

Rates = dict[tuple[str, str], float]
"""Images a second of a model (or `all`) in a way."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="throughput.py",
        description="Time the same training in several ways, interleaved; write a CSV and, where "
        "there is a README.md beside it, the table in it. Nothing else may run meanwhile.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--models", default="", metavar="a,b", help="these models only (default: all six)")
    add("--ways", default=",".join(ALL_WAYS), metavar="a,b", help="default: %(default)s")
    add("--images", type=int, default=3200, metavar="N", help="per block (default: %(default)s)")
    add("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    add("--engine", choices=("eager", "compiled", "auto"), default="eager", help="of our ways")
    add("--output", type=Path, metavar="CSV", help="default, if all was measured: beside this file")
    return parser.parse_args(arguments)


def chosen(text: str, allowed: tuple[str, ...], option: str) -> list[str]:
    """Return the names given, in the order of `allowed`. Raises `UserError`."""
    names = [name.strip() for name in text.split(",") if name.strip()] or list(allowed)
    for name in names:
        if name not in allowed:
            raise UserError(f"{option}: no {name!r}; allowed: {', '.join(allowed)}")
    return [name for name in allowed if name in names]


def check(options: argparse.Namespace, ways: list[str]) -> None:
    """Raise `UserError` for what cannot be measured."""
    for way in ways:
        if way in PEERS and importlib.util.find_spec(PEERS[way]) is None:
            raise UserError(
                f"{PEERS[way]} is not installed: pip install -e '.[benchmarks]', or leave it out "
                "with --ways"
            )
    if REFERENCE not in ways:
        raise UserError(f"ways: {REFERENCE} is what the others are compared with")
    if not 1 <= options.images <= MAX_IMAGES:
        raise UserError(f"images: {options.images} is not possible; allowed: 1 to {MAX_IMAGES}")
    if options.rounds < 1:
        raise UserError(f"rounds: {options.rounds} is not possible; allowed: 1 and more")


class Bench:
    """One fresh process a way (one a core for `ours_per_core`), kept for the whole comparison."""

    def __init__(self, ways: list[str], cores: int, stack: ExitStack) -> None:
        import ways as blocks

        self.run_block = blocks.run_block
        context = multiprocessing.get_context("spawn")
        self.pools = {}
        for way in ways:
            side_by_side = cores if way == "ours_per_core" else 1
            threads = {"ours_single": cores, "ours_per_core": 1}.get(way)
            together = context.Barrier(side_by_side) if side_by_side > 1 else None
            self.pools[way] = [
                stack.enter_context(
                    ProcessPoolExecutor(1, context, blocks.prepare, (threads, together))
                )
                for _ in range(side_by_side)
            ]

    def rate(self, way: str, work: object) -> float:
        """Return the images a second of one block, in all of the way's processes together."""
        futures = [pool.submit(self.run_block, way, work) for pool in self.pools[way]]
        blocks = [future.result() for future in futures]
        seconds = max(b.finished for b in blocks) - min(b.started for b in blocks)
        rate = len(blocks) * work.images / seconds
        workers = f", {work.workers} workers" if way in LOADER_WORKERS else ""
        result = f"loss {blocks[0].loss:.3f}, accuracy {blocks[0].accuracy:.1f} %"
        print(f"  {way}{workers}: {rate:,.0f} images/s, {result}", file=sys.stderr)
        return rate


def measure(bench: Bench, models: list[str], ways: list[str], options: argparse.Namespace) -> Rates:
    """Time all blocks, interleaved; return medians, of the better number of workers."""
    from ways import Work

    seen: dict[tuple[str, str, int], list[float]] = {}
    for number in range(1, options.rounds + 1):
        for model in models:
            print(f"round {number} of {options.rounds}, {model}", file=sys.stderr)
            for way in ways:
                for workers in LOADER_WORKERS.get(way, (0,)):
                    work = Work(model, options.images, workers, options.engine)
                    seen.setdefault((model, way, workers), []).append(bench.rate(way, work))
    rates: Rates = {}
    for (model, way, _), values in seen.items():
        rates[model, way] = max(rates.get((model, way), 0.0), median(values))
    for way in ways:
        rates["all", way] = in_sequence(rates, way)
    return rates


def in_sequence(rates: Rates, way: str) -> float:
    """Return the images a second over an epoch of each model, one after another."""
    each = [rate for (_, its_way), rate in rates.items() if its_way == way]
    return len(each) / sum(1 / rate for rate in each)


def write_csv(path: Path, rates: Rates) -> None:
    """Write one row a model and way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "way", "images_per_second", "ratio_to_dataloader"])
        for (model, way), rate in rates.items():
            ratio = rate / rates[model, REFERENCE]
            writer.writerow([model, way, f"{rate:.1f}", f"{ratio:.3f}"])


def table(rates: Rates, ways: list[str], cores: int, gflops: float) -> list[str]:
    """Return a Markdown table of images a second, ratios, and the last way's share of the limit."""
    from fmnist_lib.models import MODELS
    from fmnist_lib.runs.cost import count_macs

    head = ["model", *ways, f"share of the limit, {ways[-1]}"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for model in dict.fromkeys(model for model, _ in rates):
        title = MODELS[model].title if model in MODELS else "all, in sequence"
        cells = [
            f"{rates[model, way]:,.0f} ({rates[model, way] / rates[model, REFERENCE]:.2f}×)"
            for way in ways
        ]
        share = ""
        if model in MODELS:  # forward, and backward for weights and for inputs: three times
            operations = 2 * 3 * count_macs(model, {}) * rates[model, ways[-1]]
            share = f"{100 * operations / cores / (1e9 * gflops):.0f} %"
        lines.append([title, *cells, share])
    return [f"| {' | '.join(line)} |" for line in lines]


def describe(options: argparse.Namespace, ways: list[str], cores: int, gflops: float) -> str:
    """Return the sentence on machine and versions."""
    from fmnist_lib.runs.environment import cpu_name, git, package_version

    packages = ["torch", "torchvision", *(PEERS[way] for way in ways if way in PEERS)]
    versions = ", ".join(f"{name} {package_version(name)}" for name in packages)
    dirty = " with changes" if git("status", "--porcelain") else ""
    return (
        f"{cpu_name()}, {cores} cores; {versions}; engine {options.engine}; medians of "
        f"{options.rounds} rounds of {options.images:,} images; {datetime.now(UTC):%Y-%m-%d}, "
        f"commit {(git('rev-parse', '--short', 'HEAD') or 'unknown')}{dirty}. The machine's limit: "
        f"{gflops:.0f} GFLOP/s a core (fp32 matrix product)."
    )


def write_section(readme: Path, section: str) -> None:
    """Replace what stands between the markers of a README, if there is one with markers."""
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    if BEGIN in text and END in text:
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        readme.write_text(f"{before}{BEGIN}\n\n{section}\n\n{END}{after}", encoding="utf-8")


def run(options: argparse.Namespace) -> None:
    """Measure, print and write. Raises `UserError`."""
    ways = chosen(options.ways, ALL_WAYS, "ways")
    check(options, ways)
    # What each way does by itself is what is compared.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.pop(name, None)
    from ways import matrix_gflops, prepare

    from fmnist_lib.data.obtain import ensure_data
    from fmnist_lib.models import MODELS
    from fmnist_lib.runs.plans import usable_cores

    models = chosen(options.models, tuple(MODELS), "models")
    ensure_data()
    cores = usable_cores()
    prepare(1, None)
    gflops = matrix_gflops()
    with ExitStack() as stack:
        rates = measure(Bench(ways, cores, stack), models, ways, options)
    section = "\n".join(
        [describe(options, ways, cores, gflops), "", *table(rates, ways, cores, gflops)]
    )
    print(section)
    output = options.output or (
        OUTPUT if (ways, models) == (list(ALL_WAYS), list(MODELS)) else None
    )
    if output is None:
        print("only a part was measured: nothing is written without --output", file=sys.stderr)
        return
    write_csv(output, rates)
    write_section(output.parent / "README.md", section)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave no process behind
    try:
        run(options)
    except UserError as error:
        print(f"throughput.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("throughput.py: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":  # the ways' processes import this file
    sys.exit(main())
