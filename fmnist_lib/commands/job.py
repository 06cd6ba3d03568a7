"""What one call of the command asks for, and what came of it. Not here: doing it."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fmnist_lib import paths
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.store import RunStore


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
    auto_engine: bool = False  # an eager record serves as well as a compiled one
    store: RunStore = field(default_factory=lambda: RunStore(paths.RUNS))
    released: RunStore = field(
        default_factory=lambda: RunStore(paths.REPORT / "records", read_only=True)
    )

    @property
    def checkpoints(self) -> Path:
        """Where runs leave their checkpoints until their record is stored."""
        return self.store.folder / "checkpoints"

    @property
    def models(self) -> list[str]:
        """The models of the plan, in the paper's order."""
        return [name for name in MODELS if any(c.model == name for c in self.configs)]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the plan."""
        return sorted({config.seed for config in self.configs})


@dataclass
class Report:
    """What a call has made, and what went wrong on the way."""

    folder: Path
    failures: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


class RunFailedError(FailedError):
    """A run or a notebook failed and the call was not told to keep going."""


def check_output(job: Job) -> None:
    """Raise `UserError` unless the output folder can be written to and nothing is lost by it.

    A report replaces what is in its folder: so it must be new, empty or an earlier report's, which
    has records in any case; and none of the project's own.
    """
    folder = job.output.resolve()
    kept = [paths.NOTEBOOKS, paths.RUNS, paths.DATA, *([] if job.release else [paths.REPORT])]
    if paths.ROOT.is_relative_to(folder) or any(folder.is_relative_to(p.resolve()) for p in kept):
        raise UserError(f"output: {folder} belongs to the project; allowed: a folder of its own")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        others = any(not path.name.startswith(".") for path in folder.iterdir())
    except OSError as error:
        raise UserError(f"output: cannot write to {folder} ({error.strerror})") from None
    if others and not (folder / "records").is_dir():
        raise UserError(
            f"output: {folder} holds other files; allowed: a new or empty folder, or a report's"
        )


def fail(job: Job, report: Report, message: str) -> None:
    """Note a failure; raise `RunFailedError` unless the call keeps going."""
    report.failures.append(message)
    if not job.keep_going:
        raise RunFailedError(message)
    tell(f"failed: {message}")  # at once: the end may be far, or never come


def tell(message: str) -> None:
    """Tell the user what happens now."""
    print(message, file=sys.stderr, flush=True)
