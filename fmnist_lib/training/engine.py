"""How the forward pass of a training step is carried out: eager or compiled, fp32 or bf16."""

import hashlib
import json
import os
import platform
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from fmnist_lib.models import MODELS
from fmnist_lib.paths import CACHE
from fmnist_lib.runs.config import TRAIN_IMAGES, RunConfig

Forward = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps images (B, 1, 28, 28) and labels (B,) to the mean loss and the logits (B, 10)."""

ENGINES = ("eager", "compiled", "auto")
REPAID_AFTER = {"resnet_mini": 19, "mobilenet_lite": 5}
"""Epochs of 60,000 images after which compiling has paid on a CPU; models not named gain nothing.

Measured on one machine (`benchmarks/README.md`); `auto` goes by it.
"""

COMPILED = CACHE / "compiled"
MANIFEST = "manifest.json"


class CompilationError(RuntimeError):
    """`torch.compile` failed; the message names the model and the cause."""


def forward_fp32(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy and the logits."""
    logits = model(images)
    return F.cross_entropy(logits, labels), logits


def forward_bf16(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same with the model under autocast; weights and loss stay in single precision."""
    with torch.autocast(images.device.type, torch.bfloat16):
        logits = model(images)
    logits = logits.float()
    return F.cross_entropy(logits, labels), logits


FORWARD = {"fp32": forward_fp32, "bf16": forward_bf16}


def make_forward(model: nn.Module, config: RunConfig) -> Forward:
    """Return the forward pass of `config`'s engine.

    Compiled, it fits whole batches alone: a shorter last one runs eagerly, since a second shape
    would have to be compiled for one step an epoch. Calling it raises `CompilationError`.
    """
    eager = partial(FORWARD[config.precision], model)
    if config.engine == "eager":
        return eager
    torch.compiler.reset()  # another run's graphs in this process count against the same limit
    # The random numbers are eager's, so that the engines differ by rounding alone.
    compiled = torch.compile(eager, dynamic=False, options={"fallback_random": True})
    ready = False

    def forward(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal ready
        if len(labels) != config.batch_size:
            return eager(images, labels)
        if ready:
            return compiled(images, labels)
        with compiler_cache(config):
            try:
                result = compiled(images, labels)
            except Exception as error:
                cause = str(error).strip().partition("\n")[0]
                raise CompilationError(f"{config.model}: compiling failed: {cause}") from error
        ready = True
        return result

    return forward


@contextmanager
def compiler_cache(config: RunConfig) -> Iterator[None]:
    """Have the compiler use the project's cache for this architecture, one process at a time.

    So the second run of an architecture starts warm. The files are checked against the checksums
    written beside them; a folder that does not match is set aside with a warning.
    """
    folder = COMPILED / f"{config.model}-{cache_digest(config)}"
    folder.mkdir(parents=True, exist_ok=True)
    before = {name: os.environ.get(name) for name in compiler_settings(folder)}
    with FileLock(f"{folder}.lock"):
        reject_damaged(folder)
        os.environ.update(compiler_settings(folder))
        try:
            yield
            (folder / MANIFEST).write_text(json.dumps(checksums(folder)))
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def compiler_settings(folder: Path) -> dict[str, str]:
    """Return the compiler's environment: its cache, and no processes of its own."""
    return {"TORCHINDUCTOR_CACHE_DIR": str(folder), "TORCHINDUCTOR_COMPILE_THREADS": "1"}


def cache_digest(config: RunConfig) -> str:
    """Return what compiled code depends on, as a short digest."""
    settings = config.model_dump(
        mode="json", include={"model", "model_options", "batch_size", "precision", "device"}
    )
    identity = [settings, torch.__version__, platform.python_version(), platform.node()]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, but of the manifest and of locks."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and path.suffix != ".lock"
    }


def reject_damaged(folder: Path) -> None:
    """Set the folder aside unless its files are what its manifest says."""
    try:
        recorded = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        recorded = {}  # never finished, or cut short: compiled anew
    found = checksums(folder)
    if found == recorded:
        return
    shutil.rmtree(folder)
    folder.mkdir()
    if recorded:
        warnings.warn(
            f"{folder}: compiled code is not what was stored; compiled again", stacklevel=2
        )


def resolve_auto(config: RunConfig) -> RunConfig:
    """Return the run with the engine that is faster for it on this machine, compiling included."""
    images = (config.train_images or TRAIN_IMAGES) * config.max_epochs
    epochs = REPAID_AFTER.get(config.model)
    at_defaults = config.model_options == {} and config.model in MODELS
    pays = config.device == "cpu" and at_defaults and epochs and images > epochs * TRAIN_IMAGES
    return config.model_copy(update={"engine": "compiled" if pays and can_compile() else "eager"})


@cache
def can_compile() -> bool:
    """Return whether there is a C++ compiler that `torch.compile` takes."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return bool(shutil.which(get_cpp_compiler()))
    except InvalidCxxCompiler:
        return False
