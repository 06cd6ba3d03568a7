"""What a longer patience adds: the same runs, read at two of the stopping rules they hold.

Both rules watch the same loss from the first epoch on, so the longer one keeps the same epoch as
the shorter or a later one with a lower loss. Where that is the loss on the test images, the longer
one has chosen among more epochs by the images it is then judged on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from fmnist_lib.reporting import analysis
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.judging import Answer, Interval, above
from fmnist_lib.reporting.paired import Difference, Side, difference
from fmnist_lib.reporting.words import join, name_of, names_of

Pair = tuple[Results, Results]
"""The same runs at their own and at the longer patience."""

SPREAD = "The interval is that of the gain, over the test images"
SPREADS = (
    "± is the standard deviation over the runs of a model; the interval is that of the mean gain,"
    " over seeds and test images"
)
NO_WIDTH = "; it has no width where no best epoch moved, and then says nothing of other seeds."


def read_twice(results: Results) -> Pair | None:
    """The runs that were also kept at a longer patience, at both; None if there are none.

    Of several longer ones that watch the same loss, the longest.
    """
    own = results.kept(results.runs[0]).rule
    longer = {
        kept.rule.patience: name
        for run in results.runs
        for name, kept in run.stops.items()
        if kept.rule.monitor == own.monitor and kept.rule.patience > own.patience
    }
    if not longer:
        return None
    rule = longer[max(longer)]
    runs = tuple(run for run in results.runs if rule in run.stops)
    return replace(results, runs=runs), replace(results, runs=runs, rule=rule)


def gains(results: Results) -> dict[str, Difference] | None:
    """By model, what the longer patience adds to the test accuracy; None without one.

    Exactly zero where every run kept the same epoch: then test images change nothing.
    """
    if (pair := read_twice(results)) is None:
        return None
    return {
        model: _gain(*pair, model) if moved else _no_gain(pair[1], model)
        for model, moved in later(pair).items()
    }


def _gain(shorter: Results, longer: Results, model: str) -> Difference:
    return difference(Side(longer, model), Side(shorter, model))


def _no_gain(results: Results, model: str) -> Difference:
    return Difference({run.config.seed: 0.0 for run in results.of(model)}, 0.0, 0.0, 0.0)


def later(pair: Pair) -> dict[str, int]:
    """By model, how many runs have a later best epoch with the longer patience."""
    shorter, longer = (analysis.run_table(each).set_index("name") for each in pair)
    moved = longer.best_epoch > shorter.best_epoch
    return moved.groupby(shorter.model, sort=False).sum().to_dict()


def table(results: Results) -> pd.DataFrame:
    """One row a model, what was kept at each patience; without a longer one no rows.

    Columns: model, n; best_epoch, epochs, test_loss and test_accuracy, each followed by its value
    at the longer patience (`_long`); gain, gain_low and gain_high (in accuracy, points); later (how
    many runs' best epoch moved). `_std` columns as in `analysis.table1`.
    """
    if (pair := read_twice(results)) is None:
        return pd.DataFrame()
    frame = pd.DataFrame(index=pd.Index(pair[0].models, name="model"))
    summaries = dict(zip(("", "_long"), map(analysis.summary, pair), strict=True))
    frame["n"] = summaries[""]["n"]
    for metric in ("best_epoch", "epochs", "test_loss", "test_accuracy"):
        for patience, rows in summaries.items():
            for part in ("", "_std"):
                if metric + part in rows:
                    frame[metric + patience + part] = rows[metric + part]
    found = gains(results)
    for part, column in {"mean": "gain", "low": "gain_low", "high": "gain_high"}.items():
        frame[column] = [getattr(found[model], part) for model in frame.index]
    return frame.assign(later=later(pair)).reset_index()


def gain_of_each(results: Results) -> pd.DataFrame:
    """One row a run: model, seed, and what the longer patience adds to its test accuracy."""
    rows = [
        (model, seed, value)
        for model, found in (gains(results) or {}).items()
        for seed, value in found.by_seed.items()
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "gain"])


@dataclass(frozen=True)
class Effect:
    """What the longer patience changes, for sentences."""

    shorter: int  # epochs
    longer: int
    runs: int
    later: int  # runs whose best epoch moved
    clear: str  # the models whose accuracy changed by more than chance, as a sentence
    least: float  # gain of a model, points
    most: float
    most_model: str  # the one whose accuracy changes the most, up or down
    largest: float  # its gain
    factor: float  # epochs trained, over those at the shorter patience
    cut: str  # how many runs the limit on epochs ended before the longer patience, a sentence
    spread: str  # what ± and the interval of the gain are, a sentence


def effect(results: Results) -> Effect | None:
    """What the longer patience changes; None if the records hold the shorter one alone."""
    if (pair := read_twice(results)) is None:
        return None
    rows = table(results).set_index("model")
    clear = {
        model: above(Interval(low, high))
        for model, low, high in rows[["gain_low", "gain_high"]].itertuples()
    }
    epochs = [analysis.run_table(each).epochs.sum() for each in pair]
    largest = rows.gain.abs().idxmax()
    return Effect(
        *(each.kept(each.runs[0]).rule.patience for each in pair),
        runs=int(rows.n.sum()),
        later=int(rows.later.sum()),
        clear=_clear(clear),
        least=rows.gain.min(),
        most=rows.gain.max(),
        most_model=name_of(largest),
        largest=rows.gain[largest],
        factor=epochs[1] / epochs[0],
        cut=_cut(pair[1]),
        spread=(SPREADS if (rows.n > 1).any() else SPREAD) + NO_WIDTH,
    )


def _clear(answers: Mapping[str, Answer]) -> str:
    rises, falls = ([m for m, answer in answers.items() if answer is way] for way in (True, False))
    parts = [f"rises for {names_of(rises)}"] * bool(rises)
    parts += [f"falls for {names_of(falls)}"] * bool(falls)
    return f"By more than chance it {join(parts) if parts else 'changes for none'}."


def _cut(longer: Results) -> str:
    cut = [run for run in longer.runs if not longer.kept(run).fired]
    if not cut:
        return "No run reached the limit on epochs."
    limit = cut[0].config.max_epochs
    which = join(f"{name_of(run.config.model)}, seed {run.config.seed}" for run in cut)
    return (
        f"{len(cut)} of {len(longer.runs)} runs ({which}) reached the limit of {limit} epochs"
        " before the longer patience was used up."
    )
