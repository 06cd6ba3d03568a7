"""What the cost records say of time, alone on the machine. Not here: measuring (`runs.cost`)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import nan

import numpy as np
import pandas as pd

from fmnist_lib.results.value import Value, value
from fmnist_lib.runs.config import TRAIN_IMAGES
from fmnist_lib.runs.record import CostRecord

RULERS = "ruler_training", "ruler_testing"
RULED = {  # a time, and the ruler beside it
    "train_seconds": RULERS[0],
    **dict.fromkeys(("inference_ms", "latency_ms", "latency_ms_p90"), RULERS[1]),
}

TOLD = ("turns", "minutes", "ruler_moved", "steal_percent", "others_percent")
TOLD += ("spread_plain", "spread_normalised")


def times_of(costs: Mapping[str, CostRecord]) -> dict[str, dict[str, Value]]:
    """By model `train_seconds` (60,000 images), `inference_ms` (10,000), `latency_ms`, `…_p90`.

    Of a model's turns the quieter half counts, in which the ruler, a product of fixed matrices, was
    fastest. Each time is multiplied by the reference over the ruler beside it, the reference being
    the median ruler of all quiet halves; so it rests on all these records. A Value is the median,
    `low` to `high` are the 5th to 95th percentile, `std` the sample standard deviation. Records of
    five long blocks have no ruler: median, and range from the least to the most.
    """
    quiet = {model: quieter_half(cost) for model, cost in costs.items() if cost.turns}
    rulers = [turns[[*RULERS]].to_numpy().ravel() for turns in quiet.values()]
    reference = np.median(np.concatenate(rulers)) if rulers else nan
    found = {}
    for model, cost in costs.items():
        own = f"costs/{cost.name}"
        if model in quiet:
            sources = own, *(f"costs/{costs[other].name}" for other in quiet)
            blocks = {t: quiet[model][t] * reference / quiet[model][r] for t, r in RULED.items()}
            found[model] = {t: _summary(block, sources, (5, 95)) for t, block in blocks.items()}
        else:
            whole = np.array(cost.train_seconds_blocks) * TRAIN_IMAGES / cost.scaled_to_images
            blocks = whole, cost.inference_ms_passes, cost.latency_ms
            times = [_summary(block, own, (0, 100)) for block in blocks]
            p90 = value(np.percentile(cost.latency_ms, 90), own)
            found[model] = dict(zip(RULED, (*times, p90), strict=True))
    return found


def _summary(times: Sequence[float], sources: object, ends: tuple[int, int]) -> Value:
    low, high = np.percentile(times, ends)
    std = np.std(times, ddof=1) if len(times) > 1 else nan
    return value(np.median(times), sources, std=std, low=low, high=high)


def turns_of(cost: CostRecord) -> pd.DataFrame:
    """One row a turn: the times of `RULED`, the rulers beside them in ms, others, steal in %."""
    frame = pd.DataFrame([turn.model_dump() for turn in cost.turns])
    before, between, after = np.array(frame.pop("ruler_ms").tolist()).T
    beside = (before + between) / 2, (between + after) / 2
    return frame.assign(**dict(zip(RULERS, beside, strict=True)))


def quieter_half(cost: CostRecord) -> pd.DataFrame:
    """The rows of `turns_of` whose larger ruler is the smaller, of an odd number one more."""
    turns = turns_of(cost)
    loudness = turns[[*RULERS]].max(axis=1)
    return turns.loc[loudness.sort_values(kind="stable").index[: -(-len(turns) // 2)]]


def apart(one: Value, other: Value) -> bool:
    """Whether two times differ beyond what was measured: their ranges do not overlap."""
    return one.high < other.low or other.high < one.low


def timing(costs: Mapping[str, CostRecord]) -> dict[str, Value]:
    """How the measuring went; nan without turns.

    `turns`, `minutes`; `ruler_moved`: the largest median ruler of a turn over the smallest;
    `steal_percent` and `others_percent`, means over turns; `spread_plain` and `spread_normalised`:
    of train times in quiet halves, 5th to 95th percentile in percent of the median, as measured and
    normalised by the ruler, the median over the models.
    """
    timed = {model: cost for model, cost in costs.items() if cost.turns}
    if not timed:
        return dict.fromkeys(TOLD, value(nan))
    turns = [turn for cost in timed.values() for turn in cost.turns]
    rulers = [np.median(turn.ruler_ms) for turn in turns]
    ends = [[c.environment.started, c.environment.finished] for c in timed.values()]
    started, finished = np.array([[*map(datetime.fromisoformat, pair)] for pair in ends]).T
    plain = [_summary(quieter_half(cost).train_seconds, (), (5, 95)) for cost in timed.values()]
    normalised = [times["train_seconds"] for times in times_of(timed).values()]
    numbers = (
        *(len(turns), (max(finished) - min(started)).total_seconds() / 60),
        *(max(rulers) / min(rulers), np.mean([turn.steal_percent for turn in turns])),
        np.mean([turn.others_percent for turn in turns]),
        *(np.median([100 * (t.high - t.low) / t for t in times]) for times in (plain, normalised)),
    )
    sources = [f"costs/{cost.name}" for cost in timed.values()]
    return {name: value(number, sources) for name, number in zip(TOLD, numbers, strict=True)}
