"""What the cost records say of time, alone on the machine. Not here: measuring (`runs.cost`)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from math import nan

import numpy as np
import pandas as pd

from fmnist_lib.results.load import variant_of
from fmnist_lib.results.value import Value
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.record import CostRecord

RULERS = ["ruler_training", "ruler_testing"]
RULED = {  # a time, and the ruler beside it
    "train_seconds": RULERS[0],
    **dict.fromkeys(("inference_ms", "latency_ms", "latency_ms_p90"), RULERS[1]),
}


def times_of(costs: Mapping[str, CostRecord]) -> dict[str, dict[str, Value]]:
    """By model `train_seconds` (60,000 images), `inference_ms` (10,000), `latency_ms`, `…_p90`.

    Of a model's turns the quieter half counts. Each time is multiplied by the reference, the median
    ruler of all quiet halves, over the ruler beside it; so it rests on all these records. A Value
    is the median, `std` the sample standard deviation, `low` to `high` the middle 90 %.
    """
    if not costs:
        return {}
    quiet = {model: quieter_half(cost) for model, cost in costs.items()}
    reference = pd.concat(quiet.values())[RULERS].stack().median()
    names = {model: f"costs/{costs[model].name}" for model in quiet}
    found: dict[str, dict[str, Value]] = {model: {} for model in quiet}
    for model, turns in quiet.items():
        for time, ruler in RULED.items():
            blocks = (turns[time] * reference / turns[ruler]).to_numpy()
            low, high = np.percentile(blocks, (5, 95))
            std = np.std(blocks, ddof=1) if len(blocks) > 1 else nan
            sources = names[model], names.values()
            found[model][time] = Value(np.median(blocks), sources, std=std, low=low, high=high)
    return found


def quieter_half(cost: CostRecord) -> pd.DataFrame:
    """The turns whose larger ruler is the smaller, of an odd number one more, quietest first.

    A row has the times of `RULED` and, of three rulers, the mean in ms of those on either side.
    """
    turns = pd.DataFrame([turn.model_dump() for turn in cost.turns])
    before, between, after = np.array(turns.pop("ruler_ms").tolist()).T
    turns[RULERS[0]], turns[RULERS[1]] = (before + between) / 2, (between + after) / 2
    quietest = turns[RULERS].max(axis=1).sort_values(kind="stable").index
    return turns.loc[quietest[: (len(turns) + 1) // 2]]


def rounds(costs: Iterable[CostRecord]) -> pd.DataFrame | None:
    """One row a turn of the quieter half, plain, of what was timed in turns together; None of none.

    Columns: name, model, variant, seed (which turn it is), train_seconds as a multiple of the ruler
    beside it, and per_mac, that over the multiply-accumulates of an image.
    """
    frames = []
    for cost in costs:
        config, turns = cost.config, quieter_half(cost)
        seconds = turns.train_seconds / turns[RULED["train_seconds"]]
        labels = {"name": f"costs/{cost.name}", "model": config.model, "seed": turns.index}
        labels |= {"variant": variant_of(config), "train_seconds": seconds}
        per_mac = seconds / count_macs(config.model, config.model_options)
        frames.append(pd.DataFrame({**labels, "per_mac": per_mac}))
    return pd.concat(frames, ignore_index=True) if frames else None


def timing(costs: Mapping[str, CostRecord]) -> dict[str, Value]:
    """How the measuring went: `turns`, `minutes`, `ruler_moved`, `busy_percent`; nan without costs.

    `ruler_moved` is the largest median ruler of a turn over the smallest; `busy_percent` what other
    processes and other virtual machines took of all cores, the mean over turns.
    """
    if not costs:
        return dict.fromkeys(("turns", "minutes", "ruler_moved", "busy_percent"), Value(nan))
    turns = [turn for cost in costs.values() for turn in cost.turns]
    ends = [(cost.environment.started, cost.environment.finished) for cost in costs.values()]
    started, finished = (map(datetime.fromisoformat, times) for times in zip(*ends, strict=True))
    rulers = [np.median(turn.ruler_ms) for turn in turns]
    found = {
        "turns": len(turns),
        "minutes": (max(finished) - min(started)).total_seconds() / 60,
        "ruler_moved": max(rulers) / min(rulers),
        "busy_percent": np.mean([turn.others_percent + turn.steal_percent for turn in turns]),
    }
    sources = [f"costs/{cost.name}" for cost in costs.values()]
    return {name: Value(number, sources) for name, number in found.items()}
