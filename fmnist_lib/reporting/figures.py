"""Tables become figures: every function takes DataFrames of `analysis` and returns a Figure.

Figures over epochs come from `curves` and are found here too. Not here: computing what is shown
(`analysis`), colours, fonts and files (`style`), where labels go (`labels`), captions. Accuracies
are in percent, losses are means per image.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure

from fmnist_lib.reporting.curves import (
    accuracy_curves,
    learning_curves,
    loss_curves,
    time_per_epoch,
)
from fmnist_lib.reporting.labels import along, place_labels
from fmnist_lib.reporting.style import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    PAPER_MARK,
    QUIET,
    SMALL,
    WIDTH,
    blank,
    ink_on,
    legend_above,
    log_axis,
    mark,
    ordered,
    sample,
    styled,
    text_colour,
)
from fmnist_lib.reporting.words import name_of

__all__ = [
    "accuracy_against",
    "accuracy_curves",
    "against_paper",
    "confused_images",
    "confusion_heatmap",
    "learning_curves",
    "loss_curves",
    "per_class_scores",
    "time_per_epoch",
]

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


# Classes

_SHARES = (0, 1, 2, 5, 10, 20, 40, 60, 80, 90, 100)  # percent; finer where the errors are
_BLUES = LinearSegmentedColormap.from_list("blues", ["#f4f8fc", "#9cc4e4", "#2f77b4", "#08264d"])


@styled
def confusion_heatmap(confusion: pd.DataFrame) -> Figure:
    """How the images of each true class (row) were classified: percent of the row, and counts.

    `confusion` holds counts, true classes in its index and predicted ones in its columns.
    """
    counts = confusion.to_numpy()
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = blank(5.4)
    axes = figure.subplots()
    norm = BoundaryNorm(_SHARES, _BLUES.N)
    cells = axes.pcolormesh(
        np.ma.masked_equal(shares, 0), cmap=_BLUES, norm=norm, edgecolors="white", linewidth=1
    )
    for (row, column), count in np.ndenumerate(counts):
        if count:
            share = shares[row, column]
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{share:.1f}\n{count:,}",
                ha="center",
                va="center",
                color=ink_on(_BLUES(norm(share))),
                linespacing=1.05,
            )
    middles = np.arange(len(counts)) + 0.5
    axes.set(xticks=middles, yticks=middles, xlabel="Predicted class", ylabel="True class")
    axes.set_xticklabels(confusion.columns, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticklabels(confusion.index)
    axes.invert_yaxis()
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(cells, ax=axes, ticks=_SHARES, aspect=30, pad=0.02)
    bar.set_label("Share of the true class (%)")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return figure


_SCORES = {  # marker and colour of each score
    "recall": ("o", "#0072b2"),
    "precision": ("D", "#d55e00"),
    "f1": ("|", INK),
    "specificity": ("^", "#767676"),
}


@styled
def per_class_scores(per_class: pd.DataFrame) -> Figure:
    """Precision, recall, specificity and F1 of each class, the best F1 on top."""
    rows = per_class.sort_values("f1", kind="stable").reset_index(drop=True)
    figure = blank(3.6)
    axes = figure.subplots()
    axes.hlines(
        rows.index,
        rows[["precision", "recall"]].min(axis=1),
        rows[["precision", "recall"]].max(axis=1),
        color=FAINT,
        linewidth=2,
        zorder=1,
    )
    for score, (marker, colour) in _SCORES.items():
        axes.plot(
            rows[score],
            rows.index,
            marker=marker,
            color=colour,
            markersize=11 if marker == "|" else 6,
            markeredgewidth=1.6 if marker == "|" else 0,
            linestyle="none",
            label={"f1": "F1"}.get(score, score),
            gid=score,
        )
    axes.set_yticks(rows.index, rows["class"])
    axes.set(xlabel="Score (%)", ylim=(-0.6, len(rows) - 0.4))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=len(_SCORES))
    return figure


@styled
def confused_images(
    images: np.ndarray,
    true: Sequence[str],
    predicted: Sequence[str],
    probabilities: Sequence[float] | None = None,
    *,
    columns: int = 6,
) -> Figure:
    """Images (n, 28, 28), dark on white, with their true class and what they were taken for.

    `probabilities` (0 to 1) are those of the predicted class.
    """
    pixels = np.asarray(images).reshape(-1, *np.shape(images)[-2:])
    captions = [f"{one}\n→ {other}" for one, other in zip(true, predicted, strict=True)]
    if probabilities is not None:
        shares = [f"{100 * probability:.0f} %" for probability in probabilities]
        captions = [f"{text}\nat {share}" for text, share in zip(captions, shares, strict=True)]
    lines = 2 if probabilities is None else 3
    pitch = np.array([WIDTH / columns, WIDTH / columns + (1.2 * lines * SMALL + 6) / 72])  # inches
    rows = max(1, -(-len(pixels) // columns))
    figure = Figure(figsize=(WIDTH, rows * pitch[1]))
    cell = pitch / figure.get_size_inches()
    side = 0.92 * WIDTH / columns / figure.get_size_inches()
    for place, (image, caption) in enumerate(zip(pixels, captions, strict=True)):
        corner = cell * (place % columns + 0.04, rows - place // columns) - (0, 1.04 * side[1])
        axes = figure.add_axes((*corner, *side))
        # Enlarged here, since a viewer may smooth what it enlarges itself.
        axes.imshow(
            np.kron(image, np.ones((8, 8))),
            cmap="Greys",
            vmin=pixels.min(),
            vmax=pixels.max(),
            interpolation="none",
        )
        axes.set_xlabel(caption)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color(GRID)
    return figure


# Models against each other


@styled
def accuracy_against(
    summary: pd.DataFrame, column: str, *, pareto: Sequence[str] = (), label: str = ""
) -> Figure:
    """Test accuracy with its 95 % interval against a cost on a logarithmic axis.

    `summary` has one row a model (index). `pareto` names the models of the front, which is drawn
    as the best accuracy to be had up to each cost; `label` is the cost's axis title where
    `AXIS_TITLES` has none.
    """
    rows = summary.dropna(subset=[column, "test_accuracy"])
    rows = rows.loc[ordered(rows.index)]
    figure = blank(3.8)
    axes = figure.subplots()
    log_axis(axes, "x", rows[column], room=0.2)
    for model, row in rows.iterrows():
        _draw_interval(axes, model, row, (row[column], row.test_accuracy), "yerr")
    handles = {"95 % interval": sample(**_INTERVAL_SAMPLE, marker="|", markersize=12)}
    drawn = [
        [(row[column], height) for height in np.linspace(*row[list(_INTERVAL)], 25)]
        for _, row in rows.iterrows()
    ]
    if len(pareto):
        front = _steps(rows.loc[list(pareto), [column, "test_accuracy"]].to_numpy())
        axes.plot(*front.T, **_FRONT, gid="pareto")
        drawn.append(along(front, steps=40))
        handles["Pareto front: the best accuracy up to each cost"] = sample(**_FRONT)
    axes.set(
        xlabel=f"{label or AXIS_TITLES[column]}, log scale", ylabel=AXIS_TITLES["test_accuracy"]
    )
    legend_above(figure, handles)
    place_labels(
        axes,
        rows[[column, "test_accuracy"]].to_numpy(),
        [name_of(model) for model in rows.index],
        [text_colour(model) for model in rows.index],
        clear=np.concatenate(drawn),
    )
    return figure


@styled
def against_paper(table1: pd.DataFrame, reported_table1: pd.DataFrame) -> Figure:
    """Test accuracy of each model: ours with its 95 % interval, the paper's, and the difference."""
    ours = table1.set_index("model")
    ours = ours.loc[ordered(ours.index)]
    theirs = reported_table1.set_index("model").test_accuracy
    figure = blank(1.2 + 0.42 * len(ours))
    axes = figure.subplots()
    beside = {"textcoords": "offset points", "annotation_clip": False}
    for place, (model, row) in enumerate(ours.iterrows()):
        if model in theirs:
            axes.plot([theirs[model], row.test_accuracy], [place, place], color=FAINT, linewidth=4)
            axes.plot([theirs[model]], [place], **PAPER_MARK, gid=f"paper-{model}")
            difference = f"{row.test_accuracy - theirs[model]:+.2f}".replace("-", "−")
            at = {"xycoords": ("axes fraction", "data"), "va": "center", "ha": "right"}
            axes.annotate(difference, (1, place), xytext=(52, 0), **at, **beside)
        _draw_interval(axes, model, row, (row.test_accuracy, place), "xerr")
    heading = {"xycoords": "axes fraction", "va": "bottom", "ha": "right", "color": QUIET}
    axes.annotate("difference\n(points)", (1, 1), xytext=(52, 2), **heading, **beside)
    axes.set_yticks(range(len(ours)), map(name_of, ours.index))
    for tick, model in zip(axes.get_yticklabels(), ours.index, strict=True):
        tick.set_color(text_colour(model))
    axes.set(xlabel=AXIS_TITLES["test_accuracy"], ylim=(len(ours) - 0.5, -0.5))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    interval = sample(**_INTERVAL_SAMPLE, marker="_", markersize=22)
    marks = tuple(sample(**mark(model)) for model in ours.index[:3])
    legend_above(
        figure, {"here": marks, "95 % interval": interval, "the paper": sample(**PAPER_MARK)}
    )
    return figure


_INTERVAL = ("test_accuracy_low", "test_accuracy_high")
_INTERVAL_SAMPLE = {"color": QUIET, "linestyle": "none", "markeredgewidth": 1.2}
_FRONT = {"color": "#8c8c8c", "linewidth": 1, "dashes": (4, 2), "zorder": 1}


def _draw_interval(
    axes: Axes, model: str, row: pd.Series, at: tuple[float, float], which: str
) -> None:
    """A model's accuracy as its marker, and the interval as a line along x or y (`which`)."""
    low, high = (abs(row.test_accuracy - row[bound]) for bound in _INTERVAL)
    look = mark(model, scale=1.3)
    arms = {which: [[low], [high]], "ecolor": COLOURS[model], "elinewidth": 1.2}
    axes.errorbar([at[0]], [at[1]], **arms, **look)


def _steps(points: np.ndarray) -> np.ndarray:
    """The corners of a staircase through points (n, 2), level from each to the next's place."""
    points = points[np.argsort(points[:, 0], kind="stable")]
    across, up = points.repeat(2, axis=0).T
    return np.column_stack([across[1:], up[:-1]])
