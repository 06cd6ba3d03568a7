"""How the models stand beside each other and beside the paper: values for sentences.

The sentences themselves stand in the notebooks; what concerns one model is in `findings`.
Accuracies are in percent, differences in points.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from fmnist_lib.reporting import analysis, patience, predictions
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.claims import judge_claims, pareto_front
from fmnist_lib.reporting.findings import (
    ONE_CURVE,
    ONE_RUN,
    ONE_SEED,
    SEVERAL_CURVES,
    SEVERAL_SEEDS,
    SEVERAL_TIMES,
    compared,
    count,
    part,
)
from fmnist_lib.reporting.judging import Interval, Outcome, above
from fmnist_lib.reporting.paired import GAPS, Side, difference
from fmnist_lib.reporting.paper import REPORTED
from fmnist_lib.reporting.words import join, name_of, names_of, within

# A difference that another optimiser setting or seed may well make; declared before any run.
AGREEMENT_POINTS = 1.5
COSTS = {
    "parameters": "the number of parameters",
    "macs": "multiply-accumulates per image",
    "train_seconds": "the time of a training epoch",
}
ONE_INTERVAL = "The interval is over the test images."
SEVERAL_IN_TABLE = (
    "± is the standard deviation over the runs of a model; the interval is that of their mean, over"
    " seeds and test images."
)
OF_ONE_RUN = " Of a single run it is over the test images alone."
SEVERAL_AS_STROKES = (
    "The interval is that of the mean, over seeds and test images; the strokes are single runs."
)
SAID = {
    Outcome.HOLDS.value: "holds",
    Outcome.FAILS.value: "does not hold",
    Outcome.UNDECIDED.value: "is undecided",
    Outcome.NOT_TESTED.value: "is not tested",
}


@dataclass(frozen=True)
class Agreement:
    """Our test accuracies beside the paper's."""

    within: str  # models no further away than AGREEMENT_POINTS, such as `5 of 6 models`
    limit: float  # AGREEMENT_POINTS
    farthest: str  # the model with the largest difference
    largest: str  # that difference, such as `0.90 points above`
    mean: float  # of the differences, ours minus the paper's
    beyond: str  # the models further away, after a semicolon; empty for none
    expected: str  # of how many models the reported accuracy is one that another seed may give
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
    near = difference.abs() <= AGREEMENT_POINTS
    farthest = str(difference.abs().idxmax())
    epochs = pd.Series({name: REPORTED[name].best_epoch for name in table.index})
    distance = (table.best_epoch - epochs).abs()
    latest = str(distance.idxmax())
    return Agreement(
        within=part(int(near.sum()), len(table), "model"),
        limit=AGREEMENT_POINTS,
        farthest=name_of(farthest),
        largest=compared(table.test_accuracy[farthest], reported[farthest]),
        mean=float(difference.mean()),
        beyond="" if near.all() else f"; farther off: {names_of(table.index[~near])}",
        expected=_expected(table, reported),
        our_order=names_of(_from_the_top(table.test_accuracy)),
        paper_order=names_of(_from_the_top(reported)),
        epochs_least=round(float(distance.min()), 1),
        epochs_most=round(float(distance.max()), 1),
        epochs_model=name_of(latest),
        epochs_ours=float(table.best_epoch[latest]),
        epochs_paper=int(epochs[latest]),
    )


def _expected(table: pd.DataFrame, reported: pd.Series) -> str:
    several = table[table.n > 1]
    if several.empty:
        return ONE_RUN
    paper = reported[several.index]
    room = np.minimum(paper - several.next_run_low, several.next_run_high - paper)
    inside = room[room >= 0]
    found = (
        "The paper's figure lies within the range in which one more run of ours is to be expected"
        f" (with 95 % probability) for {part(len(inside), len(several), 'model')}"
    )
    if inside.empty:
        return f"{found}."
    nearest = name_of(inside.idxmin())
    return f"{found}; nearest to its end for {nearest}, {inside.min():.2f} points inside."


@dataclass(frozen=True)
class Lead:
    """The model with the highest value of a measure, and how far it is ahead."""

    title: str
    value: float  # the mean over its runs
    value_std: float  # over its runs; NaN for one
    sentence: str  # of whom it is ahead by more than chance, or not


def lead(results: Results, measure: str = "test_accuracy") -> Lead:
    """Which model comes first, and which others it cannot be told apart from.

    `measure` is `test_accuracy` or one of `paired.GAPS`, as in `paired.difference`.
    """

    def values(rows: pd.DataFrame) -> pd.Series:
        return rows[GAPS[measure]] - rows.test_accuracy if measure in GAPS else rows[measure]

    runs = analysis.run_table(results)
    means = values(analysis.table1(results).set_index("model"))
    spreads = values(runs).groupby(runs.model).std(ddof=1)
    first, *others = _from_the_top(means)
    rivals = [
        other for other in others if above(_interval(results, first, other, measure)) is not True
    ]
    ahead = f"clearly ahead of {names_of(others)}" if others else "the only model here"
    close = f"not clearly ahead of {names_of(rivals)}"
    return Lead(
        title=name_of(first),
        value=means[first],
        value_std=spreads[first],
        sentence=close if rivals else ahead,
    )


@dataclass(frozen=True)
class Classes:
    """Which classes are hard, by the mean F1 of the models."""

    hardest: str
    hardest_least: float  # the lowest F1 of a model
    hardest_most: float
    hardest_of: str  # models whose lowest F1 is that of this class, such as `5 of 6 models`
    easiest: str
    easiest_least: float
    easiest_most: float
    scores: pd.DataFrame  # of `predictions.class_scores`
    apart: str  # the class on which the models differ most
    apart_points: float


def classes(results: Results) -> Classes:
    """Which classes the models find hard, and where they differ most."""
    scores = predictions.class_scores(results)
    f1 = scores.pivot(index="model", columns="class", values="f1")
    order = _from_the_top(f1.mean())
    easiest, hardest = order[0], order[-1]
    spans = f1.max() - f1.min()
    return Classes(
        hardest=hardest,
        hardest_least=f1[hardest].min(),
        hardest_most=f1[hardest].max(),
        hardest_of=part(int((f1.idxmin(axis=1) == hardest).sum()), len(f1), "model"),
        easiest=easiest,
        easiest_least=f1[easiest].min(),
        easiest_most=f1[easiest].max(),
        scores=scores,
        apart=spans.idxmax(),
        apart_points=spans.max(),
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
    stated: Mapping[str, str]  # likewise the claims themselves
    said: Mapping[str, str]  # by id: the outcome as the end of a sentence
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
        stated={kind.value: _stated(judged[judged.outcome == kind.value]) for kind in Outcome},
        said={row.id: SAID[row.outcome] for row in judged.itertuples()},
        turned=join(both.id[both.outcome != both.in_paper]),
        against_itself=join(judged.id[judged.in_paper == Outcome.FAILS.value]),
    )


def _stated(judged: pd.DataFrame) -> str:
    """Claims as one list: `ResNet-Mini … (C1); the parameter count … (C9)`."""
    claims = [f"{within(row.claim.removesuffix('.'))} ({row.id})" for row in judged.itertuples()]
    return "; ".join(claims) or "none"


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
    gains = patience.gains(results)
    if gains is not None:
        gains = {model: Interval(found.low, found.high) for model, found in gains.items()}

    @cache  # claims ask for the same pairs, each of which takes the predictions of two runs a seed
    def pairs(first: str, second: str, measure: str) -> Interval:
        return _interval(results, first, second, measure)

    return judge_claims(analysis.summary(results), analysis.histories(results), pairs, gains)


def _interval(results: Results, first: str, second: str, *measure: str) -> Interval:
    found = difference(Side(results, first), Side(results, second), *measure)
    return Interval(found.low, found.high)


@dataclass(frozen=True)
class Shown:
    """What the report shows, for captions and sentences, by how many runs there are of a model."""

    runs: str  # such as `5 runs of each model`
    with_spread: str  # likewise, and of several what stands behind ±
    table: str  # what ± and the interval are
    strokes: str  # how the interval is drawn
    curves: str  # how runs are drawn over the epochs
    time_curves: str  # likewise their times
    caveat: str  # what the intervals cover and what not
    new: str  # what the paper does not have


def shown(results: Results) -> Shown:
    """What the report shows."""
    several = [len(results.of(model)) > 1 for model in results.models]
    some = any(several)
    new = ["an interval for every accuracy"]
    new += ["the spread over several runs"] if some else []
    new += ["train accuracy evaluated again with the weights that were kept"]
    new += ["scores class by class", "multiply-accumulates"]
    new += ["times measured alone on the machine"] if results.costs else []
    new += ["what a longer patience adds"] if patience.read_twice(results) else []
    caveats = [ONE_SEED] * (not all(several)) + [SEVERAL_SEEDS] * some
    single = "" if all(several) else OF_ONE_RUN
    runs = runs_each(results)
    return Shown(
        runs=runs,
        with_spread=f"{runs}, ± standard deviation over them" if some else runs,
        table=SEVERAL_IN_TABLE + single if some else ONE_INTERVAL,
        strokes=SEVERAL_AS_STROKES + single if some else ONE_INTERVAL,
        curves=SEVERAL_CURVES if some else ONE_CURVE,
        time_curves=SEVERAL_TIMES if some else ONE_CURVE,
        caveat=" ".join(caveats),
        new=join(new),
    )


def runs_each(results: Results) -> str:
    """`one run of each model`, `5 runs of each model` or, where they differ, `1 to 5 runs …`."""
    numbers = sorted({len(results.of(model)) for model in results.models})
    kind = "shortened run" if results.draft else "run"
    if len(numbers) == 1:
        return f"{count(numbers[0], kind)} of each model"
    return f"{numbers[0]} to {numbers[-1]} {kind}s of each model"


def _from_the_top(values: pd.Series) -> list[str]:
    return list(values.sort_values(ascending=False, kind="stable").index)
