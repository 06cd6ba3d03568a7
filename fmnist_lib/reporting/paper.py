"""The facts of the reproduced paper: its two tables, and the parameter counts they imply.

Nothing here was measured by us; what we make of these facts is in `contradictions` and `claims`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd
from scipy.stats import binomtest

TRAIN_IMAGES = 60_000  # section 3.1
TEST_IMAGES = 10_000  # section 3.1
PATIENCE = 5  # epochs, section 3.2


class Spread(NamedTuple):
    """Mean and standard deviation over the epochs of the paper's single run."""

    mean: float
    std: float


@dataclass(frozen=True, kw_only=True)
class ReportedModel:
    """One model's row in the paper's Tables 1 and 2 (accuracies in percent)."""

    name: str  # as the paper's text calls it
    title: str  # as its tables do
    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float
    best_epoch: int
    epochs: int
    parameters_text: str  # as printed, e.g. "62K"
    train_seconds: Spread  # one epoch over the training images
    inference_ms: Spread  # one pass over the test images
    total_train_seconds: int
    train_time_per_parameter: int  # microseconds per parameter; see contradictions for the unit

    @property
    def nominal_parameters(self) -> int:
        """The printed parameter count, which is rounded to thousands."""
        return int(self.parameters_text.removesuffix("K")) * 1000

    @property
    def accuracy_gap(self) -> float:
        """Train accuracy minus test accuracy, in percentage points."""
        return self.train_accuracy - self.test_accuracy


@dataclass(frozen=True, kw_only=True)
class Citation:
    """Whom to cite. The paper gives no year."""

    authors: tuple[str, ...]
    title: str
    institution: str
    repository: str


def _load() -> tuple[Citation, Mapping[str, ReportedModel]]:
    raw = json.loads(Path(__file__).with_name("reported.json").read_text(encoding="utf-8"))
    models = {}
    for key, row in raw["models"].items():
        times = {column: Spread(*row.pop(column)) for column in ("train_seconds", "inference_ms")}
        models[key] = ReportedModel(**row, **times)
    authors = tuple(raw["citation"].pop("authors"))
    return Citation(authors=authors, **raw["citation"]), MappingProxyType(models)


CITATION, REPORTED = _load()


def reported_table1() -> pd.DataFrame:
    """The paper's Table 1 with the columns of our `table1.csv`; `parameters` rounded to thousands.

    `n` is 1: the paper reports no repeats.
    """
    return pd.DataFrame(
        {
            "model": name,
            "parameters": row.nominal_parameters,
            "n": 1,
            "train_loss": row.train_loss,
            "test_loss": row.test_loss,
            "train_accuracy": row.train_accuracy,
            "test_accuracy": row.test_accuracy,
            "best_epoch": row.best_epoch,
        }
        for name, row in REPORTED.items()
    )


def reported_results() -> pd.DataFrame:
    """Both tables in the form that claims are judged on: one row a model, indexed by its name.

    The paper states no uncertainty, so its accuracies are taken at face value (`test_accuracy_low`
    = `test_accuracy_high` = `test_accuracy`). `parameters` is the middle of what Table 2 implies;
    what the paper does not report (MACs, re-evaluated train accuracy) is NaN.
    """
    rows = {}
    for name, row in REPORTED.items():
        rows[name] = {
            "parameters": round(sum(implied_parameters(name)) / 2),
            "macs": math.nan,
            "train_loss": row.train_loss,
            "test_loss": row.test_loss,
            "train_accuracy": row.train_accuracy,
            "train_accuracy_eval": math.nan,
            "test_accuracy": row.test_accuracy,
            "test_accuracy_low": row.test_accuracy,
            "test_accuracy_high": row.test_accuracy,
            "best_epoch": row.best_epoch,
            "epochs": row.epochs,
            "train_seconds": row.train_seconds.mean,
            "inference_ms": row.inference_ms.mean,
            "total_train_seconds": row.total_train_seconds,
        }
    results = pd.DataFrame.from_dict(rows, orient="index")
    whole = ["parameters", "best_epoch", "epochs"]
    return results.astype(dict.fromkeys(whole, int)).rename_axis("model")


def wilson_interval(accuracy: float, images: int) -> tuple[float, float]:
    """The 95 % Wilson interval, in percent, of an accuracy in percent over `images` images."""
    correct = round(accuracy / 100 * images)
    interval = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    return 100 * interval.low, 100 * interval.high


def implied_parameters(name: str) -> tuple[int, int]:
    """The least and greatest parameter count that Table 2's rounded times allow for a model.

    The count is the train time of an epoch over the train time per parameter; each is known to
    half a unit of its last printed digit.
    """
    row = REPORTED[name]
    seconds = _printed(row.train_seconds.mean)
    micros = _printed(row.train_time_per_parameter)
    return (
        math.ceil(seconds[0] / micros[1] * 1_000_000),
        math.floor(seconds[1] / micros[0] * 1_000_000),
    )


def _printed(value: float) -> tuple[Decimal, Decimal]:
    """The numbers that print as `value`. No time in Table 2 ends in a zero after the point."""
    exact = Decimal(str(value))
    half = Decimal(5).scaleb(exact.as_tuple().exponent - 1)
    return exact - half, exact + half
