"""Figures over epochs, from `epochs_frame` and `models_frame` of `results.tables`.

A thick line is the mean of a model's runs for as long as all of them go on, a dotted one that of
those still going; single runs are thin. The best epoch is that with the lowest test loss.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_lib.report.figures import style
from fmnist_lib.results.columns import heading

_MEASURES = {"loss": "Loss per image (nats)", "accuracy": "Accuracy (%)"}
_DASHES: Mapping[str, dict] = {"test": {}, "train": {"dashes": (4, 1.5)}}
_FILLS = {"test": "white", "train": "#d0d0d0"}  # what fills the paper's marks
_ONE_RUN = {"linewidth": 0.5, "alpha": 0.55}
_STILL_GOING = {"linewidth": 1.1, "dashes": (1, 1.2)}
_RATES: Sequence[dict] = ({"dashes": (4, 1.5), "markersize": 3}, {"markersize": 3})  # by rate
_CHOSEN = {"marker": "o", "markersize": 9, "fillstyle": "none", "linestyle": "none"}
_PAPER_LINE = {"linewidth": 0.9, "dashes": (1, 1.5)}
_FIRST = 5  # epoch that counts for the range: what earlier ones reach would flatten all the rest


@style.styled
def all_curves(epochs: pd.DataFrame, models: pd.DataFrame, measure: str) -> Figure:
    """The paper's Figures 1 and 3: train and test "accuracy" or "loss", one panel a model."""
    figure, panels = style.small_multiples(models.index, each=1.8, more=1.1)
    for axes, (model, row) in zip(panels, models.iterrows(), strict=True):
        _draw_model(axes, epochs[epochs.model == model], row, measure)
    _show_plateau(panels[0], epochs, models, measure)
    figure.supxlabel("Epoch")
    figure.supylabel(_MEASURES[measure])
    _explain(figure, models)
    return figure


@style.styled
def learning_curves(epochs: pd.DataFrame, models: pd.DataFrame) -> Figure:
    """Loss and accuracy over epochs of the one model in both frames."""
    figure = style.blank(3.2)
    for measure, axes in zip(_MEASURES, figure.subplots(1, 2), strict=True):
        _draw_model(axes, epochs, models.iloc[0], measure)
        axes.set(xlabel="Epoch", ylabel=_MEASURES[measure])
        _show_plateau(axes, epochs, models, measure)
    _explain(figure, models)
    return figure


@style.styled
def recipe_search(tried: pd.DataFrame, models: pd.DataFrame) -> Figure:
    """What every recipe of a search reached on validation images: a line a rate, a panel a model.

    `tried` has one row a run: model, epochs, learning_rate, validation_accuracy; `models` is as
    from `by_recipe`, whose recipes are ringed.
    """
    figure, panels = style.small_multiples(models.index, each=1.7, more=1.1)
    rates = dict(zip(sorted(tried.learning_rate.unique()), _RATES, strict=False))
    for axes, (model, row) in zip(panels, models.iterrows(), strict=True):
        colour, own = style.LOOKS[model].colour, tried[tried.model == model].sort_values("epochs")
        for rate, look in rates.items():
            at = own[own.learning_rate == rate]
            axes.plot(at.epochs, at.validation_accuracy, color=colour, marker="o", **look)
        axes.plot(row.recipe_epochs, row.validation_accuracy, color=style.INK, **_CHOSEN)
        axes.axhline(row.test_accuracy_paper, color=style.QUIET, **_PAPER_LINE)
    panels[0].set_xticks(sorted(tried.epochs.unique()))
    figure.supxlabel(heading("recipe_epochs"))
    figure.supylabel(heading("validation_accuracy"))
    ink = {"color": style.INK}
    looks = {f"learning rate {rate:g}": [ink | look] for rate, look in rates.items()}
    looks["chosen"], looks["the paper's test accuracy"] = [ink | _CHOSEN], [ink | _PAPER_LINE]
    style.legend(figure, looks, ncols=4)
    return figure


def _best(epochs: pd.DataFrame) -> pd.DataFrame:
    """The row of each run's best epoch."""
    return epochs.loc[epochs.groupby("name").test_loss.idxmin()]


def _draw_model(axes: Axes, runs: pd.DataFrame, row: pd.Series, measure: str) -> None:
    colour = style.LOOKS[row.name].colour
    for split, dashes in _DASHES.items():
        values = runs.pivot(index="epoch", columns="name", values=f"{split}_{measure}")
        axes.plot(values.index, values, color=colour, **dashes, **_ONE_RUN, label="_run")
        mean = values.mean(axis=1)
        together = mean[values.notna().all(axis=1)]
        rest = mean.loc[together.index[-1] :]  # from the last epoch of all on, so that lines join
        axes.plot(together.index, together, color=colour, **dashes, label=f"_{split}")
        axes.plot(rest.index, rest, color=colour, **_STILL_GOING, label=f"_{split}-going")
    best, look = _best(runs), style.symbol(row.name, scale=0.85)
    axes.plot(best.epoch, best[f"test_{measure}"], **look, label="_best")
    for split, fill in _FILLS.items():
        paper, look = row[f"{split}_{measure}_paper"], style.symbol(row.name, fill=fill)
        axes.plot(row.best_epoch_paper, paper, **look, label=f"_paper-{split}")


def _show_plateau(axes: Axes, epochs: pd.DataFrame, models: pd.DataFrame, measure: str) -> None:
    """Set the ends of both axes: all epochs, and the heights that are reached after the first."""
    later = epochs[epochs.epoch >= epochs.groupby("name").epoch.transform("max").clip(upper=_FIRST)]
    columns = [f"{split}_{measure}" for split in _DASHES]
    ours = pd.concat([later, _best(epochs)])[columns]
    heights = np.append(ours, models[[f"{name}_paper" for name in columns]].astype(float))
    room = 0.05 * np.ptp(heights)
    axes.set_ylim(heights.min() - room, heights.max() + room)
    last = max(epochs.epoch.max(), *models.best_epoch_paper)
    axes.set_xlim(0, max(last + 0.5, 1.03 * last))
    axes.locator_params("x", nbins=6, integer=True)


def _explain(figure: Figure, models: pd.DataFrame) -> None:
    ink = {"color": style.INK}
    looks = {f"{split}, mean": [ink | dashes] for split, dashes in _DASHES.items()}
    looks |= {"mean of runs still going": [ink | _STILL_GOING], "one run": [ink | _ONE_RUN]}
    looks["best epoch, test"] = style.symbols(models.index, scale=0.85)
    for split, fill in _FILLS.items():
        looks[f"paper's best, {split}"] = style.symbols(models.index, fill=fill)
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
        for place, (model, row) in enumerate(models.iterrows()):
            _draw_times(axes, place, epochs.loc[epochs.model == model, column], row)
        style.log_axis(axes, [x for line in axes.lines for x in line.get_xdata()])
        style.name_rows(axes, models.index)
        axes.set_xlabel(f"{heading(column)}, log scale")
    looks = {
        "alone on the machine, with its range": style.symbols(models.index),
        "the paper, mean ± standard deviation": style.symbols(models.index, fill="white"),
        "epochs within the runs, middle 80 %": [{"color": style.QUIET, **_WITHIN}],
        "their median": [{"color": style.QUIET, **_MEDIAN}],
    }
    style.legend(figure, looks, ncols=2)
    return figure


def _draw_times(axes: Axes, place: int, within: pd.Series, row: pd.Series) -> None:
    model, alone, paper = row.name, row[within.name], row[f"{within.name}_paper"]
    colour = style.LOOKS[model].colour
    ends = within.quantile([0.1, 0.9])
    axes.plot(ends, [place] * 2, color=colour, **_WITHIN, label=f"_within-{model}")
    axes.plot(within.median(), place, color=colour, **_MEDIAN, label=f"_median-{model}")
    above, below = place - _APART, place + _APART
    style.draw_interval(axes, model, (alone, above), (alone.interval, [above] * 2))
    ends = paper - paper.std, paper + paper.std
    style.draw_interval(axes, model, (paper, below), (ends, [below] * 2), fill="white")
