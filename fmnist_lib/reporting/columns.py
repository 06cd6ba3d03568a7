"""What every column of the report's CSV files means, and its unit: said once, here.

A name means the same in every file. Where a row is a model, a value that each run has is the mean
over the model's `n` runs; NaN, an empty cell, is what was not measured.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

SPREAD = "_std"  # behind a metric's name: its sample standard deviation over the n runs
LONGER = "_long"  # behind a metric's name: at the longer patience that the runs were also read at


class Column(NamedTuple):
    """A column's unit (empty for text, counts and digests) and what it holds."""

    unit: str
    meaning: str


_DESCRIBED = {
    # the run
    "run": ("", "name of the run: its folder in `records/`"),
    "model": ("", "name of the model, as in `models/`"),
    "seed": ("", "of initial weights and batch order"),
    "fold": ("", "part held out in cross-validation; empty: none"),
    "variant": ("", "JSON: what differs from the model's defaults; empty: nothing"),
    "n": ("", "runs of the model"),
    "protocol": ("", "`paper`: no validation images; `split`: some leave the training images"),
    "train_images": ("", "images trained on in an epoch"),
    "validation_images": ("", "images set aside for validation"),
    "test_images": ("", "images tested on"),
    "max_epochs": ("epochs", "limit, if no rule stops earlier"),
    "batch_size": ("images", "trained on in one step"),
    "optimizer": ("", "name"),
    "learning_rate": ("", "constant over the run"),
    "device": ("", "`cpu`, `cuda` or `mps`"),
    "engine": ("", "`eager` or `compiled`"),
    "precision": ("", "of training: `fp32` or `bf16`"),
    # when it stopped
    "stop": ("", "stopping rule: what it watches and its patience"),
    "monitor": ("", "what the rule watches"),
    "patience": ("epochs", "without improvement before the rule stops"),
    "fired": ("", "whether the rule stopped the run, and not the limit on epochs"),
    "epochs": ("epochs", "trained until the rule stopped"),
    "epoch": ("", "counted from 1"),
    "best_epoch": ("", "the epoch with the lowest watched value, which all else is read at"),
    # what came out
    "train_loss": ("nats", "mean cross-entropy a training image, collected while training"),
    "train_accuracy": ("%", "of the training images right, counted while training"),
    "train_loss_eval": ("nats", "as `train_loss`, evaluated again with the best epoch's weights"),
    "train_accuracy_eval": ("%", "as `train_accuracy`, evaluated again likewise"),
    "test_loss": ("nats", "mean cross-entropy a test image"),
    "test_accuracy": ("%", "of the test images right"),
    "test_accuracy_low": (
        "%",
        "lower end of the 95 % interval: for one run over other test images (Wilson's); for the "
        "mean of several over other seeds as well (the reaches of Agresti and Coull's interval "
        "over the images and of t's over the runs, added up as squares)",
    ),
    "test_accuracy_high": ("%", "its upper end"),
    "next_run_low": (
        "%",
        "from where on the test accuracy of one more run on the same test images is to be "
        "expected with 95 % probability (prediction interval over the seeds)",
    ),
    "next_run_high": ("%", "up to where"),
    "test_accuracy_paper": ("%", "what the paper reports"),
    "gain": ("points", "in test accuracy, of the longer patience"),
    "gain_low": ("points", "lower end of its 95 % interval"),
    "gain_high": ("points", "its upper end"),
    "later": ("", "runs whose best epoch came later with the longer patience"),
    "class": ("", "of the images"),
    "f1": ("%", "of the class: harmonic mean of precision and recall"),
    "true": ("", "class of the image"),
    "predicted": ("", "class it was taken for"),
    "count": ("images", "so classified"),
    "index": ("", "place among the test images of the run, counted from 0"),
    "probability": ("0 to 1", "the model's, of the predicted class"),
    "probability_of_true": ("0 to 1", "the model's, of the image's class"),
    # what it costs
    "parameters": ("", "trainable weights"),
    "macs": ("", "multiply-accumulates in the forward pass of one image"),
    "checkpoint_bytes": ("bytes", "size of the weights as a file"),
    "peak_memory_mib": ("MiB", "most memory of the process that trained, earlier runs included"),
    "wall_seconds": (
        "s",
        "all epochs of the whole run, until its last rule stopped, with the test after each and "
        "whatever else ran on the machine",
    ),
    "train_seconds": ("s", "training this epoch, with whatever else ran on the machine"),
    "inference_ms": ("ms", "testing once after this epoch, likewise"),
    "train_seconds_mean": ("s", "training an epoch of 60,000 images, alone on the machine"),
    "train_seconds_std": ("s", "its standard deviation over timed blocks"),
    "inference_ms_mean": ("ms", "classifying the test images once, alone on the machine"),
    "inference_ms_std": ("ms", "its standard deviation over timed passes"),
    "latency_ms_median": ("ms", "classifying a single image, alone on the machine"),
    "latency_ms_p90": ("ms", "its 90th percentile"),
    "total_train_seconds": ("s", "`train_seconds_mean` × `epochs`"),
    "train_us_per_parameter": ("µs", "`train_seconds_mean` over `parameters`"),
    "train_us_per_parameter_std": ("µs", "its standard deviation over timed blocks"),
    "train_seconds_in_runs": (
        "s",
        "median epoch of the runs themselves, with whatever else ran on the machine; of those on "
        "the processor that was timed, if any",
    ),
    "ratio": ("", "`train_seconds_in_runs` over `train_seconds_mean`, both of one processor"),
    "pareto": ("", "whether no other model is both cheaper and at least as accurate"),
    "cost": ("", "file in `records/costs/` that the times alone on the machine come from"),
    # where it was made
    "python": ("", "version"),
    "torch": ("", "version of PyTorch"),
    "system": ("", "operating system"),
    "cpu": ("", "processor"),
    "cores": ("", "of the machine"),
    "threads": ("", "of the run"),
    "commit": ("", "of this project; empty outside a git checkout"),
    "dirty": ("", "whether files differed from that commit"),
    "code_sha256": ("", "digest of the files that a run's numbers depend on"),
    "data_sha256": ("", "digest of the data set"),
    "started": ("UTC", "ISO 8601; of an interrupted run, when it last went on"),
    "finished": ("UTC", "ISO 8601"),
    "notes": ("", "what was done otherwise than asked, and why"),
    "key": ("", "digest of all that the result depends on: settings, data, training version"),
    "result_digest": ("", "of metrics, weights and predictions: equal digests, equal results"),
}

COLUMNS: Mapping[str, Column] = MappingProxyType(
    {name: Column(*described) for name, described in _DESCRIBED.items()}
)

_SUFFIXES = {
    SPREAD: "sample standard deviation over the runs of",
    LONGER: "at the longer patience:",
}


def describe(name: str) -> Column:
    """The description of a column; raises KeyError for one that has none."""
    if name in COLUMNS:
        return COLUMNS[name]
    for suffix, meaning in _SUFFIXES.items():
        if name.endswith(suffix):
            stem = name.removesuffix(suffix)
            return Column(describe(stem).unit, f"{meaning} `{stem}`")
    raise KeyError(name)
