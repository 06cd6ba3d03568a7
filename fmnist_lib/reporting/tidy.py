"""The results as tidy tables for whoever works with them elsewhere, and how a table becomes CSV.

Every stopping rule of a record is here, not only the one that the report is read at. What the
columns mean stands in `columns`.
"""

import json
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.reporting import analysis
from fmnist_lib.reporting.analysis import EVALUATED, METRICS, TIMES, Results
from fmnist_lib.reporting.paper import TRAIN_IMAGES
from fmnist_lib.runs.record import RunRecord

SETTINGS = {"protocol", "max_epochs", "batch_size", "optimizer", "learning_rate"} | {
    *("device", "engine", "precision")
}
KEPT = {"fired", "epochs", *METRICS, *EVALUATED}
MACHINE = {"python", "system", "cpu", "cores", "threads", "commit", "dirty"} | {
    *("code_sha256", "data_sha256", "started", "finished")
}
SIZES = {"parameters", "macs", "checkpoint_bytes", "peak_memory_mib"}
FORMULA = ("=", "+", "-", "@", "\t")  # how a text starts that a spreadsheet would run


def results_table(results: Results) -> pd.DataFrame:
    """One row a run and stopping rule: what was run, what came out, what it cost, and where.

    `wall_seconds` is the whole run's; times alone on the machine are the model's, from `cost`.
    """
    whole = analysis.run_table(results).set_index("name").wall_seconds
    times = analysis.table2(results).set_index("model")[[*TIMES]]
    rows = [
        {
            "run": run.name,
            "model": run.config.model,
            "seed": run.config.seed,
            "fold": None,  # no protocol has folds; here so that readers of the file need not change
            "variant": _variant(run),
            "stop": rule,
            "monitor": kept.rule.monitor,
            "patience": kept.rule.patience,
            **kept.model_dump(include=KEPT),
            **_settings(run),
            **run.model_dump(include=SIZES),
            "wall_seconds": whole[run.name],
            **times.loc[run.config.model],
            "cost": cost.name if (cost := results.costs.get(run.config.model)) else None,
            **_environment(run),
            "key": run.key,
            "result_digest": run.result_digest,
        }
        for run in results.runs
        for rule, kept in run.stops.items()
    ]
    return pd.DataFrame(rows)


def _variant(run: RunRecord) -> str | None:
    options = run.config.model_options
    return json.dumps(options, sort_keys=True) if options else None


def _settings(run: RunRecord) -> dict[str, Any]:
    config = run.config
    held_out = config.validation_images if config.protocol == "split" else 0
    return {
        **config.model_dump(include=SETTINGS),
        "train_images": (config.train_images or TRAIN_IMAGES) - held_out,
        "validation_images": held_out,
        "test_images": sum(map(sum, next(iter(run.stops.values())).confusion)),
    }


def _environment(run: RunRecord) -> dict[str, Any]:
    fields = run.environment.model_dump(include=MACHINE)
    torch = run.environment.packages.get("torch")
    return {**fields, "torch": torch, "notes": "; ".join(run.environment.notes) or None}


def confusion_table(results: Results) -> pd.DataFrame:
    """One row a run, stopping rule, true and predicted class: how many images were so classified.

    Together they are the confusion matrices, zeros included.
    """
    rows = [
        (run.config.model, run.config.seed, rule, true, predicted, count)
        for run in results.runs
        for rule, kept in run.stops.items()
        for true, counts in zip(CLASS_NAMES, kept.confusion, strict=True)
        for predicted, count in zip(CLASS_NAMES, counts, strict=True)
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "stop", "true", "predicted", "count"])


def to_csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8, without its index; numbers read back exactly as they were.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which makes it
    text there too. No text of ours starts so; one in a record from elsewhere might.
    """
    texts = {name: frame[name].map(_as_text) for name in frame if not is_numeric_dtype(frame[name])}
    return frame.assign(**texts).to_csv(index=False, lineterminator="\n").encode()


def _as_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.replace("\r", " ")  # else taken for the end of the row
    return f"'{text}" if text.startswith(FORMULA) else text
