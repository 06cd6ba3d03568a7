"""Tables become figures: every function takes DataFrames of `analysis` and returns a Figure.

Not here: computing what is shown (`analysis`), colours, fonts and files (`style`), captions. With
one seed a model's curve is that run's; with several it is their mean over the epochs that all of
them ran, in a band from the least to the greatest, and each longer run goes on as a thin line.
Accuracies are in percent, losses are means per image.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from fmnist_lib.reporting.paper import ReportedModel
from fmnist_lib.reporting.style import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    LOOKS,
    QUIET,
    WIDTH,
    ink_on,
    ordered,
    place_labels,
    spread_vertically,
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
TRAIN_DASHES = (
    4,
    1.5,
)  # where panels keep the models apart, dashes mean train and solid means test

Runs = pd.DataFrame  # rows of `analysis.histories`


# Curves over epochs


@styled
def accuracy_curves(
    histories: Runs, *, models: Sequence[str] | None = None, monitor: str = "test_loss"
) -> Figure:
    """The paper's Figure 1: train and test accuracy over epochs, one panel a model.

    `monitor` is the column whose lowest value decides the best epoch.
    """
    return _panels(histories, models, monitor, "accuracy", "Accuracy (%)", "{:.2f} %")


@styled
def loss_curves(
    histories: Runs, *, models: Sequence[str] | None = None, monitor: str = "test_loss"
) -> Figure:
    """The paper's Figure 3: train and test loss over epochs, one panel a model."""
    return _panels(histories, models, monitor, "loss", "Loss per image (nats)", "{:.3f}")


@styled
def learning_curves(
    histories: Runs,
    model: str,
    reported: ReportedModel | None = None,
    *,
    monitor: str = "test_loss",
) -> Figure:
    """One model's loss and accuracy over epochs, beside where the paper's run ended up."""
    runs = histories[histories.model == model]
    best = _best_rows(runs, monitor)
    figure = Figure(figsize=(WIDTH, 3.3))
    panels = figure.subplots(1, 2)
    ends: list[list[Annotation]] = []
    for axes, measure, label in zip(
        panels, ("loss", "accuracy"), ("Loss per image (nats)", "Accuracy (%)"), strict=True
    ):
        _draw_train_and_test(axes, runs, best, model, measure)
        axes.set(xlabel="Epoch", ylabel=label)
        _epoch_axis(axes, runs.epoch.max())
        last = runs[runs.epoch == runs.epoch.max()]
        ends.append(
            [
                _label_at_edge(axes, last[f"{split}_{measure}"].mean(), split, text_colour(model))
                for split in ("train", "test")
            ]
        )
        if reported is not None:
            for split in ("train", "test"):
                value = getattr(reported, f"{split}_{measure}")
                _mark_paper(axes, reported.best_epoch, value)
    shown = _best_words(best)
    handles = {f"best epoch ({shown})": _best_handle(model)}
    if reported is not None:
        handles[f"the paper's best epoch ({reported.best_epoch})"] = _paper_handle()
    if runs.seed.nunique() > 1:
        handles[f"range of {runs.seed.nunique()} seeds"] = Patch(color=COLOURS[model], alpha=0.2)
    _legend_above(figure, handles)
    for labels in ends:
        spread_vertically(labels)
    if reported is not None:
        for axes, measure in zip(panels, ("loss", "accuracy"), strict=True):
            _label_paper(axes, reported, measure)
    return figure


@styled
def time_per_epoch(histories: Runs, table2: pd.DataFrame | None = None) -> Figure:
    """The paper's Figure 2: seconds to train and milliseconds to test, epoch by epoch.

    `table2` adds, in a strip on the right, what was measured alone on the machine: mean and
    standard deviation.
    """
    models = ordered(histories.model)
    figure = Figure(figsize=(WIDTH, 5.0))
    alone = table2 is not None
    grid = figure.subplots(
        2,
        2 if alone else 1,
        squeeze=False,
        sharex="col",
        sharey="row",
        width_ratios=[9, 1][: 1 + alone],
    )
    columns = {"train_seconds": "Training an epoch (s)", "inference_ms": "Testing (ms)"}
    labels: list[list[Annotation]] = []
    for row, (column, label) in zip(grid, columns.items(), strict=True):
        for model in models:
            look = LOOKS[model]
            _draw(row[0], histories[histories.model == model], column, look.colour, look.dashes)
        row[0].set_ylabel(label)
        _epoch_axis(row[0], histories.epoch.max())
        shown = [histories[column]]
        if table2 is not None:
            shown += [_draw_alone(row[1], table2[table2.model.isin(models)], column)]
        _log_axis(row[0], "y", pd.concat(shown))
        labels.append([_label_model(row[-1], histories, table2, model, column) for model in models])
    grid[1][0].set_xlabel("Epoch")
    if alone:
        grid[1][1].set_xlabel("alone")
        grid[1][1].set(xticks=[], xlim=(-1, 1))
    for column_labels in labels:
        spread_vertically(column_labels)
    return figure


def _panels(
    histories: Runs,
    models: Sequence[str] | None,
    monitor: str,
    measure: str,
    label: str,
    form: str,
) -> Figure:
    """Small multiples: train and test of a measure, the other models' test curves faint behind."""
    models = ordered(histories.model if models is None else models)
    histories = histories[histories.model.isin(models)]
    across = {1: 1, 2: 2, 4: 2}.get(len(models), 3)
    down = -(-len(models) // across)
    figure = Figure(figsize=(WIDTH, 0.7 + 2.15 * down))
    first: Axes | None = None
    for place, model in enumerate(models):
        axes = figure.add_subplot(down, across, place + 1, sharex=first, sharey=first)
        first = first or axes
        for other in models:
            if other != model:
                runs = histories[histories.model == other]
                means = runs.groupby("epoch")[f"test_{measure}"].mean()
                axes.plot(means.index, means, color=FAINT, linewidth=0.7, zorder=1)
        runs = histories[histories.model == model]
        best = _best_rows(runs, monitor)
        _draw_train_and_test(axes, runs, best, model, measure, mark_train=False)
        axes.set_title(name_of(model), color=text_colour(model), pad=15)
        reached = best[f"test_{measure}"]
        axes.annotate(
            f"{form.format(reached.mean())} at epoch {_best_words(best)}",
            (0, 1),
            xytext=(0, 4),
            xycoords="axes fraction",
            textcoords="offset points",
            color=QUIET,
        )
        at_left, at_bottom = place % across == 0, place + across >= len(models)
        axes.set_ylabel(label if at_left else "")
        axes.set_xlabel("Epoch" if at_bottom else "")
        axes.tick_params(labelleft=at_left, labelbottom=at_bottom)
        _epoch_axis(axes, histories.epoch.max())
    handles: dict[str, object] = {
        "test": Line2D([], [], color=INK),
        "train (running)": Line2D([], [], color=INK, dashes=TRAIN_DASHES),
        "best epoch": tuple(_best_handle(model) for model in models[:3]),
    }
    if len(models) > 1:
        handles["test, other models"] = Line2D([], [], color=FAINT, linewidth=0.7)
    if histories.seed.nunique() > 1:
        handles[f"range of {histories.seed.nunique()} seeds"] = Patch(color=INK, alpha=0.2)
    _legend_above(figure, handles)
    return figure


def _draw_train_and_test(
    axes: Axes, runs: Runs, best: Runs, model: str, measure: str, *, mark_train: bool = True
) -> None:
    colour = COLOURS[model]
    _draw(axes, runs, f"train_{measure}", colour, TRAIN_DASHES)
    _draw(axes, runs, f"test_{measure}", colour, ())
    for split in ("train", "test") if mark_train else ("test",):
        axes.plot(best.epoch, best[f"{split}_{measure}"], **_best_style(model), gid=f"best-{split}")


def _draw(axes: Axes, runs: Runs, column: str, colour: str, dashes: tuple[float, ...]) -> None:
    """One model's column over epochs; the line's gid says which."""
    values = runs.pivot(index="epoch", columns="seed", values=column)  # (epochs, seeds)
    shared = values.dropna()
    style = {"color": colour, "dashes": dashes} if dashes else {"color": colour}
    if values.shape[1] > 1:
        several = values[values.count(axis=1) > 1]
        axes.fill_between(
            several.index, several.min(axis=1), several.max(axis=1), color=colour, alpha=0.2, lw=0
        )
        for seed in values:
            longer = values[seed].dropna().loc[shared.index[-1] :]
            axes.plot(longer.index, longer, **style, linewidth=0.6)
    axes.plot(
        shared.index,
        shared.mean(axis=1),
        **style,
        marker="." if len(shared) == 1 else "",  # a line of one point would not be seen
        gid=f"{runs.model.iloc[0]}-{column}",
    )


def _best_rows(runs: Runs, monitor: str) -> Runs:
    """The row of each seed's best epoch."""
    return runs.loc[runs.groupby("seed")[monitor].idxmin()]


def _best_words(best: Runs) -> str:
    low, high = best.epoch.min(), best.epoch.max()
    return f"{low}" if low == high else f"{low}–{high}"


def _best_style(model: str) -> dict[str, object]:
    return {
        "marker": LOOKS[model].marker,
        "color": COLOURS[model],
        "markeredgecolor": "white",
        "markeredgewidth": 0.8,
        "linestyle": "none",
        "zorder": 3,
    }


def _best_handle(model: str) -> Line2D:
    return Line2D([], [], **_best_style(model))


_PAPER = {
    "marker": "d",
    "markersize": 7,
    "color": INK,
    "markerfacecolor": "white",
    "markeredgewidth": 1.2,
    "linestyle": "none",
    "zorder": 4,
}


def _paper_handle() -> Line2D:
    return Line2D([], [], **_PAPER)


def _mark_paper(axes: Axes, across: float, up: float) -> None:
    axes.plot([across], [up], **_PAPER, gid="paper")


def _label_paper(axes: Axes, reported: ReportedModel, measure: str) -> None:
    """Name the paper's two points, off the curves."""
    points = [
        (reported.best_epoch, getattr(reported, f"{split}_{measure}"))
        for split in ("train", "test")
    ]
    curves = [line.get_xydata() for line in axes.get_lines()]
    texts = ["paper, train", "paper, test"]
    place_labels(axes, points, texts, [INK, INK], clear=np.concatenate(curves))


def _epoch_axis(axes: Axes, last: int) -> None:
    axes.set_xlim(0 if last > 1 else 0.5, last + max(0.5, 0.02 * last))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _log_axis(axes: Axes, which: str, values: pd.Series) -> None:
    """A logarithmic axis with plain numbers; wide enough that at least one of them is on it."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (values.min() / 1.6, values.max() * 1.6)})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_locator(LogLocator(subs=()))


def _draw_alone(axes: Axes, table2: pd.DataFrame, column: str) -> pd.Series:
    for row in table2.itertuples():
        mean, std = getattr(row, f"{column}_mean"), getattr(row, f"{column}_std")
        axes.errorbar(
            [0], [mean], yerr=[std], **_best_style(row.model) | {"ecolor": COLOURS[row.model]}
        )
    axes.tick_params(left=False, labelleft=False)
    return table2[f"{column}_mean"]


def _label_model(
    axes: Axes, histories: Runs, table2: pd.DataFrame | None, model: str, column: str
) -> Annotation:
    runs = histories[histories.model == model]
    value = runs[runs.epoch == runs.epoch.max()][column].mean()
    if table2 is not None and (table2.model == model).any():
        value = table2[table2.model == model][f"{column}_mean"].item()
    return _label_at_edge(axes, value, name_of(model), text_colour(model))


def _label_at_edge(axes: Axes, value: float, text: str, colour: str) -> Annotation:
    """A label right of the axes at the height of a value."""
    return axes.annotate(
        text,
        (1, value),
        xytext=(4, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        color=colour,
        annotation_clip=False,
    )


def _legend_above(figure: Figure, handles: Mapping[str, object]) -> None:
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper left",
        ncols=len(handles),
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.4)},
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
    figure = Figure(figsize=(WIDTH, 5.4))
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
    figure = Figure(figsize=(WIDTH, 3.6))
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
    axes.set(xlabel="Score (%)", ylabel="Class", ylim=(-0.6, len(rows) - 0.4))
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
    pixels = np.asarray(images).reshape(len(true), *np.shape(images)[-2:])
    rows = -(-len(pixels) // columns)
    figure = Figure(figsize=(WIDTH, (1.55 if probabilities is None else 1.7) * rows))
    for place, image in enumerate(pixels):
        axes = figure.add_subplot(rows, columns, place + 1)
        # Enlarged here, since a viewer may smooth what it enlarges itself.
        axes.imshow(
            np.kron(image, np.ones((8, 8))),
            cmap="Greys",
            vmin=pixels.min(),
            vmax=pixels.max(),
            interpolation="none",
        )
        caption = f"{true[place]}\n→ {predicted[place]}"
        if probabilities is not None:
            caption += f"\nat {100 * probabilities[place]:.0f} %"
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
    as the best accuracy to be had at each cost; `label` is the cost's axis title where
    `AXIS_TITLES` has none.
    """
    rows = summary.dropna(subset=[column, "test_accuracy"])
    rows = rows.loc[ordered(rows.index)]
    figure = Figure(figsize=(WIDTH, 3.8))
    axes = figure.subplots()
    _log_axis(axes, "x", rows[column])
    handles: dict[str, object] = {}
    if len(pareto):
        front = rows.loc[list(pareto)].sort_values(column)
        axes.step(
            front[column],
            front.test_accuracy,
            where="post",
            color="#8c8c8c",
            linewidth=1,
            dashes=(4, 2),
            zorder=1,
            gid="pareto",
        )
        handles["Pareto front: nothing cheaper is as accurate"] = Line2D(
            [], [], color="#8c8c8c", linewidth=1, dashes=(4, 2)
        )
    for row in rows.itertuples():
        axes.errorbar(
            [getattr(row, column)],
            [row.test_accuracy],
            yerr=_arms(row),
            **_best_style(row.Index) | {"markersize": 8, "ecolor": COLOURS[row.Index]},
            elinewidth=1.2,
        )
    handles["95 % interval"] = Line2D(
        [], [], color=INK, marker="|", markersize=12, linestyle="none", markeredgewidth=1.2
    )
    axes.set(
        xlabel=f"{label or AXIS_TITLES[column]}, log scale", ylabel=AXIS_TITLES["test_accuracy"]
    )
    _legend_above(figure, handles)
    bars = [
        (getattr(row, column), height)
        for row in rows.itertuples()
        for height in np.linspace(row.test_accuracy_low, row.test_accuracy_high, 25)
    ]
    points = list(zip(rows[column], rows.test_accuracy, strict=True))
    colours = [text_colour(model) for model in rows.index]
    place_labels(axes, points, list(map(name_of, rows.index)), colours, clear=np.array(bars))
    return figure


@styled
def against_paper(table1: pd.DataFrame, reported_table1: pd.DataFrame) -> Figure:
    """Test accuracy of each model: ours with its 95 % interval, the paper's, and the difference."""
    ours = table1.set_index("model")
    theirs = reported_table1.set_index("model").test_accuracy
    models = ordered(ours.index)
    figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * len(models)))
    axes = figure.subplots()
    for place, model in enumerate(models):
        row = ours.loc[model]
        if model in theirs:
            axes.hlines(place, *sorted((theirs[model], row.test_accuracy)), color=FAINT, lw=3)
            _mark_paper(axes, theirs[model], place)
            axes.annotate(
                f"{row.test_accuracy - theirs[model]:+.2f}".replace("-", "−"),
                (1, place),
                xytext=(6, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
            )
        axes.errorbar(
            [row.test_accuracy],
            [place],
            xerr=_arms(row),
            **_best_style(model) | {"markersize": 8, "ecolor": COLOURS[model]},
            elinewidth=1.2,
        )
    axes.set_yticks(range(len(models)), map(name_of, models))
    for tick, model in zip(axes.get_yticklabels(), models, strict=True):
        tick.set_color(text_colour(model))
    axes.set(xlabel=AXIS_TITLES["test_accuracy"], ylim=(len(models) - 0.5, -0.5))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    return figure


def _arms(row: pd.Series) -> list[list[float]]:
    """How far the interval reaches below and above the accuracy."""
    return [
        [row.test_accuracy - row.test_accuracy_low],
        [row.test_accuracy_high - row.test_accuracy],
    ]
