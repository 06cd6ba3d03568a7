"""One bar over all runs; a line now and then where nobody watches. Not here: any decision."""

import sys
import threading
import time
from collections.abc import Mapping, Sequence

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
        self.each = {c.name: count_macs(c.model, c.model_options) for c in configs}  # epoch's work
        self.titles = {c.name: title_of(c) for c in configs}
        self.expected = {c.name: expected_epochs(c) for c in configs}
        self.done = dict.fromkeys(self.each, 0)
        self.accuracies: dict[str, float] = {}  # of the runs under way
        self.finished = 0
        self.work_here = 0  # without the epochs that were there before this call
        self.started = time.monotonic()
        self.ended = threading.Event()
        self.bar = open_bar(self._work(self.expected)) if configs and is_watched() else None

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
        """Return how far all is: what runs, epochs, accuracies, time left as this call went."""
        running = [
            f"{self.titles[name]} epoch {self.done[name]}, {accuracy:.1f} %"
            for name, accuracy in list(self.accuracies.items())  # a worker's thread adds some
        ]
        more = f" and {len(running) - NAMED} more" if len(running) > NAMED else ""
        at_work = "; ".join(running[:NAMED]) + more or "first epochs under way"
        left = "unknown time"
        if self.work_here:
            rest = self._work(self.expected) - self._work(self.done)
            passed = time.monotonic() - self.started
            left = f"about {in_words(passed * rest / self.work_here)}"
        return f"{self.finished}/{len(self.each)} runs, {left} left: {at_work}"

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
