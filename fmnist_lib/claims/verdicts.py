"""What a claim is and how it may come out. Not here: which claims there are, and any numbers."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd

from fmnist_lib.claims.answers import Answer, above
from fmnist_lib.results import tables
from fmnist_lib.results.statistics import Estimate
from fmnist_lib.results.value import Value


class Outcome(StrEnum):
    """What the runs say about a claim."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    UNTESTED = "not tested"


class Sentence(NamedTuple):
    """A text as a person wrote it, with the numbers that `str.format` fills in."""

    template: str
    values: Mapping[str, Any]


Verdict = tuple[Answer | Outcome, Sentence]


class Claim(NamedTuple):
    """A statement of the paper, the rule that judges it, and what the rule needs.

    A rule of the paper's protocol takes `Tables` with the columns it `needs` and returns a verdict;
    one of an experiment takes the answers to the comparisons it `needs`, in their order, and
    returns an answer, or an outcome in its place.
    """

    statement: str
    where: str
    needs: Sequence[Any]
    rule: Callable[..., Any]
    depends: str  # on what it hangs where it does not hold


CLAIMS: dict[str, Claim] = {}
EVIDENCE = pd.read_csv(Path(__file__).with_name("evidence.csv"), index_col="of").sentence


def claim(
    number: str, where: str, needs: Sequence[Any], depends: str = ""
) -> Callable[[Callable], Callable]:
    """Put the rule below into `CLAIMS`; the first paragraph of its docstring is what is claimed."""

    def register(rule: Callable) -> Callable:
        statement = inspect.getdoc(rule).partition("\n\n")[0].replace("\n", " ")
        CLAIMS[number] = Claim(statement, where, needs, rule, depends)
        return rule

    return register


def outcome_of(answer: Answer | Outcome) -> Outcome:
    """The outcome that goes with an answer; an outcome stays."""
    outcomes = {True: Outcome.HOLDS, False: Outcome.FAILS, None: Outcome.UNDECIDED}
    return outcomes.get(answer, answer)


@dataclass
class Tables:
    """What rules of the paper's protocol judge: our runs, or the paper's own tables.

    `models` as from `models_frame`, `epochs` as from `epochs_frame`. `compare`, as
    `tables.compare`, tells by how much the first model exceeds the second in a measure; "gain" of a
    model and itself is what the longer patience adds.
    """

    models: pd.DataFrame
    compare: Callable[..., tuple[Value, Estimate]]
    epochs: pd.DataFrame | None = None
    margin: float = tables.EQUAL[1]
    asked: bool = False  # whether the margin entered

    @cached_property
    def rows(self) -> dict[str, SimpleNamespace]:
        """The rows of the models by name."""
        return tables.namespace(self.models)

    def others(self, *models: str) -> list[str]:
        """All models but these."""
        return [name for name in self.models.index if name not in models]

    def known(self, column: str) -> bool:
        """Whether all models have a number."""
        return column in self.models and bool(self.models[column].notna().all())

    def top(self, column: str, *without: str, lowest: bool = False) -> SimpleNamespace:
        """The row with the highest or lowest value of all models but some."""
        return tables.top(self.models.loc[self.others(*without)], column, lowest=lowest)

    def lead(self, first: str, second: str, measure: str = "test_accuracy") -> Value:
        """By how much the first exceeds the second."""
        return self.compare(first, second, measure)[0]

    def ahead(
        self, pairs: Iterable[tuple[str, str]], measure: str = "test_accuracy", **holm: bool
    ) -> list[Answer]:
        """Whether the first of each pair exceeds the second by the margin, see `above`."""
        self.asked = True
        return above([self.compare(*pair, measure)[1] for pair in pairs], self.margin, **holm)

    def more(self, first: str, second: str, column: str = "parameters") -> Answer:
        """Whether the first has more of what is counted exactly; no where nobody counted."""
        return self.known(column) and self.models[column][first] > self.models[column][second]

    def slower(self, first: str, second: str, column: str = "train_seconds") -> Answer:
        """Whether the first takes longer; unknown where the ranges of the times overlap."""
        one, other = self.models[column][first], self.models[column][second]
        return True if one.low > other.high else False if one.high < other.low else None

    def counts(self, column: str, **numbers: float) -> dict[str, Value]:
        """Numbers that rest on this column of all models."""
        return {name: Value(number, self.models[column]) for name, number in numbers.items()}

    def say(self, name: str, **values: object) -> Sentence:
        """A sentence of `evidence.csv`, in which the models' rows stand by name beside `values`."""
        return Sentence(EVIDENCE[name], {**self.rows, **values})
