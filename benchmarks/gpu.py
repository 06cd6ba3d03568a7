"""How fast the six models train on one GPU, in four ways: `benchmarks/gpu.py --help`.

Model by model; in a round each way has one turn. Small networks leave a GPU idle: runs whose steps
were recorded, side by side, are what fills it (`fmnist_lib/training/side_by_side.py`).
"""

import argparse
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from common import (
    ALL,
    REFERENCE,
    Parser,
    Rates,
    between,
    measured_on,
    publish,
    rates_of,
    ratio,
    row_of,
    rows_of,
    table,
)
from ways import Work, now, run_block

from fmnist_lib.data.obtain import ensure_data
from fmnist_lib.errors import UserError
from fmnist_lib.execution.gpu import data_on, run_side_by_side, take_turn
from fmnist_lib.execution.here import JOBS_ON_GPU
from fmnist_lib.models import MODELS, build_model
from fmnist_lib.runs.config import RunConfig, make_config
from fmnist_lib.runs.environment import has_device
from fmnist_lib.runs.plans import parse_models, plan
from fmnist_lib.training.loop import exact_arithmetic, place_model, split_parts
from fmnist_lib.training.metrics import Sums
from fmnist_lib.training.side_by_side import SideBySide

WAYS = (REFERENCE, "eager", "captured", "side_by_side")
BLOCKS = {(REFERENCE, 0): "dataloader", (REFERENCE, 8): "dataloader", ("eager", 0): "ours_single"}
BAR, BAR_EACH, GOAL = 20, 12, 40  # times the reference: all six in sequence, each model, hoped for
MAX_IMAGES = 50_000  # and the warm-up's: no more than there are
STREAMS = 32  # as many as PyTorch has; a further run would share one

Run = tuple[SideBySide, "torch.cuda.Stream | None"]


def captured_runs(
    model: str, count: int, *, device: str, train_images: int | None = None
) -> list[Run]:
    """Return runs of a model with seeds from 0, recorded, each with a stream of its own."""
    exact_arithmetic()
    data = data_on(device, train_images, 1)
    runs = []
    for seed in range(count):
        config = make_config(model=model, seed=seed, device=device, train_images=train_images)
        stream = torch.cuda.Stream() if device == "cuda" else None
        with torch.cuda.stream(stream):
            torch.manual_seed(seed)
            network = place_model(build_model(model), config)
            parts = replace(split_parts(data, config), held={})  # nothing is evaluated here
            runs.append((SideBySide(network, parts, config), stream))
    return runs


def train_together(runs: Sequence[Run], epoch: int) -> list[Sums]:
    """Train each run for a whole epoch, all side by side, in turn as `run_many` feeds them."""
    going = deque((run.train_epoch(epoch), stream) for run, stream in runs)
    results = []
    while going:
        turn = going.popleft()
        outcome = take_turn(*turn)
        if outcome is None:
            going.append(turn)
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            results.append(outcome)
    return results


def time_epoch(runs: Sequence[Run], epoch: int, device: str) -> tuple[float, Sums]:
    """Return the images a second of an epoch of all runs, and the sums of one of them."""
    started = now(device)
    results = train_together(runs, epoch)
    return sum(result.seen for result in results) / (now(device) - started), results[0]


def measure_model(model: str, options: argparse.Namespace) -> dict[tuple[str, str, int], list]:
    """Return the images a second of each way in each round."""
    print(f"{model}: recording {options.runs} runs", file=sys.stderr)
    runs = captured_runs(model, options.runs, device="cuda")
    train_together(runs, 1)  # the warm-up
    torch.backends.cudnn.deterministic = False  # the others may use whatever is fastest
    timings: dict[tuple[str, str, int], list[float]] = {}

    def note(way: str, workers: int, rate: float, loss: float) -> None:
        timings.setdefault((model, way, workers), []).append(rate)
        print(f"  {way}, {workers} workers: {rate:,.0f} images/s, loss {loss:.3f}", file=sys.stderr)

    for number in range(options.rounds):
        print(f"{model}: round {number + 1} of {options.rounds}", file=sys.stderr)
        for (way, workers), block_of in BLOCKS.items():
            block = run_block(block_of, Work(model, options.images, workers, "cuda"))
            note(way, workers, options.images / (block.finished - block.started), block.loss)
        for way, some in (("captured", runs[:1]), ("side_by_side", runs)):
            rate, sums = time_epoch(some, 2 + number, "cuda")
            note(way, 0, rate, sums.mean_loss)
    return timings


def verdict(rates: Rates) -> str:
    """Return what side by side reaches beside what it has to."""
    each = {model: ratio(rates, model, WAYS[-1]) for model, _ in rates if model != ALL}
    slowest = min(each, key=each.__getitem__)
    whole = ratio(rates, ALL, WAYS[-1])
    met = {bar: "met" if whole >= bar else "missed" for bar in (BAR, GOAL)}
    return (
        f"Side by side is {whole:.1f} times the DataLoader over all (at least {BAR}: {met[BAR]}; "
        f"goal {GOAL}: {met[GOAL]}) and {each[slowest]:.1f} times for {MODELS[slowest].title}, "
        f"which gains least (at least {BAR_EACH}: "
        f"{'met' if each[slowest] >= BAR_EACH else 'missed'})."
    )


def compare(models: list[str], options: argparse.Namespace) -> None:
    """Measure all ways, print and write."""
    rates = rates_of({k: v for model in models for k, v in measure_model(model, options).items()})
    section = (
        f"{measured_on('torchvision', device='cuda')}; {options.runs} runs side by side; medians "
        f"of {options.rounds} rounds of {options.images:,} images, whole epochs where captured.\n\n"
        + table(["model", *WAYS], [row_of(rates, model, WAYS) for model in (*models, ALL)])
        + f"\n\n{verdict(rates)}"
    )
    about = {
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    rows = rows_of(rates, **about)
    publish("gpu", section, rows, options.output, whole=models == list(MODELS))


def time_runs(configs: Sequence[RunConfig], jobs: int) -> tuple[float, int]:
    """Return the seconds that runs take from start to result, and all their epochs."""
    device = configs[0].device
    data_on(device, configs[0].train_images, configs[0].test_images)  # not on the clock
    started, epochs = now(device), 0
    for _, outcome in run_side_by_side(configs, jobs=jobs, on_epoch=lambda name, row: None):
        if isinstance(outcome, Exception):
            raise outcome
        epochs += len(outcome.record.history)
    return now(device) - started, epochs


def time_profiles(options: argparse.Namespace) -> None:
    """Print the seconds of whole profiles."""
    how = {"models": options.models, "device": "cuda"}
    print(f"{measured_on(device='cuda')}; {options.runs} runs side by side, nothing stored")
    for title, configs in (
        ("paper profile, seed 0", plan("paper", **how)),
        ("five seeds, both patiences", plan("study", families="paper", **how)),
    ):
        seconds, epochs = time_runs(configs, options.runs)
        print(f"{title}: {len(configs)} runs, {epochs} epochs, {seconds:.1f} s", flush=True)


def run(options: argparse.Namespace) -> None:
    """Measure. Raises `UserError`."""
    models = parse_models(options.models)
    if not has_device("cuda"):
        raise UserError("PyTorch finds no CUDA device here")
    ensure_data()
    if options.profiles:
        time_profiles(options)
    else:
        compare(models, options)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = Parser("gpu.py", "Time training on one NVIDIA GPU in four ways, interleaved.")
    add, images = parser.add_argument, between(1, MAX_IMAGES)
    add("--models", default="", metavar="a,b", help="these models only (default: all six)")
    add("--runs", type=between(1, STREAMS), default=JOBS_ON_GPU, metavar="N", help="side by side")
    add("--images", type=images, default=12_800, metavar="N", help="per block of the slow ways")
    add("--rounds", type=between(1), default=3, metavar="N", help="default: %(default)s")
    add("--profiles", action="store_true", help="time whole profiles instead of the comparison")
    add("--output", type=Path, metavar="CSV", help="default, if all was measured: beside this file")
    return parser.carry_out(run, arguments)


if __name__ == "__main__":
    sys.exit(main())
