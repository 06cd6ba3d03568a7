"""How long runs will take, from runs that were, else from their work. Not here: any measurement."""

import heapq
import statistics
from collections.abc import Iterable, Sequence
from contextlib import suppress

from fmnist_lib.runs.config import TRAIN_IMAGES, RunConfig
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.record import DamagedRecordError, RunRecord, decode
from fmnist_lib.runs.store import RunStore

EXPECTED_EPOCHS = 25  # where no run of the model tells; early stopping decides
SECONDS_PER_MAC = 3e-10  # of training on one image; a core of 2020, within a factor of two
SAME_WORK = {"model", "model_options", "batch_size", "device", "precision"}  # with an image


def past_runs(*stores: RunStore) -> list[RunRecord]:
    """Return the records of the stores, damaged ones left out: a forecast is no evidence."""
    records = []
    for store in stores:
        for name in store.names():
            with suppress(DamagedRecordError):
                records.append(decode(store.folder_of(name) / "record.json", RunRecord))
    return records


def expected_seconds(config: RunConfig, records: Iterable[RunRecord] = ()) -> float:
    """Return a run's likely time on one core: an epoch's time an image × images × epochs."""
    alike = [record for record in records if not config.differs(record.config).keys() & SAME_WORK]
    whole = [record for record in alike if not record.config.shortened]
    rows = [row for record in whole or alike for row in record.history]
    if rows:
        seconds = sum(row.train_seconds + row.inference_ms / 1000 for row in rows)
        seconds /= sum(images_of(run.config) * len(run.history) for run in whole or alike)
    else:
        seconds = SECONDS_PER_MAC * count_macs(config.model, config.model_options)
    return seconds * images_of(config) * expected_epochs(config, whole)


def expected_epochs(config: RunConfig, records: Sequence[RunRecord] = ()) -> float:
    """Return how many epochs a run will likely have, from runs of the same work."""
    lengths = [len(record.history) for record in records] or [EXPECTED_EPOCHS]
    return min(config.epochs or statistics.median(lengths), config.max_epochs)


def images_of(config: RunConfig) -> int:
    """Return how many images an epoch trains on."""
    images = config.train_images or TRAIN_IMAGES
    held_out = config.validation_images if config.protocol != "paper" else 0
    return images - held_out - (images // config.folds if config.protocol == "fold" else 0)


def longest_first(
    configs: Sequence[RunConfig], records: Sequence[RunRecord] = ()
) -> list[RunConfig]:
    """Return the runs in the order to start them in, so that no core idles at the end."""
    return sorted(configs, key=lambda config: -expected_seconds(config, records))


def wall_seconds(seconds: Iterable[float], workers: int) -> float:
    """Return when the last run ends if each free worker takes the longest run that is left."""
    free_at = [0.0] * max(workers, 1)
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def forecast(configs: Sequence[RunConfig], records: Sequence[RunRecord], workers: int) -> str:
    """Return one line: what training these runs will take with that many workers."""
    if not configs:
        return "forecast: nothing to train"
    seconds = [expected_seconds(config, records) for config in configs]
    return (
        f"forecast: {len(configs)} runs to train, {sum(seconds) / 3600:.1f} core hours; "
        f"{in_words(wall_seconds(seconds, workers))} with {workers} side by side"
    )


def in_words(seconds: float) -> str:
    """Return a duration as a person would say it, rounded up to whole minutes."""
    minutes = -int(-seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
