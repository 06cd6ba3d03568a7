"""Where the paper disagrees with itself, each time with the arithmetic that shows it.

The words stand in `contradictions.csv`; the numbers in them are computed here from `REPORTED`.
Typed are only those that the paper states in prose or diagrams, and of the networks it cites.
"""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from fmnist_lib.claims.paper import REPORTED, implied_parameters, parameters_of
from fmnist_lib.claims.verdicts import Sentence
from fmnist_lib.results.value import Value, reported
from fmnist_lib.runs.config import TEST_IMAGES, TRAIN_IMAGES


def contradictions() -> pd.DataFrame:
    """Return one row each: about, says, arithmetic (a `Sentence`), where, standing.

    `standing` is "solid", or "contestable" where a kinder reading has none.
    """
    frame, numbers = pd.read_csv(Path(__file__).with_suffix(".csv")), arithmetic()
    return frame.assign(arithmetic=[Sentence(text, numbers) for text in frame.arithmetic])


def ranked(column: str) -> list[SimpleNamespace]:
    """Return the models' rows by a column of the paper's tables, the highest first."""
    return sorted(REPORTED.values(), key=lambda row: getattr(row, column), reverse=True)


def arithmetic() -> dict[str, Any]:
    """Return every number and name that the sentences fill in."""
    rows = REPORTED.values()
    units = [r.parameters_printed * r.train_time_per_parameter / 1000 for r in rows]
    (best, second, *_), (last, before, *_) = ranked("test_accuracy"), ranked("best_epoch")
    waits = {name: row.epochs - row.best_epoch for name, row in REPORTED.items()}
    spreads = {row.title: 100 * row.train_seconds.std / row.train_seconds for row in rows}
    wide, narrow = (parameters_of("resnet_mini", widths=w) for w in ((16, 32, 64), (4, 8, 16)))
    two = parameters_of("densenet_tiny")
    vit, dense, lenet = (REPORTED[m] for m in ("vit_tiny", "densenet_tiny", "lenet5"))
    images, train, test = map(reported, (70_000, TRAIN_IMAGES, TEST_IMAGES))  # sections 1, 3.1
    resnet, densenet = (_ends(implied_parameters(m)) for m in ("resnet_mini", "densenet_tiny"))
    return {
        **REPORTED,
        "models": reported(len(rows)),
        "unit": _ends(1e6 * r.train_seconds / u for r, u in zip(rows, units, strict=True)),
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
        "wait": _ends(waits.values()),
        "waited": SimpleNamespace(**waits),
        "per_parameter": _titles(ranked("train_us_per_parameter")[::-1]),
        "vit_slower": 100 * (vit.inference_ms / dense.inference_ms - 1),
        "inference": _titles(ranked("inference_ms")),
        "spread": _ends(spreads.values()),
        "unstable": max(spreads, key=spreads.get),
        "stable": min(spreads, key=spreads.get),
        "gaps": lenet.gap - vit.gap,
        "by_gap": _titles(ranked("gap")),
        "images": images,
        "train": train,
        "test": test,
        "left": images - train - test,
        "last": last,
        "before": before,
        "last_by": last.best_epoch - before.best_epoch,
        "between": reported(sum(20 <= row.best_epoch <= 30 for row in rows)),  # section 4
        "between_run": reported(sum(20 <= row.epochs <= 30 for row in rows)),
        "by_30": reported(sum(row.best_epoch <= 30 for row in rows)),
    }


def _ends(numbers: Iterable[Value]) -> SimpleNamespace:
    numbers = list(numbers)
    return SimpleNamespace(least=min(numbers), most=max(numbers))


def _titles(rows: Iterable[SimpleNamespace]) -> list[str]:
    return [row.title for row in rows]
