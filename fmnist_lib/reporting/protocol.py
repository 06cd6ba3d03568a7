"""How the numbers were made: settings, data, machines, runs and what became of them.

Frames for `say.show_table`, and values for the sentences of that appendix.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from fmnist_lib import paths
from fmnist_lib.data.fashion_mnist import MEAN, STD
from fmnist_lib.data.obtain import BYTES, SHA256
from fmnist_lib.models import MODELS
from fmnist_lib.reporting import analysis
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.findings import count
from fmnist_lib.reporting.paper import TEST_IMAGES, TRAIN_IMAGES
from fmnist_lib.reporting.sources import COSTS
from fmnist_lib.reporting.tidy import results_table
from fmnist_lib.reporting.words import name_of
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.record import DamagedRecordError, Environment, RunRecord
from fmnist_lib.runs.store import RunStore

ASSUMPTION = "assumption"  # the source of a setting that the paper does not give
ARITHMETIC = {
    "fp32": "32-bit floating point",
    "bf16": "32-bit floating point, in parts 16-bit (bfloat16)",
}


def settings(results: Results) -> pd.DataFrame:
    """The settings of the runs: setting, value, source (a place in the paper, or assumption)."""
    config = results.runs[0].config
    stop = results.kept(results.runs[0]).rule
    rows = [
        ("Training images", f"{config.train_images or TRAIN_IMAGES:,}", "section 3.1"),
        ("Test images", f"{config.test_images or TEST_IMAGES:,}", "section 3.1"),
        ("Validation images", "none", "section 3.2"),
        ("Augmentation", "none", "section 3.1"),
        ("Pixels", "normalised", "section 3.1"),
        ("… by mean and standard deviation", f"{MEAN:.4f}, {STD:.4f}", ASSUMPTION),
        ("Stopping watches", f"the {stop.monitor.replace('_', ' ')}", "section 3.2"),
        ("Patience", f"{stop.patience} epochs", "section 3.2"),
        ("Epoch reported", "the one of the lowest watched loss", "Table 1, column E"),
        ("Loss", "cross-entropy", ASSUMPTION),
        ("Optimiser", config.optimizer.capitalize(), ASSUMPTION),
        ("Learning rate", f"{config.learning_rate:g}, constant", ASSUMPTION),
        ("Batch", f"{config.batch_size} images", ASSUMPTION),
        ("Limit on epochs", f"{config.max_epochs}", ASSUMPTION),
        ("Arithmetic", ARITHMETIC[config.precision], ASSUMPTION),
        ("Device", config.device + ", one thread a run" * (config.device == "cpu"), ASSUMPTION),
    ]
    return pd.DataFrame(rows, columns=["setting", "value", "source"])


def data_files() -> pd.DataFrame:
    """The four files of the data set, unpacked: file, bytes, sha256."""
    rows = [(name, BYTES[name], digest) for name, digest in SHA256.items()]
    return pd.DataFrame(rows, columns=["file", "bytes", "sha256"])


MACHINE = {
    "python": "Python",
    "packages": "Packages",
    "system": "System",
    "cpu": "Processor",
    "cores": "Cores",
    "threads": "Threads a run",
    "data": "Data (hash)",
    "code": "Training code (hash)",
    "runs": "Runs made there",
    "costs": "Models timed there",
}


def machines(results: Results) -> pd.DataFrame:
    """The environments that the records come from, one a column; hashes shortened to 12 digits."""
    rows = analysis.environments(results)
    for column in ("data", "code"):
        rows[column] = rows[column].str[:12]
    table = rows[list(MACHINE)].rename(columns=MACHINE).T
    table.columns = [f"Environment {place + 1}" for place in table]
    return table.rename_axis("").reset_index()


RUNS = {
    "formats": {"minutes": ".1f"},
    "columns": {
        "name": "Run",
        "epochs": "Epochs",
        "ended": "Ended",
        "finished": "Finished (UTC)",
        "minutes": "Minutes",
        "digest": "Digest",
        "released": "Released",
        "commit": "Commit",
        "environment": "Environment",
    },
}


def runs(results: Results) -> pd.DataFrame:
    """One row a run: name, epochs, what ended it, when, minutes, digest, released, commit, where.

    The epochs are all that were trained, until the last of the run's stopping rules stopped it or
    the limit was reached; the digest is that of what the report's rule kept. `released` says
    whether the released report has it with an `equal` digest or one that `differs`; None: not at
    all. The commit has 12 digits, and a + behind them where the files differed from it.
    `environment` is the column of `machines`.
    """
    rows = analysis.provenance(results)
    rows["epochs"] = [len(run.history) for run in results.runs]
    rows["ended"] = ["rule" if _stopped(run) else "limit" for run in results.runs]
    rows["finished"] = [_minute(time) for time in rows.finished]
    rows["digest"] = [results.kept(run).digest[:12] for run in results.runs]
    rows["released"] = released(results)
    rows["commit"] = [_commit(run.environment) for run in results.runs]
    rows["environment"] = [_number(run.environment, results) for run in results.runs]
    return rows[list(RUNS["columns"])]


def _stopped(run: RunRecord) -> bool:
    """Whether the last of its rules ended a run, and not the limit on epochs."""
    return all(kept.fired for kept in run.stops.values())


CONFIGURATIONS = {
    "formats": {"learning_rate": "g"},
    "columns": {
        "run": "Run",
        "seed": "Seed",
        "protocol": "Protocol",
        "stop": "Read at the rule",
        "max_epochs": "Epoch limit",
        "batch_size": "Batch",
        "optimizer": "Optimiser",
        "learning_rate": "Learning rate",
        "device": "Device",
        "engine": "Engine",
        "precision": "Precision",
    },
}


def configurations(results: Results) -> pd.DataFrame:
    """One row a run: its name, seed, and the settings by which runs may differ."""
    rows = results_table(results)
    return rows.loc[rows.stop == results.rule, list(CONFIGURATIONS["columns"])].reset_index(
        drop=True
    )


TIMINGS = {
    "formats": {"minutes": ".1f", "busy_percent": ".0f"},
    "columns": {
        "name": "Timing",
        "started": "Started (UTC)",
        "minutes": "Minutes",
        "busy_percent": "Machine busy with other work (%)",
        "commit": "Commit",
        "environment": "Environment",
    },
}


def timings(results: Results) -> pd.DataFrame:
    """One row a model that was timed alone: name, when, minutes, load, commit, environment."""
    rows = [
        {
            "name": COSTS + cost.name,
            "started": _minute(cost.environment.started),
            "minutes": analysis.timing_seconds(cost) / 60,
            "busy_percent": cost.busy_percent,
            "commit": _commit(cost.environment),
            "environment": _number(cost.environment, results),
        }
        for cost in results.costs.values()
    ]
    return pd.DataFrame(rows, columns=list(TIMINGS["columns"]))


@dataclass(frozen=True)
class Making:
    """How a report came about; what executing the notebooks took is not known inside of them."""

    command: str  # that makes it
    runs: str  # such as `6 runs`
    hours: float  # of training, summed over the epochs of all runs
    first: str  # when the first run was finished
    last: str  # when the last one was
    timed: str  # such as `6 models`
    minutes: float  # of timing, summed
    released: str  # what differs from the released report, as a sentence


def making(results: Results, profile: str) -> Making:
    """What the records tell of how a report of these results was made."""
    finished = [run.environment.finished for run in results.runs]
    return Making(
        command=command(results, profile),
        runs=count(len(results.runs), "run"),
        hours=sum(map(analysis.run_seconds, results.runs)) / 3600,
        first=_minute(min(finished)),
        last=_minute(max(finished)),
        timed=count(len(results.costs), "model"),
        minutes=sum(map(analysis.timing_seconds, results.costs.values())) / 60,
        released=compared_with_released(results),
    )


def command(results: Results, profile: str) -> str:
    """The command that makes a report of these runs."""
    configs = [run.config for run in results.runs]
    words = ["python run_all.py", f"--profile {profile}"]
    words.append(f"--seeds {_ranges({config.seed for config in configs})}")
    if results.models != list(MODELS):
        words.append(f"--models {','.join(results.models)}")
    for name in ("device", "engine", "precision"):
        values = {getattr(config, name) for config in configs}
        if values != {RunConfig.model_fields[name].default}:
            words.append(f"--{name} {values.pop() if len(values) == 1 else 'auto'}")
    return " ".join([*words, "--release"] if _is_released(results) else words)


def compared_with_released(results: Results) -> str:
    """In which runs, and in whose accuracy the most, these results differ from the released."""
    if _is_released(results):
        return "These are the runs of the released report."
    found = released(results)
    sentences = [
        f"Runs with the same digest as in the released report: {found.count('equal')} of"
        f" {len(found)}; with another one: {found.count('differs')}; not in it:"
        f" {found.count(None)}."
    ]
    table = paths.REPORT / "tables" / "table1.csv"
    if table.exists():
        ours = analysis.table1(results).set_index("model").test_accuracy
        difference = (ours - pd.read_csv(table).set_index("model").test_accuracy).dropna()
        if not difference.empty:
            model = difference.abs().idxmax()
            sentences.append(
                f"The test accuracy differs from the released one by at most"
                f" {abs(difference[model]):.2f} points ({name_of(model)})."
            )
    return " ".join(sentences)


def released(results: Results) -> list[str | None]:
    """Of each run, whether the released one is `equal` or `differs`; None: there is none.

    Compared is what the report's stopping rule kept: a run that holds a longer patience besides
    is no other result.
    """
    store = RunStore(paths.REPORT / "records", read_only=True)
    states: list[str | None] = []
    for run in results.runs:
        try:
            same = store.read(run.name).stops[results.rule].digest == results.kept(run).digest
            states.append("equal" if same else "differs")
        except (DamagedRecordError, KeyError):  # or none at all, or none by this rule
            states.append(None)
    return states


def _is_released(results: Results) -> bool:
    return results.store.folder.resolve() == (paths.REPORT / "records").resolve()


def _minute(time: str) -> str:
    """A time of a record to the minute: `2026-01-01 10:00`."""
    return time[:16].replace("T", " ")


def _commit(environment: Environment) -> str | None:
    if environment.commit is None:
        return None
    return environment.commit[:12] + ("+" if environment.dirty else "")


def _number(environment: Environment, results: Results) -> str:
    """The number of an environment among those of `analysis.environments`."""
    records = (*results.runs, *results.costs.values())
    distinct: list[dict] = []
    for record in records:
        if (found := analysis.described(record.environment)) not in distinct:
            distinct.append(found)
    return str(distinct.index(analysis.described(environment)) + 1)


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers as on the command line: `0-4,7`."""
    parts = []
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in group]
        parts.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return ",".join(parts)
