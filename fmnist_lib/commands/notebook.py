"""What a notebook opens with: the records it shows, trained in place only when asked."""

import re
from pathlib import Path

from fmnist_lib import paths
from fmnist_lib.commands.job import Job, finder
from fmnist_lib.commands.train import train_missing
from fmnist_lib.errors import UserError
from fmnist_lib.results.load import Results, as_recorded, load_results, recorded_family
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.plans import PAPER, plan
from fmnist_lib.runs.store import RunStore

OWN, RELEASED = "this machine's records", "the released records, not trained on this machine"
STUDIED = "the study's finished records, not trained on this machine"


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
    family: str = "",
    rule: str = Stop().name,
) -> Results:
    """Return the results of a profile's runs, ready for tables, figures and sentences.

    Without `seeds` every seed that there are records of. `records` names a folder to read (relative
    to the project); empty means this machine's records, or the released ones where those are of
    more models (`origin` says which). With `train`, what this machine lacks is trained here first,
    one run after another. With a `family` of the study its runs in place of the profile's, all
    there are, read at a stopping `rule`. Raises `UserError` when there is nothing to show.
    """
    if profile not in ("paper", "smoke"):
        raise NothingToShowError(f"profile: {profile!r} is not shown; allowed: paper, smoke")
    folders = {OWN: paths.RUNS, RELEASED: paths.REPORT / "records", STUDIED: paths.STUDY}
    if records:
        folder = paths.ROOT / records
        if not folder.is_dir():
            raise NothingToShowError(f"records: there is no folder {folder}")
        place = folder.relative_to(paths.ROOT) if folder.is_relative_to(paths.ROOT) else folder
        folders = {f"the records in {place}": folder}
    elif train and not family:
        wanted = plan(profile, models=models, seeds=seeds)
        job = Job(profile, as_recorded(RunStore(paths.RUNS), wanted), paths.BUILD)
        with job.store.lock():
            train_missing(job)
    shown, stores = [], {name: RunStore(place, read_only=True) for name, place in folders.items()}
    for origin, store in stores.items():
        if family:
            study = "study" if profile == "paper" else profile
            find = finder(*stores.values())
            configs = recorded_family(store, study, family, find=find, models=models)
        else:
            there = ",".join(re.findall(r"-s(\d+)-", " ".join(store.names())))  # opens none of them
            configs = as_recorded(store, plan(profile, models=models, seeds=seeds or there))
        found = {config.model for config in configs if store.find(config)}
        shown.append((len(found), store, configs, origin))
    number, store, configs, origin = max(shown, key=lambda each: each[0])  # else the first
    if not (number or records):
        if family:
            how = f"`python run_all.py --train-only --families {family}` trains it"
            raise NothingToShowError(f"no record of the family {family}; {how}")
        raise NothingToShowError(
            f"no record of {', '.join(config.name for config in configs)}; set train = True in the "
            "notebook's parameters, or run `python run_all.py` with the same profile first"
        )
    return load_results(store, configs, rule=rule, origin=origin, family=family or PAPER)
