"""Models against each other and against the paper, from `results.tables.models_frame`."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_lib.report.figures import style
from fmnist_lib.results.columns import heading

COSTS = ["parameters", "macs", "train_seconds"]
_ASIDE = 0.035  # of an axis: how far right the paper's point is where its cost is the same as ours
_FRONT = {"color": "#808080", "linewidth": 1, "label": "_front"}
_FRONTS = {"our Pareto front": (5, 2), "the paper's Pareto front": (1, 1.5)}  # dashes
_OTHER = {"linestyle": "none", "marker": "o", "markersize": 4, "color": style.QUIET}
_BESIDE = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "color": style.QUIET}
_RUN = {"linestyle": "none", "marker": "|", "markersize": 6, "markeredgewidth": 1}


@style.styled
def overview(models: pd.DataFrame) -> Figure:
    """Test accuracy against MACs, ours and the paper's: the report's first picture."""
    figure = style.blank(3.4, width=4.6)
    axes = figure.subplots()
    _draw_points(axes, models, "macs")
    axes.set_xlim(right=1.6 * axes.get_xlim()[1])  # room for a name
    axes.set(xlabel=f"{heading('macs')} per image, log scale", ylabel=heading("test_accuracy"))
    style.legend(figure, _both(models))
    _name_points(axes, models)
    return figure


@style.styled
def pareto(models: pd.DataFrame) -> Figure:
    """Test accuracy against three costs, with the best that is to be had up to each cost."""
    figure = style.blank(3.4)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for axes, cost in zip(panels, COSTS, strict=True):
        both = _draw_points(axes, models, cost)
        for points, dashes in zip(both, _FRONTS.values(), strict=True):
            points = points[np.lexsort((-points[:, 1], points[:, 0]))]
            before = np.append(-np.inf, np.fmax.accumulate(points[:-1, 1]))
            front = points[points[:, 1] > before].T
            axes.plot(*front, **_FRONT, dashes=dashes, drawstyle="steps-post")
        axes.set_xlabel(heading(cost))
    panels[0].set_ylabel(heading("test_accuracy"))
    fronts = {words: [_FRONT | {"dashes": dashes}] for words, dashes in _FRONTS.items()}
    style.legend(figure, _both(models) | fronts, ncols=4)
    names = {style.title_of(model): [style.symbol(model)] for model in models.index}
    style.legend(figure, names, side="lower", ncols=6, handlelength=1)
    return figure


def _both(models: pd.DataFrame) -> style.Explained:
    ours, theirs = style.symbols(models.index), style.symbols(models.index, fill="white")
    return {"these runs, 95 % interval": ours, "the paper": theirs}


def _draw_points(axes: Axes, models: pd.DataFrame, cost: str) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy against a cost, ours and the paper's; returns both as drawn, (models, 2)."""
    timed = cost == "train_seconds"
    theirs = ["train_seconds_paper" if timed else cost, "test_accuracy_paper"]
    ours, theirs = (np.array(models[pair], float) for pair in ([cost, "test_accuracy"], theirs))
    style.log_axis(axes, [*ours[:, 0], *theirs[:, 0]], short=not timed)
    low, high = axes.get_xlim()
    theirs[:, 0] *= 1 if timed else (high / low) ** _ASIDE
    for model, here, there in zip(models.index, ours, theirs, strict=True):
        axes.plot(*np.transpose([here, there]), color=style.FAINT, linewidth=1)
        upright = here[[0, 0]], models.test_accuracy[model].interval
        style.draw_interval(axes, model, here, upright)
        style.draw_interval(axes, model, there, fill="white")
    return ours, theirs


def _name_points(axes: Axes, models: pd.DataFrame) -> None:
    """Write each model's name by its point: the nearest place where it covers no mark or name."""
    figure = axes.get_figure()
    figure.draw_without_rendering()
    point = figure.dpi / 72  # in pixels
    taken = [line.get_window_extent().padded(3 * point) for line in axes.lines]
    for model, row in models.iterrows():
        look = {"ha": "center", "va": "center", "color": style.LOOKS[model].ink}
        look |= {"xytext": (0, 0), "textcoords": "offset points", "in_layout": False}
        label = axes.annotate(style.title_of(model), (row.macs, row.test_accuracy), **look)
        own = label.get_window_extent()
        beside = 8 + own.width / point / 2
        places = [(x, y) for y in sorted(range(-60, 61, 3), key=abs) for x in (beside, -beside, 0)]
        boxes = [own.translated(x * point, y * point) for x, y in places]
        inside = axes.bbox.count_contains  # how many corners
        faults = [box.count_overlaps(taken) - inside(box.corners()) for box in boxes]
        best = faults.index(min(faults))
        label.set_position(places[best])
        taken.append(boxes[best].padded(point))


@style.styled
def small_nets(models: pd.DataFrame, others: pd.DataFrame) -> Figure:
    """Test accuracy against parameters: by a recipe, by the paper's protocol, and others' nets.

    `models` is as from `by_recipe`, `others` from `documented`, whose nets are named on the plot.
    """
    figure = style.blank(4.0)
    axes = figure.subplots()
    style.log_axis(axes, [*models.parameters, *others.parameters], short=True)
    axes.set_xlim(right=7 * axes.get_xlim()[1])  # room for a name
    for _, row in others.iterrows():
        axes.plot(row.parameters, row.test_accuracy, **_OTHER)
        axes.annotate(row.net, (row.parameters, row.test_accuracy), **_BESIDE)
    for model, row in models.iterrows():
        at, before = (row.parameters, row.test_accuracy), (row.parameters, row.as_paper)
        axes.plot(*zip(at, before, strict=True), color=style.FAINT, linewidth=1)
        style.draw_interval(axes, model, before, fill="white")
        style.draw_interval(axes, model, at, (at[:1] * 2, row.test_accuracy.interval))
    axes.set(xlabel=f"{heading('parameters')}, log scale", ylabel=heading("test_accuracy"))
    ours, plain = style.symbols(models.index), style.symbols(models.index, fill="white")
    looks = {"by this recipe, 95 % interval": ours, "by the paper's protocol, here": plain}
    style.legend(figure, looks | {"published by others": [_OTHER]})
    names = {style.title_of(model): [style.symbol(model)] for model in models.index}
    style.legend(figure, names, side="lower", ncols=6, handlelength=1)
    return figure


@style.styled
def against_paper(models: pd.DataFrame, margin: float = 1.5) -> Figure:
    """Test accuracy, ours minus the paper's, with our interval, and a band of `margin` points."""
    figure = style.blank(1.0 + 0.42 * len(models))
    axes = figure.subplots()
    band = {"color": "#f0f0f0"}
    axes.axvspan(-margin, margin, **band, linewidth=0)
    _draw_rows(axes, models.test_accuracy, [*models.test_accuracy_paper])
    axes.set_xlabel("Test accuracy, ours − the paper's (points)")
    within = {f"within {margin:g} points": [band | {"linewidth": 9}]}
    style.legend(figure, _explained(models.index) | within)
    return figure


@style.styled
def effects(models: pd.DataFrame, columns: Sequence[str], *, sharex: bool = False) -> Figure:
    """What each of some columns adds to an accuracy, in points: a panel a column, a row a model.

    Where there is a column `model`, several rows may be of one, and the index names them.
    """
    figure = style.blank(1.1 + 0.36 * len(models))
    panels = figure.subplots(1, len(columns), sharex=sharex, sharey=True, squeeze=False).ravel()
    whose = models.get("model", models.index.to_series())
    names = [*models.index] if "model" in models else []
    for axes, name in zip(panels, columns, strict=True):
        _draw_rows(axes, models[name].set_axis(whose), [0] * len(models), names)
        axes.set_xlabel(heading(name))
    explained = _explained(whose.unique())
    if not any(value.parts for name in columns for value in models[name]):
        del explained["one run"]
    style.legend(figure, explained)
    return figure


def _draw_rows(axes: Axes, values: pd.Series, less: Sequence, names: Sequence = ()) -> None:
    """Each model's Value less a number: interval, its runs as strokes below, the number beside."""
    axes.axvline(0, color=style.QUIET, linewidth=0.8)
    for place, (model, value) in enumerate(values.items()):
        drawn = np.array([value, *value.interval, *value.parts.values()]) - float(less[place])
        number, ends, runs = drawn[0], drawn[1:3], drawn[3:]
        style.draw_interval(axes, model, (number, place), (ends, (place, place)))
        look = _RUN | {"color": style.LOOKS[model].colour, "label": f"_runs-{model}"}
        axes.plot(runs, [place + 0.28] * len(runs), **look)
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        look = {"ha": "right", "va": "center", "annotation_clip": False}
        axes.annotate(style.signed(number, 2), (1, place), (38, 0), **at, **look)
    style.name_rows(axes, values.index, names)


def _explained(models: Iterable[str]) -> style.Explained:
    run = {"color": style.QUIET, **_RUN}
    return {"mean, 95 % interval": style.symbols(models), "one run": [run]}
