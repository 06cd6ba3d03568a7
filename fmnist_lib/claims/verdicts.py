"""What a claim is and how it may come out. Not here: which claims there are, and any numbers."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd

from fmnist_lib.models import MODELS
from fmnist_lib.results.statistics import ALPHA, Estimate, holm
from fmnist_lib.results.tables import EQUAL, namespace, top
from fmnist_lib.results.value import Value, value

Answer = bool | None
MARGINS = {  # the middle one decides, the others are shown beside it
    "test_accuracy": EQUAL,  # points
    "train_seconds": (2.5, 5.0, 10.0),  # 5 % is the paper's largest spread of times over epochs
}


class Outcome(StrEnum):
    """What the runs say about a claim."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    NOT_TESTED = "not tested"


class Sentence(NamedTuple):
    """A text as a person wrote it, with the numbers that `str.format` fills in."""

    template: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the rule that judges it, and what the rule needs.

    A rule of the paper's protocol takes `Tables` with the columns it `needs` of its `models`, and
    returns an outcome and a sentence; one of an experiment takes the answers to the comparisons it
    `needs` and returns an outcome and the parts of the claim that hold.
    """

    statement: str
    where: str
    rule: Callable[..., tuple[Outcome, Any]]
    needs: Sequence[Any]
    depends: str = ""  # on what it hangs where it does not hold
    models: Sequence[str] = tuple(MODELS)
    family: str = ""  # of an experiment: the runs over whose comparisons Holm corrects
    experiment: str = ""  # what is to be run


CLAIMS: dict[str, Claim] = {}


def claim(number: str, where: str, **more: Any) -> Callable[[Callable], Callable]:  # noqa: ANN401
    """Put the rule below into `CLAIMS`; the first paragraph of its docstring is what is claimed.

    `more` are fields of `Claim`.
    """

    def register(rule: Callable) -> Callable:
        statement = inspect.getdoc(rule).partition("\n\n")[0].replace("\n", " ")
        CLAIMS[number] = Claim(statement, where, rule, **more)
        return rule

    return register


def all_of(answers: Iterable[Answer]) -> Answer:
    """No if any is no, else unknown if any is unknown, else yes."""
    answers = list(answers)
    return False if False in answers else None if None in answers else True


def any_of(answers: Iterable[Answer]) -> Answer:
    """Yes if any is yes, else unknown if any is unknown, else no."""
    return opposite(all_of(map(opposite, answers)))


def agreed(answers: Iterable[Answer]) -> Answer:
    """The answer on which all agree, else unknown."""
    different = set(answers)
    return different.pop() if len(different) == 1 else None


def opposite(answer: Answer) -> Answer:
    """Yes for no, no for yes; unknown stays."""
    return None if answer is None else not answer


def outcome_of(answer: Answer) -> Outcome:
    """The outcome that goes with an answer."""
    return {True: Outcome.HOLDS, False: Outcome.FAILS, None: Outcome.UNDECIDED}[answer]


def is_above(effect: float, margin: float, differs: float, short: float) -> Answer:
    """Whether an effect is above a margin.

    Yes: it differs from zero (two-sided p below 0.05), and the estimate is above the margin. No: it
    is shown to fall short (one-sided p below 0.05), as an equivalent one does. Else unknown.
    """
    return True if effect > margin and differs < ALPHA else False if short < ALPHA else None


def above(
    effects: Sequence[Estimate], margin: float, *, one_makes: bool = False, one_breaks: bool = False
) -> list[Answer]:
    """Whether each of several effects is above the margin, by `is_above`.

    Holm corrects the yes if one of them makes the claim, the no if one of them breaks it. What one
    run of each tells without any measure of chance, epochs say, is taken as it is; closer than the
    margin it decides nothing.
    """
    if all(e.seeds == 1 and not e.error for e in effects):
        return [e.effect > 0 if e.effect and abs(e.effect) >= margin else None for e in effects]
    differs, short = [e.p_differs() for e in effects], [e.p_below(margin) for e in effects]
    differs, short = holm(differs) if one_makes else differs, holm(short) if one_breaks else short
    return [is_above(e.effect, margin, *p) for e, *p in zip(effects, differs, short, strict=True)]


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
    margin: float = EQUAL[1]
    asked: bool = False  # whether the margin entered

    @cached_property
    def rows(self) -> dict[str, SimpleNamespace]:
        """The rows of the models by name."""
        return namespace(self.models)

    def others(self, *models: str) -> list[str]:
        """All models but these."""
        return [name for name in self.models.index if name not in models]

    def known(self, column: str, models: Sequence[str] = ()) -> bool:
        """Whether each of `models`, or all, have a number."""
        there = self.models.get(column)
        return there is not None and bool(there[list(models) or there.index].notna().all())

    def top(self, column: str, *without: str, lowest: bool = False) -> SimpleNamespace:
        """The row with the highest or lowest value of all models but some."""
        return top(self.models.loc[self.others(*without)], column, lowest=lowest)

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

    def count(self, number: float, column: str) -> Value:
        """A number that rests on this column of all models."""
        return value(number, self.models[column])

    def say(self, template: str, **values: object) -> Sentence:
        """A sentence in which the rows of the models stand by name, beside `values`."""
        return Sentence(template, {**self.rows, **values})
