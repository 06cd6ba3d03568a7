"""Numbers that know what they rest on. Not here: how a number is shown."""

from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import Any, NamedTuple

import pandas as pd

PRINTED = "paper"  # the source of what is printed in the paper
SETTINGS = "settings"  # of what this report chose: margins, patience, limits


class Interval(NamedTuple):
    """Lower and upper bound."""

    low: float
    high: float


class Value(float):
    """A number that knows what it rests on.

    `sources` are names of runs, `costs/NAME` of a cost record, `PRINTED`, `SETTINGS`, and
    `model:NAME` for what follows from a model's definition: those of all that `of` names or holds.
    `std`, `low` and `high` are nan where there are none; `parts` are the numbers behind a mean,
    `{"seed 0": 91.1}`. Arithmetic gives Values of all sources, without a spread; `int()`, powers
    and NumPy's functions bare numbers.
    """

    def __new__(
        cls,
        number: float,
        *of: object,
        std: float = nan,
        low: float = nan,
        high: float = nan,
        parts: Mapping[str, float] | None = None,
    ) -> "Value":
        """Return the number with the sources of what it is `of`, and its spread."""
        self = super().__new__(cls, number)
        self.sources, self.parts = sources_of(of), dict(parts or {})
        self.std, self.low, self.high = float(std), float(low), float(high)
        return self

    @property
    def interval(self) -> Interval:
        """From `low` to `high`."""
        return Interval(self.low, self.high)

    def scaled(self, factor: float) -> "Value":
        """The number, its spread and its parts times a positive factor."""
        times = float(factor)
        spread = {name: getattr(self, name) * times for name in ("std", "low", "high")}
        parts = {name: part * times for name, part in self.parts.items()}
        return Value(float(self) * times, self, factor, **spread, parts=parts)


def _with_sources(plain: Callable) -> Callable:
    def operation(self: Value, *others: Any) -> Any:  # noqa: ANN401, whatever float takes
        result = plain(self, *others)
        return result if result is NotImplemented else Value(result, self, *others)

    return operation


_OPERATIONS = ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv")
for _name in (*_OPERATIONS, "neg", "abs", "round"):
    setattr(Value, f"__{_name}__", _with_sources(getattr(float, f"__{_name}__")))


def sources_of(*of: object) -> tuple[str, ...]:
    """The sources of Values, names and (nested) collections of either, each once, in order."""
    found: dict[str, None] = {}
    for one in of:
        if isinstance(one, str):
            found[one] = None
        elif isinstance(one, Value):
            found |= dict.fromkeys(one.sources)
        elif isinstance(one, Iterable):
            found |= dict.fromkeys(sources_of(*one))
    return tuple(found)  # bare numbers have none


def reported(number: float, std: float = nan) -> Value:
    """A number printed in the paper."""
    return Value(number, PRINTED, std=std)


def setting(number: float) -> Value:
    """A number that this report chose."""
    return Value(number, SETTINGS)


def framed(rows: Mapping[str, Mapping[str, object]]) -> pd.DataFrame:
    """Rows by name as a frame of objects; left to itself, pandas would make floats of Values."""
    return pd.DataFrame([*rows.values()], index=[*rows], dtype=object)
