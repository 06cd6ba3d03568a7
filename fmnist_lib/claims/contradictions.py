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
    rows = tables.namespace(frame)
    lenet, vit, dense = (rows[name] for name in ("lenet5", "vit_tiny", "densenet_tiny"))
    (best, second, *_), (last, before, *_) = (
        tables.ranked(frame, column) for column in ("test_accuracy", "best_epoch")
    )
    thousands = frame.parameters_printed * frame.train_time_per_parameter / 1000
    waited = frame.epochs - frame.best_epoch
    spreads = {row.title: 100 * row.train_seconds.std / row.train_seconds for row in rows.values()}
    resnet, densenet = (_ends(implied_parameters(m)) for m in ("resnet_mini", "densenet_tiny"))
    wide, narrow = (parameters_of("resnet_mini", widths=w) for w in ((16, 32, 64), (4, 8, 16)))
    two = parameters_of("densenet_tiny")
    images, train, test = map(reported, (70_000, TRAIN_IMAGES, TEST_IMAGES))  # sections 1, 3.1
    return {
        **rows,
        "models": reported(len(rows)),
        "unit": _ends(1e6 * frame.train_seconds / thousands),
        "best": best,
        "second": second,
        "lead": best.test_accuracy - second.test_accuracy,
        "resnet": resnet,
        "densenet": densenet,
        "wide": wide,
        "narrow": narrow,
        "wider": wide / resnet.most,
        "two": two,
        "three": two + (32 * 8 + 8) - 10 * (32 - 8),  # a transition more, a narrower last layer
        "wait": _ends(waited),
        "waited": waited,
        "per_parameter": _titles(frame, "train_us_per_parameter")[::-1],
        "vit_slower": 100 * (vit.inference_ms / dense.inference_ms - 1),
        "inference": _titles(frame, "inference_ms"),
        "spread": _ends(spreads.values()),
        "unstable": max(spreads, key=spreads.get),
        "stable": min(spreads, key=spreads.get),
        "gaps": lenet.gap - vit.gap,
        "by_gap": _titles(frame, "gap"),
        "images": images,
        "train": train,
        "test": test,
        "left": images - train - test,
        "last": last,
        "before": before,
        "last_by": last.best_epoch - before.best_epoch,
        "between": reported(frame.best_epoch.between(20, 30).sum()),  # section 4
        "between_run": reported(frame.epochs.between(20, 30).sum()),
        "by_30": reported((frame.best_epoch <= 30).sum()),
    }


def _ends(numbers: Iterable[Value]) -> SimpleNamespace:
    numbers = list(numbers)
    return SimpleNamespace(least=min(numbers), most=max(numbers))


def _titles(frame: pd.DataFrame, column: str) -> list[str]:
    return [row.title for row in tables.ranked(frame, column)]
