"""How long runs will take, and how far they have come. Not here: any decision, any measurement."""

import statistics
import sys
import threading
import time
from collections.abc import Iterable, Sequence

from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.training.stopping import Row

EXPECTED_EPOCHS = 25  # where no run of the model tells; early stopping decides
SECONDS_PER_MAC = 3e-10  # of training on one image; a core of 2020, within a factor of two
SAME_WORK = {"model", "model_options", "batch_size", "device", "precision"}  # with an image
LINE_EVERY = 100  # seconds
NAMED = 4  # runs in a line; more would not be read


def expected_seconds(config: RunConfig, records: Iterable[RunRecord] = ()) -> float:
    """Return a run's likely time on one core: an epoch's time an image × images × epochs."""
    whole = [record for record in records if not record.config.shortened]
    alike = [record for record in whole if not config.differs(record.config).keys() & SAME_WORK]
    seconds = SECONDS_PER_MAC * count_macs(config.model, config.model_options)
    if alike:
        rows = [row for record in alike for row in record.history]
        seconds = sum(row.train_seconds + row.inference_ms / 1000 for row in rows)
        seconds /= sum(record.config.trained_images * len(record.history) for record in alike)
    return seconds * config.trained_images * expected_epochs(config, alike)


def expected_epochs(config: RunConfig, records: Sequence[RunRecord] = ()) -> float:
    """Return how many epochs a run will likely have, from runs of the same work."""
    lengths = [len(record.history) for record in records] or [EXPECTED_EPOCHS]
    return min(config.epochs or statistics.median(lengths), config.max_epochs)


def longest_first(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the runs in the order to start them in, so that no core idles at the end."""
    return sorted(configs, key=lambda config: -expected_seconds(config))


def forecast(configs: Sequence[RunConfig], records: Sequence[RunRecord], workers: int) -> str:
    """Return one line: what training these runs will take with that many workers."""
    if not configs:
        return "forecast: nothing to train"
    seconds = [expected_seconds(config, records) for config in configs]
    wall = max(sum(seconds) / workers, *seconds)
    return (
        f"forecast: {len(configs)} runs to train, {sum(seconds) / 3600:.1f} core hours; "
        f"{in_words(wall)} with {workers} side by side"
    )


def in_words(seconds: float) -> str:
    """Return a duration as a person would say it, rounded up to whole minutes."""
    minutes = -int(-seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


class Progress:
    """Prints a line for each run that ends, and now and then one that says how far all are.

    Work is counted in multiply-accumulates, so that an epoch of a large model counts for more.
    """

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self.titles = titles_of(configs)
        self.epoch_work = {c.name: count_macs(c.model, c.model_options) for c in configs}
        self.expected = {c.name: expected_epochs(c) for c in configs}
        self.left = dict(self.expected)  # epochs to come of each run that has not ended
        self.running: dict[str, str] = {}  # how far each is
        self.work_here = 0  # without the epochs that were there before this call
        self.started = time.monotonic()
        self.over = threading.Event()

    def __enter__(self) -> "Progress":
        threading.Thread(target=self._speak, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()

    def _speak(self) -> None:
        while not self.over.wait(LINE_EVERY):
            tell(self.line())

    def epoch(self, name: str, row: Row) -> None:
        """Take note of a finished epoch."""
        if name in self.left:  # else a worker's message comes after its run
            epoch = int(row["epoch"])
            self.left[name] = max(self.expected[name] - epoch, 1)
            self.running[name] = f"{self.titles[name]} epoch {epoch}, {row['test_accuracy']:.1f} %"
            self.work_here += self.epoch_work[name]

    def end(self, name: str, result: str) -> None:
        """Take note of what came of a run."""
        self.left.pop(name)
        self.running.pop(name, None)
        tell(f"{self.titles[name]}: {result}")

    def line(self) -> str:
        """Return how far all is: what runs, epochs, accuracies, time left as this call went."""
        left, running = list(self.left.items()), list(self.running.values())  # threads change them
        if len(running) > NAMED:
            running[NAMED:] = [f"{len(running) - NAMED} more"]
        line = f"{len(self.titles) - len(left)}/{len(self.titles)} runs"
        if self.work_here:
            rest = sum(self.epoch_work[name] * epochs for name, epochs in left)
            passed = time.monotonic() - self.started
            line += f", about {in_words(passed * rest / self.work_here)} left"
        return f"{line}: {'; '.join(running) or 'starting'}"


def titles_of(configs: Sequence[RunConfig]) -> dict[str, str]:
    """Return by name what a reader calls each run: model, seed, settings that not all share."""
    settings = {}
    for config in configs:
        told = config.model_dump(exclude_defaults=True, exclude={"model", "seed", "stops"})
        told |= told.pop("model_options", {})
        settings[config.name] = [f"{name} {value}" for name, value in told.items()]
    shared = set.intersection(*map(set, settings.values())) if settings else set()
    titles = {}
    for config in configs:
        own = [setting for setting in settings[config.name] if setting not in shared]
        apart = f" ({', '.join(own)})" if own else ""
        titles[config.name] = f"{MODELS[config.model].title} seed {config.seed}{apart}"
    return titles


def tell(line: str) -> None:
    """Tell the user what happens."""
    print(line, file=sys.stderr, flush=True)
