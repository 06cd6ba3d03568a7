"""Where a run stands after an epoch, on disk: written whole, checked when read.

A checkpoint is one line of JSON (what it belongs to, and the SHA-256 of the rest), then what
`torch.save` makes of the state. It is read with `weights_only`: no code in it is ever run.
"""

import hashlib
import io
import json
import pickle
import time
import warnings
from pathlib import Path
from typing import Any

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
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        self.writable = True

    def save(self, state: State, now: bool = True) -> None:
        """Replace the file, if it is not of the last half minute or must be written `now`.

        A disk that refuses is named once: the run goes on without.
        """
        if not now and time.monotonic() - self.saved < EVERY_SECONDS:
            return
        self.saved = time.monotonic()
        content = io.BytesIO()
        torch.save(state, content)
        payload = content.getvalue()
        header = {**self.identity, "sha256": checksum(self.identity, payload)}
        try:
            if self.writable:
                write_atomically(self.path, json.dumps(header).encode() + b"\n" + payload)
        except OSError as error:
            self.writable = False
            warnings.warn(f"{self.path}: no checkpoints ({error.strerror or error})", stacklevel=2)

    def load(self) -> State | None:
        """Return the state, or None: there is none, or it is damaged or of another run.

        The last two are named in a warning; a damaged file is set aside.
        """
        try:
            first_line, _, payload = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            return self._ignore(f"cannot be read ({error.strerror})")
        try:
            header = json.loads(first_line)
            if header.pop("sha256") != checksum(header, payload):
                raise ValueError("the checksum does not match")
            if header == self.identity:
                return torch.load(io.BytesIO(payload), weights_only=True)
        except (ValueError, LookupError, TypeError, AttributeError, pickle.UnpicklingError):
            return self._ignore("is damaged", aside=True)
        changed = [name for name, value in self.identity.items() if header.get(name) != value]
        return self._ignore(f"belongs to another run (differs in {', '.join(changed)})")

    def remove(self) -> None:
        """Delete the file, now that the run's record is stored."""
        self.path.unlink(missing_ok=True)

    def _ignore(self, fault: str, *, aside: bool = False) -> None:
        try:
            kept = f" (kept as {set_aside(self.path, self.path.parent)})" if aside else ""
        except OSError:
            kept = ""
        warnings.warn(f"{self.path}: {fault}; the run starts anew{kept}", stacklevel=3)


def checksum(identity: dict[str, Any], payload: bytes) -> str:
    """Return the SHA-256 over what a checkpoint belongs to and what it holds."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode() + payload).hexdigest()
