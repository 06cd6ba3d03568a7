"""Results become frames whose cells are Values or text, and flat frames for files.

What was not measured (an interval of one run, times of a model that was not timed) is NaN.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from math import nan
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.results import statistics
from fmnist_lib.results.columns import column
from fmnist_lib.results.load import Results, names_of, over_runs, variant_of
from fmnist_lib.results.statistics import ALPHA, Estimate, estimate, holm
from fmnist_lib.results.times import RULED, times_of
from fmnist_lib.results.value import SETTINGS, Interval, Value, framed, reported, value
from fmnist_lib.runs.config import TEST_IMAGES, TRAIN_IMAGES
from fmnist_lib.runs.plans import PAPER
from fmnist_lib.runs.record import RunRecord

METRICS = ["train_loss", "test_loss", "train_accuracy", "test_accuracy", "best_epoch"]
METRICS += ["train_loss_eval", "train_accuracy_eval"]  # in the order of Table 1
GAPS = {"gap": "train_accuracy", "gap_eval": "train_accuracy_eval"}  # minus test accuracy
LONG = ("test_accuracy", "best_epoch", "epochs", "test_loss")  # also at the longer patience
SIZES = ("parameters", "macs", "checkpoint_bytes")
EQUAL = (0.15, 0.3, 0.6)  # points within which accuracies count as equal; the middle one decides

TABLE1 = [name + part for name in METRICS for part in ("", "_std")]
TABLE1 = ["model", "parameters", "n", *TABLE1, "test_accuracy_low", "test_accuracy_high"]
TABLE1 += ["next_run_low", "next_run_high"]
TABLE2 = [
    *("model", "n", "train_seconds_mean", "train_seconds_std", "inference_ms_mean"),
    *("inference_ms_std", "epochs", "epochs_std", "total_train_seconds", "total_train_seconds_std"),
    *("train_us_per_parameter", "train_us_per_parameter_std", "latency_ms_median"),
    *("latency_ms_p90", "train_seconds_in_runs", "ratio", "train_seconds_low"),
    *("train_seconds_high", "inference_ms_low", "inference_ms_high", "latency_ms_low"),
    *("latency_ms_high", "total_train_seconds_low", "total_train_seconds_high"),
]
RESULTS = [
    *("run", "model", "seed", "fold", "variant", "stop", "monitor", "patience", "fired"),
    *("best_epoch", "epochs", "train_loss", "train_accuracy", "train_loss_eval"),
    *("train_accuracy_eval", "test_loss", "test_accuracy", "protocol", "max_epochs", "batch_size"),
    *("optimizer", "learning_rate", "device", "engine", "precision", "train_images"),
    *("validation_images", "test_images", "parameters", "macs", "checkpoint_bytes"),
    *("peak_memory_mib", "wall_seconds", "train_seconds_mean", "train_seconds_std"),
    *("inference_ms_mean", "inference_ms_std", "latency_ms_median", "latency_ms_p90", "cost"),
    *("python", "system", "cpu", "cores", "threads", "commit", "dirty", "code_sha256"),
    *("data_sha256", "started", "finished", "torch", "notes", "key", "result_digest"),
]
IN_FILES = {"train_seconds": "train_seconds_mean", "inference_ms": "inference_ms_mean"}
IN_FILES["latency_ms"] = "latency_ms_median"


def runs_frame(results: Results) -> pd.DataFrame:
    """One row a run at the stopping rule, plain: settings, metrics, sizes, environment."""
    frame = pd.DataFrame([_row(run, results.rule) for run in results.runs])
    return frame.assign(**{gap: frame[train] - frame.test_accuracy for gap, train in GAPS.items()})


def _row(run: RunRecord, rule: str) -> dict[str, Any]:
    config, kept, variant = run.config, run.stops[rule], variant_of(run.config)
    return {
        **config.model_dump(exclude={"stops", "model_options"}),
        **kept.rule.model_dump(),
        **kept.model_dump(exclude={"rule", "confusion"}),
        **run.environment.model_dump(exclude={"packages"}),
        **run.model_dump(exclude={"config", "stops", "history", "environment"}),
        **{"run": run.name, "stop": rule, "variant": variant},
        **{"train_images": config.trained_images, "validation_images": config.held_out},
        "test_images": config.test_images or TEST_IMAGES,
        "wall_seconds": sum(row.train_seconds + row.inference_ms / 1000 for row in run.history),
        "torch": run.environment.packages.get("torch"),
        "notes": "; ".join(run.environment.notes) or None,
    }


def epochs_frame(results: Results) -> pd.DataFrame:
    """One row an epoch of a run, plain, up to the one at which the stopping rule ended it.

    `train_seconds` is scaled to 60,000 training images. Times of a run that shared its device with
    others are no times of that run: NaN.
    """
    rows = []
    for run in results.runs:
        config, alone = run.config, nan if run.environment.runs_beside else 1.0
        labels = {"name": run.name, "model": config.model, "variant": variant_of(config)}
        labels |= {"seed": config.seed, "fold": config.fold}
        for row in run.history[: results.kept(run).epochs]:
            seconds = row.train_seconds * TRAIN_IMAGES / config.trained_images * alone
            times = {"train_seconds": seconds, "inference_ms": row.inference_ms * alone}
            rows.append({**labels, **row.model_dump(), **times})
    return pd.DataFrame(rows)


def models_frame(results: Results) -> pd.DataFrame:
    """One row a model of the paper, indexed by name; columns as in the catalogue.

    Means over a model's runs, as `measured` gives them. Names in `…_long` are at the longer
    patience, `…_paper` what the paper reports.
    """
    longer, times, rows = results.longer(), times_of(results.costs), {}
    for model in results.models:
        runs = results.of(model)
        row = {"title": MODELS[model].title, "n": value(len(runs), names_of(runs))}
        row |= {name: value(getattr(runs[0], name), f"model:{model}") for name in SIZES}
        row |= {name: measured(results, model, name) for name in (*METRICS, "epochs", *GAPS)}
        row["next_run"] = next_run(row["test_accuracy"])
        row |= _times(results, runs, row, times.get(model, dict.fromkeys(RULED, value(nan))))
        row |= _patience(results, longer, model)
        row |= {f"{name}_paper": number for name, number in in_paper()[model].items()}
        row["difference"] = row["test_accuracy"] - row["test_accuracy_paper"]
        rows[model] = row
    return framed(rows).rename_axis("model")


def measured(results: Results, model: str, name: str) -> Value:
    """The mean of a metric or gap over a model's runs, with a 95 % interval over seeds (t).

    That of the test accuracy is over seeds and images, of one run over images alone (Wilson).
    """
    runs = results.of(model)
    kept = [results.kept(run) for run in runs]
    numbers = [getattr(each, GAPS.get(name, name)) for each in kept]
    if name in GAPS:
        numbers = [train - each.test_accuracy for train, each in zip(numbers, kept, strict=True)]
    found = over_runs(runs, numbers)
    if name != "test_accuracy":
        return found
    shares = results.shares_right(model)
    interval = statistics.wilson_interval(numbers[0], len(shares))
    if len(runs) > 1:
        over_images = statistics.share_interval(shares)
        interval = statistics.joined(float(found), found.interval, over_images)
    return over_runs(runs, numbers, Interval(max(interval.low, 0.0), min(interval.high, 100.0)))


def next_run(number: Value) -> Value:
    """The number, from `low` to `high` where that of one more run is expected; nan of one run."""
    parts = [*number.parts.values()]
    ends = statistics.next_interval(parts) if len(parts) > 1 else Interval(nan, nan)
    return value(number, number, **ends._asdict())


def _times(
    results: Results, runs: Sequence[RunRecord], row: dict[str, Any], alone: dict[str, Value]
) -> dict[str, Value]:
    """Times alone on the machine, what follows from them, and the median epoch within the runs.

    Those on the processor that was timed count, or all where no run was there.
    """
    train, epochs = alone["train_seconds"], row["epochs"]
    spread = {"std": train * epochs.std, "low": train.low * epochs, "high": train.high * epochs}
    parts = {name: float(train * number) for name, number in epochs.parts.items()}
    timed = {cost.environment.cpu for cost in results.costs.values()}
    alike = any(run.environment.cpu in timed for run in results.runs)
    own = tuple(run for run in runs if run.environment.cpu in timed or not alike)
    seconds = epochs_frame(replace(results, runs=own)).train_seconds if own else pd.Series([nan])
    within = value(seconds.median(), names_of(own))
    ratio = within / train if alike else value(nan)
    ends = {"low": within / train.high, "high": within / train.low} if alike else {}
    return {
        **alone,
        "total_train_seconds": value(train * epochs, train, epochs, **spread, parts=parts),
        "train_us_per_parameter": train.scaled(1e6 / row["parameters"]),
        "train_seconds_in_runs": within,
        "ratio": value(ratio, ratio, **ends),
    }


def _patience(results: Results, longer: Results | None, model: str) -> dict[str, Value]:
    """A model at the longer patience, and what that adds; nan without one.

    Where no best epoch moved the gain has no interval; `later_most` says how many may yet.
    """
    if longer is None or model not in longer.models:
        names = (*(f"{name}_long" for name in LONG), "gain", "later", "later_most")
        return dict.fromkeys(names, value(nan))
    row = {f"{name}_long": measured(longer, model, name) for name in LONG}
    row["gain"], _ = gain(results, longer, model)
    epochs = measured(replace(results, runs=longer.runs), model, "best_epoch")
    later = sum(row["best_epoch_long"].parts[part] > epochs.parts[part] for part in epochs.parts)
    row["later"] = value(later, epochs)
    row["later_most"] = value(statistics.most_of(later, len(epochs.parts)), epochs)
    return row


def gain(results: Results, longer: Results, model: str) -> tuple[Value, Estimate]:
    """What the longer patience adds to a model's test accuracy in points, paired within runs."""
    sides = replace(results, runs=longer.runs), longer
    before, after = (measured(side, model, "test_accuracy") for side in sides)
    gains = {part: after.parts[part] - number for part, number in before.parts.items()}
    shares = [side.shares_right(model) for side in sides]
    found = estimate([[*gains.values()]], 100 * (shares[1] - shares[0]))
    return _estimated(found, before, gains), found


def _estimated(found: Estimate, sources: object, parts: dict[str, float] | None = None) -> Value:
    low, high = found.interval if found.error else (nan, nan)
    return value(found.effect, sources, low=low, high=high, parts=parts)


@cache
def printed() -> dict[str, Any]:
    """What the paper prints: `models` with the rows of Tables 1 and 2, and its `citation`."""
    return json.loads(Path(__file__).with_name("reported.json").read_text(encoding="utf-8"))


@cache
def in_paper() -> dict[str, dict[str, Value]]:
    """The paper's Tables 1 and 2 by model and the names of our columns; times with their spread."""
    found = {}
    for model, row in printed()["models"].items():
        numbers = {n: reported(*np.atleast_1d(v)) for n, v in row.items() if type(v) is not str}
        numbers["train_us_per_parameter"] = numbers.pop("train_time_per_parameter")
        numbers["parameters"] = reported(1000 * int(row["parameters_text"].removesuffix("K")))
        numbers["gap"] = numbers["train_accuracy"] - numbers["test_accuracy"]
        found[model] = numbers
    return found


def compare(
    results: Results, first: str, second: str, name: str = "test_accuracy"
) -> tuple[Value, Estimate]:
    """By how much a metric or gap of the first model exceeds the second's, not paired by seed.

    Chance is that of seeds and, for accuracies on test images, of those images. Raises `UserError`
    for models that were not tested on the same ones.
    """
    sides = [measured(results, model, name) for model in (first, second)]
    lead = None
    if name in ("test_accuracy", *GAPS):
        shares = [results.shares_right(model) for model in (first, second)]
        if len(shares[0]) != len(shares[1]):
            raise UserError(f"{first} and {second} were not tested on the same images")
        lead = 100 * (shares[0] - shares[1])
    found = estimate([[*side.parts.values()] for side in sides], lead)
    return _estimated(found, sides), found


def pairs(results: Results) -> pd.DataFrame:
    """One row a pair of models: how their test accuracies differ; Holm corrects over all pairs.

    `differs`: yes where `p_holm` is below 0.05, else no where `p_equal`, also corrected, is, else
    undecided. `equal_within`: the least of `EQUAL` at which they are shown to be equal, or nan.
    """
    chosen = {f"{a}_{b}": (a, b) for a, b in combinations(results.models, 2)}
    found = {pair: compare(results, *models) for pair, models in chosen.items()}
    estimates, everything = [each for _, each in found.values()], [d for d, _ in found.values()]
    differs = holm([each.p_differs() for each in estimates])
    equal = np.array([holm([each.p_equal(margin) for each in estimates]) for margin in EQUAL])
    rows = {}
    for place, (pair, (difference, each)) in enumerate(found.items()):
        first, second = (MODELS[model].title for model in chosen[pair])
        p, p_equal = differs[place], equal[1, place]
        within = [m for m, by_pair in zip(EQUAL, equal, strict=True) if by_pair[place] < ALPHA]
        rows[pair] = {
            **{"first": first, "second": second, "difference": difference},
            "p": value(each.p_differs(), difference),
            "p_holm": value(p, everything),
            "differs": "yes" if p < ALPHA else "no" if p_equal < ALPHA else "undecided",
            "p_equal": value(p_equal, everything, SETTINGS),
            "equal_within": value(min(within, default=nan), everything, SETTINGS),
            "shown_from": value(each.shown_from(len(found)) if each.error else nan, difference),
        }
    columns = ("first", "second", "difference", "p", "p_holm", "differs")
    return framed(rows) if rows else pd.DataFrame(columns=columns, dtype=object)  # of one model


def namespace(frame: pd.DataFrame) -> dict[str, SimpleNamespace]:
    """Each row by its index, which is its `name`: `say("{lenet5.n:.0f}", **namespace(models))`."""
    names = ["name", *frame.columns]
    rows = [dict(zip(names, row, strict=True)) for row in frame.itertuples(name=None)]
    return {row["name"]: SimpleNamespace(**row) for row in rows}  # to_dict() makes floats of Values


def top(frame: pd.DataFrame, column: str, *, lowest: bool = False) -> SimpleNamespace:
    """The row with the highest (lowest) value of a column, the first of equal ones; nan is none."""
    rows = ranked(frame, column)
    known = [row for row in rows if getattr(row, column) == getattr(row, column)]  # nan is not
    return (min if lowest else max)(known or rows, key=attrgetter(column))


def ranked(frame: pd.DataFrame, column: str) -> list[SimpleNamespace]:
    """The rows by a column, the highest first, equal ones in their order; nan comes last."""
    order = frame[column].astype(float).sort_values(ascending=False, kind="stable").index
    rows = namespace(frame)
    return [rows[name] for name in order]


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame for a file, its index in front: of Values x, and x_std, x_low, x_high if any."""
    columns = {}
    for name, cells in (frame.reset_index() if frame.index.name else frame).items():
        if not all(isinstance(cell, Value) for cell in cells):
            columns[name] = [*cells]
            continue
        numbers = pd.Series([*map(float, cells)])
        count = column(name).format.endswith(".0f") and (numbers % 1 == 0).all()
        columns[name] = numbers.astype(int) if count else numbers
        spread = {
            f"{name}_{end}": [getattr(c, end) for c in cells] for end in ("std", "low", "high")
        }
        columns |= {name: ends for name, ends in spread.items() if not np.isnan(ends).all()}
    return pd.DataFrame(columns)


def table1_csv(results: Results) -> pd.DataFrame:
    """The paper's Table 1 for our runs, flat: one row a model, means over its `n` runs."""
    return flat(models_frame(results)).reindex(columns=TABLE1)


def table2_csv(results: Results) -> pd.DataFrame:
    """The paper's Table 2 for our runs, flat: times alone on the machine, as in `times_of`."""
    return flat(models_frame(results)).rename(columns=IN_FILES).reindex(columns=TABLE2)


def results_csv(results: Results) -> pd.DataFrame:
    """One row a run and stopping rule, plain: what was run, what came out, its cost, and where."""
    times = framed(times_of(results.costs))
    times = flat(times.rename_axis("model")).rename(columns=IN_FILES)
    costs = {model: cost.name for model, cost in results.costs.items()}
    rows = [_row(run, rule) for run in results.runs for rule in run.stops]
    frame = pd.DataFrame(rows).merge(times, how="left", on="model")
    variants = frame.variant.where(frame.variant != PAPER)
    return frame.assign(cost=frame.model.map(costs), variant=variants).reindex(columns=RESULTS)


def confusion_csv(results: Results) -> pd.DataFrame:
    """One row a run of the paper's models, rule, true and predicted class: how many images."""
    rows = [
        (model, run.config.seed, rule, true, predicted, count)
        for model in results.models
        for run in results.of(model)
        for rule, kept in run.stops.items()
        for true, counts in zip(CLASS_NAMES, kept.confusion, strict=True)
        for predicted, count in zip(CLASS_NAMES, counts, strict=True)
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "stop", "true", "predicted", "count"])


def to_csv(frame: pd.DataFrame) -> bytes:
    """A plain frame as CSV in UTF-8, without its index; numbers read back exactly as they were."""
    return frame.to_csv(index=False, lineterminator="\n").encode()
