"""What notebooks say and show alike: one call for each part of a model's section, and small finds.

The sentences here are those of all six models; what is special about one stands in its notebook.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from fmnist_lib.claims.paper import implied_parameters, parameters_of
from fmnist_lib.models import MODELS
from fmnist_lib.report import figures
from fmnist_lib.report.show import say, show_figure, show_table
from fmnist_lib.results import classes, tables, times
from fmnist_lib.results.load import Results, names_of
from fmnist_lib.results.statistics import rank_correlation
from fmnist_lib.results.value import Value, reported, setting, value

__all__ = ["implied_parameters", "parameters_of", "reported"]  # which notebooks find here too

COSTS = ("parameters", "macs", "train_seconds")
MISTAKES = 6  # kinds of mistake that a model's section shows


# --- a model's section ---


def headline(own: SimpleNamespace) -> None:
    """Say how accurate a model is, here and in the paper."""
    say(
        "**{own.title} gets {own.test_accuracy:.2f} % of the test images right** (mean of "
        "{own.n:.0f} runs, 95 % interval {own.test_accuracy.low:.2f} to "
        "{own.test_accuracy.high:.2f} %). The paper reports {own.test_accuracy_paper:.2f} %; the "
        "difference is {own.difference:+.2f} points.",
        name=f"{own.name}-headline",
        own=own,
    )


def learning(results: Results, own: SimpleNamespace) -> None:
    """Show a model's loss and accuracy over the epochs, with the paper's end point."""
    epochs = tables.epochs_frame(results)
    show_figure(
        figures.learning_curves(epochs, own.name, own),
        name=f"{own.name}-training",
        caption="{title}: loss and accuracy over the epochs, train dashed, test solid. Filled "
        "marks: best epochs. Open marks: the paper's.",
        alt="Train and test loss and accuracy of {title} over the epochs.",
        data=epochs[epochs.model == own.name],
        title=own.title,
    )


def beside_paper(own: SimpleNamespace) -> None:
    """Show a model's row of the paper's tables beside ours."""
    measures = ("test_accuracy", "train_accuracy", "test_loss", "train_loss", "best_epoch")
    measures += ("epochs", "train_seconds", "inference_ms")
    here = {name: getattr(own, name) for name in measures}
    paper = {name: getattr(own, f"{name}_paper") for name in measures}
    show_table(
        pd.DataFrame([{"source": "here", **here}, {"source": "paper", **paper}], dtype=object),
        name=f"{own.name}-result",
        caption="{own.title} at its best epoch: mean ± standard deviation over {own.n:.0f} runs, "
        "times over blocks timed alone.",
        columns=["source", *measures],
        own=own,
    )


def mistakes(results: Results, own: SimpleNamespace) -> None:
    """Say which mistakes a model makes most, and show the image it is surest about in each."""
    model = own.name
    pairs = classes.most_confused(results, model, MISTAKES)
    if pairs.empty:
        return
    sure = [
        classes.surest_mistakes(results, model, row.true, row.predicted, 1).assign(**row._asdict())
        for row in pairs[["true", "predicted"]].itertuples(index=False)
    ]
    sure = pd.concat(sure, ignore_index=True)  # of the first run, which may lack some
    scores = classes.class_scores(results)
    best, *_, worst = tables.ranked(scores[scores.model == model], "f1")
    say(
        "**Most often it takes {pair.true} for {pair.predicted}**, {pair.share:.1f} % of that "
        "class. It does best on {best.class} (F1 {best.f1:.1f} %) and worst on "
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
    each = {len(results.of(model)) for model in results.models}
    seconds = tables.runs_frame(results).wall_seconds.sum()
    ended = sorted(run.environment.finished[:10] for run in results.runs)
    config = results.runs[0].config
    settings = ("learning_rate", "batch_size", "max_epochs")
    return SimpleNamespace(
        runs=value(len(names), names),
        models=value(len(results.models), names),
        seeds=value(max(each), names),
        hours=value(seconds / 3600, names),
        first=ended[0],
        last=ended[-1],
        config=SimpleNamespace(**{s: setting(getattr(config, s)) for s in settings}),
    )


def everyone(models: pd.DataFrame) -> dict[str, SimpleNamespace]:
    """Each of the six by name, for sentences; one without runs here has nothing but dashes."""
    known = tables.namespace(models)
    nothing = dict.fromkeys(models.columns, value(np.nan))
    return {name: known.get(name) or SimpleNamespace(**nothing, name=name) for name in MODELS}


def outcome(judged: pd.DataFrame, claim: str) -> str:
    """The verdict of our runs on a claim."""
    return judged.set_index("id").outcome[claim]


def gained(models: pd.DataFrame) -> list[str]:
    """The titles of the models whose accuracy a longer patience is shown to raise."""
    return [row.title for row in models.itertuples() if row.gain.low > 0]


def timing(results: Results) -> SimpleNamespace:
    """How the measuring of times went, see `times.timing`."""
    return SimpleNamespace(**times.timing(results.costs))


def outside(near: SimpleNamespace) -> Value:
    """How many figures of the paper lie outside the range expected of one more run."""
    return value(int((near.rows.inside == "no").sum()), near.within)


def compared(near: SimpleNamespace) -> Value:
    """Of how many figures that was asked."""
    return value(int(near.rows.inside.isin(["yes", "no"]).sum()), near.within)


def place(models: pd.DataFrame, column: str, number: int) -> SimpleNamespace:
    """The row that comes so many-th by a column, the highest first; the last if there are fewer."""
    return tables.ranked(models, column)[:number][-1]


def titles(models: pd.DataFrame, column: str, number: int) -> list[str]:
    """The titles of the first so many by a column."""
    return [row.title for row in tables.ranked(models, column)[:number]]


def tied(pairs: pd.DataFrame, title: str) -> list[str]:
    """The titles of the models whose accuracy cannot be told apart from that of this one."""
    alike = pairs[pairs.differs != "yes"][["first", "second"]].to_numpy().tolist()
    return [other for pair in alike if title in pair for other in pair if other != title]


def pairs_told_apart(results: Results, pairs: pd.DataFrame) -> SimpleNamespace:
    """How many pairs of models there are, and how many differ in accuracy."""
    names = names_of(results.runs)
    differ = int((pairs.differs == "yes").sum())
    return SimpleNamespace(total=value(len(pairs), names), differ=value(differ, names))


def paper_over_ours(models: pd.DataFrame) -> tuple[Value, Value]:
    """The paper's time of an epoch over ours: the least and the most of the models."""
    ratios = [m.train_seconds_paper / m.train_seconds for m in models.itertuples()]
    ratios = [ratio for ratio in ratios if not np.isnan(ratio)] or [value(np.nan)]
    sources = [models.train_seconds, models.train_seconds_paper]
    return tuple(value(f(ratios), *(v for column in sources for v in column)) for f in (min, max))


def rank(models: pd.DataFrame, first: str, second: str) -> Value:
    """Spearman's rank correlation of two columns over the models that have both."""
    known = models[[first, second]].dropna()
    return rank_correlation(known[first], known[second])[0]


def on_every_front(models: pd.DataFrame) -> list[str]:
    """The titles of the models that no other beats on accuracy and a cost, whichever cost."""
    names = list(models.index)
    for cost in COSTS:
        points = models[[cost, "test_accuracy"]].astype(float)
        for name, (own, accuracy) in points.iterrows():
            others = points.drop(name)
            beaten = (others[cost] <= own) & (others.test_accuracy >= accuracy)
            if name in names and beaten.any():
                names.remove(name)
    return [models.title[name] for name in names]


# --- classes and images ---


def _class(scores: pd.DataFrame, name: str) -> SimpleNamespace:
    own = scores[scores["class"] == name]
    sources = [*scores.f1]
    low, high = (value(f(own.f1), *sources) for f in (min, max))
    of_each = scores.loc[scores.f1.astype(float).groupby(scores.model).idxmin()]["class"]
    return SimpleNamespace(title=name, low=low, high=high, always=bool((of_each == name).all()))


def hardest(scores: pd.DataFrame) -> SimpleNamespace:
    """The class with the lowest mean F1: its title, range over models, whether all agree."""
    return _class(scores, scores.f1.astype(float).groupby(scores["class"]).mean().idxmin())


def easiest(scores: pd.DataFrame) -> SimpleNamespace:
    """The class with the highest mean F1, likewise."""
    return _class(scores, scores.f1.astype(float).groupby(scores["class"]).mean().idxmax())


def number_of(found: pd.DataFrame, results: Results) -> Value:
    """How many rows were found, which rests on all runs."""
    return value(len(found), names_of(results.runs))


def doubtful_images(
    results: Results, doubtful: pd.DataFrame, number: int
) -> tuple[np.ndarray, list[str]]:
    """The first so many doubtful images with what is said of them, as `images_grid` takes them."""
    shown = doubtful.head(number)
    images = classes.images_at(results, results.models[0], shown["index"])
    return images, [f"{row.true} → {row.predicted}" for row in shown.itertuples()]


def conflicts(frame: pd.DataFrame, standing: str) -> Value:
    """How many contradictions stand so."""
    return value(int((frame.standing == standing).sum()), "paper")
