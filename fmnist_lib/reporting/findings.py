"""What the tables say, as values for sentences: which words fit is decided here, by the numbers.

The sentences themselves stand in the notebooks. Accuracies are in percent, differences in points.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lib.reporting import analysis, predictions
from fmnist_lib.reporting.analysis import Results, row_of
from fmnist_lib.reporting.claims import judge_claims, pareto_front
from fmnist_lib.reporting.judging import Interval, Outcome, above
from fmnist_lib.reporting.paper import REPORTED, ReportedModel
from fmnist_lib.reporting.words import join, name_of, names_of

# A difference that another optimiser setting or seed may well make; declared before any run.
AGREEMENT_POINTS = 1.5
GARMENTS = ("T-shirt/top", "Pullover", "Dress", "Coat", "Shirt")
SHOES = ("Sandal", "Sneaker", "Ankle boot")
COSTS = {
    "parameters": "the number of parameters",
    "macs": "multiply-accumulates per image",
    "train_seconds": "the time of a training epoch",
}
ONE_SEED = (
    "A single run is one draw of initial weights and batch order: its interval says what other"
    " test images would change, not what another seed would."
)
SEVERAL_SEEDS = (
    "The interval of a mean over seeds says what other initial weights and batch orders would"
    " change, not what other test images would."
)

Row = Any
"""A row of a frame as a named tuple, see `analysis.row_of`."""


# --- words for numbers ---


def compared(value: float, reference: float, *, digits: int = 2, unit: str = "points") -> str:
    """`0.43 points above`, `0.43 points below` or `the same as`; the reference is to follow."""
    difference = round(value - reference, digits)
    if difference == 0:
        return "the same as"
    return f"{abs(difference):.{digits}f} {unit} {'above' if difference > 0 else 'below'}"


def position(value: float, low: float, high: float) -> str:
    """Where a value lies: `inside`, `above` or `below` an interval."""
    return "above" if value > high else "below" if value < low else "inside"


def change(first: float, last: float, *, digits: int = 3) -> str:
    """`rose from 0.290 to 0.312`, `fell from … to …` or `stayed at 0.290`."""
    start, end = f"{first:.{digits}f}", f"{last:.{digits}f}"
    if start == end:
        return f"stayed at {start}"
    return f"{'rose' if last > first else 'fell'} from {start} to {end}"


def count(number: int, thing: str) -> str:
    """`one run`, `5 runs`, `no run`."""
    return {0: f"no {thing}", 1: f"one {thing}"}.get(number, f"{number:,} {thing}s")


# --- one model ---


@dataclass(frozen=True)
class Headline:
    """A model's result beside the paper's."""

    title: str
    ours: Row  # of `analysis.table1`
    paper: ReportedModel
    epochs: float  # trained until the stopping rule ended a run
    runs: str  # such as `one run`
    over: str  # what the interval of the accuracy is over
    compared: str  # our accuracy with the paper's
    inside: str  # where the paper's accuracy lies to our interval
    caveat: str  # what the interval does not cover


def headline(results: Results, model: str) -> Headline:
    """The accuracy and best epoch of a model, ours and the paper's."""
    ours, paper = row_of(analysis.table1(results), model), REPORTED[model]
    images = int(predictions.confusion(results, model).to_numpy().sum()) // ours.n
    single = ours.n == 1
    return Headline(
        title=name_of(model),
        ours=ours,
        paper=paper,
        epochs=row_of(analysis.table2(results), model).epochs,
        runs=count(ours.n, "shortened run" if results.draft else "run"),
        over=f"over the {images:,} test images" if single else f"of the mean of {ours.n} seeds",
        compared=compared(ours.test_accuracy, paper.test_accuracy),
        inside=position(paper.test_accuracy, ours.test_accuracy_low, ours.test_accuracy_high),
        caveat=ONE_SEED if single else SEVERAL_SEEDS,
    )


@dataclass(frozen=True)
class Course:
    """How training went on after the best epoch; means over the runs."""

    further: float  # epochs
    train_loss: str  # such as `fell from 0.201 to 0.187`
    test_loss: str
    ended: str  # by what


def course(results: Results, model: str) -> Course:
    """What the losses did between a model's best epoch and its last."""
    runs = results.of(model)
    kept = [results.kept(run) for run in runs]
    ends = [(k.best_epoch, k.epochs) for k in kept]
    best, last = (
        [run.history[epoch[end] - 1] for run, epoch in zip(runs, ends, strict=True)]
        for end in (0, 1)
    )
    changes = {
        loss: change(*(np.mean([getattr(row, loss) for row in rows]) for rows in (best, last)))
        for loss in ("train_loss", "test_loss")
    }
    fired = sum(k.fired for k in kept)
    by_patience = f"the patience of {kept[0].rule.patience} epochs was used up"
    ended = by_patience if fired else "the limit on epochs was reached"
    if 0 < fired < len(runs):
        ended = f"{by_patience} in {fired} of {len(runs)} runs, the others reached the limit"
    return Course(float(np.mean([last - best for best, last in ends])), **changes, ended=ended)


@dataclass(frozen=True)
class Gap:
    """Train accuracy beside test accuracy at the best epoch, each such as `3.67 points above`."""

    running: str  # by the train accuracy collected while training
    evaluated: str  # by the one evaluated again, with the weights that were kept
    paper: str


def gap(results: Results, model: str) -> Gap:
    """How a model's train accuracy compares with its test accuracy, ours and the paper's."""
    ours, paper = row_of(analysis.table1(results), model), REPORTED[model]
    return Gap(
        compared(ours.train_accuracy, ours.test_accuracy),
        compared(ours.train_accuracy_eval, ours.test_accuracy),
        compared(paper.train_accuracy, paper.test_accuracy),
    )


@dataclass(frozen=True)
class Mistakes:
    """What a model gets wrong; shares in percent of all mistakes, over all runs."""

    number: int
    images: int  # tested, over all runs
    garments_share: float  # among the five classes worn on the upper body
    shoes_share: float  # among the three kinds of shoe
    best_class: Row  # by F1; of `predictions.per_class`
    worst_class: Row
    pair: Row  # the most frequent one; of `predictions.most_confused`


def mistakes(results: Results, model: str) -> Mistakes:
    """Which mistakes a model makes most."""
    counts = predictions.confusion(results, model)
    classes = predictions.per_class(results, model).rename(columns={"class": "name"})
    in_order = list(classes.sort_values("f1", kind="stable").itertuples(index=False))
    number = int(counts.to_numpy().sum() - np.trace(counts))

    def share(group: tuple[str, ...]) -> float:
        own = counts.loc[list(group), list(group)]
        return 100 * float(own.to_numpy().sum() - np.trace(own)) / max(number, 1)

    pairs = predictions.most_confused(results, model, 1).itertuples(index=False)
    return Mistakes(
        number=number,
        images=int(counts.to_numpy().sum()),
        garments_share=share(GARMENTS),
        shoes_share=share(SHOES),
        best_class=in_order[-1],
        worst_class=in_order[0],
        pair=next(pairs, None),
    )


def surest_mistakes(results: Results, model: str, k: int = 6) -> pd.DataFrame:
    """Of each of the `k` most frequent mistakes, the image that the model was surest about.

    Columns: true, predicted, index (among the test images), probability, probability_of_true; of
    the model's first seed, so a kind of mistake that only other seeds made has no row.
    """
    rows = []
    for pair in predictions.most_confused(results, model, k).itertuples(index=False):
        found = predictions.confused_examples(results, model, pair.true, pair.predicted, 1)
        rows += [
            {"true": pair.true, "predicted": pair.predicted, **row}
            for row in found.to_dict("records")
        ]
    return pd.DataFrame(rows)


# --- the models together ---


@dataclass(frozen=True)
class Agreement:
    """Our test accuracies beside the paper's."""

    models: int
    inside: int  # models whose reported accuracy lies in our interval
    within: int  # models no further away than AGREEMENT_POINTS
    limit: float  # AGREEMENT_POINTS
    farthest: str  # the model with the largest difference
    largest: str  # that difference, such as `0.90 points above`
    mean: float  # of the differences, ours minus the paper's
    beyond: str  # the models further away, in words
    our_order: str  # the most accurate first
    paper_order: str
    epochs_least: float  # the least distance of our best epoch from the paper's
    epochs_most: float
    epochs_model: str  # the model with the largest
    epochs_ours: float
    epochs_paper: int


def agreement(results: Results) -> Agreement:
    """How near our test accuracies come to the paper's."""
    table = analysis.table1(results).set_index("model")
    reported = pd.Series({name: REPORTED[name].test_accuracy for name in table.index})
    difference = table.test_accuracy - reported
    inside = reported.between(table.test_accuracy_low, table.test_accuracy_high)
    near = difference.abs() <= AGREEMENT_POINTS
    farthest = str(difference.abs().idxmax())
    epochs = pd.Series({name: REPORTED[name].best_epoch for name in table.index})
    distance = (table.best_epoch - epochs).abs()
    latest = str(distance.idxmax())
    return Agreement(
        models=len(table),
        inside=int(inside.sum()),
        within=int(near.sum()),
        limit=AGREEMENT_POINTS,
        farthest=name_of(farthest),
        largest=compared(table.test_accuracy[farthest], reported[farthest]),
        mean=float(difference.mean()),
        beyond=names_of(table.index[~near]),
        our_order=names_of(_from_the_top(table.test_accuracy)),
        paper_order=names_of(_from_the_top(reported)),
        epochs_least=float(distance.min()),
        epochs_most=float(distance.max()),
        epochs_model=name_of(latest),
        epochs_ours=float(table.best_epoch[latest]),
        epochs_paper=int(epochs[latest]),
    )


@dataclass(frozen=True)
class Lead:
    """The most accurate model and how far it is ahead."""

    best: str
    accuracy: float
    rivals: str  # the models that it is not clearly ahead of, in words
    clear: bool  # whether there are none
    sentence: str  # what that makes of the lead


def lead(results: Results) -> Lead:
    """Which model is the most accurate, and which others it cannot be told apart from."""
    accuracy = analysis.table1(results).set_index("model").test_accuracy
    best, *others = _from_the_top(accuracy)
    rivals = [
        other
        for other in others
        if above(Interval(*predictions.paired_difference(results, best, other))) is not True
    ]
    ahead = f"clearly ahead of {names_of(others)}" if others else "the only model here"
    close = f"not clearly ahead of {names_of(rivals)}"
    return Lead(
        best=name_of(best),
        accuracy=float(accuracy[best]),
        rivals=names_of(rivals),
        clear=not rivals,
        sentence=close if rivals else ahead,
    )


@dataclass(frozen=True)
class Pace:
    """The training times of the models that were timed alone on the machine."""

    fastest: str
    slowest: str
    factor: float  # the slowest's time over the fastest's
    our_order: str  # the fastest first
    paper_order: str
    paper_least: float  # the paper's time over ours, the least of all models
    paper_most: float
    crowded_least: float  # the time within the runs over the time alone
    crowded_most: float


def pace(results: Results) -> Pace | None:
    """How the models' training times compare; None if none was timed alone."""
    table = analysis.table2(results).set_index("model").dropna(subset="train_seconds_mean")
    if table.empty:
        return None
    ours = table.train_seconds_mean.sort_values(kind="stable")
    paper = pd.Series({model: REPORTED[model].train_seconds.mean for model in ours.index})
    return Pace(
        fastest=name_of(ours.index[0]),
        slowest=name_of(ours.index[-1]),
        factor=ours.iloc[-1] / ours.iloc[0],
        our_order=names_of(ours.index),
        paper_order=names_of(paper.sort_values(kind="stable").index),
        paper_least=(paper / ours).min(),
        paper_most=(paper / ours).max(),
        crowded_least=table.ratio.min(),
        crowded_most=table.ratio.max(),
    )


@dataclass(frozen=True)
class Tally:
    """How many claims came out how, and which; ids in words."""

    total: int
    holds: int
    fails: int
    undecided: int
    untested: int
    which: Mapping[str, str]  # ids by the words of an outcome
    outcome: Mapping[str, str]  # by id, in words
    turned: str  # claims that the paper's own tables and our runs judge differently
    against_itself: str  # claims that the paper's own tables do not bear out


def tally(judged: pd.DataFrame) -> Tally:
    """Count the verdicts of `claims.judge_claims`."""
    counts = Counter(judged.outcome)
    decided = (Outcome.HOLDS.value, Outcome.FAILS.value)
    both = judged[judged.outcome.isin(decided) & judged.in_paper.isin(decided)]
    return Tally(
        total=len(judged),
        holds=counts[Outcome.HOLDS.value],
        fails=counts[Outcome.FAILS.value],
        undecided=counts[Outcome.UNDECIDED.value],
        untested=counts[Outcome.NOT_TESTED.value],
        which={kind.value: join(judged.id[judged.outcome == kind.value]) for kind in Outcome},
        outcome=dict(zip(judged.id, judged.outcome, strict=True)),
        turned=join(both.id[both.outcome != both.in_paper]),
        against_itself=join(judged.id[judged.in_paper == Outcome.FAILS.value]),
    )


@dataclass(frozen=True)
class Front:
    """The models that no other beats on both accuracy and one cost."""

    column: str  # of `analysis.summary`
    cost: str  # in words
    models: list[str]  # the cheapest first
    names: str


def fronts(results: Results) -> list[Front]:
    """The Pareto fronts of test accuracy against `COSTS`; a cost that nothing has is left out."""
    rows = analysis.summary(results)
    found = {column: pareto_front(rows, column) for column in COSTS}
    return [
        Front(column, COSTS[column], models, names_of(models))
        for column, models in found.items()
        if models
    ]


def judged(results: Results) -> pd.DataFrame:
    """The paper's claims with the verdicts of these results, see `claims.judge_claims`."""
    pairs = partial(predictions.paired_difference, results)
    return judge_claims(analysis.summary(results), analysis.histories(results), pairs)


def caveat(results: Results) -> str:
    """What the intervals of these results do not cover, in one or two sentences."""
    single = {len(results.of(model)) == 1 for model in results.models}
    return " ".join(ONE_SEED if one else SEVERAL_SEEDS for one in sorted(single, reverse=True))


def runs_each(results: Results) -> str:
    """`one run of each model`, `5 runs of each model` or, where they differ, `1 to 5 runs …`."""
    numbers = sorted({len(results.of(model)) for model in results.models})
    kind = "shortened run" if results.draft else "run"
    if len(numbers) == 1:
        return f"{count(numbers[0], kind)} of each model"
    return f"{numbers[0]} to {numbers[-1]} {kind}s of each model"


def _from_the_top(values: pd.Series) -> list[str]:
    return list(values.sort_values(ascending=False, kind="stable").index)
