"""The reproduced paper: its two tables, what they imply, and where it disagrees with itself."""

import math
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from fmnist_lib.claims.verdicts import Sentence
from fmnist_lib.models import MODELS, build_model, count_parameters
from fmnist_lib.results import tables
from fmnist_lib.results.statistics import wilson_interval
from fmnist_lib.results.value import PRINTED, Value, framed, reported
from fmnist_lib.runs.config import TEST_IMAGES, TRAIN_IMAGES


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


# --- where the paper disagrees with itself, each time with the arithmetic that shows it ---


def contradictions() -> pd.DataFrame:
    """Return one row each: about, says, arithmetic (a `Sentence`), where, standing.

    `standing` is "solid", or "contestable" where a kinder reading has none. The words stand in
    `contradictions.csv`; the numbers in them are computed from the paper's tables. Typed are only
    those that it states in prose or diagrams, and of the networks it cites.
    """
    frame, numbers = pd.read_csv(Path(__file__).with_name("contradictions.csv")), arithmetic()
    return frame.assign(arithmetic=[Sentence(text, numbers) for text in frame.arithmetic])


def arithmetic() -> dict[str, Any]:
    """Return every number and name that the sentences fill in."""
    frame = reported_frame()
    n = SimpleNamespace(**tables.namespace(frame))
    n.models = reported(len(frame))
    thousands = frame.parameters_printed * frame.train_time_per_parameter / 1000
    n.unit = _ends(1e6 * frame.train_seconds / thousands)
    n.best, n.second, *_ = tables.ranked(frame, "test_accuracy")
    n.lead = n.best.test_accuracy - n.second.test_accuracy
    n.resnet, n.densenet = (_ends(implied_parameters(m)) for m in ("resnet_mini", "densenet_tiny"))
    n.wide, n.narrow = (parameters_of("resnet_mini", widths=w) for w in ((16, 32, 64), (4, 8, 16)))
    n.wider = n.wide / n.resnet.most
    n.two = parameters_of("densenet_tiny")
    n.three = n.two + (32 * 8 + 8) - 10 * (32 - 8)  # a transition more, a narrower last layer
    n.waited = frame.epochs - frame.best_epoch
    n.wait = _ends(n.waited)
    n.per_parameter = _titles(frame, "train_us_per_parameter")[::-1]
    n.inference = _titles(frame, "inference_ms")
    n.vit_slower = 100 * (n.vit_tiny.inference_ms / n.densenet_tiny.inference_ms - 1)
    times = zip(frame.train_seconds, frame.title, strict=True)
    spreads = sorted((100 * seconds.std / seconds, title) for seconds, title in times)
    n.spread = _ends(spread for spread, _ in spreads)
    (_, n.stable), *_, (_, n.unstable) = spreads
    n.by_gap = _titles(frame, "gap")
    n.gaps = n.lenet5.gap - n.vit_tiny.gap
    n.images, n.train, n.test = map(reported, (70_000, TRAIN_IMAGES, TEST_IMAGES))  # 1 and 3.1
    n.left = n.images - n.train - n.test
    n.last, n.before, *_ = tables.ranked(frame, "best_epoch")
    n.last_by = n.last.best_epoch - n.before.best_epoch
    n.between = reported(frame.best_epoch.between(20, 30).sum())  # section 4
    n.between_run = reported(frame.epochs.between(20, 30).sum())
    n.by_30 = reported((frame.best_epoch <= 30).sum())
    return vars(n)


def _ends(numbers: Iterable[Value]) -> SimpleNamespace:
    numbers = list(numbers)
    return SimpleNamespace(least=min(numbers), most=max(numbers))


def _titles(frame: pd.DataFrame, column: str) -> list[str]:
    return [row.title for row in tables.ranked(frame, column)]
