"""Where a training step's time goes, by kind of operation: `benchmarks/operations.py --help`."""

import argparse
import sys
import time
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile
from ways import matrix_gflops

from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS, build_model
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.plans import plan
from fmnist_lib.training.engine import make_forward
from fmnist_lib.training.loop import Part, make_optimizer, place_model, split_parts, train_epoch

KINDS = {  # the first with a word that is in the operation's name
    "convolutions": ("conv",),
    "matrix products": ("addmm", "::mm", "bmm", "attention"),
    "normalisation": ("batch_norm", "layer_norm"),
    "pooling": ("pool",),
    "optimiser": ("adam", "Adam"),
}
REST = "element by element, copies"  # activations, sums, shortcuts, dropout, concatenation
OUTSIDE = "Python, dispatch"  # the step's time unprofiled, less all operations: may be below 0
STEPS, WARM_UP = 40, 10


def kind_of(operation: str) -> str:
    """Return the kind of an operation, by its name in PyTorch's profiler."""
    return next((k for k, words in KINDS.items() if any(w in operation for w in words)), REST)


def measure(config: RunConfig, part: Part) -> tuple[float, Counter[str]]:
    """Return the milliseconds of a training step, and those of each kind of operation in it."""
    torch.manual_seed(config.seed)
    model = place_model(build_model(config.model, **config.model_options), config)
    forward, optimizer = make_forward(model, config), make_optimizer(model, config)

    def train(steps: int, epoch: int) -> None:
        some = tuple(tensor[: steps * config.batch_size] for tensor in part)
        train_epoch(model, forward, optimizer, some, config, epoch)

    train(WARM_UP, 0)
    started = time.perf_counter()
    train(STEPS, 1)
    step = 1000 * (time.perf_counter() - started) / STEPS
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        train(STEPS, 2)
    kinds: Counter[str] = Counter()
    for event in profiler.key_averages():
        if event.key.startswith("aten::") or kind_of(event.key) != REST:  # the rest is bookkeeping
            kinds[kind_of(event.key)] += event.self_cpu_time_total / 1000 / STEPS
    kinds[OUTSIDE] = step - kinds.total()
    return step, kinds


def row(config: RunConfig, step: float, kinds: Counter[str], limit: float) -> str:
    """Return a model's row: shares of the step, and the pace where the arithmetic is."""
    arithmetic = kinds["convolutions"] + kinds["matrix products"]
    operations = 6 * count_macs(config.model, config.model_options) * config.batch_size
    pace = operations / arithmetic / 1e6
    shares = [f"{100 * kinds[kind] / step:.0f} %" for kind in (*KINDS, REST, OUTSIDE)]
    cells = [MODELS[config.model].title, f"{step:.1f}", *shares, f"{100 * pace / limit:.0f} %"]
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="operations.py",
        description="Print where a training step's time goes, one thread, as a Markdown table.",
        allow_abbrev=False,
    )
    parser.add_argument("--models", default="", metavar="a,b", help="default: all six")
    options = parser.parse_args(arguments)
    try:
        configs = plan("paper", models=options.models)
        data = load(train_images=STEPS * configs[0].batch_size, test_images=1)
    except UserError as error:
        print(f"operations.py: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    limit = matrix_gflops()
    heads = ["model", "ms a step", *KINDS, REST, OUTSIDE, "share of the limit in the first two"]
    print(f"| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}")
    for config in configs:
        print(row(config, *measure(config, split_parts(data, config).train), limit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
