"""What a shown number rests on: which runs and timings, the paper, a model, or a setting.

`say` writes it into the mark of each value: `data-source` names the sources, `data-at` says where
the value stands, `data-spread` how it varies. Whose runs a notebook shows is told once, by
`show_results`; without that, what rests on runs has no source.

A source is given in words. `runs` and `times` become the names of the runs and cost records shown,
of one model where a value is about one, `clocked` those of the runs on the processor that was
timed; `paper` (a figure of the paper), `model:NAME` (follows from that model's definition) and
`settings` (of this report) stand for themselves.

Not here: how a value reads (`say`), and what its sources say (`explain`).
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from fmnist_lib.models import MODELS
from fmnist_lib.reporting.analysis import Results, timed_alike
from fmnist_lib.reporting.words import join, name_of

RUNS, CLOCKED, TIMES = "runs", "clocked", "times"
PAPER, SETTINGS = "paper", "settings"

# By a column or a part of a placeholder; what is not here rests on the runs alone.
RESTS_ON: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("title", "origin"), ""),  # words, not results
        **dict.fromkeys(("train_seconds", "inference_ms", "pace"), TIMES),
        **dict.fromkeys(("latency_ms_median", "latency_ms_p90", "train_us_per_parameter"), TIMES),
        "total_train_seconds": f"{RUNS} {TIMES}",
        **dict.fromkeys(("train_seconds_in_runs", "in_runs", "clocked"), CLOCKED),
        **dict.fromkeys(("ratio", "in_runs_least", "in_runs_most"), f"{CLOCKED} {TIMES}"),
        **dict.fromkeys(("times_ours", "paper_least", "paper_most"), f"{TIMES} {PAPER}"),
        **dict.fromkeys(("difference", "compared", "expected"), f"{RUNS} {PAPER}"),
        "near": f"{RUNS} {PAPER}",
        **dict.fromkeys(("tally", "which", "stated"), f"{RUNS} {TIMES} {PAPER}"),
        **dict.fromkeys(("front", "on_all"), f"{RUNS} {TIMES}"),
        **dict.fromkeys(("limit", "command"), SETTINGS),
        "conflicts": PAPER,
    }
)
OF_PAPER = re.compile(r"(^|_)paper(_|$)")
PARTS = re.compile(r"_(mean|std|low|high|interval)$")  # of one measure, in columns of their own
COSTS = "costs/"  # before the name of a cost record, as in a store

Source = str | Mapping[str, str]
"""Words for all values, or by column and placeholder: the longest that fits counts."""

_results: Results | None = None


def show_results(results: Results | None) -> None:
    """Say which results the values shown from now on come from; None: from none that are known."""
    global _results
    _results = results


@contextmanager
def showing(results: Results) -> Iterator[None]:
    """Show these results meanwhile."""
    before = _results
    show_results(results)
    try:
        yield
    finally:
        show_results(before)


def names(words: str, model: str = "", run: str = "") -> list[str]:
    """The sources that words stand for, each once; of one model or one run if there is one."""
    found: list[str] = []
    for word in words.split():
        if word in (RUNS, CLOCKED, TIMES):
            found += [run] if run else _records(word, model)
        else:
            found.append(word)
    return list(dict.fromkeys(found))


def _records(word: str, model: str) -> list[str]:
    if _results is None:
        return []
    models = [name for name in _results.models if model in ("", name)]
    if word in (RUNS, CLOCKED):
        runs = (_results if word == RUNS else timed_alike(_results)).runs
        return [run.name for run in runs if run.config.model in models]
    return [COSTS + _results.costs[name].name for name in models if name in _results.costs]


def rests_on(path: str) -> str:
    """What a column, or the value of a placeholder, rests on, in words."""
    parts = [PARTS.sub("", part) for part in re.split(r"[.\[\]]+", path)]
    if PAPER in parts:
        return PAPER
    for part in reversed(parts):
        if part in RESTS_ON:
            return RESTS_ON[part]
        if OF_PAPER.search(part):
            return PAPER
    return RUNS


def given(source: Source, path: str) -> str:
    """What `source` says of a column or placeholder; empty where it says nothing."""
    if isinstance(source, str):
        return source
    fitting = [key for key in source if path == key or path.startswith((f"{key}.", f"{key}["))]
    return source[max(fitting, key=len)] if fitting else ""


def check(source: Source, known: Collection[str]) -> None:
    """Raise KeyError if `source` tells of a column or placeholder that is not there."""
    keys = () if isinstance(source, str) else source
    if unknown := [key for key in keys if not {key, re.split(r"[.\[]", key)[0]} & {*known}]:
        raise KeyError(f"source of {join(unknown)}, which is not shown; shown are {join(known)}")


# --- rows of a table ---


class Row(NamedTuple):
    """What a row of a table is about."""

    name: str = ""  # in addresses: TABLE/ROW/COLUMN
    model: str = ""
    run: str = ""  # or a cost record

    @property
    def rests_on(self) -> str:
        """In words, for a row headed `paper` or `here − paper`; else empty."""
        words = self.name.split("-")
        return "" if PAPER not in words else PAPER if words == [PAPER] else f"{RUNS} {PAPER}"


def rows(frame: pd.DataFrame) -> list[Row]:
    """What each row is about: its run (and rule), its model, or what its first cell says."""
    models = _known(frame, ("model", "title"), _models())
    runs = _known(
        frame, ("name", "run"), {name: name for word in (RUNS, TIMES) for name in names(word)}
    )
    stops = frame.get("stop", [""] * len(frame))
    kept = [run and f"{run}-{stop}" for run, stop in zip(runs, stops, strict=True)]
    heads = [slug(str(value)) for value in frame.iloc[:, 0]] if len(frame.columns) else []
    numbers = [str(number) for number in range(1, len(frame) + 1)]
    choices = (runs, kept, models, heads, numbers)
    chosen = next(each for each in choices if all(each) and len({*each}) == len(each))
    about = [m or _model_of_record(run) for m, run in zip(models, runs, strict=True)]
    return [Row(*row) for row in zip(chosen, about, runs, strict=True)]


def model_of(owner: object) -> str:
    """The model that an object is about, by its `model` or `title`; empty for none."""
    known = _models()
    told = (getattr(owner, name, None) for name in ("model", "title"))
    return next((known[text] for text in told if isinstance(text, str) and text in known), "")


def _model_of_record(name: str) -> str:
    if _results is None or not name:
        return ""
    return next((m for m in _results.models if name in _records(RUNS, m) + _records(TIMES, m)), "")


def slug(text: str) -> str:
    """A text as part of an address: `T-shirt/top` becomes `t-shirt-top`."""
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")


def _models() -> dict[str, str]:
    return {key: model for model in MODELS for key in (model, name_of(model))}


def _known(frame: pd.DataFrame, columns: tuple[str, ...], known: Mapping[str, str]) -> list[str]:
    """For each row what `known` has for the first of the columns there is; empty for nothing."""
    column = next((column for column in columns if column in frame), None)
    values = [None] * len(frame) if column is None else frame[column]
    return [known.get(value, "") if isinstance(value, str) else "" for value in values]


# --- marks ---


def attributes(
    at: str, path: str, beside: Callable[[str], str], source: Source = "", row: Row | None = None
) -> dict[str, str]:
    """The attributes of a value's mark; none where its source is not known.

    `path` is its column or placeholder, `beside` gives the text of a number of that name beside it
    (in its row, or on the object that it is an attribute of), empty if there is none.
    """
    row = row or Row()
    words = given(source, path) or row.rests_on or rests_on(path)
    sources = names(words, row.model, row.run)
    if not sources:
        return {}
    marks = {"data-source": " ".join(sources), "data-at": at}
    if told := _spread(path, beside, _over(words, row)):
        marks["data-spread"] = told
    return marks


def _spread(path: str, beside: Callable[[str], str], over: str) -> str:
    """How a value varies, in words: the standard deviation and interval that stand beside it."""
    stem = PARTS.sub("", re.split(r"[.\[\]]", path)[-1])
    deviation, low, high = (beside(f"{stem}_{part}") for part in ("std", "low", "high"))
    told = [f"standard deviation {deviation} over {over}"] if deviation else []
    told += [f"95\N{NO-BREAK SPACE}% interval {low} to {high}"] if low and high else []
    return "; ".join(told)


def _over(words: str, row: Row) -> str:
    """What a standard deviation is taken over."""
    if words == PAPER:
        return "the epochs of the paper's run"
    if words == TIMES:
        return "repeated timings"
    return f"{len(names(RUNS, row.model, row.run))} runs"
