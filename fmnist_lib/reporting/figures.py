"""Tables become figures: every function takes DataFrames of `analysis` and returns a Figure.

Figures over epochs come from `curves`, those of one number a model from `ranges`; they are found
here too. Not here: computing what is shown (`analysis`), colours, fonts and files (`style`), where
labels go (`labels`), captions. Accuracies are in percent, losses are means per image.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from seaborn import heatmap

from fmnist_lib.reporting.curves import (
    accuracy_curves,
    learning_curves,
    loss_curves,
    time_per_epoch,
)
from fmnist_lib.reporting.ranges import accuracy_against, against_paper, patience_gains
from fmnist_lib.reporting.style import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    SMALL,
    WIDTH,
    belongs,
    blank,
    ink_on,
    legend_above,
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
    "class_f1",
    "confused_images",
    "confusion_heatmap",
    "learning_curves",
    "loss_curves",
    "patience_gains",
    "time_per_epoch",
]

# Classes

_SHARES = (0, 1, 2, 5, 10, 20, 40, 60, 80, 90, 100)  # percent; finer where the errors are
_BLUES = LinearSegmentedColormap.from_list("blues", ["#f4f8fc", "#9cc4e4", "#2f77b4", "#08264d"])


@styled
def confusion_heatmap(confusion: pd.DataFrame) -> Figure:
    """How the images of each true class (row) were classified: percent of the row, and counts.

    `confusion` holds counts, true classes in its index and predicted ones in its columns.
    """
    shares = 100 * confusion.div(confusion.sum(axis=1).clip(lower=1), axis=0)
    words = shares.map("{:.1f}".format) + "\n" + confusion.map("{:,}".format)
    figure = blank(5.4)
    axes = figure.subplots()
    heatmap(
        shares,
        ax=axes,
        cmap=_BLUES,
        norm=BoundaryNorm(_SHARES, _BLUES.N),
        mask=confusion == 0,
        linewidth=1,
        annot=words,
        fmt="",
        annot_kws={"size": SMALL, "linespacing": 1.05},
        cbar_kws={"ticks": _SHARES, "aspect": 30, "pad": 0.02},
    )
    axes.set(xlabel="Predicted class", ylabel="True class")
    axes.set_xticklabels(confusion.columns, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticklabels(confusion.index, rotation=0)
    axes.grid(False)
    axes.tick_params(length=0)
    cells = axes.collections[0]
    filled = cells.get_facecolors()[(confusion > 0).to_numpy().ravel()]
    for text, colour in zip(axes.texts, filled, strict=True):
        text.set_color(ink_on(colour))  # seaborn's white on a middle blue is hard to read
    bar = cells.colorbar
    bar.set_label("Share of the true class (%)")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return figure


@styled
def class_f1(scores: pd.DataFrame) -> Figure:
    """F1 of each class, one panel a model, the other models' faint behind; the hardest on top.

    `scores` has one row a model and class: model, class, f1 and, of several runs, f1_std.
    """
    f1 = scores.pivot(index="model", columns="class", values="f1").loc[ordered(scores.model)]
    f1 = f1[f1.mean().sort_values(kind="stable").index]
    across = min(3, len(f1))
    down = -(-len(f1) // across)
    figure = blank(0.5 + 2.5 * down)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    rows = np.arange(f1.shape[1])
    for axes, (model, own) in zip(grid, f1.iterrows(), strict=False):
        for other, values in f1.drop(model).iterrows():
            look = {"linestyle": "none", "marker": ".", "color": FAINT}
            belongs(other, *axes.plot(values, rows, **look))
        belongs(model, axes.set_title(name_of(model), color=text_colour(model)))
        belongs(model, *axes.plot(own, rows, **mark(model), label=f"_{model}-f1"))
        if "f1_std" in scores:
            reach = scores[scores.model == model].set_index("class").f1_std[f1.columns]
            bars = axes.hlines(rows, own - reach, own + reach, color=COLOURS[model], linewidth=1.2)
            belongs(model, bars)
        axes.set_yticks(rows, f1.columns)
        axes.tick_params(axis="y", length=0)
    for axes in grid[len(f1) :]:
        axes.set_visible(False)
    for axes in grid[len(f1) - across : len(f1)]:
        axes.set_xlabel("F1 (%)")
        axes.tick_params(labelbottom=True)
    grid[0].invert_yaxis()
    handles = {
        "the model of the panel": tuple(sample(**mark(model)) for model in f1.index[:3]),
        "the others": sample(linestyle="none", marker=".", color=FAINT),
    }
    if "f1_std" in scores:
        handles["± standard deviation over runs"] = sample(color=INK, linewidth=1.2)
    legend_above(figure, handles)
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
