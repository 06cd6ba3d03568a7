"""One bar over all runs; a line now and then where nobody watches. Not here: any decision."""

import sys
from collections.abc import Sequence
from types import TracebackType

from tqdm import tqdm

from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.training.loop import Row

EXPECTED_EPOCHS = 25  # a guess for the time left; early stopping decides
LINE_EVERY = 10  # epochs


class Progress:
    """Shows how far a set of runs has come: epochs, latest accuracies, time left.

    Work is counted in multiply-accumulates, so that an epoch of a large model moves the bar more.
    """

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self.work = {c.name: count_macs(c.model, c.model_options) for c in configs}
        self.titles = {c.name: f"{MODELS[c.model].title} seed {c.seed}" for c in configs}
        self.expected = {c.name: min(EXPECTED_EPOCHS, c.max_epochs) for c in configs}
        self.done = dict.fromkeys(self.work, 0)
        self.finished = 0
        self.accuracies: dict[str, float] = {}
        self.watched = is_watched()
        self.bar = tqdm(
            total=self._total(),
            disable=not (self.watched and configs),
            bar_format="{desc} {percentage:3.0f} %|{bar}| {elapsed}, {remaining} left{postfix}",
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

    def _total(self) -> int:
        return sum(self.work[name] * self.expected[name] for name in self.work)

    def epoch(self, name: str, row: Row) -> None:
        """Take note of a finished epoch."""
        epoch = int(row["epoch"])
        self.done[name] = epoch
        self.expected[name] = max(self.expected[name], epoch + 1)
        self.accuracies[name] = row["test_accuracy"]
        self._show()
        if not self.watched and epoch % LINE_EVERY == 0:
            self.say(f"{self.titles[name]}: epoch {epoch}, test {row['test_accuracy']:.2f} %")

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
        tqdm.write(line, file=sys.stderr)

    def _show(self) -> None:
        self.bar.total = self._total()
        self.bar.n = sum(self.work[name] * self.done[name] for name in self.work)
        self.bar.set_description(f"{self.finished}/{len(self.work)} runs", refresh=False)
        running = [
            f"{self.titles[name]} {self.done[name]}: {accuracy:.1f} %"
            for name, accuracy in list(self.accuracies.items())  # a worker's thread adds some
        ]
        self.bar.set_postfix_str(", ".join(running), refresh=False)
        self.bar.refresh()


def is_watched() -> bool:
    """Return whether a bar that moves can be seen: on a terminal or in a notebook."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
