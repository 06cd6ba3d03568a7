"""What notebooks say and show alike: one call for each part of a model's section, and small finds.

The sentences here are those of all six models; what is special about one stands in its notebook.
"""

from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import pandas as pd

from fmnist_lib.models import MODELS
from fmnist_lib.report import figures
from fmnist_lib.report.figures.compare import COSTS
from fmnist_lib.report.show import say, show_figure
from fmnist_lib.results import classes, tables
from fmnist_lib.results.load import Results, names_of
from fmnist_lib.results.statistics import rank_correlation
from fmnist_lib.results.value import Value, setting
from fmnist_lib.runs.environment import RULES, digest_of_code

MISTAKES = 6  # kinds of mistake that a model's section shows


# --- a model's section ---


def headline(own: SimpleNamespace) -> None:
    """Say how accurate a model is, here and in the paper."""
    say(
        "**{own.title} gets {own.test_accuracy:.2f} % of the test images right** (mean of "
        "{own.n:.0f} runs by the paper's protocol, 95 % interval {own.test_accuracy.low:.2f} to "
        "{own.test_accuracy.high:.2f} %). The paper reports {own.test_accuracy_paper:.2f} %; the "
        "difference is {own.difference:+.2f} points.",
        name=f"{own.name}-headline",
        own=own,
    )


def learning(results: Results, own: SimpleNamespace) -> None:
    """Show a model's loss and accuracy over the epochs, with the paper's end point."""
    epochs = tables.epochs_frame(results)
    epochs = epochs[epochs.model == own.name]
    show_figure(
        figures.learning_curves(epochs, pd.DataFrame([vars(own)], [own.name])),
        name=f"{own.name}-training",
        caption="{title}: loss and accuracy over the epochs, train dashed, test solid. Filled "
        "marks: best epochs. Open marks: the paper's.",
        alt="Train and test loss and accuracy of {title} over the epochs.",
        data=epochs,
        title=own.title,
    )


def mistakes(results: Results, own: SimpleNamespace) -> None:
    """Say which mistakes a model makes most, and show the image it is surest about in each."""
    model = own.name
    pairs = classes.most_confused(results, model, MISTAKES)
    if pairs.empty:
        return
    columns = ["index", "probability", "probability_of_true", "true", "predicted"]
    sure = pairs.dropna()[columns]  # of the first run, which may lack some
    scores = classes.class_scores(results)
    best, *_, worst = tables.ranked(scores[scores.model == model], "f1")
    say(
        "**Most often it takes {pair.true} for {pair.predicted}**: {pair.share:.1f} % of the "
        "former. It does best on {best.class} (F1 {best.f1:.1f} %) and worst on "
        "{worst.class} ({worst.f1:.1f} %).",
        name=f"{model}-mistakes",
        pair=pairs.iloc[0],
        best=best,
        worst=worst,
    )
    captions = [
        f"{row.true} → {row.predicted}\n{100 * row.probability:.0f} % sure"
        for row in sure.itertuples()
    ]
    show_figure(
        figures.images_grid(classes.images_at(results, model, sure["index"]), captions),
        name=f"{model}-examples",
        caption="Of each of the most frequent mistakes, the image that {title} (its first seed) "
        "was surest about.",
        alt="Misclassified test images.",
        data=sure,
        title=own.title,
    )


# --- the models together ---


def study(results: Results) -> SimpleNamespace:
    """What the runs shown are: how many, how long, where and when they were made."""
    names = names_of(results.runs)
    seconds = tables.runs_frame(results).wall_seconds.sum()
    ended = [run.environment.finished[:10] for run in results.runs]
    config, rules = results.runs[0].config, digest_of_code(*RULES)
    settings = ("learning_rate", "batch_size", "max_epochs")
    return SimpleNamespace(
        runs=Value(len(names), names),
        seeds=Value(len({run.config.seed for run in results.runs}), names),
        hours=Value(seconds / 3600, names),
        first=min(ended),
        last=max(ended),
        limited=Value(sum(not all(k.fired for k in r.stops.values()) for r in results.runs), names),
        same_rules=Value(sum(run.environment.rules_sha256 == rules for run in results.runs), names),
        devices=sorted({run.environment.gpu or run.environment.cpu for run in results.runs}),
        torch=sorted({run.environment.packages.get("torch", "") for run in results.runs}),
        beside=Value(max(run.environment.runs_beside or 0 for run in results.runs), names),
        config=SimpleNamespace(**{s: setting(getattr(config, s)) for s in settings}),
    )


def everyone(rows: pd.DataFrame, names: Iterable[str] = MODELS) -> dict[str, SimpleNamespace]:
    """Each of the six, or other rows, by name; one without runs here has nothing but dashes."""
    return tables.namespace(rows.reindex([*names], fill_value=Value(np.nan)))


def tied(pairs: pd.DataFrame, title: str) -> list[str]:
    """The titles of the models whose accuracy cannot be told apart from that of this one."""
    alike = pairs[pairs.differs != "yes"][["first", "second"]].to_numpy().tolist()
    return [other for pair in alike if title in pair for other in pair if other != title]


def pairs_told_apart(results: Results, pairs: pd.DataFrame) -> SimpleNamespace:
    """How many pairs of models there are, and how many differ in accuracy."""
    names, differ = names_of(results.runs), (pairs.differs == "yes").sum()
    return SimpleNamespace(total=Value(len(pairs), names), differ=Value(differ, names))


def rank(models: pd.DataFrame, first: str, second: str) -> Value:
    """Spearman's rank correlation of two columns over the models that have both."""
    known = models[[first, second]].dropna()
    return rank_correlation(known[first], known[second])[0]


def on_every_front(models: pd.DataFrame) -> list[str]:
    """The titles of the models that no other beats on accuracy and a cost, whichever cost."""
    titles = []
    for name, own in models.iterrows():
        others = models.drop(index=name)
        as_good = others[others.test_accuracy >= own.test_accuracy]
        if not (as_good[COSTS] <= own[COSTS]).any(axis=None):
            titles.append(own.title)
    return titles


def extremes(scores: pd.DataFrame) -> list[SimpleNamespace]:
    """The classes with the lowest and the highest mean F1: each one's title, range over models.

    `always`: whether that is the hardest class for every model.
    """
    f1 = scores.pivot(index="model", columns="class", values="f1").astype(float)
    return [
        SimpleNamespace(
            title=name,
            low=Value(f1[name].min(), *scores.f1),
            high=Value(f1[name].max(), *scores.f1),
            always=bool((f1.idxmin(axis=1) == name).all()),
        )
        for name in (f1.mean().idxmin(), f1.mean().idxmax())
    ]
