"""How the numbers were made: settings, data, machines and runs, as frames for `say.show_table`."""

import pandas as pd

from fmnist_lib.data import BYTES, MEAN, SHA256, STD
from fmnist_lib.reporting import analysis
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.paper import TEST_IMAGES, TRAIN_IMAGES

ASSUMPTION = "assumption"  # the source of a setting that the paper does not give


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
        ("Arithmetic", "32-bit floating point", ASSUMPTION),
        ("Device", f"{config.device}, one thread a run", ASSUMPTION),
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
        "started": "Started (UTC)",
        "minutes": "Minutes",
        "digest": "Digest",
        "commit": "Commit",
    },
}


def runs(results: Results) -> pd.DataFrame:
    """One row a run: name, epochs, started (UTC), minutes, digest, commit.

    The commit has 12 digits, and a + behind them where the files differed from it.
    """
    rows = analysis.provenance(results)
    rows["started"] = [time[:16].replace("T", " ") for time in rows.started]
    rows["commit"] = [
        None if row.commit is None else row.commit[:12] + ("+" if row.dirty else "")
        for row in rows.itertuples()
    ]
    return rows[list(RUNS["columns"])]
