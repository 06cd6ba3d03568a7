"""One bar over all runs; a line now and then where nobody watches. Not here: any decision."""

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from fmnist_lib.execution.forecast import expected_epochs, in_words
from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.training.stopping import Row

LINE_EVERY = 100  # seconds
NAMED = 4  # runs in a line; more would not be read


class Progress:
    """Shows how far a set of runs has come: epochs, latest accuracies, time left.

    Work is counted in multiply-accumulates, so that an epoch of a large model moves the bar more.
    """

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self.work = {c.name: count_macs(c.model, c.model_options) for c in configs}
        self.titles = {c.name: title_of(c) for c in configs}
        self.expected = {c.name: expected_epochs(c) for c in configs}
        self.done = dict.fromkeys(self.work, 0)
        self.first: dict[str, int] = {}  # epochs that were there before this call
        self.finished = 0
        self.accuracies: dict[str, float] = {}
        self.started = time.monotonic()
        self.ended = threading.Event()
        self.bar = open_bar(self._total()) if configs and is_watched() else None

    def __enter__(self) -> "Progress":
        if not self.bar and self.work:
            threading.Thread(target=self._speak, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended.set()
        if self.bar:
            self.bar.close()

    def _total(self) -> float:
        return sum(self.work[name] * self.expected[name] for name in self.work)

    def epoch(self, name: str, row: Row) -> None:
        """Take note of a finished epoch."""
        epoch = int(row["epoch"])
        self.first.setdefault(name, epoch - 1)
        self.done[name] = epoch
        self.expected[name] = max(self.expected[name], epoch + 1)
        self.accuracies[name] = row["test_accuracy"]
        self._show()

    def finish(self, record: RunRecord) -> None:
        """Take note of a finished run."""
        self.expected[record.name] = self.done[record.name] = len(record.history)
        self.accuracies.pop(record.name, None)
        self.finished += 1
        self._show()
        best = next(iter(record.stops.values()))
        self.say(
            f"{self.titles[record.name]}: test {best.test_accuracy:.2f} % at epoch "
            f"{best.best_epoch} of {best.epochs}"
        )

    def say(self, line: str) -> None:
        """Print a line without disturbing the bar."""
        if self.bar:
            self.bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def line(self) -> str:
        """Return how far all is: what runs, epochs, accuracies, time left."""
        running = [
            f"{self.titles[name]} epoch {self.done[name]}, {accuracy:.1f} %"
            for name, accuracy in list(self.accuracies.items())  # a worker's thread adds some
        ]
        more = f" and {len(running) - NAMED} more" if len(running) > NAMED else ""
        at_work = "; ".join(running[:NAMED]) + more or "first epochs under way"
        return f"{self.finished}/{len(self.work)} runs, {self.time_left()} left: {at_work}"

    def time_left(self) -> str:
        """Return a guess from the work of this call so far."""
        here = sum(
            self.work[name] * (self.done[name] - first) for name, first in list(self.first.items())
        )
        rest = sum(self.work[name] * (self.expected[name] - self.done[name]) for name in self.work)
        passed = time.monotonic() - self.started
        return f"about {in_words(passed * rest / here)}" if here else "unknown time"

    def _speak(self) -> None:
        while not self.ended.wait(LINE_EVERY):
            self.say(self.line())

    def _show(self) -> None:
        if not self.bar:
            return
        self.bar.total = self._total()
        self.bar.n = sum(self.work[name] * self.done[name] for name in self.work)
        self.bar.set_postfix_str(self.line(), refresh=False)
        self.bar.refresh()


def title_of(config: RunConfig) -> str:
    """Return what a reader calls a run."""
    fold = "" if config.fold is None else f" fold {config.fold}"
    return f"{MODELS[config.model].title} seed {config.seed}{fold}"


def open_bar(total: float):  # noqa: ANN201, of a package that need not be there
    """Return a bar that moves, or None without tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, bar_format="{percentage:3.0f} %|{bar}| {elapsed}{postfix}")


def is_watched() -> bool:
    """Return whether a bar that moves can be seen: on a terminal or in a notebook."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
