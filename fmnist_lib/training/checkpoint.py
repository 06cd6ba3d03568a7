"""Where a run stands after an epoch, on disk: written whole, checked when read.

A checkpoint is a line with the SHA-256 of the rest, then what `torch.save` makes of the state and
of what it belongs to. It is read with `weights_only`: no code in it is ever run.
"""

import hashlib
import io
import pickle
import time
import warnings
from contextlib import suppress
from pathlib import Path

import torch

from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import code_sha256
from fmnist_lib.runs.store import set_aside, write_atomically
from fmnist_lib.training.loop import State

EVERY_SECONDS = 30  # writing after each epoch would cost a fast run more than its training


class Checkpoint:
    """One run's checkpoint file in a folder."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.path = folder / f"{config.name}.pt"
        self.saved = time.monotonic()
        self.identity = {
            "key": config.key,
            "rules": [stop.name for stop in config.rules],
            "training code": code_sha256(),
            "torch": str(torch.__version__),
            "threads": torch.get_num_threads(),
        }

    def save(self, state: State, now: bool = True) -> None:
        """Replace the file if it is old or `now`; warn where the disk refuses."""
        if not now and time.monotonic() - self.saved < EVERY_SECONDS:
            return
        self.saved = time.monotonic()
        file = io.BytesIO()
        torch.save((self.identity, state), file)
        try:
            write_atomically(self.path, sha256(file.getvalue()) + b"\n" + file.getvalue())
        except OSError as error:
            warnings.warn(f"{self.path}: no checkpoints ({error.strerror or error})", stacklevel=2)

    def load(self) -> State | None:
        """Return the state; None, with a warning, for a damaged file (set aside) or another run."""
        try:
            first_line, _, content = self.path.read_bytes().partition(b"\n")
            if first_line != sha256(content):
                raise ValueError("the checksum does not match")
            identity, state = torch.load(io.BytesIO(content), weights_only=True)
            if identity == self.identity:
                return state
            changed = [name for name in self.identity if identity[name] != self.identity[name]]
            fault = f"belongs to another run (differs in {', '.join(changed)})"
        except FileNotFoundError:
            return None
        except OSError as error:
            fault = f"cannot be read ({error.strerror})"
        except (ValueError, LookupError, RuntimeError, pickle.UnpicklingError):
            fault = "is damaged"
            with suppress(OSError):
                fault += f" (kept as {set_aside(self.path, self.path.parent)})"
        warnings.warn(f"{self.path}: {fault}; the run starts anew", stacklevel=2)
        return None

    def remove(self) -> None:
        """Delete the file, now that the run's record is stored."""
        self.path.unlink(missing_ok=True)


def sha256(content: bytes) -> bytes:
    """Return the digest as text."""
    return hashlib.sha256(content).hexdigest().encode()
