"""What bf16 gives and costs: every model in fp32 and bf16, seed by seed: `--help`.

Shortened runs, the two precisions taking turns, on one thread. Nothing is kept.
"""

import argparse
import sys
from statistics import mean, median, stdev

from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.runs.run import run_experiment

PRECISIONS = ("fp32", "bf16")
HEAD = ("model", "speed, bf16 ÷ fp32", "fp32, %", "bf16, %", "difference, points")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="precision.py",
        description="Print speed and test accuracy of bf16 beside fp32, mean ± SD over the seeds.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--seeds", type=int, default=3, metavar="N", help="default: %(default)s")
    add("--epochs", type=int, default=3, metavar="N", help="default: %(default)s")
    add("--train-images", type=int, default=6400, metavar="N", help="default: %(default)s")
    add("--test-images", type=int, default=10_000, metavar="N", help="default: %(default)s")
    return parser.parse_args(arguments)


def row(title: str, runs: dict[str, list[RunRecord]]) -> list[str]:
    """Return a model's cells: speed by the epochs, accuracy at the last epoch, paired by seed."""
    seconds = {name: [e.train_seconds for r in runs[name] for e in r.history] for name in runs}
    accuracy = {name: [run.history[-1].test_accuracy for run in runs[name]] for name in runs}
    pairs = [b - a for a, b in zip(accuracy["fp32"], accuracy["bf16"], strict=True)]
    speed = median(seconds["fp32"]) / median(seconds["bf16"])
    spread = [f"{mean(v):.2f} ± {stdev(v):.2f}" for v in (*accuracy.values(), pairs)]
    return [title, f"{speed:.2f}×", *spread]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = parse_arguments(arguments)
    short = {"train_images": options.train_images, "test_images": options.test_images}
    try:
        if options.seeds < 2:
            raise UserError(f"seeds: {options.seeds} show no spread; allowed: 2 and more")
        make_config(model="lenet5", max_epochs=options.epochs, **short)  # refuses what cannot be
        data = load(**short)
    except UserError as error:
        print(f"precision.py: {error}", file=sys.stderr)
        return 2
    print(f"| {' | '.join(HEAD)} |\n| --- |{' ---: |' * (len(HEAD) - 1)}")
    for model, entry in MODELS.items():
        runs: dict[str, list[RunRecord]] = {name: [] for name in PRECISIONS}
        for seed in range(options.seeds):
            for name in PRECISIONS:
                config = make_config(
                    model=model, seed=seed, precision=name, max_epochs=options.epochs, **short
                )
                runs[name].append(run_experiment(config, data=data).record)
        print(f"| {' | '.join(row(entry.title, runs))} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
