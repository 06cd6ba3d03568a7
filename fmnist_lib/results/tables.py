"""Results become frames whose cells are Values or text, and flat frames for files.

What was not measured (an interval of one run, times of a model that was not timed) is NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations, zip_longest
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.paths import ROOT
from fmnist_lib.results import statistics
from fmnist_lib.results.columns import column
from fmnist_lib.results.load import Results, names_of, over_runs, paired, variant_of
from fmnist_lib.results.statistics import ALPHA, Estimate, estimate, holm, resampled
from fmnist_lib.results.times import RULED, times_of
from fmnist_lib.results.value import Value, framed, reported
from fmnist_lib.runs.config import TEST_IMAGES, TRAIN_IMAGES
from fmnist_lib.runs.plans import PAPER
from fmnist_lib.runs.record import RunRecord

METRICS = ["train_loss", "test_loss", "train_accuracy", "test_accuracy", "best_epoch"]
METRICS += ["train_loss_eval", "train_accuracy_eval", "epochs"]
GAPS = {"gap": "train_accuracy", "gap_eval": "train_accuracy_eval"}  # minus test accuracy
LONG = ("test_accuracy", "best_epoch", "epochs", "test_loss")  # also at the longer patience
SIZES = ("parameters", "macs", "checkpoint_bytes")
THROUGHPUT, DEPLOYMENT = "benchmarks/throughput.csv", "benchmarks/deployment.csv"
EQUAL = (0.15, 0.3, 0.6)  # points within which accuracies count as equal; the middle one decides

_FILES = pd.read_csv(Path(__file__).with_name("files.csv"), index_col="file")
IN_FILES = {  # what times are called there
    "train_seconds": "train_seconds_mean",
    "inference_ms": "inference_ms_mean",
    "latency_ms": "latency_ms_median",
}


def runs_frame(results: Results) -> pd.DataFrame:
    """One row a run at the stopping rule, plain: settings, metrics, sizes, environment."""
    return pd.DataFrame([_row(run, results.rule) for run in results.runs])


def _row(run: RunRecord, rule: str) -> dict[str, Any]:
    config, kept = run.config, run.stops[rule]
    return {
        **config.model_dump(exclude={"stops", "model_options"}),
        **kept.rule.model_dump(),
        **kept.model_dump(exclude={"rule", "confusion"}),
        **run.environment.model_dump(exclude={"packages"}),
        **run.model_dump(exclude={"config", "stops", "history", "environment"}),
        **{"run": run.name, "stop": rule, "variant": variant_of(config)},
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
    longer, times, epochs = results.longer(), times_of(results.costs), epochs_frame(results)
    rows = {}
    for model in results.models:
        runs = results.of(model)
        row = {"title": MODELS[model].title, "n": Value(len(runs), names_of(runs))}
        row |= {name: Value(getattr(runs[0], name), f"model:{model}") for name in SIZES}
        row |= {name: measured(results, model, name) for name in (*METRICS, *GAPS)}
        row["next_run"] = next_run(row["test_accuracy"])
        row |= times.get(model, dict.fromkeys(RULED, Value(nan)))
        row |= _from_times(results, model, row, epochs)
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
    less = [each.test_accuracy if name in GAPS else 0 for each in kept]
    numbers = np.subtract([getattr(each, GAPS.get(name, name)) for each in kept], less)
    found = over_runs(runs, numbers)
    if results.folding:
        found.low, found.high = _estimate(results, [numbers]).interval
    elif name == "test_accuracy":
        found.low, found.high = statistics.accuracy_interval(found, results.shares_right(model))
    return found


def _estimate(
    results: Results, by_run: Sequence[Sequence[float]], lead: np.ndarray | None = None
) -> Estimate:
    """As `estimate` has it; of runs by fold, two models are paired, since both had its images."""
    if results.folding:
        return resampled(np.subtract(*by_run) if len(by_run) > 1 else by_run[0], **results.folding)
    return estimate(by_run, lead)


def next_run(number: Value) -> Value:
    """The number, from `low` to `high` where that of one more run is expected; nan of one run.

    Hahn and Meeker, Statistical Intervals (Wiley, 1991), section 4.7.
    """
    mean, runs = float(number), len(number.parts)
    reach = stats.t.ppf(0.975, runs - 1) * number.std * np.sqrt(1 + 1 / runs)
    return Value(mean, number, low=mean - reach, high=mean + reach)


def _from_times(
    results: Results, model: str, row: Mapping[str, Any], epochs: pd.DataFrame
) -> dict[str, Value]:
    """What follows from times alone on the machine, and the median epoch within the runs.

    Only runs on the processor that was timed count for the latter.
    """
    train, trained = row["train_seconds"], row["epochs"]
    total = trained.scaled(train)
    total.low, total.high = train.low * float(trained), train.high * float(trained)
    processors = {results.costs[model].environment.cpu} if model in results.costs else ()
    names = names_of(run for run in results.of(model) if run.environment.cpu in processors)
    within = Value(epochs.train_seconds[epochs.name.isin(names)].median(), names, train)
    ratio = within / train
    ratio.low, ratio.high = float(within / train.high), float(within / train.low)
    return {
        "total_train_seconds": total,
        "train_us_per_parameter": train.scaled(1e6 / row["parameters"]),
        "train_seconds_in_runs": within,
        "ratio": ratio,
    }


def _patience(results: Results, longer: Results | None, model: str) -> dict[str, Value]:
    """A model at the longer patience, and what that adds; nan without one.

    Where no best epoch moved the gain has no interval; `later_most` says how many may yet.
    """
    if longer is None or model not in longer.models:
        names = (*(f"{name}_long" for name in LONG), "gain", "later", "later_most")
        return dict.fromkeys(names, Value(nan))
    row = {f"{name}_long": measured(longer, model, name) for name in LONG}
    row["gain"], _ = gain(results, longer, model)
    runs = longer.of(model)
    later = sum(longer.kept(run).best_epoch > results.kept(run).best_epoch for run in runs)
    row["later"] = Value(later, names_of(runs))
    row["later_most"] = Value(statistics.most_of(later, len(runs)), names_of(runs))
    return row


def gain(results: Results, longer: Results, model: str) -> tuple[Value, Estimate]:
    """What the longer patience adds to a model's test accuracy in points, paired within runs."""
    sides = replace(results, runs=longer.runs), longer
    before, after = (measured(side, model, "test_accuracy") for side in sides)
    gains = paired(after, before).parts
    lead = None
    if not results.folding:
        lead = 100 * np.subtract(longer.shares_right(model), sides[0].shares_right(model))
    found = _estimate(results, [[*gains.values()]], lead)
    return Value(found.effect, before, **found.interval._asdict(), parts=gains), found


def honesty(results: Results) -> pd.DataFrame:
    """One row a model, as in `models_frame`, of runs that hold validation images, read at a rule
    that watches those: what choosing by test images would have added, and where chance comes from.

    `optimism` is the test accuracy at the epoch that the test loss chose, with the same patience
    and in the same run, minus that at the epoch in `results`; its interval is over seeds. `tested`
    is the test accuracy at the former; `gain_p` is corrected over the models. `seed_error` and
    `image_error` are the standard errors that seeds and test images leave to the mean accuracy.
    """
    by_test = replace(results, rule=results.rule.replace("validation_loss", "test_loss"))
    models, rows, longer = models_frame(results), {}, results.longer()
    gains = [gain(results, longer, model)[1].p_differs() for model in models.index if longer]
    for (model, own), gain_p in zip_longest(models.iterrows(), holm(gains), fillvalue=nan):
        runs, accuracy = results.of(model), own.test_accuracy
        added = [by_test.kept(run).test_accuracy - results.kept(run).test_accuracy for run in runs]
        low, high = statistics.share_interval(results.shares_right(model))
        errors = accuracy.std / np.sqrt(len(runs)), (high - low) / 2 / stats.norm.ppf(0.975)
        rows[model] = {
            **own,
            "tested": measured(by_test, model, "test_accuracy"),
            "optimism": over_runs(runs, added),
            "gain_p": Value(gain_p, own.gain),
            "seed_error": Value(errors[0], accuracy),
            "image_error": Value(errors[1], accuracy),
        }
    return framed(rows).rename_axis("model")


def by_fold(results: Results) -> pd.DataFrame:
    """One row a model of runs that hold a fold out: title, n, fold_accuracy and, of the same
    networks, test_accuracy and easier: the former minus the latter. Intervals are over folds.
    """
    rows = {}
    for model in results.models:
        runs, own = results.of(model), measured(results, model, "test_accuracy")
        tested = over_runs(runs, [run.stops[results.rule].test_accuracy for run in runs])
        easier = paired(own, tested)
        for value in (tested, easier):
            value.low, value.high = _estimate(results, [[*value.parts.values()]]).interval
        row = {"title": MODELS[model].title, "n": Value(len(runs), own), "fold_accuracy": own}
        rows[model] = row | {"test_accuracy": tested, "easier": easier}
    return framed(rows).rename_axis("model")


def by_recipe(results: Results, search: Results, by_paper: pd.DataFrame) -> pd.DataFrame:
    """One row a model, as in `models_frame`, of runs by the recipe that a search chose.

    `by_paper` is that frame of runs by the paper's protocol: `as_paper` is its test accuracy and
    `as_paper_seconds` its total train time, `time_share` the recipe's part of that.
    `recipe_epochs`, `learning_rate` and `validation_accuracy` are those of the search's run;
    `dataloader_ratio` is the benchmarks' of a tutorial's loop over ours.
    """
    models, rows = models_frame(results), {}
    tried = searched(search).drop(columns="model")
    whole = by_paper.reindex(models.index, fill_value=Value(nan))
    rates = pd.read_csv(ROOT / THROUGHPUT).query("way == 'ours_per_core'").set_index("model")
    for model, own in models.iterrows():
        config, apart = results.of(model)[0].config, {"seed", "protocol", "validation_images"}
        (run,) = (r for r in search.runs if not r.config.differs(config, ignoring=apart))
        total, taken = whole.total_train_seconds[model], own.total_train_seconds
        rows[model] = {
            **own,
            **tried.loc[run.name],
            "as_paper": whole.test_accuracy[model],
            "total_train_seconds": Value(taken, taken, low=taken.low, high=taken.high),
            "as_paper_seconds": total,
            "dataloader_ratio": Value(rates.ratio_to_dataloader[model], THROUGHPUT),
            "time_share": 100 * taken / total,
        }
    return framed(rows).rename_axis("model")


def searched(search: Results) -> pd.DataFrame:
    """One row a run of a search, by name: `model`, `title`, and what its recipe is and reached."""
    rows = {
        run.name: {
            "model": run.config.model,
            "title": MODELS[run.config.model].title,
            "recipe_epochs": Value(run.config.epochs, run.name),
            "learning_rate": Value(run.config.learning_rate, run.name),
            "validation_accuracy": Value(run.history[-1].validation_accuracy, run.name),
        }
        for run in search.runs
    }
    return framed(rows)


def documented() -> pd.DataFrame:
    """One row a small net that others published: net, parameters, test_accuracy, n and chosen_on.

    The last says on which images its epoch or settings were chosen, by its source; counts of
    parameters may be rounded there.
    """
    nets = pd.read_csv(Path(__file__).with_name("documented.csv"), index_col="net")
    numbers = ("parameters", "test_accuracy", "n")
    return framed(
        {
            net: {"net": net, **{name: Value(row[name], row.source) for name in numbers}}
            | {"chosen_on": row.chosen_on}
            for net, row in nets.iterrows()
        }
    )


def deployed() -> pd.DataFrame:
    """One row a model: what the benchmarks found of its released weights outside PyTorch.

    Of each of the forms `pytorch`, `onnx` and `int8`: `…_bytes`, `…_accuracy`, `…_ms` of an image,
    and `…_same`, on how many test images it predicts what PyTorch does.
    """
    ends = dict(bytes="bytes", test_accuracy="accuracy", latency_ms="ms", same_predictions="same")
    rows: dict[str, dict[str, object]] = {}
    for row in pd.read_csv(ROOT / DEPLOYMENT).to_dict("records"):
        own = rows.setdefault(row["model"], {"title": MODELS[row["model"]].title})
        for name, end in ends.items():
            number = Value(row[name], DEPLOYMENT, std=row.get(f"{name}_std", nan))
            own[f"{row['form']}_{end}"] = number
    return framed(rows).rename_axis("model")


def over_models(values: pd.Series) -> Value:
    """The mean of a column over models, each counted once, with its 95 % interval over runs."""
    counts = [(v.std / len(values), len(v.parts)) for v in values if len(v.parts) > 1]
    parts = [(std**2 / runs, runs - 1) for std, runs in counts]
    found = statistics.combined(float(values.astype(float).mean()), parts, 0.0)
    by_model = {MODELS[model].title: float(value) for model, value in values.items()}
    return Value(found.effect, *values, **found.interval._asdict(), parts=by_model)


def compare(
    results: Results, first: str, second: str, name: str = "test_accuracy"
) -> tuple[Value, Estimate]:
    """By how much a metric or gap of the first model exceeds the second's, not paired by seed.

    Chance is that of seeds and, for accuracies on test images, of those images; of runs by fold it
    is that of folds, in which they are paired. Raises `UserError` for models that were not tested
    on the same images.
    """
    sides = [measured(results, model, name) for model in (first, second)]
    lead = None
    if results.folding:
        if len({tuple(side.parts) for side in sides}) > 1:
            raise UserError(f"{first} and {second} were not tested on the same folds")
    elif name in ("test_accuracy", *GAPS):
        shares = [results.shares_right(model) for model in (first, second)]
        if len(shares[0]) != len(shares[1]):
            raise UserError(f"{first} and {second} were not tested on the same images")
        lead = 100 * (shares[0] - shares[1])
    found = _estimate(results, [[*side.parts.values()] for side in sides], lead)
    return Value(found.effect, sides, **found.interval._asdict()), found


def pairs(results: Results) -> pd.DataFrame:
    """One row a pair of models: how their test accuracies differ; Holm corrects over all pairs.

    `differs`: yes where `p_holm` is below 0.05, else no where the two are shown to be equal, by a p
    corrected likewise, else undecided, with the least difference that these runs would likely have
    shown, uncorrected, as `detectable`.
    """
    chosen = [*combinations(results.models, 2)]
    found = [compare(results, *pair) for pair in chosen]
    differences, estimates = [value for value, _ in found], [each for _, each in found]
    columns = {
        "model": [first for first, _ in chosen],
        "first": [MODELS[first].title for first, _ in chosen],
        "second": [MODELS[second].title for _, second in chosen],
        "difference": differences,
        **decisions(estimates, differences),
        "detectable": [
            Value(each.detectable(), difference)
            for each, difference in zip(estimates, differences, strict=True)
        ],
    }
    return pd.DataFrame(columns, index=["_".join(pair) for pair in chosen], dtype=object)


def decisions(estimates: Sequence[Estimate], rest_on: object) -> dict[str, list]:
    """The columns `p_holm` and `differs` of some comparisons, as in `pairs`."""
    differs = holm([each.p_differs() for each in estimates])
    equal = holm([each.p_equal(EQUAL[1]) for each in estimates])
    return {
        "p_holm": [Value(p, rest_on) for p in differs],
        "differs": [
            "yes" if p < ALPHA else "no" if p_equal < ALPHA else "undecided"
            for p, p_equal in zip(differs, equal, strict=True)
        ],
    }


@cache
def in_paper() -> dict[str, dict[str, Value]]:
    """The paper's Tables 1 and 2 by model and the names of our columns; times with their spread.

    Edén Wallberg and Karolin, Benchmarking Lightweight CNN Architectures on FashionMNIST.
    Parameters are printed in thousands, times are means over epochs.
    """
    printed = pd.read_csv(Path(__file__).with_name("reported.csv"), index_col="model")
    found = {}
    for model, row in printed.iterrows():
        numbers = {
            name: reported(number, row.get(f"{name}_std", nan))
            for name, number in row.items()
            if not name.endswith("_std")
        }
        numbers["gap"] = numbers["train_accuracy"] - numbers["test_accuracy"]
        found[model] = numbers
    return found


def namespace(frame: pd.DataFrame) -> dict[str, SimpleNamespace]:
    """Each row by its index, which is its `name`: `say("{lenet5.n:.0f}", **namespace(models))`."""
    return {name: SimpleNamespace(name=name, **row) for name, row in frame.iterrows()}


def ranked(frame: pd.DataFrame, column: str, *, lowest: bool = False) -> list[SimpleNamespace]:
    """The rows by a column, highest (lowest) first, equal ones in their order; nan comes last."""
    order = frame[column].astype(float).sort_values(ascending=lowest, kind="stable").index
    return [*namespace(frame.loc[order]).values()]


def top(frame: pd.DataFrame, column: str, *, lowest: bool = False) -> SimpleNamespace:
    """The row with the highest (lowest) value of a column, the first of equal ones."""
    return ranked(frame, column, lowest=lowest)[0]


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame for a file, its index in front: of Values x, and x_std, x_low, x_high if any."""
    columns = {}
    for name, cells in (frame.reset_index() if frame.index.name else frame).items():
        columns[name] = [*cells]
        if all(isinstance(cell, Value) for cell in cells):
            numbers = pd.Series([*map(float, cells)])
            count = column(name).format.endswith(".0f") and (numbers % 1 == 0).all()
            columns[name] = numbers.astype(int) if count else numbers
            for end in ("std", "low", "high"):
                ends = [getattr(cell, end) for cell in cells]
                if not np.isnan(ends).all():
                    columns[f"{name}_{end}"] = ends
    return pd.DataFrame(columns)


def in_file(frame: pd.DataFrame, file: str) -> pd.DataFrame:
    """The columns that a flat file has, in its order."""
    return frame.rename(columns=IN_FILES).reindex(columns=_FILES.loc[file, "columns"].split())


def results_csv(*families: Results) -> pd.DataFrame:
    """One row a run and stopping rule, plain: what was run, what came out, its cost, and where."""
    results, *_ = families  # whose times are those of all
    times = flat(framed(times_of(results.costs)).rename_axis("model"))
    costs = {model: cost.name for model, cost in results.costs.items()}
    rows = [
        {"family": each.family, **_row(run, rule)}
        for each in families
        for run in each.runs
        for rule in run.stops
    ]
    frame = pd.DataFrame(rows).merge(times, how="left", on="model")
    variants = frame.variant.where(frame.variant != PAPER)
    return in_file(frame.assign(cost=frame.model.map(costs), variant=variants), "results")


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
