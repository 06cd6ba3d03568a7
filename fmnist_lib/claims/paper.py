"""The facts of the reproduced paper: its two tables, and the parameter counts they imply."""

import math
from decimal import Decimal

import pandas as pd

from fmnist_lib.models import MODELS, build_model, count_parameters
from fmnist_lib.results import tables
from fmnist_lib.results.statistics import wilson_interval
from fmnist_lib.results.value import PRINTED, Value, framed, reported
from fmnist_lib.runs.config import TEST_IMAGES


def implied_parameters(model: str) -> tuple[Value, Value]:
    """Return the least and greatest parameter count that Table 2's rounded times allow for a model.

    The count is the train time of an epoch over the train time per parameter; each is known to
    half a unit of its last printed digit.
    """
    row = tables.in_paper()[model]
    seconds = _printed_as(row["train_seconds"])
    micros = _printed_as(row["train_us_per_parameter"])
    least = math.ceil(seconds[0] / micros[1] * 1_000_000)
    return reported(least), reported(math.floor(seconds[1] / micros[0] * 1_000_000))


def parameters_of(model: str, **options: object) -> Value:
    """Return how many weights a model has, with other options than the paper's if there are any."""
    return Value(count_parameters(build_model(model, **options)), f"model:{model}")


def _printed_as(number: float) -> tuple[Decimal, Decimal]:
    """Return which numbers print so. No time in Table 2 ends in a zero after the point."""
    exact = Decimal(f"{number:g}")
    half = Decimal(5).scaleb(exact.as_tuple().exponent - 1)
    return exact - half, exact + half


def reported_frame() -> pd.DataFrame:
    """Return the paper's tables, a row a model, in the columns of `models_frame` that it reports.

    The test accuracy has Wilson's interval over the test images; a time has the range of its mean
    ± its standard deviation over the epochs of a single run; `parameters` is the middle of what
    Table 2 implies, since printed are thousands.
    """
    rows = {}
    for model, printed in tables.in_paper().items():
        row = {"title": MODELS[model].title, "n": reported(1), **printed}
        row["train_time_per_parameter"] = row["train_us_per_parameter"]  # as printed
        low, high = wilson_interval(row["test_accuracy"], TEST_IMAGES)
        row["test_accuracy"] = Value(row["test_accuracy"], (PRINTED,), low=low, high=high)
        for name in ("train_seconds", "inference_ms"):
            mean, std = float(row[name]), row[name].std
            row[name] = Value(mean, (PRINTED,), std=std, low=mean - std, high=mean + std)
        low, high = implied_parameters(model)
        row["parameters_printed"] = row["parameters"]
        row["parameters"] = Value(round((low + high) / 2), (PRINTED,), low=low, high=high)
        row["train_us_per_parameter"] = row["train_seconds"].scaled(1e6 / row["parameters"])
        rows[model] = row
    return framed(rows)


REPORTED = tables.namespace(reported_frame())
