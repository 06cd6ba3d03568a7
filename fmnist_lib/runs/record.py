"""What a run leaves: its schema, its digests, its bytes, and whether it agrees with itself.

Where the bytes lie, and who may write them, is the business of `store`.
"""

import hashlib
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import safetensors.numpy
import torch
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError

from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.errors import FailedError
from fmnist_lib.runs import config
from fmnist_lib.runs.config import Positive, RunConfig, Settings, Stop, one_line
from fmnist_lib.training.loop import split_rows
from fmnist_lib.training.metrics import confusion_matrix
from fmnist_lib.training.stopping import EarlyStopping

TIME_FIELDS = {"train_seconds", "inference_ms"}
FOLD_FIELDS = {"fold_loss", "fold_accuracy"}  # of runs with folds alone: other digests stay
Arrays = dict[str, np.ndarray]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]  # of a file: no folder in it


class Schema(Settings, strict=False):
    """Base of what is written; not strict, since JSON has no tuples."""


def as_columns(rows: Sequence[Schema]) -> dict[str, list]:
    """Rows as they are written, in half the space: each name once; what no row has is left out."""
    names = type(rows[0]).model_fields if rows else ()
    found = {name: [getattr(row, name) for row in rows] for name in names}
    return {name: values for name, values in found.items() if any(v is not None for v in values)}


def as_rows(content: Any) -> Any:  # noqa: ANN401, any JSON value
    """The rows of `as_columns`; rows themselves, as earlier records have them, stay."""
    if not isinstance(content, dict):
        return content
    return [dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)]


IN_COLUMNS = BeforeValidator(as_rows), PlainSerializer(as_columns, when_used="json")


class EpochRow(Schema):
    """One epoch. Losses per image, accuracies in percent; `train_*` are running values."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    fold_loss: float | None = None  # of a run that holds a fold out
    fold_accuracy: float | None = None
    train_seconds: float  # wall time of training on all training images, other runs beside it
    inference_ms: float  # wall time of one pass over all test images, likewise


class StopResult(Schema):
    """What one stopping rule kept: its best epoch and what the model was worth there."""

    rule: Stop
    fired: bool  # False: the epoch limit came first
    best_epoch: Positive
    epochs: Positive  # epochs trained until the rule fired
    train_loss: float  # running, in train mode, at the best epoch
    train_accuracy: float
    train_loss_eval: float  # the best weights, evaluated again on all training images
    train_accuracy_eval: float
    test_loss: float
    test_accuracy: float
    validation_loss: float | None = None  # of a run that holds validation images
    validation_accuracy: float | None = None
    fold_loss: float | None = None
    fold_accuracy: float | None = None
    # Counts: row = true class, column = predicted class.
    confusion: Annotated[list[list[int]], Field(min_length=10, max_length=10)]
    weights_sha256: str
    predictions_sha256: str
    digest: str  # of the history up to `epochs`, the weights and the predictions


class Environment(Schema):
    """Where and when something was measured."""

    python: str
    packages: dict[str, str]
    system: str
    cpu: str
    gpu: str | None = None  # where it trained on one
    cores: int
    threads: int
    runs_beside: int | None = None  # trained at once in the process; its times are no run's own
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
    schema_version: Literal[1] = 1
    name: Name
    key: str
    config: RunConfig
    parameters: Positive
    macs: int  # multiply-accumulates of one image's forward pass
    checkpoint_bytes: int
    peak_memory_mib: float | None  # of the process that trained; None where unknown
    history: Annotated[list[EpochRow], Field(min_length=1), *IN_COLUMNS]
    stops: dict[Name, StopResult]
    environment: Environment
    result_digest: str  # of metric history, weights and predictions; not of times or environment


class Turn(Schema):
    """One turn of one model at being timed."""

    train_seconds: float  # of a block, scaled to `scaled_to_images`
    inference_ms: float  # of a block, scaled to the 10,000 test images
    latency_ms: float  # median of single images
    latency_ms_p90: float
    ruler_ms: tuple[float, float, float]  # before training, between, and after testing
    others_percent: float  # of all cores, used by other processes meanwhile
    steal_percent: float  # likewise, taken by neighbours of a virtual machine, as far as it tells


class CostRecord(Schema):
    """Times of one model, measured alone on the machine."""

    kind: Literal["cost"] = "cost"
    schema_version: Literal[1] = 1
    name: Name
    model: str
    config: RunConfig
    block_images: int  # training images in each timed block
    scaled_to_images: int
    inference_images: int  # in each timed block
    turns: Annotated[tuple[Turn, ...], *IN_COLUMNS] = ()
    environment: Environment
    busy_percent: float = 0.0  # from here on of earlier records alone, which have no turns
    train_seconds_blocks: tuple[float, ...] = ()
    inference_ms_passes: tuple[float, ...] = ()
    latency_ms: tuple[float, ...] = ()


Record = TypeVar("Record", RunRecord, CostRecord)


@dataclass(frozen=True)
class RunOutput:
    """A finished run on its way to a store: the record, and arrays by stopping rule."""

    record: RunRecord
    predictions: dict[str, Arrays]
    weights: dict[str, Arrays]


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


def metrics_of(rows: Sequence[EpochRow]) -> list[dict]:
    """Return the history without its times: what must be equal when a run is repeated."""
    unfolded = TIME_FIELDS | FOLD_FIELDS
    return [
        row.model_dump(exclude=unfolded if row.fold_loss is None else TIME_FIELDS) for row in rows
    ]


def result_digest(history: Sequence[EpochRow], stops: Mapping[str, StopResult]) -> str:
    """Return the digest of a whole run: metric history, and what each rule kept."""
    return digest_json([metrics_of(history), *(stops[name].digest for name in sorted(stops))])


# --- does it agree with itself? ---


def follow(
    rule: Stop, history: Sequence[EpochRow], weights_sha256: str, predictions: Arrays
) -> dict[str, Any]:
    """Return the fields of a rule's `StopResult` that follow from these."""
    end, no_model = EarlyStopping(rule), torch.nn.Identity()
    for row in history:
        end.update({name: math.inf if v is None else v for name, v in row}, no_model)
    hashes = {"weights_sha256": weights_sha256, "predictions_sha256": digest_arrays(predictions)}
    return {
        "rule": rule,
        "fired": end.fired,
        "best_epoch": end.best_epoch,
        "epochs": end.last_epoch,
        **history[end.best_epoch - 1].model_dump(exclude={"epoch", *TIME_FIELDS}),
        **hashes,
        "digest": digest_json([metrics_of(history[: end.last_epoch]), hashes]),
    }


def disagreements(record: RunRecord, predictions: Mapping[str, Arrays]) -> list[str]:
    """Return what does not follow from the rest of a record and the `predictions` by rule."""
    run, history, stops = record.config, record.history, record.stops
    labels = true_labels(run)
    rules = {rule.name: rule for rule in run.rules}
    facts = [  # field, its value, and the one that follows from the rest
        ("name", record.name, f"{run.model}-s{run.seed}-{record.key[:12]}"),
        ("stops", {name: kept.rule for name, kept in stops.items()}, rules),
        ("result_digest", record.result_digest, result_digest(history, stops)),
    ]
    if config.TRAINING_VERSION == 1:  # later there may be records of an earlier one
        facts += [("key", record.key, run.key)]
    last = 0
    for name, kept in stops.items():
        arrays = predictions[name]
        follows = follow(kept.rule, history, kept.weights_sha256, arrays)
        last = max(last, follows["epochs"])
        found = [(field, getattr(kept, field), value) for field, value in follows.items()]
        for split, true in labels.items():
            stem = "predicted" if split == "test" else f"{split}_predicted"
            predicted = arrays.get(stem, np.empty(0))
            seen = (predicted.dtype, predicted.shape, bool((predicted < 10).all()))
            found += [(stem, seen, ("uint8", (len(true),), True))]  # of ten classes
            if seen == found[-1][2]:
                confusion = confusion_matrix(true, torch.from_numpy(predicted))
                share = 100.0 * int(confusion.trace()) / len(true)
                found += [(f"{split}_accuracy", getattr(kept, f"{split}_accuracy"), share)]
                if split == "test":
                    found += [("confusion", kept.confusion, confusion.tolist())]
        facts += [(f"stops.{name}.{field}", value, follows) for field, value, follows in found]
    facts += [("history", [row.epoch for row in history], [*range(1, last + 1)])]
    return [
        f"{field}: is {reprlib.repr(value)}, but {reprlib.repr(follows)} follows from the rest"
        for field, value, follows in facts
        if value != follows
    ]


def true_labels(config: RunConfig) -> dict[str, torch.Tensor]:
    """Return the true classes of the images that a run is judged on: `test` and `fold`, (N,)."""
    found = {"test": labels_of("test", config.test_images)}
    if config.protocol == "fold":
        labels = labels_of("train", config.train_images)
        found["fold"] = labels[split_rows(labels, config)[-1]]
    return found


@cache
def labels_of(split: str, count: int | None) -> torch.Tensor:
    """Return the labels of so many images of `train` or `test`."""
    data = load(**{"train_images": 1, "test_images": 1, f"{split}_images": count})
    return getattr(data, f"{split}_labels")


# --- bytes ---


def encode_arrays(arrays: Arrays) -> bytes:
    """Return arrays as a safetensors file."""
    # Row by row: memory is written as it lies, and channels-last weights would come back shuffled.
    return safetensors.numpy.save({n: np.asarray(a, order="C") for n, a in arrays.items()})


def encode(record: RunRecord | CostRecord) -> bytes:
    """Return a record as JSON text, in one line, with a checksum of itself."""
    content = record.model_dump(mode="json")
    content["checksum"] = digest_json(content)
    return (json.dumps(content, separators=(",", ":")) + "\n").encode()


def decode(path: Path, schema: type[Record]) -> Record:
    """Return the record in a file; raise `DamagedRecordError` that names the file and the fault."""
    try:
        content = json.loads(path.read_bytes())
        if content.pop("checksum", None) != digest_json(content):
            raise DamagedRecordError(f"{path}: its checksum does not match its content")
        return schema.model_validate(content)
    except ValidationError as error:
        fault = f"is not a valid record ({one_line(error)[:300]})"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        fault = f"is not a whole JSON record ({error})"
    raise DamagedRecordError(f"{path}: {fault}")
