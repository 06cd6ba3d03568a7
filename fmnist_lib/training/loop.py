"""The loop: one model, one config, the data in memory. Not here: files, plots, processes."""

import copy
import ctypes
import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnist_lib.data.fashion_mnist import Dataset, batch_order, derive_seed, stratified_split
from fmnist_lib.runs.config import RunConfig, Stop
from fmnist_lib.training.engine import Forward, make_forward
from fmnist_lib.training.metrics import Sums

EVALUATION_BATCH = 100  # images; larger ones leave the processor's cache and are slower

Row = dict[str, float | int | None]
"""Metrics of one epoch; losses per image, accuracies in percent, times in the unit of the name."""


State = dict[str, Any]
"""All that training needs to go on after an epoch: tensors, numbers and names."""


class NonFiniteLossError(RuntimeError):
    """A loss became infinite or not a number."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the body on one thread.

    Many tiny models train faster side by side than one after another on all cores, and a result
    does not depend on how many ran at once.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# Of glibc's `mallopt`: the parameter's number and its value in bytes.
KEPT_MEMORY = {
    "mmap_threshold": (-3, 32 * 2**20),  # the largest value it takes
    "trim_threshold": (-1, 2**30),
}


def keep_freed_memory() -> None:
    """Have this process keep the memory it frees, for the next step to use; glibc alone.

    A training step takes and frees the same large blocks again and again. Given back to the system,
    as in Dask's workers, each comes as fresh pages that have to be filled with zeros first, which
    can take half of the time (`benchmarks/README.md`). The numbers do not change.
    """
    if platform.libc_ver()[0] == "glibc":
        for parameter, value in KEPT_MEMORY.values():
            ctypes.CDLL(None).mallopt(parameter, value)


@dataclass
class EarlyStopping:
    """One stopping rule at work: keeps the weights of its best epoch until it fires."""

    rule: Stop
    best_loss: float = float("inf")
    best_epoch: int = 0
    last_epoch: int = 0
    fired: bool = False
    weights: dict[str, Tensor] = field(default_factory=dict)

    def update(self, row: Row, model: nn.Module) -> None:
        """Take one epoch into account; a rule that has fired ignores what comes after."""
        if self.fired:
            return
        self.last_epoch = int(row["epoch"])
        if row[self.rule.monitor] < self.best_loss:
            self.best_loss, self.best_epoch = row[self.rule.monitor], self.last_epoch
            self.weights = copy.deepcopy(model.state_dict())
        self.fired = self.last_epoch - self.best_epoch >= self.rule.patience


Part = tuple[Tensor, Tensor]
"""Images (N, 1, 28, 28) and labels (N,)."""


@dataclass(frozen=True)
class Parts:
    """Images and labels of a run, on its device; the paper's protocol has no `validation`."""

    train: Part
    test: Part
    validation: Part | None = None


def split_parts(data: Dataset, config: RunConfig) -> Parts:
    """Return what `config.protocol` trains on, stops on and reports on."""
    device = torch.device(config.device)
    train = data.train_images.to(device), data.train_labels.to(device)
    test = data.test_images.to(device), data.test_labels.to(device)
    if config.protocol == "paper":
        return Parts(train, test)
    kept, held_out = stratified_split(data.train_labels, config.validation_images, seed=config.seed)
    return Parts(tuple(part[kept] for part in train), test, tuple(part[held_out] for part in train))


def place_model(model: nn.Module, config: RunConfig) -> nn.Module:
    """Return the model on its device, channels last: a third faster for convolutions on a CPU."""
    return model.to(config.device, memory_format=torch.channels_last)


def make_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Return Adam with PyTorch's defaults but for the learning rate."""
    return torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)


def train(
    model: nn.Module,
    parts: Parts,
    config: RunConfig,
    *,
    on_epoch: Callable[[Row], None] = lambda row: None,
    state: State | None = None,
    on_state: Callable[[State], None] = lambda state: None,
) -> tuple[list[Row], list[EarlyStopping]]:
    """Train until the last stopping rule has fired; return the history and each rule's best epoch.

    `on_state` gets all that is needed to go on after each epoch; given back as `state`, training
    goes on from there and ends as if it had never stopped. Raises `NonFiniteLossError` naming model
    and epoch, and in training the step.
    """
    optimizer = make_optimizer(model, config)
    forward = make_forward(model, config)
    rules = [EarlyStopping(rule) for rule in config.stops]
    history: list[Row] = []
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        history = state["history"]
        rules = [
            EarlyStopping(rule, **kept)
            for rule, kept in zip(config.stops, state["rules"], strict=True)
        ]
    for epoch in range(len(history) + 1, config.max_epochs + 1):
        if all(rule.fired for rule in rules):
            break
        started = time.perf_counter()
        running = train_epoch(model, forward, optimizer, parts.train, config, epoch)
        train_seconds = time.perf_counter() - started
        started = time.perf_counter()
        test = evaluate(model, parts.test)
        inference_ms = 1000 * (time.perf_counter() - started)
        validation = evaluate(model, parts.validation) if parts.validation else None
        row = {
            "epoch": epoch,
            "train_loss": running.mean_loss,
            "train_accuracy": running.accuracy,
            "test_loss": test.mean_loss,
            "test_accuracy": test.accuracy,
            "validation_loss": validation.mean_loss if validation else None,
            "validation_accuracy": validation.accuracy if validation else None,
            "train_seconds": train_seconds,
            "inference_ms": inference_ms,
        }
        check_finite(row, config)
        history.append(row)
        for rule in rules:
            rule.update(row, model)
        on_state(state_of(model, optimizer, history, rules))
        on_epoch(row)
    return history, rules


def state_of(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: list[Row],
    rules: list[EarlyStopping],
) -> State:
    """Return all that training needs to go on."""
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "history": history,
        "rules": [{n: v for n, v in vars(rule).items() if n != "rule"} for rule in rules],
    }


def check_finite(row: Row, config: RunConfig) -> None:
    """Raise `NonFiniteLossError` for a loss that an evaluation found; steps are checked apart."""
    for name in ("test_loss", "validation_loss"):
        if row[name] is not None and not math.isfinite(row[name]):
            raise NonFiniteLossError(
                f"{config.model}: the {name.replace('_', ' ')} is not finite after epoch "
                f"{row['epoch']} (seed {config.seed}, learning rate {config.learning_rate})"
            )


def train_epoch(
    model: nn.Module,
    forward: Forward,
    optimizer: torch.optim.Optimizer,
    part: Part,
    config: RunConfig,
    epoch: int,
) -> Sums:
    """Train on every image once; return the running sums, in train mode, as the weights change.

    All randomness of an epoch (batch order, dropout) is a pure function of seed and epoch.
    """
    images, labels = part
    model.train()
    torch.manual_seed(derive_seed(config.seed, epoch, "dropout"))
    order = batch_order(len(labels), seed=config.seed, epoch=epoch).to(labels.device)
    sums = []
    for batch in order.split(config.batch_size):
        targets = labels.index_select(0, batch)
        loss, logits = forward(images.index_select(0, batch), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        sums.append(loss_and_correct(loss * len(batch), logits, targets))
    sums = torch.stack(sums).cpu().double()  # one transfer an epoch, none a step
    finite = torch.isfinite(sums[:, 0])
    if not finite.all():
        first = int((~finite).nonzero()[0]) + 1
        raise NonFiniteLossError(
            f"{config.model}: the training loss is not finite in epoch {epoch}, step {first}"
            f" of {len(sums)} (seed {config.seed}, learning rate {config.learning_rate})"
        )
    loss, correct = sums.sum(0).tolist()
    return Sums(loss, int(correct), len(labels))


def loss_and_correct(summed_loss: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return summed loss and number of correct predictions as one tensor (2,).

    In single precision, in which both are exact: not every device has double.
    """
    correct = (logits.argmax(1) == labels).sum()
    return torch.stack((summed_loss.detach(), correct.to(summed_loss.dtype)))


@torch.no_grad()
def evaluate(model: nn.Module, part: Part) -> Sums:
    """Return the sums over all images of `part`, in eval mode."""
    model.eval()
    sums = []
    for images, labels in batches(part):
        logits = model(images)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        sums.append(loss_and_correct(loss, logits, labels))
    loss, correct = torch.stack(sums).cpu().double().sum(0).tolist()
    return Sums(loss, int(correct), len(part[1]))


@torch.no_grad()
def predict(model: nn.Module, part: Part) -> Tensor:
    """Return class probabilities (N, 10) on the CPU, in eval mode."""
    model.eval()
    return torch.cat([model(images).softmax(1).cpu() for images, _ in batches(part)])


def batches(part: Part) -> Iterator[Part]:
    """Yield images and labels in order, `EVALUATION_BATCH` at a time."""
    return zip(*(tensor.split(EVALUATION_BATCH) for tensor in part), strict=True)
