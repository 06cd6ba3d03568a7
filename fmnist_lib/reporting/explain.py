"""Where a number of a report comes from, told for the terminal.

Reads what lies in the report's folder: what its executed notebooks show, its tables, its records.
No result is computed here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from numbers import Number
from pathlib import Path
from typing import NamedTuple

import nbformat
import pandas as pd
from bs4 import BeautifulSoup, Tag

from fmnist_lib.errors import UserError
from fmnist_lib.reporting import sources
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.sources import COSTS, PARTS
from fmnist_lib.reporting.words import join
from fmnist_lib.runs.record import CostRecord, Environment, RunRecord
from fmnist_lib.runs.store import RunStore

TIMED = {"train_seconds": "train_seconds_blocks", "inference_ms": "inference_ms_passes"}
IN_WORDS = {
    sources.PAPER: "the paper's own figure",
    sources.SETTINGS: "a setting of the report",
    "model": "follows from the model's definition",
}
HASH = 12  # digits of a hash that are told


class Shown(NamedTuple):
    """A number of a table, and where it is shown."""

    text: str
    sources: tuple[str, ...]
    spread: str
    place: str
    heading: str = ""


def explain(address: str, report: Path) -> str:
    """What `TABLE/ROW/COLUMN`, or a run by the start of its name or key, rests on; several lines.

    Raises:
        UserError: there is no such number or run, or several runs begin like this.
        DamagedRecordError: a record of the report cannot be read.
    """
    records = records_of(report)
    numbers = shown_numbers(report)
    numbers = {**numbers_in_files(report, records, numbers), **numbers}
    if address in numbers:
        told = about_number(address, numbers[address], records)
    else:
        told = about_record(find(address, records, numbers), records, numbers)
    width = max(len(label) for label, _ in told)
    lines, before = [], ""
    for label, text in told:
        text = "".join(filter(str.isprintable, text.replace("\N{NO-BREAK SPACE}", " ")))
        lines.append(f"{'' if label == before else label:{width}}  {text}")
        before = label
    return "\n".join(lines)


# --- what the report has ---

Records = dict[str, RunRecord | CostRecord]
"""By name, as `data-source` has it."""
Lines = list[tuple[str, str]]
"""A label and what it tells."""


def records_of(report: Path) -> Records:
    """The records of a report."""
    store = RunStore(report / "records", read_only=True)
    runs = {run.name: run for run in store.runs()}
    return {**runs, **{COSTS + cost.name: cost for cost in store.costs()}}


def shown_numbers(report: Path) -> dict[str, Shown]:
    """The numbers in the tables of the executed notebooks, by address."""
    found = {}
    for path in sorted((report / "notebooks").glob("*.ipynb")):
        for place, table in _tables(path):
            headings = [cell.get_text() for cell in table.select("thead th")]
            for mark in table.select("tbody [data-at]"):
                cell = mark.find_parent(["td", "th"])
                column = len(cell.find_previous_siblings(["td", "th"]))
                found[mark["data-at"]] = Shown(
                    text=cell.get_text(),
                    sources=tuple(mark.get("data-source", "").split()),
                    spread=mark.get("data-spread", ""),
                    place=f"notebooks/{path.name}, cell {place}; index.html#{table['id']}",
                    heading=headings[column] if column < len(headings) else "",
                )
    return found


def _tables(path: Path) -> Iterator[tuple[int, Tag]]:
    """The tables of an executed notebook, each with the index of its cell."""
    try:
        cells = nbformat.read(path, as_version=4).cells
    except ValueError as error:
        raise UserError(f"{path}: is not a whole notebook ({error})") from None
    for place, cell in enumerate(cells):
        for output in cell.get("outputs", ()):
            html = output.get("data", {}).get("text/html", "")
            if "<table" in html:
                page = BeautifulSoup(html, "html.parser")
                yield from ((place, table) for table in page.select("figure.table[id]"))


def numbers_in_files(report: Path, records: Records, shown: dict[str, Shown]) -> dict[str, Shown]:
    """The numbers in the report's CSV files, by address, with the sources that a page would name.

    They rest on the runs that the notebooks name; where those name none, on all of the report's.
    """
    named = {name for number in shown.values() for name in number.sources}
    own = [record for name, record in records.items() if name in named] or [*records.values()]
    runs = tuple(record for record in own if isinstance(record, RunRecord))
    costs = {record.model: record for record in own if isinstance(record, CostRecord)}
    results = Results(RunStore(report / "records", read_only=True), runs, costs)
    with sources.showing(results):
        return dict(_numbers_in(report))


def _numbers_in(report: Path) -> Iterator[tuple[str, Shown]]:
    for path in sorted([*report.glob("*.csv"), *report.glob("tables/*.csv")]):
        frame = pd.read_csv(path)
        for place, row in enumerate(sources.rows(frame)):
            values = {name: frame[name].iloc[place] for name in frame}
            for column, value in values.items():
                if text := plain_number(value):
                    at = f"{path.stem}/{row.name}/{column}"
                    marks = sources.attributes(
                        at,
                        column,
                        lambda name, values=values: plain_number(values.get(name)),
                        row=row,
                    )
                    yield (
                        at,
                        Shown(
                            text=text,
                            sources=tuple(marks.get("data-source", "").split()),
                            spread=marks.get("data-spread", ""),
                            place=path.relative_to(report).as_posix(),
                        ),
                    )


def plain_number(value: object) -> str:
    """A number as text; empty for what is none."""
    known = isinstance(value, Number) and not isinstance(value, bool) and not pd.isna(value)
    return f"{value:.6g}" if known else ""


def find(address: str, records: Records, numbers: dict[str, Shown]) -> str:
    """The name of the one record that an address means; raises `UserError` if it is not one."""
    if address in records:
        return address
    found = [
        name
        for name, record in records.items()
        if name.startswith(address) or getattr(record, "key", "").startswith(address)
    ]
    if address and len(found) == 1:
        return found[0]
    if address and found:
        raise UserError(f"explain: {address!r} is the start of several: {', '.join(found)}")
    close = get_close_matches(address, [*numbers, *records], n=3)
    tables = join(sorted({at.partition("/")[0] for at in numbers}), "or")
    allowed = f"TABLE/ROW/COLUMN of {tables}, or the start of a run's name or key"
    hint = f"near it: {', '.join(close)}" if close else f"allowed: {allowed}"
    raise UserError(f"explain: nothing is called {address!r}; {hint}")


# --- what is told of it ---


def about_number(address: str, number: Shown, records: Records) -> Lines:
    """The chain behind a number of a table."""
    column = PARTS.sub("", address.rpartition("/")[2])
    told = [(address, f"{number.text}  ({number.heading})" if number.heading else number.text)]
    told += [("spread", number.spread)] if number.spread else []
    told.append(("shown in", number.place))
    for name in number.sources:
        if name in records:
            told.append(
                ("rests on", "  ".join(filter(None, [name, own_value(records[name], column)])))
            )
        else:
            kind, _, of = name.partition(":")
            told.append(("rests on", f"{IN_WORDS.get(kind, kind)}{of and f': {of}'}"))
    return told + about_making([name for name in number.sources if name in records], records)


def about_record(name: str, records: Records, numbers: dict[str, Shown]) -> Lines:
    """A run or a timing: what it gave, how it was made, and which tables rest on it."""
    record = records[name]
    told = [("run" if isinstance(record, RunRecord) else "timing", name)]
    if isinstance(record, RunRecord):
        told.append(("key", record.key))
        for rule, kept in record.stops.items():
            told.append(
                (
                    rule,
                    f"test accuracy {kept.test_accuracy:.2f} % and loss {kept.test_loss:.4f} at"
                    f" epoch {kept.best_epoch} of {kept.epochs}; digest {kept.digest[:HASH]}",
                )
            )
    else:
        told += [(column, own_value(record, column)) for column in TIMED]
    tables = {at.partition("/")[0]: n.place for at, n in numbers.items() if name in n.sources}
    told += [("shown in", f"{table}: {place}") for table, place in tables.items()]
    return told + about_making([name], records)


def own_value(record: RunRecord | CostRecord, column: str) -> str:
    """What a record itself says of a column; empty where it does not know it."""
    if isinstance(record, CostRecord):
        return ", ".join(map(plain_number, getattr(record, TIMED.get(column, ""), ())))
    by_rule = {rule: plain_number(getattr(k, column, None)) for rule, k in record.stops.items()}
    known = {rule: text for rule, text in by_rule.items() if text}
    if len(known) > 1:
        return ", ".join(f"{text} ({rule})" for rule, text in known.items())
    return next(iter(known.values()), plain_number(getattr(record, column, None)))


def about_making(names: list[str], records: Records) -> Lines:
    """Settings, seeds, machines, versions and files of some records; what they share said once."""
    own = [records[name] for name in names]
    runs = [record for record in own if isinstance(record, RunRecord)]
    places = [record.environment for record in own]
    told = [("settings", text) for text in _distinct(map(_settings, own))]
    if runs:
        told.append(("seeds", ", ".join(str(run.config.seed) for run in runs)))
        rules = dict.fromkeys(rule for run in runs for rule in run.stops)
        told.append(("stops at", ", ".join(rules)))
    told += [("machine", text) for text in _distinct(map(_machine, places))]
    told += [("versions", text) for text in _distinct(map(_versions, places))]
    told += [("commit", text) for text in _distinct(map(_commit, places))]
    told += [("data", text) for text in _distinct(place.data_sha256 for place in places)]
    files = [n + (".json" if n.startswith(COSTS) else "/record.json") for n in names]
    return told + [("record", f"records/{file}") for file in files]


def _distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, with its number where there are others."""
    counted = Counter(texts)
    if len(counted) < 2:
        return [*counted]
    return [f"{text}  ({number} of {counted.total()})" for text, number in counted.items()]


def _settings(record: RunRecord | CostRecord) -> str:
    unused = {"validation_images"} if record.config.protocol == "paper" else set()
    settings = record.config.model_dump(mode="json", exclude={"seed", "stops", *unused})
    return ", ".join(f"{n} {v}" for n, v in settings.items() if v not in (None, {}))


def _machine(place: Environment) -> str:
    return f"{place.cpu}, {place.cores} cores, {place.threads} in use; {place.system}"


def _versions(place: Environment) -> str:
    return ", ".join([f"Python {place.python}", *(f"{n} {v}" for n, v in place.packages.items())])


def _commit(place: Environment) -> str:
    state = {True: "with uncommitted changes", False: "clean", None: "state unknown"}[place.dirty]
    return f"{place.commit or 'unknown'}, {state}; training code {place.code_sha256[:HASH]}"
