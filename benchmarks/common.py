"""What the benchmarks share: bad input as one line, tables, ratios. Not here: any measurement."""

import argparse
import csv
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NoReturn

import torch

from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs.environment import cpu_name, git, package_version, usable_cores

REFERENCE = "dataloader"  # the way with which all others are compared
ALL = "all"  # one epoch of each model after another

Timings = Mapping[tuple[str, str, int], Sequence[float]]
"""Images a second in each round of a model, a way and its number of loading processes."""

Rates = dict[tuple[str, str], float]
"""Images a second of a model (or `ALL`) in a way."""


class Parser(argparse.ArgumentParser):
    """A command's options; a bad one is one line and exit status 2."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """End with one line."""
        self.exit(2, f"{self.prog}: {message}\n")

    def carry_out(
        self, work: Callable[[argparse.Namespace], None], arguments: Sequence[str] | None
    ) -> int:
        """Do the command's work; return its exit status."""
        options = self.parse_args(arguments)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave no process behind
        try:
            work(options)
        except UserError as error:
            self.error(str(error))
        except KeyboardInterrupt:
            print(f"{self.prog}: interrupted", file=sys.stderr)
            return 130
        return 0


def between(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number of an option."""

    def number(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            allowed = f"{low} and more" if high is None else f"{low} to {high:,}"
            raise argparse.ArgumentTypeError(f"{value} is not possible; allowed: {allowed}")
        return value

    return number


def chosen(text: str, allowed: Sequence[str], option: str) -> list[str]:
    """Return the names given, in the order of `allowed`; all for an empty text."""
    names = [name.strip() for name in text.split(",") if name.strip()] or list(allowed)
    for name in names:
        if name not in allowed:
            raise UserError(f"{option}: no {name!r}; allowed: {', '.join(allowed)}")
    return [name for name in allowed if name in names]


def measured_on(*packages: str, device: str = "cpu") -> str:
    """Return hardware, versions, day and commit of what is measured now."""
    card = f"{torch.cuda.get_device_name()}; " if device == "cuda" else ""
    versions = ", ".join(f"{name} {package_version(name)}" for name in ("torch", *packages))
    dirty = " with changes" if git("status", "--porcelain") else ""
    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    cores = f"{cpu_name()}, {usable_cores()} cores"
    return f"{card}{cores}; {versions}; {datetime.now(UTC):%Y-%m-%d}, commit {commit}{dirty}"


def rates_of(timings: Timings) -> Rates:
    """Return medians over the rounds, of the better number of loading processes; and `ALL`."""
    rates: Rates = {}
    for (model, way, _), values in timings.items():
        rates[model, way] = max(rates.get((model, way), 0.0), median(values))
    for way in dict.fromkeys(way for _, way in rates):
        rates[ALL, way] = in_sequence(rates, way)
    return rates


def in_sequence(rates: Rates, way: str) -> float:
    """Return the images a second over an epoch of each model, one after another."""
    each = [rate for (_, its_way), rate in rates.items() if its_way == way]
    return len(each) / sum(1 / rate for rate in each)


def ratio(rates: Rates, model: str, way: str) -> float:
    """Return how many times as fast as the reference."""
    return rates[model, way] / rates[model, REFERENCE]


def row_of(rates: Rates, model: str, ways: Sequence[str]) -> list[str]:
    """Return a model's cells: its title, then images a second and their ratio in each way."""
    title = MODELS[model].title if model in MODELS else "all, in sequence"
    return [title, *(f"{rates[model, way]:,.0f} ({ratio(rates, model, way):.2f}×)" for way in ways)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: a column of names, then numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows_of(rates: Rates, **about: str) -> list[dict[str, str]]:
    """Return a row of the CSV a model and way."""
    return [
        {
            **{"model": model, "way": way, "images_per_second": f"{rate:.1f}"},
            **{"ratio_to_dataloader": f"{ratio(rates, model, way):.3f}", **about},
        }
        for (model, way), rate in rates.items()
    ]


def publish(
    name: str, section: str, rows: Sequence[Mapping], output: Path | None, *, whole: bool
) -> None:
    """Print a section; write it and a CSV of `rows`, by default beside this file if `whole`.

    The section replaces what stands between the markers of a README.md beside the CSV, if any.
    """
    print(section)
    if output is None and not whole:
        print("only a part was measured: nothing is written without --output", file=sys.stderr)
        return
    output = output or Path(__file__).with_name(f"{name}.csv")
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    readme = output.with_name("README.md")
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    begin, end = f"<!-- {name}: written by {name}.py -->", f"<!-- /{name} -->"
    if begin in text and end in text:
        before, after = text.split(begin)[0], text.split(end)[1]
        readme.write_text(f"{before}{begin}\n\n{section}\n\n{end}{after}", encoding="utf-8")
