"""Train again what a store of records claims, and judge it. Never writes to that store."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fmnist_lib.commands.verification import DIFFERS, FAILED, Verdict, compare, compare_start
from fmnist_lib.errors import UserError
from fmnist_lib.execution.forecast import longest_first
from fmnist_lib.execution.here import train_and_store
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import describe_environment
from fmnist_lib.runs.record import DamagedRecordError, Environment, RunRecord
from fmnist_lib.runs.store import RunStore

QUICK_EPOCHS = 2
SAME = ("python", "packages", "cpu", "threads", "code_sha256", "data_sha256")


@dataclass
class Claims:
    """What a store says, read and checked."""

    records: list[RunRecord] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)  # by name: what is wrong


def verify(
    released: RunStore,
    scratch: RunStore,
    *,
    models: Sequence[str] = (),
    seeds: Sequence[int] = (),
    jobs: int = 1,
    quick: bool = False,
) -> list[Verdict]:
    """Train the released runs again, each by its own config, and return a verdict on each.

    Empty `models` or `seeds` mean all. With `quick` only the first epochs are trained. What an
    interrupted call has trained is in `scratch` and is used by the next one on the same machine; a
    finished call leaves its runs beside it, in `verified`. Raises `UserError`.
    """
    claims = read_claims(released, models, seeds)
    configs = {record.name: replayed(record, quick=quick) for record in claims.records}
    with scratch.lock():
        failures = train_again(list({c.name: c for c in configs.values()}.values()), scratch, jobs)
        known = read_claims(released).records
        verdicts = [
            Verdict(record.name, FAILED, causes=(failures[config.name],))
            if (config := configs[record.name]).name in failures
            else judge_record(record, config, released, scratch, known, quick=quick)
            for record in claims.records
        ]
        keep_results([config.name for config in configs.values()], scratch)
    verdicts += [Verdict(name, DIFFERS, causes=(why,)) for name, why in claims.damaged.items()]
    return sorted(verdicts, key=lambda verdict: verdict.name)


def read_claims(store: RunStore, models: Sequence[str] = (), seeds: Sequence[int] = ()) -> Claims:
    """Return the records of these models and seeds; raise `UserError` if there is none."""
    claims = Claims()
    for name in store.names():
        model, _, rest = name.partition("-s")
        seed = rest.partition("-")[0]
        if (models and model not in models) or (seeds and seed not in map(str, seeds)):
            continue
        try:
            claims.records.append(read_whole(store, name))
        except DamagedRecordError as error:
            claims.damaged[name] = str(error)
    if not (claims.records or claims.damaged):
        which = " of these models and seeds" if models or seeds else ""
        raise UserError(f"{store.folder}: holds no record{which}; there is nothing to verify")
    return claims


def read_whole(store: RunStore, name: str) -> RunRecord:
    """Return a record that can be compared; raise `DamagedRecordError`."""
    record = store.read(name)
    rules = {kept.rule.name for kept in record.stops.values()}
    if not record.history or not rules or rules != set(record.stops):
        raise DamagedRecordError(f"{store.folder / name}: lacks its history or its results")
    return record


def replayed(record: RunRecord, *, quick: bool) -> RunConfig:
    """Return what to train: the record's own run with all its rules, or the head of it."""
    epochs = min(QUICK_EPOCHS, len(record.history)) if quick else record.config.max_epochs
    return record.config.model_copy(update={"max_epochs": epochs})


def train_again(configs: list[RunConfig], scratch: RunStore, jobs: int) -> dict[str, str]:
    """Train what the scratch store lacks; return, by name, the errors of runs that failed."""
    here = describe_environment()
    missing = [
        config
        for config in configs
        if not ((found := scratch.find(config)) and same_place(found.environment, here))
    ]
    print(
        f"training {len(missing)} of {len(configs)} runs again, {jobs} side by side",
        file=sys.stderr,
        flush=True,
    )
    return train_and_store(longest_first(missing), scratch, jobs=jobs, with_weights=False).failures


def same_place(found: Environment, here: Environment) -> bool:
    """Return whether a run trained in `found` is what would be trained here and now."""
    one_thread = here.model_copy(update={"threads": 1})  # as every run
    return all(getattr(found, name) == getattr(one_thread, name) for name in SAME)


def judge_record(
    record: RunRecord,
    config: RunConfig,
    released: RunStore,
    scratch: RunStore,
    known: Sequence[RunRecord],
    *,
    quick: bool,
) -> Verdict:
    """Return the verdict on one record, whose run now lies in the scratch store."""
    retrained = scratch.read(config.name)
    if quick:
        return compare_start(record, retrained, known)
    same_classes = all(
        np.array_equal(
            *(
                store.predictions(run, rule)["predicted"]
                for store, run in ((released, record), (scratch, retrained))
            )
        )
        for rule in record.stops
    )
    return compare(record, retrained, known, same_classes=same_classes)


def keep_results(names: Sequence[str], scratch: RunStore) -> None:
    """Move finished runs out of the scratch store, so that the next call trains them anew."""
    kept = scratch.folder.parent / "verified"
    for name in set(names):
        if (scratch.folder / name).exists():
            shutil.rmtree(kept / name, ignore_errors=True)
            kept.mkdir(exist_ok=True)
            shutil.move(scratch.folder / name, kept / name)
