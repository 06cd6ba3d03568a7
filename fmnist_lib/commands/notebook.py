"""What a notebook opens with: the records it shows, trained in place only when asked."""

from pathlib import Path

from fmnist_lib import paths
from fmnist_lib.errors import UserError
from fmnist_lib.reporting import sources
from fmnist_lib.reporting.analysis import Results, as_recorded, load_results
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore

HOW = frozenset({"device", "precision"})  # of no concern to who reads a report's records


class NothingToShowError(UserError):
    """There are no records to show: a notebook says so in one line, without a traceback."""

    def _render_traceback_(self) -> list[str]:  # what IPython asks for
        return [str(self)]


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

    Without `seeds` every seed that there are records of. `records` names a folder to read (relative
    to the project); empty means this machine's records, or the released ones where those are of
    more models (`origin` says which). With `train`, what this machine lacks is trained here first,
    one run after another. Raises `UserError` when there is nothing to show.
    """
    if profile == "study":
        raise NothingToShowError("profile: no notebook shows the study; allowed: paper, smoke")
    own = RunStore(paths.RUNS, read_only=True)
    if records:
        folder = paths.ROOT / records
        if not folder.is_dir():
            raise NothingToShowError(f"records: there is no folder {folder}")
        shown = folder.relative_to(paths.ROOT) if folder.is_relative_to(paths.ROOT) else folder
        stores = {f"the records in {shown}": RunStore(folder, read_only=True)}
    else:
        stores = {
            "this machine's records": own,
            "the released records, not trained on this machine": RunStore(
                paths.REPORT / "records", read_only=True
            ),
        }
        if train:
            train_here(as_recorded(own, plan(profile, models=models, seeds=seeds), free=HOW))
    shown = [
        (store, recorded(store, profile, models, seeds), origin) for origin, store in stores.items()
    ]
    store, configs, origin = max(shown, key=number_of_models)  # the first of several as good
    if not records and not number_of_models((store, configs, origin)):
        raise NothingToShowError(
            f"no record of {', '.join(config.name for config in configs)}; set train = True in the "
            "notebook's parameters, or run `python run_all.py` with the same profile first"
        )
    results = load_results(store, configs, origin=origin)
    sources.show_results(results)
    return results


def recorded(store: RunStore, profile: str, models: str, seeds: str) -> list[RunConfig]:
    """Return the runs of a profile as a store has them; without `seeds` those of all it has."""
    there = sorted({run.config.seed for run in store.readable()})
    seeds = seeds or ",".join(map(str, there))
    return as_recorded(store, plan(profile, models=models, seeds=seeds), free=HOW)


def number_of_models(shown: tuple[RunStore, list[RunConfig], str]) -> int:
    """Return of how many models a store has any of the runs."""
    store, configs, _ = shown
    return len({config.model for config in configs if store.find(config)})


def train_here(configs: list[RunConfig]) -> None:
    """Train what this machine's store lacks, in this process, with a progress bar."""
    from fmnist_lib.execution.here import train_and_store  # most readers train nothing

    store = RunStore(paths.RUNS)
    with store.lock():
        missing = [store.with_recorded_rules(c) for c in configs if store.find(c) is None]
        train_and_store(missing, store, keep_going=False)
