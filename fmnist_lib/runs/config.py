"""Settings of one run: frozen, strict, with a key. Not here: which runs there are (`plans`)."""

import hashlib
import json
from collections.abc import Collection
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS, build_model
from fmnist_lib.models.checks import require

TRAINING_VERSION = 1
"""Raised by hand whenever the numbers a run produces change; older records are then retrained."""

DATA_SHA256 = "6e1b8248a371b684a8915a1bed4b38233fddf371eb4aedfbefbeecd3adf25313"
"""Of the whole data set: SHA-256 over a line `name sha256` for each of the four files."""

TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000  # as published
MAX_SEED = 2**32 - 1
MAX_EPOCHS = 100  # generous: early stopping ends every run of the study before it
LAST = "last"  # the monitor of a run with a fixed number of epochs

Monitor = Literal["test_loss", "validation_loss", "last"]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]

NEEDS = {  # what has no meaning without another setting, but would make another key
    "validation_images": ("protocol", "split", "fold"),
    **dict.fromkeys(("fold", "folds", "partition"), ("protocol", "fold")),
    "momentum": ("optimizer", "sgd"),
    "weight_decay": ("optimizer", "adamw", "sgd"),  # decoupled in the former
}


class Settings(BaseModel):
    """Base of everything read from outside: frozen, unknown names refused, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Stop(Settings):
    """Stop at the `patience`-th epoch in a row without a strictly lower `monitor`.

    The monitor `last` keeps the last of `patience` epochs: the one rule of a run of fixed `epochs`.
    """

    monitor: Monitor = "test_loss"
    patience: Positive = 5  # epochs; paper, section 3.2

    @property
    def name(self) -> str:
        """Stable name, used in records and file names, e.g. `test_loss-p5`."""
        return LAST if self.monitor == LAST else f"{self.monitor}-p{self.patience}"


class RunConfig(Settings):
    """One training of one model. A default is the paper's protocol or an assumption named so."""

    model: str
    seed: Seed = 0
    model_options: dict[str, JsonValue] = {}  # keyword arguments of the model's builder
    protocol: Literal["paper", "split", "fold"] = "paper"  # all but the paper's hold images out
    validation_images: Positive = 10_000  # of the 60,000, stratified: they choose the epoch
    fold: Annotated[int, Field(ge=0)] | None = None  # which part of the partition evaluates
    folds: Annotated[int, Field(ge=2)] = 5
    partition: Seed = 0  # the seed of the partition into folds
    # Not part of the key: one record can serve several rules. Not strict: JSON has no tuples.
    stops: Annotated[tuple[Stop, ...], Field(strict=False)] = (Stop(),)
    epochs: Positive | None = None  # so many and no stopping rule, as a schedule needs it
    max_epochs: Positive = MAX_EPOCHS
    batch_size: Positive = 64  # assumption: the paper does not say
    augment: Literal["none", "flip", "shift", "flip+shift", "mixup"] = "none"
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"  # assumption, with PyTorch's betas
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3  # assumption: PyTorch's default for Adam
    momentum: Rate = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "onecycle"] = "constant"  # onecycle: up to learning_rate, down
    label_smoothing: Rate = 0.0
    average: Rate = 0.0  # decay a step of the averaged weights that are evaluated; 0: no averaging
    # None: all of them; a number makes a shortened run.
    train_images: Annotated[int, Field(gt=0, le=TRAIN_IMAGES)] | None = None
    test_images: Annotated[int, Field(gt=0, le=TEST_IMAGES)] | None = None
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    engine: Literal["eager"] = "eager"  # there was another once; records name theirs
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: autocast, in training alone

    @model_validator(mode="before")
    @classmethod
    def _settle(cls, values: Any) -> Any:  # noqa: ANN401, not checked yet
        """Drop model options at their defaults, once checked: the same run as without them."""
        if not isinstance(values, dict):  # a config that is one already, or nonsense
            return values
        if values.get("epochs") is not None:
            values = {"stops": (), **values}
        model, options = values.get("model"), values.get("model_options", {})
        if not (isinstance(model, str) and isinstance(options, dict)):
            return values  # which the fields' own checks refuse
        check_model(model, options)  # before any is dropped: to Python, 0 is False
        given, defaults = (  # through JSON, where tuples and lists are one thing
            json.loads(json.dumps(mapping)) for mapping in (options, MODELS[model].defaults)
        )
        kept = {
            name: float(value) if isinstance(defaults[name], float) else value
            for name, value in given.items()
            if value != defaults[name]
        }
        return {**values, "model_options": kept}

    @model_validator(mode="after")
    def _check(self) -> "RunConfig":
        given = self.model_dump(exclude_defaults=True)
        for name, (other, *values) in NEEDS.items():
            met = name not in given or getattr(self, other) in values
            require(met, f"{name}: needs {other} {' or '.join(values)}")
        names, monitors = ({getattr(s, n) for s in self.stops} for n in ("name", "monitor"))
        held, fold = self.protocol != "paper", self.protocol == "fold"
        most = self.validation_images + self.trained_images - 1
        few = (self.epochs or 0) <= self.max_epochs or self.shortened
        for met, fault in (
            (self.epochs or names, "stops: at least one stopping rule is needed"),
            (not (self.epochs and names), "epochs: a fixed number goes without stops"),
            (LAST not in monitors, "stops: allowed are test_loss, validation_loss; or set epochs"),
            (len(names) == len(self.stops), "stops: the same rule is given twice"),
            (held or monitors <= {"test_loss"}, "stops: validation_loss needs another protocol"),
            (not held or self.validation_images <= most, f"validation_images: at most {most}"),
            (not fold or self.fold is not None, "fold: protocol fold needs it"),
            ((self.fold or 0) < self.folds, f"fold: allowed are 0 to {self.folds - 1}"),
            (few, f"epochs: allowed are 1 to max_epochs, {self.max_epochs}"),
            (self.schedule == "constant" or self.epochs, "schedule: onecycle needs fixed epochs"),
            (self.augment != "mixup" or self.batch_size > 1, "batch_size: mixup needs 2 or more"),
        ):
            require(met, fault)
        return self

    @property
    def rules(self) -> tuple[Stop, ...]:
        """The stopping rules, or the one that keeps the last of a fixed number of epochs."""
        return self.stops or (Stop(monitor=LAST, patience=self.epochs),)

    @property
    def held_out(self) -> int:
        """How many training images validate or make up the fold, if uneven the largest."""
        images = self.train_images or TRAIN_IMAGES
        fold = -(-images // self.folds) if self.protocol == "fold" else 0
        return fold + (self.validation_images if self.protocol != "paper" else 0)

    @property
    def trained_images(self) -> int:
        """How many images an epoch trains on."""
        return (self.train_images or TRAIN_IMAGES) - self.held_out

    @property
    def key(self) -> str:
        """Hash of what the result depends on: non-default settings, data, training version."""
        settings = self.model_dump(mode="json", exclude_defaults=True, exclude={"stops"})
        identity = {"settings": settings, "data": DATA_SHA256, "training": TRAINING_VERSION}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Short and readable: model, seed and the head of the key; names the run's folder."""
        return f"{self.model}-s{self.seed}-{self.key[:12]}"

    @property
    def shortened(self) -> bool:
        """Whether the run sees less than the study's runs do: part of the data, or few epochs."""
        return bool(self.train_images or self.test_images or self.max_epochs < MAX_EPOCHS)

    def differs(self, other: "RunConfig", *, ignoring: Collection[str] = ()) -> dict[str, tuple]:
        """Return the settings in which two runs differ, with both values; rules never count."""
        ignored = {"stops", *ignoring}
        ours, theirs = (run.model_dump(mode="json", exclude=ignored) for run in (self, other))
        return {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}


BUILDABLE: set[tuple[str, str]] = set()  # a plan may ask for the same model thousands of times


def check_model(name: str, options: dict[str, Any]) -> None:
    """Raise `OptionError`, a `ValueError`, for what cannot be built; draw no weights."""
    if (name, repr(options)) not in BUILDABLE:
        with torch.device("meta"):
            build_model(name, **options)
        BUILDABLE.add((name, repr(options)))


def make_config(**settings: Any) -> RunConfig:  # noqa: ANN401, checked by the model
    """Return a `RunConfig`; raise `UserError` with one line that names the first bad setting."""
    try:
        return RunConfig(**settings)
    except ValidationError as error:
        raise UserError(one_line(error)) from None


def one_line(error: ValidationError) -> str:
    """Return the first problem of a pydantic error as `where: what is wrong`."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] not in ("value_error", "missing"):
        message += f", not {first['input']!r}"
    where = ".".join(map(str, first["loc"]))
    return " ".join(f"{where}: {message}".removeprefix(": ").split())
