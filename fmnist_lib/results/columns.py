"""The catalogue of columns, `columns.csv`: what tables, files and axes call a number, said once.

A name means the same everywhere. Where a row is a model, a number that each run has is the mean
over the model's `n` runs; what was not measured is NaN, an empty cell.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd


class Column(NamedTuple):
    """What readers see above a column, the unit, how `format` shows a number, what it means."""

    name: str
    heading: str
    unit: str  # empty for text, counts and digests
    format: str  # empty for text
    meaning: str


_rows = pd.read_csv(Path(__file__).with_suffix(".csv"), keep_default_na=False).to_numpy()
COLUMNS = {row[0]: Column(*row) for row in _rows}
SUFFIXES = {  # behind a name: heading and meaning, around those of the name
    "_paper": ("Paper", "what the paper reports of {}"),
    "_std": ("{} ±", "sample standard deviation of {}: over runs, or of a time over its blocks"),
    "_low": ("{}, from", "lower end of the 95 % interval of {}, or of the range of a time"),
    "_high": ("{}, to", "upper end of the 95 % interval of {}, or of the range of a time"),
    "_interval": ("{}, 95 % interval", "95 % interval of {}, or the range of a time"),
    "_mean": ("{}", "{}, alone on the machine"),
    "_median": ("{}", "{}, alone on the machine"),
    "_long": ("{}, longer", "{} at the longer patience"),
    "_validated": ("{}, validation", "{} in runs that validation images stop"),
    "_folds": ("{}, folds", "{} in runs that are tested on the fold they hold out"),
}


def column(name: str) -> Column:
    """The description of a column, derived from its stem's where it is not listed, or KeyError."""
    if name in COLUMNS:
        return COLUMNS[name]
    for suffix, (heading, meaning) in SUFFIXES.items():
        if name.endswith(suffix):
            stem = column(name.removesuffix(suffix))
            derived = {"heading": heading.format(stem.heading)}
            return stem._replace(name=name, meaning=meaning.format(f"`{stem.name}`"), **derived)
    raise KeyError(name)


def heading(name: str) -> str:
    """What stands above a column or along an axis: `Test accuracy (%)`."""
    found = column(name)
    return f"{found.heading} ({found.unit})" if found.unit else found.heading
