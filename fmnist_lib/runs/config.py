"""Settings of one run: frozen, strict, with a key. Not here: which runs there are (study)."""

import hashlib
import json
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS, build_model

TRAINING_VERSION = 1
"""Raised by hand whenever the numbers a run produces change; older records are then retrained."""

DATA_SHA256 = "6e1b8248a371b684a8915a1bed4b38233fddf371eb4aedfbefbeecd3adf25313"
"""One name for the whole data set: SHA-256 over a line `name sha256` for each of the four files.

`fmnist_lib.data.fashion_mnist` verifies every file by itself.
"""

TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000  # as published
MAX_SEED = 2**32 - 1

Monitor = Literal["test_loss", "validation_loss"]
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
TrainImages = Annotated[int, Field(gt=0, le=TRAIN_IMAGES)]
TestImages = Annotated[int, Field(gt=0, le=TEST_IMAGES)]


class Settings(BaseModel):
    """Base of everything read from outside: frozen, unknown names refused, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Stop(Settings):
    """Stop at the `patience`-th epoch in a row without a strictly lower `monitor`.

    Epochs count from 1, so a rule that fired has `epochs - best_epoch == patience`.
    """

    monitor: Monitor = "test_loss"
    patience: Positive = 5  # epochs; paper, section 3.2

    @property
    def name(self) -> str:
        """Stable name, used in records and file names, e.g. `test_loss-p5`."""
        return f"{self.monitor}-p{self.patience}"


class RunConfig(Settings):
    """One training of one model. A default is the paper's protocol or an assumption named so."""

    model: str
    seed: Seed = 0
    model_options: dict[str, JsonValue] = {}  # keyword arguments of the model's builder
    protocol: Literal["paper", "split"] = (
        "paper"  # split: a validation part leaves the training set
    )
    validation_images: Positive = 10_000  # of the 60,000, stratified; used by `split` alone
    # Not part of the key: one record can serve several rules. Not strict: JSON has no tuples.
    stops: Annotated[tuple[Stop, ...], Field(strict=False)] = (Stop(),)
    max_epochs: Positive = 100  # generous: early stopping ends every run of the study before it
    batch_size: Positive = 64  # assumption: the paper does not say
    optimizer: Literal["adam"] = "adam"  # assumption, with PyTorch's betas and no weight decay
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3  # assumption: PyTorch's default for Adam
    train_images: TrainImages | None = None  # None: all of them; a number makes a shortened run
    test_images: TestImages | None = None
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    engine: Literal["eager", "compiled"] = "eager"  # compiled: by torch.compile
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: autocast, in training alone

    @model_validator(mode="before")
    @classmethod
    def _settle_model_options(cls, values: Any) -> Any:  # noqa: ANN401, not checked yet
        """Check the options, then drop those at their defaults: the same run as without them."""
        if not isinstance(values, dict):
            return values
        model, options = values.get("model"), values.get("model_options")
        if not (isinstance(model, str) and isinstance(options, dict)):
            return values  # nothing given, or something the fields' own checks refuse
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
        check_model(self.model, self.model_options)
        if not self.stops:
            raise ValueError("stops: at least one stopping rule is needed")
        if len({stop.name for stop in self.stops}) < len(self.stops):
            raise ValueError("stops: the same rule is given twice")
        if self.protocol == "paper" and any(s.monitor == "validation_loss" for s in self.stops):
            raise ValueError("stops: validation_loss needs protocol='split'")
        images = self.train_images or TRAIN_IMAGES
        if self.protocol == "split" and self.validation_images >= images:
            raise ValueError(
                f"validation_images: {self.validation_images} of {images} training images leave "
                f"nothing to train on; allowed: 1 to {images - 1}"
            )
        return self

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
        full_epochs = type(self).model_fields["max_epochs"].default
        return bool(self.train_images or self.test_images or self.max_epochs < full_epochs)


def check_model(name: str, options: dict[str, Any]) -> None:
    """Raise `OptionError`, a `ValueError`, for what cannot be built; draw no weights."""
    with torch.device("meta"):
        build_model(name, **options)


def make_config(**settings: Any) -> RunConfig:  # noqa: ANN401, checked by the model
    """Return a `RunConfig`; raise `UserError` with one line that names the first bad setting."""
    try:
        return RunConfig(**settings)
    except ValidationError as error:
        raise UserError(one_line(error)) from None


def one_line(error: ValidationError) -> str:
    """Return the first problem of a pydantic error as `where: what is wrong`."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        settings = Stop if where.startswith("stops.") else RunConfig
        message = f"unknown setting; allowed: {', '.join(settings.model_fields)}"
    elif first["type"] not in ("value_error", "missing"):
        message += f", not {first['input']!r}"
    return f"{where}: {message}" if where else message
