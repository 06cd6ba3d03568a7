"""The report's numbers, figures and models as files of their own, from what the notebooks show.

Not here: HTML and PDF (`render`), what the texts beside the files say (`readme`, `cards`).
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from fmnist_lib.reporting import analysis, figures, findings, patience, predictions, standing
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.cards import model_card
from fmnist_lib.reporting.folder import write, write_files
from fmnist_lib.reporting.paper import REPORTED, reported_table1
from fmnist_lib.reporting.readme import report_readme
from fmnist_lib.reporting.style import to_png, to_svg
from fmnist_lib.reporting.tidy import confusion_table, results_table, to_csv
from fmnist_lib.runs.record import Arrays, encode_arrays

MODELS_FOLDER = "models"
WEIGHTS = "weights.safetensors"


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """The report's tables by the path of their CSV file."""
    return {
        "results.csv": results_table(results),
        "tables/table1.csv": analysis.table1(results),
        "tables/table2.csv": analysis.table2(results),
        "tables/confusion.csv": confusion_table(results),
    }


def write_tables(results: Results, folder: Path) -> None:
    """Write `results.csv` and the tables into a report's folder."""
    for path, table in tables(results).items():
        write(folder, path, to_csv(table))


# --- figures ---


class Shown(NamedTuple):
    """A figure of the report and the numbers it shows."""

    name: str  # as in the notebook and, behind `fig-`, in the page
    figure: Figure
    data: pd.DataFrame


def write_figures(results: Results, folder: Path) -> None:
    """Write every figure of the report as SVG, as PNG and, what it shows, as CSV; no others."""
    write_files(folder, "figures", figure_files(results))


def figure_files(results: Results) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of every figure."""
    for shown in report_figures(results):
        yield f"{shown.name}.svg", to_svg(shown.figure)
        yield f"{shown.name}.png", to_png(shown.figure)
        yield f"{shown.name}.csv", to_csv(shown.data)


def report_figures(results: Results) -> Iterator[Shown]:
    """The figures of the report, in its order, each drawn when it is asked for."""
    yield from comparison_figures(results)
    for model in results.models:
        yield from model_figures(results, model)


def comparison_figures(results: Results) -> Iterator[Shown]:
    """The figures of the comparison."""
    histories, summary = analysis.histories(results), analysis.summary(results)
    table1, table2 = analysis.table1(results), analysis.table2(results)
    runs = analysis.run_table(results)
    epochs = ["model", "seed", "epoch"]
    accuracies = histories[[*epochs, "train_accuracy", "test_accuracy"]]
    losses = histories[[*epochs, "train_loss", "test_loss"]]
    seconds = histories[[*epochs, "train_seconds", "inference_ms"]]
    alone = table2[["model", *analysis.TIMES[:4]]]
    yield Shown("figure1", figures.accuracy_curves(histories), accuracies)
    timed = figures.time_per_epoch(histories, table2 if results.costs else None)
    yield Shown("figure2", timed, seconds.merge(alone, on="model"))
    yield Shown("figure3", figures.loss_curves(histories), losses)
    if len(waited := patience.table(results)):
        drawn = figures.patience_gains(waited, patience.gain_of_each(results))
        yield Shown("patience-gains", drawn, waited)
    scores = predictions.class_scores(results)
    f1 = scores.filter(items=["model", "class", "f1", "f1_std"])
    yield Shown("class-f1", figures.class_f1(scores), f1)
    interval = ["model", "test_accuracy", "test_accuracy_low", "test_accuracy_high"]
    reported = reported_table1()[["model", "test_accuracy"]]
    beside = table1[interval].merge(reported, on="model", suffixes=("", "_paper"))
    yield Shown("against-paper", figures.against_paper(table1, reported_table1(), runs), beside)
    for front in standing.fronts(results):
        drawn = figures.accuracy_against(summary, front.column, pareto=front.models, runs=runs)
        points = summary.reset_index()[[*interval, front.column]]
        points = points.rename(columns={"train_seconds": "train_seconds_mean"})
        points["pareto"] = points.model.isin(front.models)
        yield Shown(f"against-{front.column.replace('_', '-')}", drawn, points)


def model_figures(results: Results, model: str) -> Iterator[Shown]:
    """The figures of one model's notebook."""
    stem = {"baseline_cnn": "custom-cnn"}.get(model, model.replace("_", "-"))
    histories = analysis.histories(results)
    curves = figures.learning_curves(histories, model, REPORTED[model])
    yield Shown(f"{stem}-training", curves, histories[histories.model == model])
    counts = predictions.confusion(results, model)
    cells = counts.stack().rename("count").reset_index()
    yield Shown(f"{stem}-confusion", figures.confusion_heatmap(counts), cells)
    sure = findings.surest_mistakes(results, model)
    images = predictions.images_at(results, model, sure["index"])
    drawn = figures.confused_images(images, sure.true, sure.predicted, sure.probability)
    yield Shown(f"{stem}-examples", drawn, sure)


# --- models ---


def write_models(results: Results, weights: Mapping[str, Arrays], folder: Path) -> None:
    """Write each model's card and, where there are any, the weights of its first seed; no others.

    The first seed's, whatever its result: the best by test would promise too much.
    """
    write_files(folder, MODELS_FOLDER, model_files(results, weights))


def model_files(results: Results, weights: Mapping[str, Arrays]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of every model."""
    for model in results.models:
        digest = ""
        if model in weights:
            content = encode_arrays(weights[model])
            digest = hashlib.sha256(content).hexdigest()
            yield f"{model}/{WEIGHTS}", content
        yield f"{model}/README.md", model_card(results, model, digest).encode()


def write_readme(results: Results, folder: Path) -> None:
    """Write the text that says what is in a report's folder."""
    write(folder, "README.md", report_readme(results, tables(results)).encode())
