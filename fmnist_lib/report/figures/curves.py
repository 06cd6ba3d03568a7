"""Figures over epochs, from `epochs_frame` and `models_frame` of `results.tables`.

A thick line is the mean of a model's runs for as long as all of them go on, a dotted one that of
those still going; single runs are thin. The best epoch is that with the lowest test loss.
"""

from collections.abc import Mapping
from types import SimpleNamespace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmnist_lib.report.figures import style
from fmnist_lib.results.columns import heading
from fmnist_lib.results.value import Value

_MEASURES = {"loss": "Loss per image (nats)", "accuracy": "Accuracy (%)"}
_DASHES: Mapping[str, dict] = {"test": {}, "train": {"dashes": (4, 1.5)}}
_PAPER = {"test": "white", "train": "#d0d0d0"}  # what fills the paper's marks
_ONE_RUN = {"linewidth": 0.5, "alpha": 0.55}
_STILL_GOING = {"linewidth": 1.1, "dashes": (1, 1.2)}
_FIRST = 5  # epoch that counts for the range: what earlier ones reach would flatten all the rest


@style.styled
def accuracy_curves(epochs: pd.DataFrame, models: pd.DataFrame) -> Figure:
    """The paper's Figure 1: train and test accuracy over epochs, one panel a model."""
    return _small_multiples(epochs, models, "accuracy")


@style.styled
def loss_curves(epochs: pd.DataFrame, models: pd.DataFrame) -> Figure:
    """The paper's Figure 3: train and test loss over epochs, one panel a model."""
    return _small_multiples(epochs, models, "loss")


@style.styled
def learning_curves(epochs: pd.DataFrame, model: str, row: SimpleNamespace) -> Figure:
    """One model's loss and accuracy over epochs, and where the paper's run was at its best.

    `row` is the model's of `namespace(models_frame(…))`, from which come the paper's numbers.
    """
    runs, ends = epochs[epochs.model == model], _ends(pd.DataFrame([vars(row)], [model]))
    figure = style.blank(3.2)
    for measure, axes in zip(_MEASURES, figure.subplots(1, 2), strict=True):
        _draw_model(axes, runs, ends, measure)
        axes.set(xlabel="Epoch", ylabel=_MEASURES[measure])
        _show_plateau(axes, runs, ends, measure)
    _explain(figure, runs, ends)
    return figure


def _small_multiples(epochs: pd.DataFrame, models: pd.DataFrame, measure: str) -> Figure:
    figure, panels = style.small_multiples(models.index, each=1.8, more=1.1)
    ends = _ends(models)
    for axes, name in zip(panels, models.index, strict=True):
        _draw_model(axes, epochs[epochs.model == name], ends[ends.model == name], measure)
    _show_plateau(panels[0], epochs, ends, measure)
    figure.supxlabel("Epoch")
    figure.supylabel(_MEASURES[measure])
    _explain(figure, epochs, ends)
    return figure


def _ends(models: pd.DataFrame) -> pd.DataFrame:
    """The paper's numbers of the models that it has, as rows of an epoch."""
    metrics = [f"{split}_{measure}" for split in _DASHES for measure in _MEASURES]
    columns = {f"{name}_paper": name for name in metrics} | {"best_epoch_paper": "epoch"}
    ends = models.reindex(columns=[*columns]).astype(float).dropna().rename(columns=columns)
    return ends.assign(model=ends.index, name="the paper")


def _best(epochs: pd.DataFrame) -> pd.DataFrame:
    """The row of each run's best epoch."""
    return epochs.loc[epochs.groupby("name", sort=False).test_loss.idxmin()]


def _draw_model(axes: Axes, runs: pd.DataFrame, ends: pd.DataFrame, measure: str) -> None:
    colour = style.LOOKS[runs.model.iloc[0]].colour
    for split, dashes in _DASHES.items():
        values = runs.pivot(index="epoch", columns="name", values=f"{split}_{measure}")
        if values.shape[1] > 1:
            axes.plot(values.index, values, color=colour, **dashes, **_ONE_RUN, label="_run")
        mean = values.mean(axis=1)
        together = mean[values.notna().all(axis=1)]
        rest = mean.loc[together.index[-1] :]  # from the last epoch of all on, so that lines join
        point = "." if len(mean) == 1 else ""  # a line of one point would not be seen
        axes.plot(together.index, together, color=colour, **dashes, marker=point, label=f"_{split}")
        axes.plot(rest.index, rest, color=colour, **_STILL_GOING, label=f"_{split}-going")
    _mark(axes, _best(runs), f"test_{measure}", scale=0.85)
    for split, fill in _PAPER.items():
        _mark(axes, ends, f"{split}_{measure}", fill=fill)


def _mark(axes: Axes, rows: pd.DataFrame, column: str, **look: str | float) -> None:
    for _, row in rows.iterrows():
        mark = style.mark(row.model, **look)
        (point,) = axes.plot(row.epoch, row[column], **mark, label=f"_{row['name']}-{column}")
        point.set_gid(f"title:{row['name']}: {row[column]:.4g} at epoch {row.epoch:.0f}")


def _show_plateau(axes: Axes, epochs: pd.DataFrame, ends: pd.DataFrame, measure: str) -> None:
    """Set the ends of both axes: all epochs, and the heights that are reached after the first."""
    later = epochs[epochs.epoch >= epochs.groupby("name").epoch.transform("max").clip(upper=_FIRST)]
    shown = pd.concat([later, _best(epochs), ends])
    heights = shown[[f"{split}_{measure}" for split in _DASHES]].stack()
    room = 0.05 * (heights.max() - heights.min()) or 0.05
    axes.set_ylim(heights.min() - room, heights.max() + room)
    last = shown.epoch.max()
    axes.set_xlim(0 if last > 1 else 0.5, max(last + 0.5, 1.03 * last))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def _explain(figure: Figure, epochs: pd.DataFrame, ends: pd.DataFrame) -> None:
    names = epochs.model.unique()
    lengths = epochs.groupby(["model", "name"]).epoch.max().groupby("model")
    several, ink = lengths.size().max() > 1, {"color": style.INK}
    mean = ", mean" if several else ""
    looks = {f"{split}{mean}": [ink | dashes] for split, dashes in _DASHES.items()}
    if (lengths.min() < lengths.max()).any():
        looks["mean of runs still going"] = [ink | _STILL_GOING]
    if several:
        looks["one run"] = [ink | _ONE_RUN]
    looks["best epoch, test"] = style.marks(names, scale=0.85)
    for split, fill in _PAPER.items() if len(ends) else ():
        looks[f"paper's best, {split}"] = style.marks(names, fill=fill)
    style.legend(figure, looks, ncols=4)


_WITHIN = {"linewidth": 5, "alpha": 0.35, "solid_capstyle": "butt"}
_MEDIAN = {"marker": "|", "markersize": 9, "markeredgewidth": 1.6, "linestyle": "none"}
_APART = 0.28  # of a row, between what was measured in three ways


@style.styled
def time_per_epoch(epochs: pd.DataFrame, models: pd.DataFrame) -> Figure:
    """The paper's Figure 2: how long an epoch of training and one test pass take, fastest on top.

    Three lines a model: measured alone with its range, epochs within the runs (median and middle
    80 %, which stalls do not move), and the paper's mean with its standard deviation.
    """
    models = models.loc[models.train_seconds.astype(float).sort_values(kind="stable").index]
    figure = style.blank(0.9 + 0.5 * len(models))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, column in zip(panels, ("train_seconds", "inference_ms"), strict=True):
        for place, (name, row) in enumerate(models.iterrows()):
            within = epochs.loc[epochs.model == name, column].quantile([0.1, 0.5, 0.9])
            _draw_times(axes, place, name, within, row[column], row[f"{column}_paper"])
        style.log_axis(axes, [x for line in axes.lines for x in line.get_xdata()])
        style.name_rows(axes, models.index)
        axes.set_xlabel(f"{heading(column)}, log scale")
    looks = {
        "alone on the machine, with its range": style.marks(models.index),
        "the paper, mean ± standard deviation": style.marks(models.index, fill="white"),
        "epochs within the runs, middle 80 %": [{"color": style.QUIET, **_WITHIN}],
        "their median": [{"color": style.QUIET, **_MEDIAN}],
    }
    style.legend(figure, looks, ncols=2)
    return figure


def _draw_times(
    axes: Axes, place: int, model: str, within: pd.Series, alone: Value, paper: Value
) -> None:
    low, median, high = within
    colour = style.LOOKS[model].colour
    axes.plot([low, high], [place] * 2, color=colour, **_WITHIN, label=f"_within-{model}")
    axes.plot(median, place, color=colour, **_MEDIAN, label=f"_median-{model}")
    style.draw_interval(axes, model, (alone, place - _APART), alone.interval, level=True)
    ends = paper - paper.std, paper + paper.std
    style.draw_interval(axes, model, (paper, place + _APART), ends, level=True, fill="white")
