"""Our numbers beside the paper's: frames for `say.show_table`, each with the look it is shown in.

Not here: computing what is in them (`analysis`). A look is the keyword arguments `formats`,
`columns` and `best` of `show_table`. What is not known is NaN.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from fmnist_lib.reporting import analysis, patience
from fmnist_lib.reporting.analysis import METRICS, Results, row_of
from fmnist_lib.reporting.contradictions import contradictions
from fmnist_lib.reporting.paper import REPORTED
from fmnist_lib.reporting.words import name_of

Look = dict[str, dict[str, str]]
EPOCHS = ".3g"  # 16 for one run, 16.4 for the mean of several, see `_to_a_tenth`

# --- one model ---

RESULT: Look = {
    "formats": {
        **dict.fromkeys(("train_loss", "test_loss"), ".4f"),
        **dict.fromkeys(("best_epoch", "epochs"), EPOCHS),
    },
    "columns": {
        "source": "",
        "test_accuracy": "Test accuracy (%)",
        "test_accuracy_interval": "95 % interval",
        "train_accuracy": "Train accuracy (%)",
        "test_loss": "Test loss",
        "train_loss": "Train loss",
        "best_epoch": "Best epoch",
        "epochs": "Epochs",
    },
}


def result(results: Results, model: str) -> pd.DataFrame:
    """One model's row of Table 1, the paper's, and the difference; columns as in `RESULT`."""
    ours = row_of(analysis.table1(results), model)._asdict()
    lengths = row_of(analysis.table2(results), model)._asdict()
    ours |= {name: lengths[name] for name in ("epochs", "epochs_std") if name in lengths}
    measured = (*METRICS, "epochs")
    paper = {column: getattr(REPORTED[model], column) for column in measured}
    difference = {column: ours[column] - paper[column] for column in measured}
    sources = {"here": ours, "paper": paper, "here − paper": difference}
    rows = pd.DataFrame([{"source": source, **row} for source, row in sources.items()])
    return _to_a_tenth(rows)[_with_parts(RESULT, rows)]


def _to_a_tenth(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with epochs, their means and spreads rounded to tenths."""
    return rows.round({column: 1 for column in rows if "epoch" in column})


def _with_parts(look: Look, rows: pd.DataFrame) -> list[str]:
    """The columns of a look, those that `show_table` makes of several replaced by these."""
    columns: list[str] = []
    for column in look["columns"]:
        stem = column.removesuffix("_interval")
        columns += [column] if stem == column else [f"{stem}_low", f"{stem}_high"]
    return columns + [f"{column}_std" for column in columns if f"{column}_std" in rows]


RUNS: Look = {
    "formats": dict.fromkeys(("train_loss", "test_loss"), ".4f"),
    "columns": {
        "name": "Run",
        "test_accuracy": "Test accuracy (%)",
        "train_accuracy": "Train accuracy (%)",
        "train_accuracy_eval": "… evaluated again (%)",
        "test_loss": "Test loss",
        "train_loss": "Train loss",
        "best_epoch": "Best epoch",
        "epochs": "Epochs",
    },
}


def runs(results: Results, model: str) -> pd.DataFrame:
    """One row a run of a model; columns as in `RUNS`."""
    rows = analysis.run_table(results)
    return rows.loc[rows.model == model, list(RUNS["columns"])].reset_index(drop=True)


TIMES: Look = {
    "formats": {
        **dict.fromkeys(("train_seconds", "train_seconds_in_runs"), ".2f"),
        **dict.fromkeys(("total_train_seconds", "inference_ms"), ",.0f"),
    },
    "columns": {
        "source": "",
        "train_seconds": "Training an epoch (s)",
        "train_seconds_in_runs": "… in the runs (s)",
        "total_train_seconds": "Training in total (s)",
        "inference_ms": "Testing once (ms)",
        "latency_ms_median": "One image, median (ms)",
        "latency_ms_p90": "… 90th percentile (ms)",
    },
}


def times(results: Results, model: str) -> pd.DataFrame:
    """How long one model takes, here and in the paper; columns as in `TIMES`.

    The paper's spreads are over the epochs of a run, ours over timed blocks.
    """
    table = analysis.table2(results).rename(columns=_without_mean)
    rows = {"here": row_of(table, model)._asdict(), "paper": _paper_times(model)}
    frame = pd.DataFrame([{"source": source, **row} for source, row in rows.items()])
    return frame[_with_parts(TIMES, frame)]


def _without_mean(column: str) -> str:
    return column.removesuffix("_mean")


def _paper_times(model: str) -> dict[str, float]:
    row = REPORTED[model]
    return {
        "train_seconds": row.train_seconds.mean,
        "train_seconds_std": row.train_seconds.std,
        "inference_ms": row.inference_ms.mean,
        "inference_ms_std": row.inference_ms.std,
        "total_train_seconds": row.total_train_seconds,
        "train_us_per_parameter": row.train_time_per_parameter,
        "epochs": row.epochs,
    }


PAIRS: Look = {
    "formats": {"share": ".1f"},
    "columns": {
        "true": "True class",
        "predicted": "Taken for",
        "count": "Times",
        "share": "Share of the true class (%)",
    },
}

CLASSES: Look = {
    "formats": dict.fromkeys(("precision", "recall", "specificity", "f1"), ".1f"),
    "columns": {
        "class": "Class",
        "precision": "Precision (%)",
        "recall": "Recall (%)",
        "specificity": "Specificity (%)",
        "f1": "F1 (%)",
        "support": "Images",
    },
}

LAYERS: Look = {
    "columns": {
        "name": "Layer",
        "type": "Type",
        "output_shape": "Output",
        "parameters": "Parameters",
    }
}


def originals_table(rows: list[dict[str, str]]) -> pd.DataFrame:
    """Rows of `models.describe.compare_with_original`, headed by the names of the two models."""
    return pd.DataFrame(rows[1:]).rename(columns=rows[0] | {"feature": "Feature"})


def layers_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of `models.describe.layers` with their shapes in words: `6 × 14 × 14`."""
    table = pd.DataFrame(rows)
    shapes = [" × ".join(map(str, shape)) for shape in table.output_shape]
    return table.assign(output_shape=shapes)


# --- the models together ---

TABLE1: Look = {
    "formats": {
        **dict.fromkeys(("best_epoch", "best_epoch_paper"), EPOCHS),
        "difference": "+.2f",
    },
    "columns": {
        "title": "Model",
        "parameters": "Parameters",
        "n": "Runs",
        "test_accuracy": "Test accuracy (%)",
        "test_accuracy_interval": "95 % interval",
        "test_accuracy_paper": "paper",
        "difference": "difference",
        "train_accuracy": "Train accuracy (%)",
        "train_accuracy_paper": "paper",
        "best_epoch": "Best epoch",
        "best_epoch_paper": "paper",
    },
    "best": dict.fromkeys(("test_accuracy", "test_accuracy_paper"), "max"),
}


def table1(results: Results) -> pd.DataFrame:
    """The accuracies of Table 1, one row a model, with the paper's beside; columns as in `TABLE1`.

    `difference` is our test accuracy minus the paper's, in points.
    """
    rows = _with_paper(analysis.table1(results), METRICS)
    rows["difference"] = rows.test_accuracy - rows.test_accuracy_paper
    return _to_a_tenth(rows)[_with_parts(TABLE1, rows)]


def _with_paper(rows: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """The rows with each model's name as `title` and the paper's figures as `<metric>_paper`."""
    paper = {
        f"{metric}_paper": [getattr(REPORTED[model], metric) for model in rows.model]
        for metric in metrics
    }
    return rows.assign(title=rows.model.map(name_of), **paper)


TABLE2: Look = {
    "formats": {
        **dict.fromkeys(("train_seconds", "train_seconds_paper"), ".2f"),
        "times_ours": ".1f",
        **dict.fromkeys(("epochs", "epochs_paper"), EPOCHS),
        **{
            f"{column}{whose}": ",.0f"
            for column in ("inference_ms", "total_train_seconds", "train_us_per_parameter")
            for whose in ("", "_paper")
        },
    },
    "columns": {
        "title": "Model",
        "train_seconds": "Training an epoch (s)",
        "train_seconds_paper": "paper",
        "times_ours": "paper / here",
        "inference_ms": "Testing once (ms)",
        "inference_ms_paper": "paper",
        "epochs": "Epochs",
        "epochs_paper": "paper",
        "total_train_seconds": "Total (s)",
        "total_train_seconds_paper": "paper",
        "train_us_per_parameter": "µs per parameter",
        "train_us_per_parameter_paper": "paper",
    },
    "best": dict.fromkeys(
        ("train_seconds", "train_seconds_paper", "inference_ms", "inference_ms_paper"), "min"
    ),
}


def table2(results: Results) -> pd.DataFrame:
    """Table 2, one row a model: every measure with the paper's beside it, columns as in `TABLE2`.

    `times_ours` is the paper's time of an epoch over ours.
    """
    rows = analysis.table2(results).rename(columns=_without_mean)
    for model, place in zip(rows.model, rows.index, strict=True):
        for column, value in _paper_times(model).items():
            stem = column.removesuffix("_std")
            rows.loc[place, column.replace(stem, f"{stem}_paper")] = value
    rows["title"] = rows.model.map(name_of)
    rows["times_ours"] = rows.train_seconds_paper / rows.train_seconds
    return _to_a_tenth(rows)[_with_parts(TABLE2, rows)]


LOSSES: Look = {
    "formats": {
        f"{loss}_loss{whose}": ".4f" for loss in ("test", "train") for whose in ("", "_paper")
    },
    "columns": {
        "title": "Model",
        "test_loss": "Test loss",
        "test_loss_paper": "paper",
        "train_loss": "Train loss",
        "train_loss_paper": "paper",
        "running": "Accuracy gap, running",
        "running_paper": "paper",
        "evaluated": "… evaluated again",
    },
    "best": {
        **dict.fromkeys(("test_loss", "test_loss_paper"), "min"),
        **dict.fromkeys(("running", "running_paper", "evaluated"), "max"),
    },
}


def losses(results: Results) -> pd.DataFrame:
    """The losses of Table 1 and the gaps, one row a model; columns as in `LOSSES`.

    A gap is train minus test accuracy at the best epoch, in points.
    """
    rows = _with_paper(analysis.table1(results), METRICS)
    runs = analysis.run_table(results)
    for gap, train in {"running": "train_accuracy", "evaluated": "train_accuracy_eval"}.items():
        by_model = (runs[train] - runs.test_accuracy).groupby(runs.model)
        means = runs.groupby("model")[[train, "test_accuracy"]].mean()
        rows[gap] = rows.model.map(
            means[train] - means.test_accuracy
        )  # as in sentences, to the bit
        if "test_loss_std" in rows:
            rows[f"{gap}_std"] = rows.model.map(by_model.std(ddof=1))
    rows["running_paper"] = [REPORTED[model].accuracy_gap for model in rows.model]
    return rows[_with_parts(LOSSES, rows)]


PATIENCE: Look = {
    "formats": {
        **{f"best_epoch{patience}": EPOCHS for patience in ("", "_long")},
        **{f"test_loss{patience}": ".4f" for patience in ("", "_long")},
        "gain": "+.2f",
    },
    "columns": {
        "title": "Model",
        "n": "Runs",
        "later": "… with a later best epoch",
        "best_epoch": "Best epoch",
        "best_epoch_long": "longer",
        "test_loss": "Test loss",
        "test_loss_long": "longer",
        "test_accuracy": "Test accuracy (%)",
        "test_accuracy_long": "longer",
        "gain": "gain",
        "gain_interval": "95 % interval",
    },
}


def patience_table(results: Results) -> pd.DataFrame:
    """What was kept at the two patiences, one row a model; columns as in `PATIENCE`.

    Without records of a longer patience there are no rows.
    """
    rows = patience.table(results)
    if rows.empty:
        return rows
    rows["title"] = rows.model.map(name_of)
    return _to_a_tenth(rows)[_with_parts(PATIENCE, rows)]


CLAIMS: Look = {
    "columns": {
        "id": "",
        "claim": "Claim",
        "in_paper": "By its tables",
        "outcome": "By our runs",
        "evidence": "What we measured",
    }
}


def claims_table(judged: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of `judge_claims`, with the place in the paper behind each claim."""
    places = judged["where"].map(lambda where: f" ({where[0].lower()}{where[1:]})")
    return judged.assign(claim=judged.claim + places)[list(CLAIMS["columns"])]


CONTRADICTIONS: Look = {
    "columns": {
        "title": "About",
        "says": "What the paper says",
        "arithmetic": "What its numbers give",
        "where": "Where",
    }
}


def contradictions_table() -> pd.DataFrame:
    """One row a contradiction within the paper: title, says, arithmetic, where."""
    return pd.DataFrame(contradictions())
