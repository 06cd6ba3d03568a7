"""What can be said about one model: values for sentences, and words that the numbers decide.

The sentences themselves stand in the notebooks; the models beside each other are in `standing`.
Accuracies are in percent, differences in points.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lib.reporting import analysis, predictions
from fmnist_lib.reporting.analysis import Results, row_of
from fmnist_lib.reporting.paper import REPORTED, ReportedModel
from fmnist_lib.reporting.speed import clocked
from fmnist_lib.reporting.words import name_of

GARMENTS = ("T-shirt/top", "Pullover", "Dress", "Coat", "Shirt")
SHOES = ("Sandal", "Sneaker", "Ankle boot")
ONE_SEED = (
    "A single run is one draw of initial weights and batch order: its interval says what other"
    " test images would change, not what another seed would."
)
SEVERAL_SEEDS = (
    "The interval of a mean over several runs says what other seeds and what other test images of"
    " the same kind would change; since all runs are tested on the same images, more runs narrow"
    " above all the part of the seeds."
)

ONE_RUN = "A single run does not tell how much of that is chance."
ONE_CURVE = "Each line is one run."
_SEVERAL_CURVES = (
    "A thick line is the {} of the runs over the epochs that all of them have, thin lines are"
    " the runs, the band goes from the least to the greatest."
)
SEVERAL_CURVES, SEVERAL_TIMES = map(_SEVERAL_CURVES.format, ("mean", "median"))

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


def part(number: int, whole: int, thing: str) -> str:
    """`5 of 6 models`, `all 6 models`, `the one model`."""
    if number < whole:
        return f"{number} of {whole} {thing}s"
    return f"all {whole} {thing}s" if whole > 1 else f"the one {thing}"


# --- one model ---


@dataclass(frozen=True)
class Headline:
    """A model's result beside the paper's; means over its runs."""

    title: str
    ours: Row  # of `analysis.table1`
    paper: ReportedModel
    epochs: float  # trained until the stopping rule ended a run
    runs: str  # such as `one run`
    clocked: str  # which of them their times are of, see `speed.clocked`
    with_spread: str  # likewise, and of several what stands behind ±
    shown: str  # likewise, and of several that a mean is shown, with its spread
    was: str  # `was` or, of several runs, `was on average`
    over: str  # what the interval of the accuracy is over
    compared: str  # our accuracy with the paper's
    expected: str  # what another seed would give, and whether the paper's accuracy fits in
    counted: str  # over which runs mistakes are counted
    first_seed: int  # of the run that single images are shown of
    curves: str  # how the runs are drawn over the epochs
    caveat: str  # what the interval covers and what not


def headline(results: Results, model: str) -> Headline:
    """The accuracy and best epoch of a model, ours and the paper's."""
    ours, paper = row_of(analysis.table1(results), model), REPORTED[model]
    images = int(predictions.confusion(results, model).to_numpy().sum()) // ours.n
    runs = count(ours.n, "shortened run" if results.draft else "run")
    single = ours.n == 1
    shown = runs if single else f"mean of {runs}, standard deviation {ours.test_accuracy_std:.2f}"
    return Headline(
        title=name_of(model),
        ours=ours,
        paper=paper,
        epochs=row_of(analysis.table2(results), model).epochs,
        runs=runs,
        clocked=clocked(results),
        with_spread=runs if single else f"{runs}, ± standard deviation over them",
        shown=shown,
        was="was" if single else "was on average",
        over=f"over {'the' if single else 'seeds and the'} {images:,} test images",
        compared=compared(ours.test_accuracy, paper.test_accuracy),
        expected=ONE_RUN if single else _expected(ours, paper),
        counted=runs if single else f"{runs} together",
        first_seed=results.of(model)[0].config.seed,
        curves=ONE_CURVE if single else SEVERAL_CURVES,
        caveat=ONE_SEED if single else SEVERAL_SEEDS,
    )


def _expected(ours: Row, paper: ReportedModel) -> str:
    low, high = ours.next_run_low, ours.next_run_high
    return (
        f"For one more run {low:.2f} to {high:.2f} % is to be expected (with 95 % probability);"
        f" the paper's figure lies {position(paper.test_accuracy, low, high)} that range."
    )


@dataclass(frozen=True)
class Course:
    """How training went on after the best epoch; means over the runs."""

    further: float  # epochs
    train_loss: str  # such as `fell from 0.201 to 0.187`
    test_loss: str
    ended: str  # by what
    meanwhile: str  # that word and, of several runs, that means follow


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
    return Course(
        float(np.mean([last - best for best, last in ends])),
        **changes,
        ended=ended,
        meanwhile="Meanwhile" if len(runs) == 1 else "Meanwhile, on average,",
    )


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
    best_class: Row  # by F1, the mean over the runs; of `predictions.per_class`
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
