"""What one call of the command asks for, and what came of it. Not here: doing it."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fmnist_lib import paths
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.store import RunStore

NO_VARIANT = {"seed", "device", "precision", "train_images", "test_images", "max_epochs"}
"""Settings in which a run may differ from the paper's and still be one of its six models."""


@dataclass(frozen=True)
class Job:
    """What one call of the command asks for."""

    profile: str
    configs: Sequence[RunConfig]
    output: Path
    jobs: int = 1
    scheduler: str = ""  # of a cluster that trains in place of this machine
    force: bool = False
    keep_going: bool = False
    release: bool = False
    minutes: float | None = None  # for training, which stops in good order by then
    ranks: Mapping[str, int] = field(default_factory=dict)  # of runs by name: lower ones first
    store: RunStore = field(default_factory=lambda: RunStore(paths.RUNS))
    released: RunStore = field(
        default_factory=lambda: RunStore(paths.REPORT / "records", read_only=True)
    )

    @property
    def shown(self) -> list[RunConfig]:
        """The runs that a report shows: the paper's models by its protocol."""
        return [
            config
            for config in self.configs
            if not config.differs(RunConfig(model=config.model), ignoring=NO_VARIANT)
        ]

    @property
    def models(self) -> list[str]:
        """The models that a report shows, in the paper's order."""
        return [name for name in MODELS if any(c.model == name for c in self.shown)]

    @property
    def seeds(self) -> list[int]:
        """The seeds that a report shows."""
        return sorted({config.seed for config in self.shown})


@dataclass
class Report:
    """What a call has made, and what went wrong on the way."""

    folder: Path
    failures: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


class RunFailedError(FailedError):
    """A run or a notebook failed and the call was not told to keep going."""


def check_output(job: Job) -> None:
    """Claim the output folder; raise `UserError` unless it can be written to and nothing is lost.

    It must be new, empty or a report's, and none of the project's own.
    """
    from fmnist_lib.reporting.folder import MARKER, claim, is_report  # who trains needs none

    whole = job.output.absolute()
    try:
        for path in (whole, *whole.parents):
            if path.is_symlink() and not path.exists():
                raise UserError(f"output: {path} is a link that leads nowhere")
        folder = whole.resolve()
    except OSError as error:
        raise UserError(f"output: cannot reach {whole} ({error.strerror})") from None
    kept = [paths.NOTEBOOKS, paths.RUNS, paths.DATA, *([] if job.release else [paths.REPORT])]
    if paths.ROOT.is_relative_to(folder) or any(folder.is_relative_to(p.resolve()) for p in kept):
        raise UserError(f"output: {folder} belongs to the project; allowed: a folder of its own")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        others = any(not path.name.startswith(".") for path in folder.iterdir())
        if others and not is_report(folder):
            raise UserError(
                f"output: {folder} holds other files; allowed: a new or empty folder, or a "
                f"report's, which has a file {MARKER}"
            )
        claim(folder)
    except OSError as error:
        raise UserError(f"output: cannot write to {folder} ({error.strerror})") from None


def fail(job: Job, report: Report, message: str) -> None:
    """Note a failure; raise `RunFailedError` unless the call keeps going."""
    report.failures.append(message)
    if not job.keep_going:
        raise RunFailedError(message)
    tell(f"failed: {message}")  # at once: the end may be far, or never come


def tell(message: str) -> None:
    """Tell the user what happens now."""
    print(message, file=sys.stderr, flush=True)
