"""Where a training step's time goes, by kind of operation: `benchmarks/operations.py --help`."""

import argparse
import sys
import time
from collections import Counter

import torch
from common import Parser, measured_on, table
from torch.profiler import ProfilerActivity, profile
from ways import matrix_gflops

from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.models import MODELS, build_model
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.plans import plan
from fmnist_lib.training.loop import Parts, Trainer, carry_out, place_model, split_parts

KINDS = {  # the first with a word that is in the operation's name
    "convolutions": ("conv",),
    "matrix products": ("addmm", "::mm", "bmm", "attention"),
    "normalisation": ("batch_norm", "layer_norm"),
    "pooling": ("pool",),
    "optimiser": ("adam", "Adam"),
}
REST = "element by element, copies"  # activations, sums, shortcuts, dropout, concatenation
OUTSIDE = "Python, dispatch"  # the step's time unprofiled, less all operations: may be below 0
STEPS = 40


def kind_of(operation: str) -> str:
    """Return the kind of an operation, by its name in PyTorch's profiler."""
    return next((k for k, words in KINDS.items() if any(w in operation for w in words)), REST)


def measure(config: RunConfig, parts: Parts) -> tuple[float, Counter[str]]:
    """Return the milliseconds of a training step, and those of each kind of operation in it."""
    torch.manual_seed(config.seed)
    model = place_model(build_model(config.model, **config.model_options), config)
    trainer = Trainer(model, parts, config)
    carry_out(trainer.train_epoch(1))  # the warm-up
    started = time.perf_counter()
    carry_out(trainer.train_epoch(2))
    step = 1000 * (time.perf_counter() - started) / STEPS
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        carry_out(trainer.train_epoch(3))
    kinds: Counter[str] = Counter()
    for event in profiler.key_averages():
        if event.key.startswith("aten::") or kind_of(event.key) != REST:  # the rest is bookkeeping
            kinds[kind_of(event.key)] += event.self_cpu_time_total / 1000 / STEPS
    kinds[OUTSIDE] = step - kinds.total()
    return step, kinds


def row(config: RunConfig, step: float, kinds: Counter[str], limit: float) -> list[str]:
    """Return a model's row: shares of the step, and the pace where the arithmetic is."""
    arithmetic = kinds["convolutions"] + kinds["matrix products"]
    operations = 6 * count_macs(config.model, config.model_options) * config.batch_size
    pace = operations / arithmetic / 1e6
    shares = [f"{100 * kinds[kind] / step:.0f} %" for kind in (*KINDS, REST, OUTSIDE)]
    return [MODELS[config.model].title, f"{step:.1f}", *shares, f"{100 * pace / limit:.0f} %"]


def run(options: argparse.Namespace) -> None:
    """Measure and print. Raises `UserError`."""
    configs = plan("paper", models=options.models)
    data = load(train_images=STEPS * configs[0].batch_size, test_images=1)
    torch.set_num_threads(1)
    limit = matrix_gflops()
    rows = [row(config, *measure(config, split_parts(data, config)), limit) for config in configs]
    heads = ["model", "ms a step", *KINDS, REST, OUTSIDE, "share of the limit in the first two"]
    print(f"{measured_on()}; one thread\n\n{table(heads, rows)}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = Parser(
        "operations.py", "Print where a training step's time goes, one thread, as a Markdown table."
    )
    parser.add_argument("--models", default="", metavar="a,b", help="default: all six")
    return parser.carry_out(run, arguments)


if __name__ == "__main__":
    sys.exit(main())
