"""Figures of one number a model, with its 95 % interval, from frames of `analysis` and `patience`.

Not here: other figures (`figures`). The single runs of a model with several stand as short strokes
on the line of the interval.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_lib.reporting.labels import along, place_labels
from fmnist_lib.reporting.style import (
    COLOURS,
    FAINT,
    PAPER_MARK,
    QUIET,
    belongs,
    blank,
    legend_above,
    log_axis,
    mark,
    ordered,
    sample,
    styled,
    text_colour,
)
from fmnist_lib.reporting.words import name_of

# What a column measures, as an axis says it.
AXIS_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "test_accuracy": "Test accuracy (%)",
        "parameters": "Trainable parameters",
        "macs": "Multiply-accumulates per image",
        "checkpoint_bytes": "Size of the weights on disk (bytes)",
        "train_seconds": "Training time per epoch (s)",
        "total_train_seconds": "Training time in total (s)",
        "inference_ms": "Inference time for the test images (ms)",
        "latency_ms_median": "Inference time for one image (ms)",
    }
)


@styled
def accuracy_against(
    summary: pd.DataFrame,
    column: str,
    *,
    pareto: Sequence[str] = (),
    label: str = "",
    runs: pd.DataFrame | None = None,
) -> Figure:
    """Test accuracy with its 95 % interval against a cost on a logarithmic axis.

    `summary` has one row a model (index), `runs` one a run. `pareto` names the models of the front,
    which is drawn as the best accuracy to be had up to each cost; `label` is the cost's axis title
    where `AXIS_TITLES` has none.
    """
    rows = summary.dropna(subset=[column, "test_accuracy"])
    rows = rows.loc[ordered(rows.index)]
    figure = blank(3.5)
    axes = figure.subplots()
    log_axis(axes, "x", rows[column], room=0.2)
    single = _by_model(runs, "test_accuracy")
    drawn = []
    for model, row in rows.iterrows():
        low, high = row[list(_INTERVAL)]
        at = {"xy": (row[column], row.test_accuracy), "low": low, "high": high}
        _draw_interval(axes, model, **at, runs=single.get(model, ()))
        drawn.append([(row[column], height) for height in np.linspace(low, high, 25)])
    handles = {"95 % interval": sample(**_STROKE, marker="|", markersize=12)}
    if single:
        handles["single runs"] = sample(**_STROKE, marker="_", markersize=_RUN)
    if len(pareto):
        front = _steps(rows.loc[list(pareto), [column, "test_accuracy"]].to_numpy())
        axes.plot(*front.T, **_FRONT, label="_pareto")
        drawn.append(along(front, steps=40))
        handles["Pareto front: the best accuracy up to each cost"] = sample(**_FRONT)
    axes.set(
        xlabel=f"{label or AXIS_TITLES[column]}, log scale", ylabel=AXIS_TITLES["test_accuracy"]
    )
    legend_above(figure, handles)
    points = rows[[column, "test_accuracy"]].to_numpy()
    place_labels(axes, points, list(rows.index), clear=np.concatenate(drawn))
    return figure


@styled
def against_paper(
    table1: pd.DataFrame, reported_table1: pd.DataFrame, runs: pd.DataFrame | None = None
) -> Figure:
    """Test accuracy of each model: ours with its 95 % interval, the paper's, and the difference.

    `runs` has one row a run.
    """
    ours = table1.set_index("model")
    ours = ours.loc[ordered(ours.index)]
    theirs = reported_table1.set_index("model").test_accuracy
    single = _by_model(runs, "test_accuracy")
    figure = blank(1.2 + 0.42 * len(ours))
    axes = figure.subplots()
    beside = {"textcoords": "offset points", "annotation_clip": False}
    for place, (model, row) in enumerate(ours.iterrows()):
        if model in theirs:
            pair = [theirs[model], row.test_accuracy]
            belongs(model, *axes.plot(pair, [place, place], color=FAINT, linewidth=4))
            paper = axes.plot([theirs[model]], [place], **PAPER_MARK, label=f"_paper-{model}")
            difference = f"{row.test_accuracy - theirs[model]:+.2f}".replace("-", "−")
            at = {"xycoords": ("axes fraction", "data"), "va": "center", "ha": "right"}
            note = axes.annotate(difference, (1, place), xytext=(52, 0), **at, **beside)
            belongs(model, *paper, note)
        low, high = row[list(_INTERVAL)]
        at = {"xy": (row.test_accuracy, place), "low": low, "high": high}
        _draw_interval(axes, model, **at, runs=single.get(model, ()), level=True)
    heading = {"xycoords": "axes fraction", "va": "bottom", "ha": "right", "color": QUIET}
    axes.annotate("difference\n(points)", (1, 1), xytext=(52, 2), **heading, **beside)
    _name_rows(axes, ours.index)
    axes.set_xlabel(AXIS_TITLES["test_accuracy"])
    handles: dict[str, object] = {
        "here": tuple(sample(**mark(model)) for model in ours.index[:3]),
        "95 % interval": sample(**_STROKE, marker="_", markersize=22),
    }
    if single:
        handles["single runs"] = sample(**_STROKE, marker="|", markersize=_RUN)
    joined = {"from the paper's to ours": sample(color=FAINT, linewidth=4)}
    legend_above(figure, handles | {"the paper": sample(**PAPER_MARK)} | joined)
    return figure


@styled
def patience_gains(table: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """What a longer patience costs and adds: epochs trained at both, and the gain in accuracy.

    `table` and `runs` as from `patience.table` and `patience.gain_of_each`.
    """
    rows = table.set_index("model")
    rows = rows.loc[ordered(rows.index)]
    single = _by_model(runs, "gain")
    figure = blank(1.1 + 0.36 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    right.axvline(0, color=QUIET, linewidth=0.8)
    for place, (model, row) in enumerate(rows.iterrows()):
        ends = [row.epochs, row.epochs_long]
        line = left.plot(ends, [place, place], color=COLOURS[model], linewidth=1.2)
        start = left.plot(ends[:1], [place], **_open(model))
        belongs(model, *line, *start, *left.plot(ends[1:], [place], **mark(model)))
        at = {"xy": (row.gain, place), "low": row.gain_low, "high": row.gain_high}
        _draw_interval(right, model, **at, runs=single.get(model, ()), level=True)
    _name_rows(left, rows.index)
    right.grid(axis="y", visible=False)
    right.tick_params(axis="y", length=0)
    left.set(xlabel="Epochs trained, mean of the runs", xlim=(0, None))
    right.set_xlabel("Gain in test accuracy (points)")
    handles: dict[str, object] = {
        "shorter patience": sample(**_open("lenet5")),
        "longer": sample(**mark("lenet5")),
        "95 % interval": sample(**_STROKE, marker="_", markersize=22),
    }
    if single:
        handles["single runs"] = sample(**_STROKE, marker="|", markersize=_RUN)
    legend_above(figure, handles)
    return figure


_INTERVAL = ("test_accuracy_low", "test_accuracy_high")
_STROKE = {"color": QUIET, "linestyle": "none", "markeredgewidth": 1.2}
_RUN = 7  # points, length of the stroke of a single run
_FRONT = {"color": "#8c8c8c", "linewidth": 1, "dashes": (4, 2), "zorder": 1}


def _open(model: str) -> dict[str, Any]:
    """The marker of a model, hollow."""
    hollow = {"markerfacecolor": "white", "markeredgecolor": COLOURS[model]}
    return mark(model) | hollow | {"markeredgewidth": 1.2}


def _by_model(runs: pd.DataFrame | None, column: str) -> dict[str, pd.Series]:
    """A column of the runs of each model that has several."""
    if runs is None:
        return {}
    values = dict(list(runs.groupby("model")[column]))
    return {model: own for model, own in values.items() if len(own) > 1}


def _draw_interval(
    axes: Axes,
    model: str,
    *,
    xy: tuple[float, float],
    low: float,
    high: float,
    runs: Sequence[float],
    level: bool = False,
) -> None:
    """A model's marker, its interval as a line, upright or level, and its runs as strokes on it."""
    x, y = xy
    centre = x if level else y
    arms = {"xerr" if level else "yerr": [[abs(centre - low)], [abs(high - centre)]]}
    look = {"ecolor": COLOURS[model], "elinewidth": 1.2, **mark(model, scale=1.3)}
    belongs(model, *axes.errorbar([x], [y], **arms, **look).get_children())
    if len(runs):
        places = (runs, [y] * len(runs)) if level else ([x] * len(runs), runs)
        stroke = _STROKE | {"color": COLOURS[model], "marker": "|" if level else "_"}
        strokes = axes.plot(*places, **stroke, markersize=_RUN, label=f"_runs-{model}")
        belongs(model, *strokes)


def _name_rows(axes: Axes, models: Sequence[str]) -> None:
    """One level row a model, the first on top, with its name at the left."""
    axes.set_yticks(range(len(models)), map(name_of, models))
    for label, model in zip(axes.get_yticklabels(), models, strict=True):
        label.set_color(text_colour(model))
        belongs(model, label)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _steps(points: np.ndarray) -> np.ndarray:
    """The corners of a staircase through points (n, 2), level from each to the next's place."""
    points = points[np.argsort(points[:, 0], kind="stable")]
    across, up = points.repeat(2, axis=0).T
    return np.column_stack([across[1:], up[:-1]])
