"""The text beside a report's files: what each is, what columns mean, how to load and cite it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

from fmnist_lib import paths
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.columns import COLUMNS, describe
from fmnist_lib.reporting.markdown import code, table

FILES: Mapping[str, str] = {
    "index.html": "the report: one page, nothing of it is loaded from elsewhere",
    "report.pdf": "the same as PDF (only where the PDF library Pango was installed)",
    "results.csv": "every run and stopping rule, one a row: settings, metrics, cost, environment",
    "tables/": "`table1.csv` and `table2.csv`, the paper's two tables for our runs, one model a "
    "row; `confusion.csv`, the confusion matrices, one cell a row",
    "figures/": "every figure as SVG, as PNG and, what it shows, as CSV (the strokes of single "
    "runs: `results.csv`); named as in the page, where `fig-` stands in front",
    "models/": "for each model a card (`README.md`) and, where they were kept, the weights of its "
    "first seed; no other weights are kept",
    "notebooks/": "the notebooks as they were executed for the report",
    "records/": "the evidence: for each run `record.json` with settings, every epoch, results, "
    "environment and digests, and its predictions; in `costs/` the times alone on the machine. "
    "Runs of earlier releases stay, so there may be more than in this report",
}

PREDICTIONS: Mapping[str, str] = {
    "predicted": "uint8: the class, 0 to 9, in the order of `CLASS_NAMES` in `fmnist_lib.data`",
    "probability": "float16: the model's probability of that class",
    "probability_of_true": "float16: the model's probability of the image's own class",
}

README = """
# The report and its data

{draft}Written by `python run_all.py`, as all that stands beside it, from what is in `records/`: do
not edit it.

{files}

## Columns

The same name means the same in every file; an empty cell was not measured. In `tables/table1.csv`
and `table2.csv` a row is a model: what each run has is there the mean over its `n` runs, and the
stopping rule is `{rule}`. The CSV files in `figures/` use the same names; behind one, `_std` is the
sample standard deviation over the runs and `_long` the value at the longer patience. A run is shown
in `results.csv` once for each stopping rule that was followed in it.

{columns}

## Predictions

`records/RUN/predictions-SHA.safetensors` holds, for each test image in the order of the files of
FashionMNIST, what the weights of the best epoch made of it. RUN is as in `results.csv`; SHA are the
first 16 characters of `predictions_sha256`, which `record.json` beside it has for each stop:

{predictions}

## Loading it

In this folder, with pandas:

{pandas}

with R:

{r}

and a run's predictions in Python:

{arrays}

The models' cards show how to load the weights.

## Licence

All of it: MIT, as the project (`LICENSE` in its root folder). FashionMNIST, which the runs were
made with and some figures show, is by Zalando Research, MIT as well.

## How to cite

{citation}

`CITATION.cff` in the project's root folder says the same for programs. Cited with it:

{references}
"""

PANDAS = """
import pandas as pd

runs = pd.read_csv("results.csv")
chosen = runs[runs["stop"] == "{rule}"]
print(chosen.groupby("model")["test_accuracy"].agg(["count", "mean", "std"]))

cells = pd.read_csv("tables/confusion.csv")
one = cells[(cells["model"] == "{model}") & (cells["seed"] == {seed}) & (cells["stop"] == "{rule}")]
print(one.pivot(index="true", columns="predicted", values="count"))
"""

R = """
runs <- read.csv("results.csv")
chosen <- subset(runs, stop == "{rule}")
aggregate(test_accuracy ~ model, chosen, function(x) c(n = length(x), mean = mean(x), sd = sd(x)))
"""

ARRAYS = """
import json
from pathlib import Path

from safetensors.numpy import load_file

stop = json.loads(Path("records/{run}/record.json").read_text())["stops"]["{rule}"]
arrays = load_file(f"records/{run}/predictions-{{stop['predictions_sha256'][:16]}}.safetensors")
print(arrays["predicted"][:10], arrays["probability"][:10])
"""


def report_readme(results: Results, tables: Mapping[str, pd.DataFrame]) -> str:
    """The README of a report in Markdown; `tables` are its CSV files by path."""
    first = results.runs[0]
    names = {"rule": results.rule, "model": first.config.model, "seed": first.config.seed}
    cited = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    text = README.format(
        draft="**Draft**, from shortened runs: its figures mean nothing. " * results.draft,
        rule=results.rule,
        files=table(["", "what it is"], [(f"`{name}`", what) for name, what in FILES.items()]),
        columns=columns_table(tables),
        predictions=table(
            ["array", "what it holds"], [(f"`{name}`", what) for name, what in PREDICTIONS.items()]
        ),
        pandas=code("python", PANDAS.format(**names)),
        r=code("r", R.format(**names)),
        arrays=code("python", ARRAYS.format(run=first.name, **names)),
        citation=citation(cited),
        references="\n".join(
            f"- {reference['scope']}: {citation(reference)}" for reference in cited["references"]
        ),
    )
    return text.lstrip()


def columns_table(tables: Mapping[str, pd.DataFrame]) -> str:
    """One row a column: its name, unit, meaning, and the tables, else figures, that have it."""
    holders: dict[str, list[str]] = {}
    for path, frame in tables.items():
        for column in frame:
            holders.setdefault(column, []).append(path.rpartition("/")[2].removesuffix(".csv"))
    for column in COLUMNS:
        holders.setdefault(column, ["figures"])
    rows = [
        (f"`{column}`", describe(column).unit, describe(column).meaning, ", ".join(files))
        for column, files in holders.items()
    ]
    return table(["column", "unit", "meaning", "in"], rows)


def citation(entry: Mapping[str, Any]) -> str:
    """One line for a work as `CITATION.cff` describes it."""
    people = [
        author.get("name") or f"{author['given-names']} {author['family-names']}"
        for author in entry["authors"]
    ]
    year = f" ({entry['year']})" if "year" in entry else ""
    details = [
        f"*{entry['title']}*",
        entry.get("institution", {}).get("name"),
        f"Version {entry['version']}" if "version" in entry else None,
        *(identifier["value"] for identifier in entry.get("identifiers", [])),
    ]
    return f"{', '.join(people)}{year}. {'. '.join(filter(None, details))}."
