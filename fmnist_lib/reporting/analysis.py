"""Records become tables: one frame for each question a notebook asks.

Not here: training, single predictions (`predictions`), how a table or figure looks. Accuracies are
in percent, losses are means per image. A number that was not measured (a spread of one run, times
of a model that was not timed) is NaN in the frame and an empty cell in its CSV file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.reporting.images import right
from fmnist_lib.reporting.intervals import (
    Interval,
    combined,
    next_interval,
    share_interval,
    t_interval,
)
from fmnist_lib.reporting.paper import TRAIN_IMAGES, wilson_interval
from fmnist_lib.runs.config import RunConfig, Stop
from fmnist_lib.runs.record import CostRecord, Environment, RunRecord, StopResult
from fmnist_lib.runs.store import RunStore

TIMES = (
    "train_seconds_mean",
    "train_seconds_std",
    "inference_ms_mean",
    "inference_ms_std",
    "latency_ms_median",
    "latency_ms_p90",
)
TIMED = ("train_seconds", "inference_ms")  # of an epoch within a run
METRICS = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "best_epoch")
EVALUATED = ("train_loss_eval", "train_accuracy_eval")


@dataclass(frozen=True)
class Results:
    """What a notebook works on: runs that differ, within a model, in nothing but the seed."""

    store: RunStore
    runs: tuple[RunRecord, ...]  # in the paper's order, then by seed
    costs: Mapping[str, CostRecord] = field(default_factory=dict)  # by model; may lack some
    rule: str = Stop().name  # the stopping rule that everything is read at
    origin: str = ""  # where the records come from, for the reader

    @property
    def draft(self) -> bool:
        """Whether any run is shortened."""
        return any(run.config.shortened for run in self.runs)

    @property
    def models(self) -> list[str]:
        """The models there are runs of, in the paper's order."""
        return list(dict.fromkeys(run.config.model for run in self.runs))

    def of(self, model: str) -> list[RunRecord]:
        """The runs of a model, by seed; raises `UserError` if there is none."""
        runs = [run for run in self.runs if run.config.model == model]
        if not runs:
            raise UserError(f"no results for {model!r}; there are: {', '.join(self.models)}")
        return runs

    def kept(self, run: RunRecord) -> StopResult:
        """What the stopping rule kept of a run."""
        return run.stops[self.rule]


def load_results(
    store: RunStore, configs: Iterable[RunConfig], *, rule: str = Stop().name, origin: str = ""
) -> Results:
    """The results of those of `configs` that the store has a record of, with the newest costs.

    Raises:
        UserError: no record at all, a record without the stopping rule, or configs of one model
            that differ in more than the seed, whose mean would mean nothing.
    """
    wanted = {config.name: config for config in configs}
    found = [run for config in wanted.values() if (run := store.find(config)) is not None]
    if not found:
        raise UserError(f"{store.folder}: no record of {', '.join(wanted) or 'any run'}")
    for run in found:
        if rule not in run.stops:
            raise UserError(
                f"{run.name}: no result for the stopping rule {rule!r}; "
                f"there are: {', '.join(run.stops)}"
            )
    variants = {run.config.model: run.config for run in found}
    for run in found:
        if run.config.differs(variants[run.config.model], ignoring={"seed"}):
            raise UserError(
                f"{run.name}: differs from the other runs of its model in more than the seed"
            )
    order = list(MODELS)
    found.sort(key=lambda run: (order.index(run.config.model), run.config.seed))
    return Results(store, tuple(found), _newest_costs(store, variants), rule, origin)


def as_recorded(
    store: RunStore, configs: Iterable[RunConfig], *, free: frozenset[str]
) -> list[RunConfig]:
    """Each run as the store has it: itself, else one that differs in the `free` settings alone.

    `free` names settings that change rounding and speed but not the experiment. A run the store
    does not have in any way stays as it is; the stopping rules are those asked for.
    """
    recorded = [run.config for run in store.readable()]
    names = {config.name for config in recorded}

    def nearest(config: RunConfig) -> RunConfig:
        alike = [other for other in recorded if not other.differs(config, ignoring=free)]
        return alike[-1] if alike and config.name not in names else config

    return [nearest(config).model_copy(update={"stops": config.stops}) for config in configs]


def _newest_costs(store: RunStore, variants: Mapping[str, RunConfig]) -> dict[str, CostRecord]:
    """The newest costs of one machine: that of the most models, else the one last used."""
    machines: dict[tuple[str, str], dict[str, CostRecord]] = {}
    for cost in sorted(store.costs(), key=lambda cost: cost.environment.finished, reverse=True):
        timed = variants.get(cost.model)
        if timed and not cost.config.differs(timed, ignoring={"seed"}):
            machine = cost.environment.cpu, cost.environment.packages.get("torch", "")
            machines.setdefault(machine, {}).setdefault(cost.model, cost)
    return max(machines.values(), key=len, default={})


# --- one row a run, one row an epoch ---


def run_table(results: Results) -> pd.DataFrame:
    """One row a run, at the stopping rule; `wall_seconds` is that of the whole run."""
    rows = []
    for run in results.runs:
        kept = results.kept(run)
        rows.append(
            {
                "model": run.config.model,
                "seed": run.config.seed,
                **kept.model_dump(include={"best_epoch", "epochs", "fired", *METRICS, *EVALUATED}),
                "parameters": run.parameters,
                "macs": run.macs,
                "checkpoint_bytes": run.checkpoint_bytes,
                "wall_seconds": run_seconds(run),
                "key": run.key,
                "name": run.name,
            }
        )
    return pd.DataFrame(rows)


def histories(results: Results) -> pd.DataFrame:
    """One row an epoch of a run, up to the epoch at which the stopping rule ended it.

    `train_seconds` is scaled to 60,000 training images, as in Table 2. Times of a run that shared
    its device with others are no times of that run: NaN.
    """
    columns = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    columns += TIMED
    frame = pd.DataFrame(
        {
            "model": run.config.model,
            "seed": run.config.seed,
            **row.model_dump(include={*columns}),
            "train_seconds": row.train_seconds * _to_whole_epoch(run.config),
            **(dict.fromkeys(TIMED, np.nan) if run.environment.runs_beside else {}),
        }
        for run in results.runs
        for row in run.history[: results.kept(run).epochs]
    )
    return frame[["model", "seed", *columns]]


def timed_alike(results: Results) -> Results:
    """The runs on the processor that was timed, whose own times can be set beside those alone.

    All runs where nothing was timed, or none of them ran there.
    """
    timed = {cost.environment.cpu for cost in results.costs.values()}
    alike = tuple(run for run in results.runs if run.environment.cpu in timed)
    return replace(results, runs=alike or results.runs)


def _to_whole_epoch(config: RunConfig) -> float:
    """What the time of an epoch is multiplied by to be that of one over all training images."""
    images = config.train_images or TRAIN_IMAGES
    images -= config.validation_images if config.protocol == "split" else 0
    return TRAIN_IMAGES / images


def run_seconds(run: RunRecord) -> float:
    """How long all epochs of a run took, each with its test pass.

    Not from start to end: a run that was interrupted has paused between, and some of it may have
    been trained twice.
    """
    return sum(row.train_seconds + row.inference_ms / 1000 for row in run.history)


def timing_seconds(cost: CostRecord) -> float:
    """How long all that was timed of a model took, warm-ups not included."""
    blocks = sum(cost.train_seconds_blocks) * cost.block_images / cost.scaled_to_images
    return blocks + (sum(cost.inference_ms_passes) + sum(cost.latency_ms)) / 1000


# --- the paper's tables ---


def table1(results: Results) -> pd.DataFrame:
    """The paper's Table 1 for our runs: one row a model, means over its `n` runs.

    `train_*` are the running values at the best epoch, `train_*_eval` the re-evaluated ones. Once a
    model has several runs every metric has a `_std` column beside it (sample standard deviation,
    NaN for a model with one run). `test_accuracy_low` and `_high` are a 95 % interval: for one run
    over the test images (Wilson), for several over the images (`share_interval`) and the seeds
    (t), `combined`. `next_run_low` and `_high`, there once a model has several runs, say where the
    test accuracy of one more run on the same images is to be expected (`next_interval`).
    """
    runs = run_table(results)
    several = runs.model.duplicated().any()
    rows = []
    for model, own in runs.groupby("model", sort=False):
        row = {"model": model, "parameters": own.parameters.iloc[0], "n": len(own)}
        for metric in (*METRICS, *EVALUATED):
            row[metric] = _mean(own[metric])
            if several:
                row[f"{metric}_std"] = own[metric].std(ddof=1)
        row["test_accuracy_low"], row["test_accuracy_high"] = _accuracy_interval(results, model)
        if several:
            ends = next_interval(own.test_accuracy) if len(own) > 1 else (np.nan, np.nan)
            row["next_run_low"], row["next_run_high"] = ends
        rows.append(row)
    return pd.DataFrame(rows)


def table2(results: Results) -> pd.DataFrame:
    """The paper's Table 2 for our runs: one row a model, times of an epoch and of a test pass.

    Measured alone on the machine: blocks of training images scaled to 60,000, passes over the test
    images, `latency_ms_*` for single images; `_std` is the sample standard deviation over blocks or
    passes. `n` and `epochs` are the number of runs and their mean length (with `epochs_std` as in
    Table 1), `total_train_seconds` is mean × epochs, its `_std` that over the runs,
    `train_us_per_parameter` is in microseconds.
    `train_seconds_in_runs` is the median epoch of the runs themselves, of those of `timed_alike`,
    scaled alike (a mean would be that of a few disturbed ones), and `ratio` that over the time
    alone, if both are of one processor. What a model that was not timed lacks is NaN.
    """
    rows = []
    several = len(results.runs) > len(results.models)
    alike = timed_alike(results)
    medians = histories(alike).groupby("model").train_seconds.median()
    processors = {run.environment.cpu for run in alike.runs}
    for model in results.models:
        runs = results.of(model)
        cost = results.costs.get(model)
        times = _times(cost)
        lengths = pd.Series([results.kept(run).epochs for run in runs])
        epochs, in_runs = _mean(lengths), medians.get(model, np.nan)
        alone = times["train_seconds_mean"]
        comparable = cost is not None and processors == {cost.environment.cpu}
        row = {"model": model, "n": len(runs), **{name: times[name] for name in TIMES[:4]}}
        row |= {"epochs": epochs} | ({"epochs_std": lengths.std(ddof=1)} if several else {})
        row |= {"total_train_seconds": alone * epochs}
        row |= {"total_train_seconds_std": alone * lengths.std(ddof=1)} if several else {}
        micros = 1e6 / runs[0].parameters
        row |= {"train_us_per_parameter": alone * micros}
        row |= {"train_us_per_parameter_std": times["train_seconds_std"] * micros}
        row |= {name: times[name] for name in TIMES[4:]}
        row |= {"train_seconds_in_runs": in_runs}
        rows.append(row | {"ratio": in_runs / alone if comparable else np.nan})
    return pd.DataFrame(rows)


def summary(results: Results) -> pd.DataFrame:
    """Everything about a model in one row (index: its name), as `judge_claims` takes it.

    The columns of Table 1, `macs`, `checkpoint_bytes`, and of Table 2 the epochs and the mean times
    (`train_seconds`, `inference_ms`, ...).
    """
    fixed = run_table(results).groupby("model", sort=False)[["macs", "checkpoint_bytes"]].first()
    times = table2(results).set_index("model").drop(columns="n")
    times = times.rename(columns=lambda name: name.removesuffix("_mean"))
    return table1(results).set_index("model").join(fixed).join(times)


def row_of(frame: pd.DataFrame, model: str) -> Any:  # noqa: ANN401, a namedtuple of the columns
    """A model's row, each value in its column's own type (a Series would make counts floats).

    Raises `UserError` unless the frame, by index or column `model`, has exactly one row of it.
    """
    frame = frame if "model" in frame else frame.rename_axis("model").reset_index()
    rows = list(frame[frame.model == model].itertuples(index=False, name="Row"))
    if len(rows) != 1:
        raise UserError(f"{len(rows)} rows of {model!r}; there are: {', '.join(frame.model)}")
    return rows[0]


def _mean(values: pd.Series) -> float | int:
    """The mean; a single value as it is, so that the epoch of one run stays a whole number."""
    return values.mean() if len(values) > 1 else values.iloc[0]


def _accuracy_interval(results: Results, model: str) -> Interval:
    """As in `table1`."""
    runs = results.of(model)
    accuracies = [results.kept(run).test_accuracy for run in runs]
    if len(runs) == 1:
        return wilson_interval(*accuracies, int(np.sum(results.kept(runs[0]).confusion)))
    shares = np.mean([right(results.store, run, results.rule) for run in runs], axis=0)
    mean = float(np.mean(accuracies))
    low, high = combined(mean, t_interval(accuracies), share_interval(shares))
    return max(low, 0.0), min(high, 100.0)


def _times(cost: CostRecord | None) -> dict[str, float]:
    if cost is None:
        return dict.fromkeys(TIMES, np.nan)
    blocks = np.array(cost.train_seconds_blocks) * TRAIN_IMAGES / cost.scaled_to_images
    passes = np.array(cost.inference_ms_passes)
    moments = (blocks.mean(), blocks.std(ddof=1), passes.mean(), passes.std(ddof=1))
    return dict(zip(TIMES, (*moments, *np.percentile(cost.latency_ms, [50, 90])), strict=True))


# --- where the numbers come from ---


def provenance(results: Results) -> pd.DataFrame:
    """One row a run: name, model, seed, when it ended, how long it took, commit."""
    return pd.DataFrame(
        {
            "name": run.name,
            "model": run.config.model,
            "seed": run.config.seed,
            "finished": run.environment.finished,
            "minutes": run_seconds(run) / 60,
            "commit": run.environment.commit,
            "dirty": run.environment.dirty,
        }
        for run in results.runs
    )


def environments(results: Results) -> pd.DataFrame:
    """The distinct environments, and how many runs and cost measurements come from each."""
    rows = [{**described(run.environment), "runs": 1, "costs": 0} for run in results.runs]
    rows += [
        {**described(cost.environment), "runs": 0, "costs": 1} for cost in results.costs.values()
    ]
    keys = ["python", "packages", "system", "cpu", "cores", "threads", "data", "code"]
    return pd.DataFrame(rows).groupby(keys, sort=False, as_index=False).sum()


def described(environment: Environment) -> dict[str, Any]:
    """What tells environments apart: versions, machine, data and code."""
    fields = environment.model_dump(include={"python", "system", "cpu", "cores", "threads"})
    packages = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
    hashes = {"data": environment.data_sha256, "code": environment.code_sha256}
    return {**fields, "packages": packages, **hashes}
