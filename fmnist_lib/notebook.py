"""What a notebook opens with: the records it shows, trained in place only when asked."""

from pathlib import Path

from fmnist_lib import paths
from fmnist_lib.config import RunConfig
from fmnist_lib.errors import UserError
from fmnist_lib.reporting import sources
from fmnist_lib.reporting.analysis import Results, as_recorded, load_results
from fmnist_lib.store import RunStore
from fmnist_lib.study import plan

HOW = frozenset({"device", "engine", "precision"})  # of no concern to who reads a report's records


def open_results(
    *,
    models: str = "",
    profile: str = "paper",
    seeds: str = "",
    records: str | Path = "",
    train: bool = False,
) -> Results:
    """Return the results of a profile's runs, ready for tables, figures and sentences.

    What is shown from now on names them as its source.

    `records` names a folder to read (relative to the project); empty means this machine's records,
    else the released ones (`origin` says which). With `train`, what this machine lacks is trained
    here first, one run after another. Raises `UserError` when there is nothing to show.
    """
    configs = plan(profile, models=models, seeds=seeds)
    if records:
        store, origin = RunStore(paths.ROOT / records), f"the records in {records}"
        configs = as_recorded(store, configs, free=HOW)
    else:
        if train:
            train_here(configs)
        store, origin = choose_store(configs)
    results = load_results(store, configs, origin=origin)
    sources.show_results(results)
    return results


def choose_store(configs: list[RunConfig]) -> tuple[RunStore, str]:
    """Return the first store that has any of the runs, this machine's before the released one."""
    for store, origin in (
        (RunStore(paths.RUNS), "this machine's records"),
        (
            RunStore(paths.REPORT / "records", read_only=True),
            "the released records, not trained on this machine",
        ),
    ):
        if any(store.find(config) for config in configs):
            return store, origin
    raise UserError(
        f"no record of {', '.join(config.name for config in configs)}; set train = True in the "
        "notebook's parameters, or run `python run_all.py` with the same profile first"
    )


def train_here(configs: list[RunConfig]) -> None:
    """Train what this machine's store lacks, in this process, with a progress bar."""
    # Most readers train nothing: their notebooks need not wait for Dask.
    from fmnist_lib.checkpoints import Checkpoint
    from fmnist_lib.cluster import run_many
    from fmnist_lib.progress import Progress

    store = RunStore(paths.RUNS)
    with store.lock():
        missing = [store.with_recorded_rules(c) for c in configs if store.find(c) is None]
        with Progress(missing) as progress:
            folder = store.folder / "checkpoints"
            runs = run_many(missing, jobs=1, on_epoch=progress.epoch, checkpoints=folder)
            for config, outcome in runs:
                if isinstance(outcome, Exception):
                    raise outcome
                store.write(outcome)
                Checkpoint(folder, config).remove()
                progress.finish(outcome.record)
