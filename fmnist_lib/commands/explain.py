"""Where a number of a report comes from, told for the terminal.

Reads what lies in the report's folder: `numbers.json` and the records. Nothing is computed here.
"""

import argparse
import json
from difflib import get_close_matches
from pathlib import Path

from fmnist_lib import paths
from fmnist_lib.errors import UserError
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.record import CostRecord, RunRecord
from fmnist_lib.runs.store import RunStore

NO_RECORD = {"paper": "printed in the paper", "settings": "a setting of this report"}
SPREAD = {"std": "standard deviation", "low": "interval from", "high": "interval to"}
DIRTY = {True: "with uncommitted changes", False: "clean", None: "state unknown"}
Lines = list[tuple[str, object]]  # a label and what it tells


def command(options: argparse.Namespace) -> int:
    """Print what a number or a run rests on, in the report asked for, else one's own, released."""
    plan(options.profile)  # refuses an unknown one
    own = options.output or paths.BUILD / options.profile
    for report in [own] if options.output else [own, paths.REPORT]:
        if (report / "numbers.json").is_file():
            print(f"in the report of {report}\n{explain(options.explain, report)}")
            return 0
    raise UserError(f"{own}: holds no report; allowed: the folder of one, with its numbers.json")


def explain(address: str, report: Path) -> str:
    """Return what `TABLE/ROW/COLUMN`, or a run by the start of its name or key, rests on.

    Several lines. Raises `UserError` unless there is one such number or run, and
    `DamagedRecordError` for a record of the report that cannot be read.
    """
    file = report / "numbers.json"
    try:
        told = json.loads(file.read_bytes())
        numbers, sources = told["numbers"], told["sources"]
    except (OSError, ValueError, LookupError, TypeError):
        raise UserError(f"{file}: cannot be read as one of a report; make that again") from None
    store = RunStore(report / "records", read_only=True)
    records: dict[str, RunRecord | CostRecord] = {run.name: run for run in store.runs()}
    records |= {f"costs/{cost.name}": cost for cost in store.costs()}
    if number := numbers.get(address):
        rests_on = sources[number["source"]]
        lines: Lines = [(address, number["text"]), ("in full", number["value"])]
        lines += [(words, number[n]) for n, words in SPREAD.items() if number[n] is not None]
        lines += number["parts"].items()
        lines += [("rests on", NO_RECORD.get(name, name)) for name in rests_on]
    else:
        name = find_record(address, records, numbers)
        rests_on, lines = [name], [("record", name), ("key", getattr(records[name], "key", "–"))]
        for rule, kept in getattr(records[name], "stops", {}).items():
            when = f"epoch {kept.best_epoch} of {kept.epochs}"
            lines.append((rule, f"test accuracy {kept.test_accuracy} %, {when}"))
    lines += about_making([records[name] for name in rests_on if name in records])
    width = max(len(label) for label, _ in lines)
    texts = ((label, "".join(filter(str.isprintable, str(text)))) for label, text in lines)
    return "\n".join(f"{label:{width}}  {text}" for label, text in texts)


def find_record(address: str, records: dict[str, RunRecord | CostRecord], numbers: dict) -> str:
    """Return the name of the one record that an address means; raise `UserError` for no other."""
    names = {getattr(record, "key", name): name for name, record in records.items()}
    names |= {name: name for name in records}
    found = {name for text, name in names.items() if address and text.startswith(address)}
    if len(found) == 1:
        return found.pop()
    near = sorted(found) or get_close_matches(address, [*numbers, *records], n=3)
    hint = f"near it: {', '.join(near)}" if near else "allowed: TABLE/ROW/COLUMN, a run or its key"
    raise UserError(f"explain: no one number or run is called {address!r}; {hint}")


def about_making(records: list[RunRecord | CostRecord]) -> Lines:
    """Return settings, machines, versions, commits and times; what is the same is told once."""
    rows = []
    for record in records:
        unused = {"validation_images", "folds"} if record.config.protocol == "paper" else set()
        config = record.config.model_dump(exclude={"seed", "stops", *unused})
        place = record.environment
        versions = {"Python": place.python, **place.packages}
        told = {
            "settings": ", ".join(f"{name} {what}" for name, what in config.items() if what),
            "machine": f"{place.cpu}, {place.cores} cores; {place.system}",
            "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
            "commit": f"{place.commit or 'unknown'}, {DIRTY[place.dirty]}",
            "when": f"{place.started} to {place.finished}",
        }
        rows.append(told.items())
    return [fact for facts in zip(*rows, strict=True) for fact in dict.fromkeys(facts)]
