"""What a run's time goes on besides training: `benchmarks/overheads.py --help`.

Real runs through `run_many`, in this process and then on a local cluster. Nothing is kept.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from fmnist_lib.data.obtain import ensure_data
from fmnist_lib.errors import UserError
from fmnist_lib.execution.local import run_many
from fmnist_lib.runs.config import TEST_IMAGES, TRAIN_IMAGES, RunConfig, make_config
from fmnist_lib.runs.plans import plan, usable_cores
from fmnist_lib.runs.store import RunStore
from fmnist_lib.training.loop import Row

WORK = ("training", "evaluation")  # all else is overhead
STAGES = {
    "planning": "the paper profile's plan, and a look for each of its records",
    "start": "from the call to the first epoch: processes, data, model",
    "training": "as the history has it, evaluation after each epoch included",
    "between": "between epochs: stopping rules, checkpoints, messages",
    "evaluation": "of all images at the best epoch, reckoned at the pace of those after each epoch",
    "end": "the rest after the last epoch: digests, the record, the way back",
    "writing": "record, predictions and weights to the store",
}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="overheads.py",
        description="Print how much of a run's time goes on what is not training.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", default="lenet5", help="the fastest has the largest share (default: it)")
    add("--epochs", type=int, default=10, metavar="N", help="default: %(default)s")
    add("--train-images", type=int, metavar="N", help="default: all")
    return parser.parse_args(arguments)


def measure(configs: Sequence[RunConfig], jobs: int, folder: Path) -> dict[str, float]:
    """Return the seconds a run spends in each stage, the mean over the runs."""
    store = RunStore(folder / "runs")
    times: dict[str, list[tuple[float, Row]]] = {config.name: [] for config in configs}
    parts: dict[str, list[float]] = {stage: [] for stage in STAGES}
    started = time.perf_counter()
    for config in plan("paper"):
        store.find(config)
    parts["planning"].append(time.perf_counter() - started)

    started = time.perf_counter()
    runs = run_many(
        configs,
        jobs=jobs,
        on_epoch=lambda name, row: times[name].append((time.perf_counter(), row)),
        checkpoints=folder / "checkpoints",
    )
    for config, outcome in runs:
        returned = time.perf_counter()
        if isinstance(outcome, Exception):
            raise outcome
        store.write(outcome)
        parts["writing"].append(time.perf_counter() - returned)
        rows = times[config.name]
        training = [row["train_seconds"] + row["inference_ms"] / 1000 for _, row in rows]
        (first, _), (last, _) = rows[0], rows[-1]
        parts["start"].append(first - training[0] - started)
        parts["training"].append(sum(training))
        parts["between"].append(last - first - sum(training[1:]))
        images = outcome.record.config.train_images or TRAIN_IMAGES
        pace = mean(row["inference_ms"] for _, row in rows) / 1000 / TEST_IMAGES
        parts["evaluation"].append(pace * (images + TEST_IMAGES))
        parts["end"].append(returned - last - parts["evaluation"][-1])
    return {stage: mean(seconds) for stage, seconds in parts.items()}


def show(title: str, seconds: dict[str, float]) -> None:
    """Print the stages as a Markdown table."""
    total = sum(seconds.values())
    overhead = total - sum(seconds[stage] for stage in WORK)
    print(f"\n| {title} | seconds | share | |\n| --- | ---: | ---: | --- |")
    for stage, explained in STAGES.items():
        share = 100 * seconds[stage] / total
        print(f"| {stage} | {seconds[stage]:.3f} | {share:.2f} % | {explained} |")
    rest = f"all but {' and '.join(WORK)}"
    print(f"| overhead | {overhead:.3f} | {100 * overhead / total:.2f} % | {rest} |")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = parse_arguments(arguments)
    cores = max(2, usable_cores())  # a single job needs no cluster
    settings = {"max_epochs": options.epochs, "train_images": options.train_images}
    try:
        configs = [make_config(model=options.model, seed=s, **settings) for s in range(cores)]
        ensure_data()
    except UserError as error:
        print(f"overheads.py: {error}", file=sys.stderr)
        return 2
    for title, some, jobs in (
        ("one run in this process", configs[:1], 1),
        (f"{cores} runs on a local cluster, each", configs, cores),
    ):
        with tempfile.TemporaryDirectory() as folder:
            show(title, measure(some, jobs, Path(folder)))
    return 0


if __name__ == "__main__":  # workers import this file
    sys.exit(main())
