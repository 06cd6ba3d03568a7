"""Figures over epochs: accuracy, loss and time, from the rows of `analysis.histories`.

Not here: other figures (`figures`). With one seed a model's curve is that run's; with several it is
their mean (of times the median, which one stalled run does not move) over the epochs that all of
them ran, over the runs themselves as thin lines, in a band from the least to the greatest. The best
epoch is that with the lowest `monitor` (a column).
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator

from fmnist_lib.reporting.labels import spread_vertically
from fmnist_lib.reporting.paper import ReportedModel
from fmnist_lib.reporting.style import (
    COLOURS,
    FAINT,
    INK,
    LOOKS,
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

Runs = pd.DataFrame  # rows of `analysis.histories`

TRAIN_DASHES = (4, 1.5)  # dashes mean train and solid lines test, where panels part the models
BAND = 0.15  # opacity of the range over seeds
ONE_RUN = {"linewidth": 0.5, "alpha": 0.6}  # of several
RANGE = "range over runs"
_SPLITS = ("train", "test")
_PAPER = {"test": PAPER_MARK, "train": {**PAPER_MARK, "markerfacecolor": "#a6a6a6"}}
_TIMES = {"train_seconds": "Training epoch (s)", "inference_ms": "Test pass (ms)"}
_MEASURES = {"loss": ("Loss per image (nats)", "{:.3f}"), "accuracy": ("Accuracy (%)", "{:.2f} %")}


@styled
def accuracy_curves(
    histories: Runs, *, models: Sequence[str] | None = None, monitor: str = "test_loss"
) -> Figure:
    """The paper's Figure 1: train and test accuracy over epochs, one panel a model."""
    return _panels(histories, models, monitor, "accuracy")


@styled
def loss_curves(
    histories: Runs, *, models: Sequence[str] | None = None, monitor: str = "test_loss"
) -> Figure:
    """The paper's Figure 3: train and test loss over epochs, one panel a model."""
    return _panels(histories, models, monitor, "loss")


@styled
def learning_curves(
    histories: Runs,
    model: str,
    reported: ReportedModel | None = None,
    *,
    monitor: str = "test_loss",
) -> Figure:
    """One model's loss and accuracy over epochs, and where the paper's run was at its best."""
    runs = histories[histories.model == model]
    best = _best_rows(runs, monitor)
    figure = blank(3.3)
    panels = dict(zip(_MEASURES, figure.subplots(1, 2), strict=True))
    handles: dict[str, object] = {f"best epoch ({_range(best.epoch)})": sample(**mark(model))}
    last = runs.epoch.max()
    if reported is not None:
        handles[f"paper, test (epoch {reported.best_epoch})"] = sample(**_PAPER["test"])
        handles["paper, train"] = sample(**_PAPER["train"])
        last = max(last, reported.best_epoch)
    if runs.seed.nunique() > 1:
        handles[RANGE] = Patch(color=COLOURS[model], alpha=BAND, linewidth=0)
    for measure, axes in panels.items():
        _draw_train_and_test(axes, runs, best, measure, marked=_SPLITS)
        for split in _SPLITS if reported is not None else ():
            value = getattr(reported, f"{split}_{measure}")
            axes.plot([reported.best_epoch], [value], **_PAPER[split], label=f"_paper-{split}")
        axes.set(xlabel="Epoch", ylabel=_MEASURES[measure][0])
        _epoch_axis(axes, last)
        axes.margins(y=0.1)
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    legend_above(figure, handles)
    labels = []
    for measure, axes in panels.items():
        ends = {split: _end(runs, f"{split}_{measure}") for split in _SPLITS}
        for epoch, height in ends.values():
            _lead_to_edge(axes, epoch, height, model)
        named = [(split, height, model) for split, (_, height) in ends.items()]
        labels.append(_label_at_edge(axes, named))
    for beside in labels:
        spread_vertically(beside)
    return figure


@styled
def time_per_epoch(histories: Runs, table2: pd.DataFrame | None = None) -> Figure:
    """The paper's Figure 2: seconds to train and milliseconds to test, epoch by epoch.

    `table2` adds, in a strip on the right, what was measured alone on the machine (mean and
    standard deviation) for the models it has times of; without it curves lead to their names.
    """
    models = ordered(histories.model)
    figure = blank(5.0)
    strip = {} if table2 is None else {"width_ratios": [6, 1]}
    grid = figure.subplots(2, 1 + len(strip), squeeze=False, sharex="col", sharey="row", **strip)
    labels = []
    for row, (column, title) in zip(grid, _TIMES.items(), strict=True):
        by_model = {model: histories[histories.model == model] for model in models}
        heights = {}
        for model, runs in by_model.items():
            _draw(row[0], runs, column, LOOKS[model].dashes, centre="median")
            middle = _middle(_by_seed(runs, column), "median")
            heights[model] = middle.iloc[-1]
            if table2 is None:
                _lead_to_edge(row[0], middle.index[-1], heights[model], model)
        alone = {} if table2 is None else _alone(table2, column, models)
        for model, (mean, std) in alone.items():
            place = [list(LOOKS).index(model)]
            bars = row[1].errorbar(place, [mean], yerr=[std], ecolor=COLOURS[model], **mark(model))
            belongs(model, *bars.get_children())
            heights[model] = mean
        row[0].set_ylabel(f"{title}, log scale")
        _epoch_axis(row[0], histories.epoch.max())
        log_axis(row[0], "y", [*histories[column], *heights.values()])
        names = [(name_of(model), heights[model], model) for model in models]
        labels.append(_label_at_edge(row[-1], names))
    grid[1][0].set_xlabel("Epoch" if table2 is None else "Epoch, in the runs")
    if table2 is not None:
        grid[1][1].set(xlabel="Alone", xticks=[], xlim=(-1, len(LOOKS)))
        for axes in grid[:, 1]:
            axes.tick_params(left=False, labelleft=False)
    for beside in labels:
        spread_vertically(beside)
    return figure


def _panels(histories: Runs, models: Sequence[str] | None, monitor: str, measure: str) -> Figure:
    """Small multiples: train and test of a measure, the other models' test curves faint behind."""
    models = ordered(histories.model if models is None else models)
    histories = histories[histories.model.isin(models)]
    across = {1: 1, 2: 2, 4: 2}.get(len(models), 3)
    down = -(-len(models) // across)
    figure = blank(0.7 + 1.95 * down)
    first: Axes | None = None
    for place, model in enumerate(models):
        axes = figure.add_subplot(down, across, place + 1, sharex=first, sharey=first)
        first = first or axes
        _draw_faintly(axes, histories[histories.model != model], f"test_{measure}")
        runs = histories[histories.model == model]
        best = _best_rows(runs, monitor)
        _draw_train_and_test(axes, runs, best, measure, marked=["test"])
        title = axes.set_title(name_of(model), color=text_colour(model), pad=15)
        reached = axes.annotate(
            _reached(best, measure),
            (0, 1),
            xytext=(0, 4),
            xycoords="axes fraction",
            textcoords="offset points",
            color=QUIET,
        )
        belongs(model, title, reached)
        at_left, at_bottom = place % across == 0, place + across >= len(models)
        axes.set_ylabel(_MEASURES[measure][0] if at_left else "")
        axes.set_xlabel("Epoch, log scale" if at_bottom else "")
        axes.tick_params(labelleft=at_left, labelbottom=at_bottom)
        log_axis(axes, "x", [1, histories.epoch.max()])
        axes.set_xlim(0.9, 1.15 * histories.epoch.max())
    _show_from_second_epoch(first, histories, measure, monitor)
    handles: dict[str, object] = {
        "test": sample(color=INK),
        "train (running)": sample(color=INK, dashes=TRAIN_DASHES),
        "best epoch": tuple(sample(**mark(model)) for model in models[:3]),
    }
    if len(models) > 1:
        handles["test, other models"] = sample(color=FAINT, linewidth=0.7)
    if histories.seed.nunique() > 1:
        handles[RANGE] = Patch(color=INK, alpha=BAND, linewidth=0)
    legend_above(figure, handles)
    return figure


def _show_from_second_epoch(axes: Axes, histories: Runs, measure: str, monitor: str) -> None:
    """Leave out of view what a first epoch alone reaches: it is so far off that it flattens all."""
    columns = [f"{split}_{measure}" for split in _SPLITS]
    later = histories.loc[histories.epoch > 1, columns]
    best = [_best_rows(runs, monitor)[columns] for _, runs in histories.groupby("model")]
    values = pd.concat([later, *best]).stack()
    room = 0.05 * (values.max() - values.min())
    axes.set_ylim(values.min() - room, values.max() + room)


def _draw_train_and_test(
    axes: Axes, runs: Runs, best: Runs, measure: str, *, marked: Sequence[str]
) -> None:
    model = runs.model.iloc[0]
    _draw(axes, runs, f"train_{measure}", TRAIN_DASHES)
    _draw(axes, runs, f"test_{measure}", ())
    for split in marked:
        values = best[f"{split}_{measure}"]
        marks = axes.plot(best.epoch, values, **mark(model), label=f"_best-{split}")
        belongs(model, *marks)


def _draw(
    axes: Axes, runs: Runs, column: str, dashes: tuple[float, ...], *, centre: str = "mean"
) -> None:
    """One model's column over epochs; the thick line is the `centre` of its runs."""
    model = runs.model.iloc[0]
    values = _by_seed(runs, column)
    middle = _middle(values, centre)
    style = {"color": COLOURS[model], **({"dashes": dashes} if dashes else {})}
    drawn: list[Artist] = []
    if values.shape[1] > 1:
        several = values[values.count(axis=1) > 1]
        low, high = several.min(axis=1), several.max(axis=1)
        band = {"color": COLOURS[model], "alpha": BAND, "linewidth": 0}
        drawn.append(axes.fill_between(several.index, low, high, **band))
        drawn += axes.plot(values.index, values.to_numpy(), **style, **ONE_RUN, label="_run")
    drawn += axes.plot(
        middle.index,
        middle,
        **style,
        marker="." if len(middle) == 1 else "",  # a line of one point would not be seen
        label=f"_{model}-{column}",
    )
    belongs(model, *drawn)


def _draw_faintly(axes: Axes, histories: Runs, column: str) -> None:
    for model, runs in histories.groupby("model", sort=False):
        mean = _middle(_by_seed(runs, column), "mean")
        line = axes.plot(mean.index, mean, color=FAINT, linewidth=0.7, zorder=1)
        belongs(model, *line)


def _by_seed(runs: Runs, column: str) -> pd.DataFrame:
    """A column of one model's runs, shape (epochs, seeds); NaN after the end of a run."""
    return runs.pivot(index="epoch", columns="seed", values=column)


def _middle(values: pd.DataFrame, centre: str) -> pd.Series:
    """The mean or median of the runs over the epochs that all of them have."""
    return values.dropna().agg(centre, axis=1)


def _end(runs: Runs, column: str) -> tuple[int, float]:
    """Where a model's curve ends: the last epoch of the longest run, and the column there."""
    last = runs[runs.epoch == runs.epoch.max()]
    return last.epoch.iloc[0], last[column].mean()


def _lead_to_edge(axes: Axes, epoch: int, height: float, model: str) -> None:
    """Draw a thin line from the end of a curve to the right edge, where its label is."""
    line = {"color": COLOURS[model], "linewidth": 0.5, "linestyle": (0, (1, 3))}
    note = axes.annotate(
        "",
        (1, height),
        xytext=(epoch, height),
        xycoords=axes.get_yaxis_transform(),
        textcoords="data",
        arrowprops={"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, **line},
    )
    belongs(model, note.arrow_patch)


def _label_at_edge(axes: Axes, labels: Sequence[tuple[str, float, str]]) -> list[Annotation]:
    """Write each text right of the axes, at its height (data), in its model's colour."""
    written = [
        axes.annotate(
            text,
            (1, height),
            xytext=(4, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            color=text_colour(model),
            annotation_clip=False,
        )
        for text, height, model in labels
    ]
    for label, (_, _, model) in zip(written, labels, strict=True):
        belongs(model, label)
    return written


def _alone(
    table2: pd.DataFrame, column: str, models: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of a time, by model; of those that have one."""
    table = table2[table2.model.isin(models)].set_index("model")
    table = table[[f"{column}_mean", f"{column}_std"]].dropna(subset=f"{column}_mean")
    return dict(zip(table.index, table.itertuples(index=False, name=None), strict=True))


def _best_rows(runs: Runs, monitor: str) -> Runs:
    """The row of each seed's best epoch."""
    return runs.loc[runs.groupby("seed")[monitor].idxmin()]


def _reached(best: Runs, measure: str) -> str:
    """What the test measure was at the best epoch or, as the mean, at those of several seeds."""
    value = _MEASURES[measure][1].format(best[f"test_{measure}"].mean())
    if len(best) == 1:
        return f"{value} at epoch {_range(best.epoch)}"
    return f"mean {value}, {'epochs' if best.epoch.nunique() > 1 else 'epoch'} {_range(best.epoch)}"


def _range(epochs: pd.Series) -> str:
    low, high = epochs.min(), epochs.max()
    return f"{low}" if low == high else f"{low}–{high}"


def _epoch_axis(axes: Axes, last: int) -> None:
    """Epochs from 0 to a little after the last; ticks at whole ones."""
    axes.set_xlim(0 if last > 1 else 0.5, max(last + 0.5, 1.02 * last))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
