"""Where the paper disagrees with itself, each time with the arithmetic that shows it.

The words stand in `contradictions.csv`; the numbers in them are computed here from its tables.
Typed are only those that the paper states in prose or diagrams, and of the networks it cites.
"""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from fmnist_lib.claims.paper import implied_parameters, parameters_of, reported_frame
from fmnist_lib.claims.verdicts import Sentence
from fmnist_lib.results import tables
from fmnist_lib.results.value import Value, reported
from fmnist_lib.runs.config import TEST_IMAGES, TRAIN_IMAGES


def contradictions() -> pd.DataFrame:
    """Return one row each: about, says, arithmetic (a `Sentence`), where, standing.

    `standing` is "solid", or "contestable" where a kinder reading has none.
    """
    frame, numbers = pd.read_csv(Path(__file__).with_suffix(".csv")), arithmetic()
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
