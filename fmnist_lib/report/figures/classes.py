"""Classes and images: scores of each class, mistakes, how sure models are, images themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from seaborn import heatmap

from fmnist_lib.report.figures import style
from fmnist_lib.results.columns import heading

_LIGHT = LinearSegmentedColormap.from_list("light", ["#f2b183", "#fbe9dc", "#f4f8fc", "#9cc4e4"])
_ERRORS = LinearSegmentedColormap.from_list("errors", ["#fdf3ea", "#f0a868", "#b8500f", "#5a1f00"])
_CHANGES = LinearSegmentedColormap.from_list("changes", ["#f2b183", "#ffffff", "#9cc4e4"])
_STEPS = (0.1, 0.5, 1, 2, 5, 10, 20, 100)  # percent of a class's images; each about twice the last
_WRITTEN = 5  # percent from which on a mistake's share is written in its cell


@style.styled
def class_heat(scores: pd.DataFrame) -> Figure:
    """F1 of every model (row) and class (column, the hardest first).

    `scores` has one row a model and class: model, class, f1 in percent.
    """
    f1 = scores.pivot(index="model", columns="class", values="f1").astype(float)
    f1 = f1.loc[scores.model.unique(), f1.mean().sort_values(kind="stable").index]
    figure = style.blank(0.7 + 0.3 * len(f1))
    axes = figure.subplots()
    _draw_heat(axes, f1, cmap=_LIGHT, annot=True, fmt=".1f")
    axes.set_xlabel(f"{heading('f1')} of each class, the hardest first")
    return figure


@style.styled
def recall_changes(changes: pd.DataFrame) -> Figure:
    """What a variant changes in the recall of each class: a panel a variant, a row a model.

    `changes` has one row a variant, model and class: variant, model, class, change in points.
    """
    variants = changes.variant.unique()
    order = changes.groupby("class").change.apply(lambda own: own.astype(float).mean())
    figure = style.blank(0.7 + 2.1 * len(variants))
    panels = figure.subplots(len(variants), 1, sharex=True, squeeze=False).ravel()
    reach = max(1.0, changes.change.astype(float).abs().quantile(0.98))  # one outlier fades all
    for axes, variant in zip(panels, variants, strict=True):
        own = changes[changes.variant == variant]
        points = own.pivot(index="model", columns="class", values="change").astype(float)
        points = points.loc[own.model.unique(), order.sort_values(ascending=False).index]
        words = points.map(lambda change: style.signed(change, 1))
        _draw_heat(axes, points, cmap=_CHANGES, annot=words, fmt="", vmin=-reach, vmax=reach)
        axes.set_title(heading(variant))
    panels[-1].set_xlabel("Change in recall (points), the class that gains most first")
    return figure


def _draw_heat(axes: Axes, table: pd.DataFrame, **look: Any) -> None:  # noqa: ANN401
    """A table of models (rows) and classes as colours, with its numbers."""
    words = {"size": style.SMALL, "color": style.INK}
    heatmap(table, ax=axes, annot_kws=words, cbar=False, linewidth=1, **look)
    style.name_rows(axes, table.index, first=0.5)
    names = [name.replace("/", "/\n").replace(" ", "\n") for name in table.columns]
    axes.set_xticklabels(names, rotation=0)
    axes.set(xlabel="", ylabel="")
    axes.tick_params(length=0)


@style.styled
def confusion_multiples(counts: Mapping[str, pd.DataFrame]) -> Figure:
    """Mistakes of each model, in percent of the true class (row); the diagonal is left out.

    `counts` holds by model how many images of each class were taken for each (column).
    """
    figure, panels = style.small_multiples(list(counts), each=1.85, more=1.3)
    look = {"cmap": _ERRORS, "norm": BoundaryNorm(_STEPS, _ERRORS.N), "linewidth": 0.5}
    look |= {"square": True, "cbar": False, "fmt": "", "annot_kws": {"size": style.SMALL}}
    for axes, table in zip(panels, counts.values(), strict=True):
        shares = 100 * table.div(table.sum(axis=1).clip(lower=1), axis=0).astype(float)
        words = shares.map(lambda share: f"{share:.0f}" if share >= _WRITTEN else "")
        left_out = np.eye(len(table), dtype=bool) | (shares < _STEPS[0])
        heatmap(shares, ax=axes, mask=left_out, annot=words, **look)
        axes.set(xlabel="", ylabel="")
        axes.tick_params(length=0)
        axes.grid(visible=False)
    bar = figure.colorbar(panels[0].collections[0], ax=panels, ticks=_STEPS, format="%g", aspect=40)
    bar.set_label("Share of the true class (%)")
    figure.supxlabel("Taken for")
    figure.supylabel("True class")
    return figure


@style.styled
def reliability(bins: Mapping[str, pd.DataFrame]) -> Figure:
    """How often models are right when they are so sure, and how far that is from how sure they are.

    `bins` holds by model one row a bin: images, confidence and accuracy in percent. A bin with less
    than a five-hundredth of the images is left out: chance alone moves it by points.
    """
    looks = {
        name: style.symbol(name) | {"linestyle": (0, style.LOOKS[name].dashes)} for name in bins
    }
    figure = style.blank(3.6)
    for axes, less in zip(figure.subplots(1, 2), (0, 1), strict=True):
        axes.plot([10, 100], [10 * (1 - less), 100 * (1 - less)], color=style.QUIET, linewidth=0.8)
        for model, own in bins.items():
            own = own[500 * own.images >= own.images.sum()]
            axes.plot(own.confidence, own.accuracy - less * own.confidence, **looks[model])
        axes.set_xlabel(heading("confidence"))
        axes.set_ylabel("Right − mean probability (points)" if less else heading("accuracy"))
    names = {style.title_of(model): [look] for model, look in looks.items()}
    style.legend(figure, names, side="lower", handlelength=3)
    return figure


@style.styled
def images_grid(images: np.ndarray, captions: Sequence[str], columns: int = 6) -> Figure:
    """Images (n, 28, 28), dark on white, each with its caption of a line or more below."""
    captions = [caption.replace(" → ", "\n→ ") for caption in captions]  # else two would touch
    lines = 1 + max((caption.count("\n") for caption in captions), default=0)
    rows = max(1, -(-len(images) // columns))
    figure = style.blank(rows * (0.95 * style.WIDTH / columns + (13 * lines + 8) / 72))
    grid = [figure.add_subplot(rows, columns, place + 1) for place in range(len(images))]
    for axes, image, caption in zip(grid, images, captions, strict=True):
        pixels = np.kron(image, np.ones((4, 4)))  # a viewer may smooth what it enlarges itself
        look = {"cmap": "Greys", "interpolation": "none"}  # nor is anything smoothed here
        axes.imshow(pixels, **look, vmin=images.min(), vmax=images.max())
        axes.set(xlabel=caption, xticks=[], yticks=[], anchor="S")  # the layout counts on it
        axes.spines[:].set(visible=True, color=style.FAINT)
    return figure
