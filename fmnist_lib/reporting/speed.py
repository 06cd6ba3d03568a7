"""How long the models take, beside each other and beside the paper: values for sentences.

The sentences themselves stand in the notebooks. What is measured is in `analysis.table2`.
"""

from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from fmnist_lib.reporting import analysis
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.judging import TIME_MARGIN, slower
from fmnist_lib.reporting.paper import REPORTED
from fmnist_lib.reporting.words import name_of, names_of


@dataclass(frozen=True)
class Pace:
    """The training times of the models that were timed alone on the machine."""

    fastest: str
    slowest: str
    factor: float  # the slowest's time over the fastest's
    our_order: str  # the fastest first
    paper_order: str
    close: str  # neighbours in our order whose times decide nothing, as a sentence, or nothing
    margin: float  # %: times no further apart decide nothing
    varied: float  # %: a model's standard deviation over timed blocks, the largest
    varied_model: str  # the model with it
    paper_least: float  # the paper's time over ours, the least of all models
    paper_most: float
    busy: float  # % of the machine that other programs took when the timing began, at most
    in_runs: str  # which runs their own times are of, see `clocked`
    in_runs_least: float  # the time within the runs over the time alone; NaN: not comparable
    in_runs_most: float


def pace(results: Results) -> Pace | None:
    """How the models' training times compare; None if none was timed alone."""
    table = analysis.table2(results).set_index("model").dropna(subset="train_seconds_mean")
    if table.empty:
        return None
    ours = table.train_seconds_mean.sort_values(kind="stable")
    paper = pd.Series({model: REPORTED[model].train_seconds.mean for model in ours.index})
    varied = 100 * table.train_seconds_std / table.train_seconds_mean
    return Pace(
        fastest=name_of(ours.index[0]),
        slowest=name_of(ours.index[-1]),
        factor=ours.iloc[-1] / ours.iloc[0],
        our_order=names_of(ours.index),
        paper_order=names_of(paper.sort_values(kind="stable").index),
        close=_close(ours),
        margin=100 * TIME_MARGIN,
        varied=varied.max(),
        varied_model=name_of(varied.fillna(0).idxmax()),
        paper_least=(paper / ours).min(),
        paper_most=(paper / ours).max(),
        busy=max(cost.busy_percent for cost in results.costs.values()),
        in_runs=clocked(results),
        in_runs_least=table.ratio.min(),
        in_runs_most=table.ratio.max(),
    )


def _close(times: pd.Series) -> str:
    pairs = [names_of(pair) for pair in pairwise(times.index) if slower(*times[list(pair)]) is None]
    return f"Too close to tell apart are {', '.join(pairs)}." if pairs else ""


def clocked(results: Results) -> str:
    """Which runs `analysis.timed_alike` gives, in words."""
    timed = {cost.environment.cpu for cost in results.costs.values()}
    alike = analysis.timed_alike(results).runs
    if timed and not timed & {run.environment.cpu for run in alike}:
        return "the runs, on another processor than the one timed"
    if len(alike) == len(results.runs):
        return "the runs"
    return f"the {len(alike)} of {len(results.runs)} runs on the processor that was timed"
