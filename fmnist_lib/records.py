"""The schema of a run's record, and the only reader and writer of run files.

A store is a folder with one sub-folder a run: `record.json` beside `predictions-<rule>.safetensors`
and (in the local store alone) `weights-<rule>.safetensors`; costs lie in `costs/`.
"""

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import safetensors.numpy
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from fmnist_lib.config import RunConfig, Stop, one_line
from fmnist_lib.errors import UserError

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
    started: str  # ISO 8601, UTC
    finished: str


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


class DamagedRecordError(Exception):
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


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class RunStore:
    """A folder of runs. Files are checked when read; damaged runs are set aside and named."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = Path(folder)
        self.read_only = read_only  # what is damaged there is named, but stays where it is

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for writing; raise `UserError` at once when another process holds it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise UserError(
                f"{self.folder}: another process (id {self._holder()}) is writing to this record "
                "store; wait until it has finished"
            ) from None
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written to ({error.strerror})") from None
        holder = self.folder / ".holder"
        try:
            holder.write_text(str(os.getpid()))
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def _holder(self) -> str:
        try:
            return (self.folder / ".holder").read_text()
        except OSError:
            return "unknown"

    def write(self, output: RunOutput, *, with_weights: bool = True) -> None:
        """Store a run: arrays first, the record last, so that a record vouches for its files."""
        folder = self.folder / output.record.name
        for rule, arrays in output.predictions.items():
            write_atomically(folder / f"predictions-{rule}.safetensors", encode_arrays(arrays))
        for rule, arrays in output.weights.items() if with_weights else ():
            write_atomically(folder / f"weights-{rule}.safetensors", encode_arrays(arrays))
        write_atomically(folder / "record.json", encode(output.record))

    def write_cost(self, cost: CostRecord) -> None:
        """Store a cost measurement."""
        write_atomically(self.folder / "costs" / f"{cost.name}.json", encode(cost))

    def find(self, config: RunConfig) -> RunRecord | None:
        """Return the record of `config` with all rules it asks for, or None.

        A damaged one is set aside with a warning that names it, and counts as absent. A folder
        without a record is a run that another process is writing, or that was cut short: absent.
        """
        folder = self.folder / config.name
        if not (folder / "record.json").exists():
            return None
        try:
            record = self.read(config.name)
        except DamagedRecordError as error:
            self._reject(folder, f"{error}; the run counts as missing")
            return None
        wanted = {stop.name for stop in config.stops}
        return record if wanted <= set(record.stops) else None

    def why_missing(self, config: RunConfig) -> str:
        """Return, for a run that `find` does not find, what the store has instead, by name."""
        alike = [
            name for name in self.names() if name.startswith(f"{config.model}-s{config.seed}-")
        ]
        if not alike:
            return "no record of this model and seed"
        reasons = []
        for name in alike:
            try:
                record = self.read(name)
            except DamagedRecordError as error:
                reasons.append(str(error))
                continue
            rules = [stop.name for stop in config.stops if stop.name not in record.stops]
            reasons.append(
                describe_difference(record.config, config)
                or (f"its record lacks {', '.join(rules)}" if name == config.name else "")
                or "training code or data have changed since"
            )
        return min(reasons, key=len)  # the nearest relative

    def with_recorded_rules(self, config: RunConfig) -> RunConfig:
        """Return the run with its record's rules besides, so that training again loses none."""
        try:
            recorded = [kept.rule for kept in self.read(config.name).stops.values()]
        except DamagedRecordError:  # or none at all
            return config
        more = tuple(rule for rule in recorded if rule not in config.stops)
        return config.model_copy(update={"stops": config.stops + more})

    def find_cost(self, name: str) -> CostRecord | None:
        """Return the cost record of that name, or None; a damaged one is set aside likewise."""
        path = self.folder / "costs" / f"{name}.json"
        if not path.exists():
            return None
        try:
            return decode(path, CostRecord)
        except DamagedRecordError as error:
            self._reject(path, f"{error}; measured again")
            return None

    def _reject(self, path: Path, fault: str) -> None:
        try:
            if not self.read_only:
                fault += f" (kept as {set_aside(path, self.folder)})"
        except OSError as error:  # nothing is lost
            fault += f" (could not be set aside: {error.strerror})"
        warnings.warn(fault, stacklevel=3)

    def read(self, name: str) -> RunRecord:
        """Return a run's record, it and its predictions checked; raise `DamagedRecordError`."""
        record = decode(self.folder / name / "record.json", RunRecord)
        if record.name != name:
            raise DamagedRecordError(f"{self.folder / name}: the record is of another run")
        for rule in record.stops:
            self.predictions(record, rule)
        return record

    def predictions(self, record: RunRecord, rule: str) -> Arrays:
        """Return `predicted`, `probability`, `probability_of_true` of each test image, checked."""
        return self._arrays(record, "predictions", rule, record.stops[rule].predictions_sha256)

    def weights(self, record: RunRecord, rule: str) -> Arrays | None:
        """Return the best weights under a rule, checked; None where they were not kept."""
        if not (self.folder / record.name / f"weights-{rule}.safetensors").exists():
            return None
        return self._arrays(record, "weights", rule, record.stops[rule].weights_sha256)

    def _arrays(self, record: RunRecord, kind: str, rule: str, expected: str) -> Arrays:
        path = self.folder / record.name / f"{kind}-{rule}.safetensors"
        try:
            arrays = safetensors.numpy.load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            raise DamagedRecordError(f"{path}: cannot be read ({error})") from None
        if digest_arrays(arrays) != expected:
            raise DamagedRecordError(f"{path}: its content is not what the record says")
        return arrays

    def names(self) -> list[str]:
        """Return the names of all runs in the store, sorted."""
        return sorted(path.parent.name for path in self.folder.glob("*/record.json"))

    def runs(self) -> list[RunRecord]:
        """Return all runs; raise `DamagedRecordError` at the first bad one."""
        return [self.read(name) for name in self.names()]

    def costs(self) -> list[CostRecord]:
        """Return all cost records but damaged ones, of which `find_cost` tells."""
        names = sorted(path.stem for path in self.folder.glob("costs/*.json"))
        return [cost for name in names if (cost := self.find_cost(name))]

    def copy(self, record: RunRecord, other: "RunStore", *, with_weights: bool = False) -> None:
        """Copy a run into another store (without its weights unless asked)."""
        predictions = {rule: self.predictions(record, rule) for rule in record.stops}
        weights = {rule: self.weights(record, rule) for rule in record.stops if with_weights}
        kept = {rule: arrays for rule, arrays in weights.items() if arrays is not None}
        other.write(RunOutput(record, predictions, kept))


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


def set_aside(path: Path, store: Path) -> Path:
    """Move a damaged file or folder into the store's `damaged/`, never to be read; return where."""
    for number in range(1, 1000):
        target = store / "damaged" / f"{path.stem}-{number}{path.suffix}"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
            return target
    raise UserError(
        f"{store / 'damaged'}: holds too many damaged copies of {path.name}; delete some"
    )
