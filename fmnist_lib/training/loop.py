"""The loop: one model, one config, the data in memory. Not here: files, plots, processes.

What takes long is a generator (`Steps`): it yields now and then, and whoever runs it decides what
happens meanwhile, nothing on a CPU, other runs on a GPU (`side_by_side`). `carry_out` runs one.
"""

import copy
import ctypes
import math
import platform
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnist_lib.data.augment import augment_epoch, bring, mix, mixing_weights
from fmnist_lib.data.fashion_mnist import Dataset
from fmnist_lib.data.splits import batch_order, derive_seed, stratified_folds, stratified_split
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.training.metrics import Sums, loss_and_correct
from fmnist_lib.training.recipe import average, learning_rates, make_optimizer
from fmnist_lib.training.stopping import EarlyStopping, Row

EVALUATION_BATCH = {"cpu": 100, "cuda": 1000, "mps": 1000}  # images; few fit a processor's cache

STEPS_A_GROUP = 16  # at most, of which a GPU hears at once (`side_by_side`)

Part = tuple[Tensor, Tensor]  # images (N, 1, 28, 28) and labels (N,)
State = dict[str, Any]  # all that training needs to go on after an epoch
T = TypeVar("T")
Steps = Generator[None, None, T]


class NonFiniteLossError(RuntimeError):
    """A loss became infinite or not a number."""


class OutOfTimeError(RuntimeError):
    """The time that was given is over; what there is to go on from is stored."""


def carry_out(steps: Steps[T], deadline: float = math.inf) -> T:
    """Do all steps and return their result; raise `OutOfTimeError` in the midst at a `deadline`."""
    while time.monotonic() < deadline:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
    raise OutOfTimeError("out of time")


@dataclass(frozen=True)
class Parts:
    """Images and labels of a run, on its device."""

    train: Part
    held: dict[str, Part]  # by split: test, then validation and fold where there are any


def split_parts(data: Dataset, config: RunConfig) -> Parts:
    """Return what `config.protocol` trains on, stops on and reports on."""
    images, labels = data.train_images.to(config.device), data.train_labels.to(config.device)
    test = data.test_images.to(config.device), data.test_labels.to(config.device)
    chosen = (rows.to(config.device) for rows in split_rows(data.train_labels, config))
    train, *held_out = [(images[rows], labels[rows]) for rows in chosen] or [(images, labels)]
    held = {"test": test, **dict(zip(("validation", "fold"), held_out, strict=False))}
    return Parts(train, held)


def split_rows(labels: Tensor, config: RunConfig) -> Sequence[Tensor]:
    """Return which images train, choose the epoch and make up the fold; none where all train."""
    if config.protocol == "paper":
        return ()
    if config.protocol == "split":
        return stratified_split(labels, config.validation_images, seed=config.seed)
    dealing = {name: getattr(config, name) for name in ("fold", "folds", "partition")}
    return stratified_folds(labels, stopping_images=config.validation_images, **dealing)


def place_model(model: nn.Module, config: RunConfig) -> nn.Module:
    """Return the model on its device; on a CPU channels last, a third faster for convolutions."""
    layout = torch.channels_last if config.device == "cpu" else torch.contiguous_format
    return model.to(config.device, memory_format=layout)


class Trainer:
    """One run's model, optimiser and buffers.

    Steps read their batches, learning rates and the like at their `position` within the epoch, from
    buffers that stay where they are: so a GPU can replay them (`side_by_side`).
    """

    def __init__(self, model: nn.Module, parts: Parts, config: RunConfig) -> None:
        self.model, self.parts, self.config = model, parts, config
        self.evaluated = copy.deepcopy(model) if config.average else model
        states = self.evaluated.state_dict().values(), model.state_dict().values()
        self.means = list(zip(*states, strict=True))  # tensors that stay where they are
        self.optimizer = make_optimizer(model, config)
        self.images, self.labels = parts.train
        if config.augment not in ("none", "mixup"):
            self.images = torch.empty_like(parts.train[0])
        device, size = self.labels.device, config.batch_size
        self.full, rest = divmod(len(self.labels), size)
        self.num_steps = self.full + bool(rest)
        self.order = torch.zeros(self.full, size, dtype=torch.long, device=device)
        self.last = torch.zeros(self.num_steps - self.full, rest, dtype=torch.long, device=device)
        self.position = torch.arange(STEPS_A_GROUP, device=device)  # of the steps that come next
        self.before = torch.zeros(1, dtype=torch.long, device=device)  # the steps of earlier epochs
        self.sums = torch.zeros(self.num_steps, 2, device=device)  # of each step: loss, correct
        self.weights = torch.ones(self.num_steps, device=device)  # of an image against its partner
        self.rates = None  # of all steps of the run, where a schedule changes them
        if config.schedule != "constant":
            rate = self.optimizer.param_groups[0]["lr"]
            self.rates = learning_rates(config, self.num_steps).to(rate)

    def begin_epoch(self, epoch: int) -> None:
        """Fill the buffers; all randomness of an epoch is a pure function of seed and epoch."""
        config, when = self.config, {"seed": self.config.seed, "epoch": epoch}
        self.seed_dropout(derive_seed(**when, stream="dropout"))
        order = bring(batch_order(len(self.labels), **when), self.labels)
        self.order.copy_(order[: self.order.numel()].view_as(self.order))
        self.last.copy_(order[self.order.numel() :].view_as(self.last))
        torch.arange(len(self.position), out=self.position)
        self.before.fill_((epoch - 1) * self.num_steps)
        if config.augment == "mixup":
            self.weights.copy_(bring(mixing_weights(self.num_steps, **when), self.weights))
        elif config.augment != "none":
            self.images.copy_(augment_epoch(self.parts.train[0], config.augment, **when))

    def seed_dropout(self, seed: int) -> None:
        """Seed the generator that dropout draws from."""
        torch.manual_seed(seed)

    def groups(self) -> list[tuple[int, Callable[[], None]]]:
        """Return the work of an epoch in order: how often, and what."""
        groups, rest = divmod(self.full, STEPS_A_GROUP)
        return [
            (groups, lambda: self.train_on(self.next_batches(STEPS_A_GROUP))),
            (rest, lambda: self.train_on(self.next_batches(1))),
            (len(self.last), lambda: self.train_on(self.last)),
        ]

    def next_batches(self, count: int) -> Tensor:
        """Return which images the next full steps see, (count, B)."""
        return self.order.index_select(0, self.position[:count])

    def train_on(self, batches: Tensor) -> None:
        """Train on these images (steps, B), a step a row; gather and count once for all of them."""
        (count, size), which = batches.shape, batches.flatten()
        places = self.position[:count]
        parts = (tensor.index_select(0, which).split(size) for tensor in (self.images, self.labels))
        seen = [self.step(*each) for each in zip(*parts, places.split(1), strict=True)]
        losses, logits, targets = map(torch.stack, zip(*seen, strict=True))
        self.sums.index_copy_(0, places, loss_and_correct(losses * size, logits, targets))
        self.position += count

    def step(self, images: Tensor, targets: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Train on a batch at its place in the epoch, (1,): forward, loss, backward, step.

        Return the loss, the logits (B, 10) and the labels (B,) that count as right.
        """
        config = self.config
        if self.rates is not None:
            rate = self.rates.index_select(0, self.before + place)
            self.optimizer.param_groups[0]["lr"].copy_(rate[0])
        if config.augment == "mixup":
            weight, others = self.weights.index_select(0, place), targets.roll(1)
            images = mix(images, weight)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            logits = self.model(images).float()  # the loss is taken in single precision
        loss = F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
        if config.augment == "mixup":
            partners = F.cross_entropy(logits, others, label_smoothing=config.label_smoothing)
            loss = weight[0] * loss + (1 - weight[0]) * partners
            targets = torch.where(weight < 0.5, others, targets)  # who is seen more is right
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if config.average:  # starts from the first step
            average(self.means, config.average * (self.before + place > 0))
        return loss.detach(), logits.detach(), targets

    def train_epoch(self, epoch: int) -> Steps[Sums]:
        """Train on every image once, in train mode; return the sums over the steps."""
        self.begin_epoch(epoch)
        self.model.train()
        sums = yield from self.run_groups()
        broken = torch.where(~torch.isfinite(sums[:, 0]).cpu())[0]
        if len(broken):
            where = f"in epoch {epoch}, step {int(broken[0]) + 1} of {len(sums)}"
            raise not_finite("training loss", where, self.config)
        return Sums.over(sums, len(self.labels))

    def run_groups(self) -> Steps[Tensor]:
        """Do the work of an epoch; return what each step counted."""
        for count, work in self.groups():
            for _ in range(count):
                work()
                yield
        return self.sums

    def evaluate(self, split: str) -> Steps[Sums]:
        """Return the sums over the images of `test`, `validation` or `fold`, in eval mode."""
        yield
        return evaluate(self.evaluated, self.parts.held[split])

    def state(self) -> State:
        """Return what a later process needs to go on from here."""
        averaged = self.evaluated.state_dict() if self.config.average else None
        optimizer = self.optimizer.state_dict()["state"]
        return {"model": self.model.state_dict(), "averaged": averaged, "optimizer": optimizer}

    def restore(self, state: State) -> None:
        """Go on from there."""
        self.model.load_state_dict(state["model"])
        if self.config.average:
            self.evaluated.load_state_dict(state["averaged"])
        self.restore_optimizer(state["optimizer"])

    def restore_optimizer(self, state: State) -> None:
        """Give the optimiser the state that it had."""
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def not_finite(loss: str, where: str, config: RunConfig) -> NonFiniteLossError:
    """Return the error with model, place and what it may be due to."""
    due_to = f"(seed {config.seed}, learning rate {config.learning_rate})"
    return NonFiniteLossError(f"{config.model}: the {loss} is not finite {where} {due_to}")


def train(
    trainer: Trainer,
    *,
    on_epoch: Callable[[Row], None] = lambda row: None,
    state: State | None = None,
    on_state: Callable[[State, bool], None] = lambda state, last: None,
    deadline: float = math.inf,
) -> Steps[tuple[list[Row], list[EarlyStopping]]]:
    """Train until the last stopping rule has fired; return the history and each rule's best epoch.

    `on_state` gets all that is needed to go on after each epoch, and whether it is the last; given
    back as `state`, training goes on from there and ends as if it had never stopped. Raises
    `NonFiniteLossError`, and `OutOfTimeError` before an epoch that would end after `deadline`.
    """
    config = trainer.config
    history, kept = [], [{} for _ in config.rules]
    if state:
        trainer.restore(state)
        history, kept = state["history"], state["rules"]
    rules = [EarlyStopping(rule, **k) for rule, k in zip(config.rules, kept, strict=True)]
    over = len(history) >= config.max_epochs or all(rule.fired for rule in rules)
    while not over:
        began = time.monotonic()
        row = yield from one_epoch(trainer, len(history) + 1)
        history.append(row)
        for rule in rules:
            rule.update(row, trainer.evaluated)
        over = len(history) == config.max_epochs or all(rule.fired for rule in rules)
        late = not over and 2 * time.monotonic() - began > deadline
        stand = {"history": history, "rules": [rule.state for rule in rules]}
        on_state({**trainer.state(), **stand}, over or late)
        on_epoch(row)
        if late:
            raise OutOfTimeError(f"{config.name}: out of time after epoch {len(history)}")
    return history, rules


def one_epoch(trainer: Trainer, epoch: int) -> Steps[Row]:
    """Train and evaluate once; return the epoch's metrics."""
    started = time.perf_counter()
    running = yield from trainer.train_epoch(epoch)
    trained = time.perf_counter()
    held = {"test": (yield from trainer.evaluate("test"))}
    tested = time.perf_counter()
    row: Row = {
        "epoch": epoch,
        "train_loss": running.mean_loss,
        "train_accuracy": running.accuracy,
        "train_seconds": trained - started,
        "inference_ms": 1000 * (tested - trained),
    }
    for split in list(trainer.parts.held)[1:]:
        held[split] = yield from trainer.evaluate(split)
    for split, sums in held.items():
        row |= {f"{split}_loss": sums.mean_loss, f"{split}_accuracy": sums.accuracy}
        if not math.isfinite(sums.mean_loss):
            raise not_finite(f"{split} loss", f"after epoch {epoch}", trainer.config)
    return row


def evaluate(model: nn.Module, part: Part) -> Sums:
    """Return the sums over all images of `part`, in eval mode."""
    model.eval()
    return Sums.over(batch_sums(model, part), len(part[1]))


@torch.no_grad()
def batch_sums(model: nn.Module, part: Part) -> Tensor:
    """Return summed loss and number of correct predictions of each batch, (batches, 2)."""
    rows = []
    for images, labels in batches(part):
        logits = model(images)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        rows.append(loss_and_correct(loss, logits, labels))
    return torch.stack(rows)


@torch.no_grad()
def predict(model: nn.Module, part: Part) -> Tensor:
    """Return the logits (N, 10) on the CPU, in eval mode."""
    model.eval()
    return torch.cat([model(images) for images, _ in batches(part)]).cpu()


def batches(part: Part) -> Iterator[Part]:
    """Yield images and labels in order, `EVALUATION_BATCH` at a time."""
    size = EVALUATION_BATCH[part[1].device.type]
    return zip(*(tensor.split(size) for tensor in part), strict=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the body on one thread: its result does not depend on how many run at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Have this process keep the memory it frees, for the next step to use; glibc alone.

    A step takes and frees the same large blocks again and again. Given back to the system, each
    comes as fresh pages to be filled with zeros: half of the time (`benchmarks/README.md`).
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD in bytes; no larger value is taken
        mallopt(-1, 2**30)  # M_TRIM_THRESHOLD


def exact_arithmetic() -> None:
    """Have the GPU give the same bits every time, in single precision throughout."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
