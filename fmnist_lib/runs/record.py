"""The schema of what a run leaves, its digests, and how it becomes bytes and comes back.

Where the bytes lie, and who may write them, is the business of `store`.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, ValidationError

from fmnist_lib.runs.config import RunConfig, Stop, one_line
from fmnist_lib.errors import FailedError, UserError

SCHEMA_VERSION = 1
Arrays = dict[str, np.ndarray]


class Schema(BaseModel):
    """Base of what is written: strict about names, so that a typo never becomes a silent field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EpochRow(Schema):
    """One epoch. Losses per image, accuracies in percent; `train_*` are running values."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    train_seconds: float  # wall time of training on all training images, other runs beside it
    inference_ms: float  # wall time of one pass over all test images, likewise


class StopResult(Schema):
    """What one stopping rule kept: its best epoch and what the model was worth there."""

    rule: Stop
    fired: bool  # False: the epoch limit came first
    best_epoch: int
    epochs: int  # epochs trained until the rule fired
    train_loss: float  # running, in train mode, at the best epoch
    train_accuracy: float
    train_loss_eval: float  # the best weights, evaluated again on all training images
    train_accuracy_eval: float
    test_loss: float
    test_accuracy: float
    validation_loss: float | None = None  # of a run that holds validation images
    validation_accuracy: float | None = None
    confusion: list[list[int]]  # row = true class, column = predicted class
    weights_sha256: str
    predictions_sha256: str
    digest: str  # of the history up to `epochs`, the weights and the predictions


class Environment(Schema):
    """Where and when something was measured."""

    python: str
    packages: dict[str, str]
    system: str
    cpu: str
    cores: int
    threads: int
    commit: str | None  # of the project; None outside a git checkout
    dirty: bool | None
    code_sha256: str
    data_sha256: str
    rules_sha256: str | None = None  # of the rules that judge claims, as they stood at the start
    started: str  # ISO 8601, UTC
    finished: str
    notes: tuple[str, ...] = ()  # what was done otherwise than asked, and why


class RunRecord(Schema):
    """Everything a finished run leaves, but weights and predictions."""

    kind: Literal["run"] = "run"
    schema_version: int = SCHEMA_VERSION
    name: str
    key: str
    config: RunConfig
    parameters: int
    macs: int  # multiply-accumulates of one image's forward pass
    checkpoint_bytes: int
    peak_memory_mib: float | None  # of the process that trained; None where unknown
    history: list[EpochRow]
    stops: dict[str, StopResult]
    environment: Environment
    result_digest: str  # of metric history, weights and predictions; not of times or environment


class CostRecord(Schema):
    """Times of one model, measured alone on the machine."""

    kind: Literal["cost"] = "cost"
    schema_version: int = SCHEMA_VERSION
    name: str
    model: str
    config: RunConfig
    busy_percent: float  # use of all cores by other processes just before
    block_images: int  # training images in each timed block
    train_seconds_blocks: list[float]  # one a block, scaled to `scaled_to_images`
    scaled_to_images: int
    inference_images: int
    inference_ms_passes: list[float]  # one a pass over the test images
    latency_ms: list[float]  # single images, one at a time
    environment: Environment


Record = TypeVar("Record", RunRecord, CostRecord)


@dataclass(frozen=True)
class RunOutput:
    """A finished run on its way to a store: the record and the arrays of each stopping rule."""

    record: RunRecord
    predictions: dict[str, Arrays]
    weights: dict[str, Arrays]

    def with_notes(self, notes: tuple[str, ...]) -> "RunOutput":
        """Return the same run with notes added to its record's environment."""
        environment = self.record.environment
        noted = environment.model_copy(update={"notes": environment.notes + notes})
        return replace(self, record=self.record.model_copy(update={"environment": noted}))


class DamagedRecordError(FailedError):
    """A file of a run is missing, cut or changed; the message names it and says what is wrong."""


def digest_arrays(arrays: Arrays) -> str:
    """Return one SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def digest_json(value: Any) -> str:  # noqa: ANN401, any JSON value
    """Return the SHA-256 of a value's canonical JSON; floats are exact to the bit."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_difference(recorded: RunConfig, wanted: RunConfig) -> str:
    """Return in which settings two runs differ, stopping rules aside; empty for none."""
    old, new = (c.model_dump(mode="json", exclude={"stops"}) for c in (recorded, wanted))
    changes = [
        f"{name} is {new[name]}, recorded {old[name]}" for name in new if old[name] != new[name]
    ]
    return ", ".join(changes)


def encode_arrays(arrays: Arrays) -> bytes:
    """Return arrays as a safetensors file.

    Laid out row by row first: the format writes memory as it lies, and channels-last weights would
    come back shuffled.
    """
    return safetensors.numpy.save({n: np.asarray(a, order="C") for n, a in arrays.items()})


def encode(record: RunRecord | CostRecord) -> bytes:
    """Return a record as JSON text with a checksum of itself."""
    content = record.model_dump(mode="json")
    content["checksum"] = digest_json(content)
    return (json.dumps(content, indent=1) + "\n").encode()


def decode(path: Path, schema: type[Record]) -> Record:
    """Return the record in a file; raise `DamagedRecordError` that names the file and the fault."""
    try:
        content = json.loads(path.read_bytes())
        version = int(content.get("schema_version", 0))
        checksum = content.pop("checksum", None)
        found = digest_json(content)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedRecordError(f"{path}: is not a whole JSON record ({error})") from None
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path}: was written by a newer version of this project (schema {version}; this one "
            f"reads up to {SCHEMA_VERSION})"
        )
    if checksum != found:
        raise DamagedRecordError(f"{path}: its checksum does not match its content")
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise DamagedRecordError(f"{path}: is not a valid record ({one_line(error)})") from None
