"""How long runs will take, and how far they have come. Not here: any decision, any measurement."""

import statistics
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.runs.store import RunStore
from fmnist_lib.training.stopping import Row

EXPECTED_EPOCHS = 25  # where no run of the model tells; early stopping decides
SECONDS_PER_MAC = 3e-10  # of training on one image; a core of 2020, within a factor of two
SAME_WORK = {"model", "model_options", "batch_size", "device", "precision"}  # with an image
LINE_EVERY = 100  # seconds
NAMED = 4  # runs in a line; more would not be read


def past_runs(*stores: RunStore) -> list[RunRecord]:
    """Return the records of the stores, but for damaged ones."""
    return [record for store in stores for record in store.readable()]


def expected_seconds(config: RunConfig, records: Iterable[RunRecord] = ()) -> float:
    """Return a run's likely time on one core: an epoch's time an image × images × epochs."""
    alike = [record for record in records if not config.differs(record.config).keys() & SAME_WORK]
    whole = [record for record in alike if not record.config.shortened]
    if known := whole or alike:
        rows = [row for record in known for row in record.history]
        seconds = sum(row.train_seconds + row.inference_ms / 1000 for row in rows)
        seconds /= sum(record.config.trained_images * len(record.history) for record in known)
    else:
        seconds = SECONDS_PER_MAC * count_macs(config.model, config.model_options)
    return seconds * config.trained_images * expected_epochs(config, whole)


def expected_epochs(config: RunConfig, records: Sequence[RunRecord] = ()) -> float:
    """Return how many epochs a run will likely have, from runs of the same work."""
    lengths = [len(record.history) for record in records] or [EXPECTED_EPOCHS]
    return min(config.epochs or statistics.median(lengths), config.max_epochs)


def longest_first(
    configs: Sequence[RunConfig], records: Sequence[RunRecord] = ()
) -> list[RunConfig]:
    """Return the runs in the order to start them in, so that no core idles at the end."""
    return sorted(configs, key=lambda config: -expected_seconds(config, records))


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
    """Shows how far runs have come: one bar over all, or a line now and then where nobody watches.

    Work is counted in multiply-accumulates, so that an epoch of a large model moves the bar more.
    """

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self.each = {c.name: count_macs(c.model, c.model_options) for c in configs}  # epoch's work
        self.titles = {c.name: title_of(c) for c in configs}
        self.expected = {c.name: expected_epochs(c) for c in configs}
        self.done = dict.fromkeys(self.each, 0)
        self.accuracies: dict[str, float] = {}  # of the runs under way
        self.finished = 0
        self.work_here = 0  # without the epochs that were there before this call
        self.started = time.monotonic()
        self.ended = threading.Event()
        self.bar = None
        if configs and is_watched():
            with suppress(ImportError):  # who only trains may lack it
                from tqdm import tqdm

                form = "{percentage:3.0f} %|{bar}| {elapsed}{postfix}"
                self.bar = tqdm(total=self._work(self.expected), bar_format=form)

    def __enter__(self) -> "Progress":
        if self.each and not self.bar:
            threading.Thread(target=self._speak, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        if self.bar:
            self.bar.close()

    def epoch(self, name: str, row: Row) -> None:
        """Take note of a finished epoch."""
        self.done[name] = int(row["epoch"])
        self.expected[name] = max(self.expected[name], self.done[name] + 1)
        self.accuracies[name] = row["test_accuracy"]
        self.work_here += self.each[name]
        self._show()

    def finish(self, record: RunRecord) -> None:
        """Take note of a finished run."""
        self.expected[record.name] = self.done[record.name] = len(record.history)
        self.accuracies.pop(record.name, None)
        self.finished += 1
        self._show()
        best = next(iter(record.stops.values()))
        result = f"test {best.test_accuracy:.2f} % at epoch {best.best_epoch} of {best.epochs}"
        self.say(f"{self.titles[record.name]}: {result}")

    def say(self, line: str) -> None:
        """Print a line without disturbing the bar."""
        if self.bar:
            self.bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def line(self) -> str:
        """Return how far all is: what runs, epochs, accuracies, time left as this call went."""
        running = [
            f"{self.titles[name]} epoch {self.done[name]}, {accuracy:.1f} %"
            for name, accuracy in list(self.accuracies.items())  # a worker's thread adds some
        ]
        if len(running) > NAMED:
            running[NAMED:] = [f"{len(running) - NAMED} more"]
        left = "unknown time"
        if self.work_here:
            rest = self._work(self.expected) - self._work(self.done)
            passed = time.monotonic() - self.started
            left = f"about {in_words(passed * rest / self.work_here)}"
        return f"{self.finished}/{len(self.each)} runs, {left} left: {'; '.join(running)}"

    def _work(self, epochs: Mapping[str, float]) -> float:
        return sum(self.each[name] * number for name, number in epochs.items())

    def _speak(self) -> None:
        while not self.ended.wait(LINE_EVERY):
            self.say(self.line())

    def _show(self) -> None:
        if self.bar:
            self.bar.total, self.bar.n = self._work(self.expected), self._work(self.done)
            self.bar.set_postfix_str(self.line())


def title_of(config: RunConfig) -> str:
    """Return what a reader calls a run."""
    fold = "" if config.fold is None else f" fold {config.fold}"
    return f"{MODELS[config.model].title} seed {config.seed}{fold}"


def is_watched() -> bool:
    """Return whether a bar that moves can be seen: on a terminal or in a notebook."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
