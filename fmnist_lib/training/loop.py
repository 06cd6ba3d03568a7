"""The loop: one model, one config, the data in memory. Not here: files, plots, processes.

What takes long is a generator (`Steps`): it yields now and then, and whoever runs it decides what
happens meanwhile, nothing on a CPU, other runs on a GPU (`side_by_side`). `finish` runs one alone.
"""

import copy
import ctypes
import math
import platform
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnist_lib.data.augment import augment_epoch, mix, mixing_weights
from fmnist_lib.data.fashion_mnist import Dataset
from fmnist_lib.data.splits import batch_order, derive_seed, stratified_folds, stratified_split
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.training.metrics import Sums
from fmnist_lib.training.recipe import Averaged, learning_rates, make_optimizer
from fmnist_lib.training.stopping import EarlyStopping, Row

EVALUATION_BATCH = {"cpu": 100, "cuda": 1000, "mps": 1000}  # images; few fit a processor's cache

Part = tuple[Tensor, Tensor]
"""Images (N, 1, 28, 28) and labels (N,)."""

State = dict[str, Any]
"""All that training needs to go on after an epoch: tensors, numbers and names."""

T = TypeVar("T")
Steps = Generator[None, None, T]


class NonFiniteLossError(RuntimeError):
    """A loss became infinite or not a number."""


class OutOfTimeError(RuntimeError):
    """The time that was given is over; what there is to go on from is stored."""


def finish(steps: Steps[T]) -> T:
    """Run something that yields to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def on_time(steps: Steps[T], deadline: float) -> Steps[T]:
    """Do the steps; raise `OutOfTimeError` at a `deadline` of `time.monotonic`.

    Runs end in good order before it where an epoch is short (`train`); else in the midst of one.
    """
    while time.monotonic() < deadline:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield
    raise OutOfTimeError("out of time")


# --- what a run works on ---


@dataclass(frozen=True)
class Parts:
    """Images and labels of a run, on its device; the paper's protocol holds nothing out."""

    train: Part
    held: dict[str, Part]  # by split: test, then validation and fold where there are any
    background: float = 0.0  # the value of a black pixel

    @property
    def test(self) -> Part:
        """The official test images."""
        return self.held["test"]


def split_parts(data: Dataset, config: RunConfig) -> Parts:
    """Return what `config.protocol` trains on, stops on and reports on."""
    device = torch.device(config.device)
    train = data.train_images.to(device), data.train_labels.to(device)
    held = {"test": (data.test_images.to(device), data.test_labels.to(device))}
    kept = None
    if config.protocol == "split":
        kept, validation = stratified_split(
            data.train_labels, config.validation_images, seed=config.seed
        )
        held["validation"] = chosen(train, validation)
    elif config.protocol == "fold":
        kept, validation, fold = stratified_folds(
            data.train_labels,
            fold=config.fold,
            folds=config.folds,
            partition=config.partition,
            stopping_images=config.validation_images,
        )
        held |= {"validation": chosen(train, validation), "fold": chosen(train, fold)}
    background = (0 - data.mean) / data.std
    return Parts(train if kept is None else chosen(train, kept), held, background)


def chosen(part: Part, rows: Tensor) -> Part:
    """Return some of a part's images."""
    return tuple(tensor[rows.to(tensor.device)] for tensor in part)


def place_model(model: nn.Module, config: RunConfig) -> nn.Module:
    """Return the model on its device; on a CPU channels last, a third faster for convolutions."""
    on_cpu = config.device == "cpu"
    layout = torch.channels_last if on_cpu else torch.contiguous_format
    return model.to(config.device, memory_format=layout)


# --- one step, one epoch ---


class Trainer:
    """One run's model, optimiser and buffers.

    A step reads its batch, its learning rate and the like from buffers that stay where they are,
    at the `position` of the step within the epoch: so a GPU can replay it (`side_by_side`).
    """

    def __init__(self, model: nn.Module, parts: Parts, config: RunConfig) -> None:
        self.model, self.parts, self.config = model, parts, config
        self.evaluated = copy.deepcopy(model) if config.average else model
        self.averaged = Averaged(model, self.evaluated) if config.average else None
        self.optimizer = make_optimizer(model, config)
        self.images, self.labels = parts.train
        if config.augment not in ("none", "mixup"):
            self.images = torch.empty_like(parts.train[0])
        device, size = self.labels.device, config.batch_size
        self.full, rest = divmod(len(self.labels), size)
        self.steps = self.full + bool(rest)
        self.order = torch.zeros(self.full, size, dtype=torch.long, device=device)
        self.last = torch.zeros(rest, dtype=torch.long, device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.sums = torch.zeros(self.steps, 2, device=device)  # of each step: loss, correct
        self.weights = torch.ones(self.steps, device=device)  # of an image against its partner
        self.decays = torch.full((self.steps,), config.average, device=device)
        self.all_rates = self.rates = None
        if config.schedule != "constant":
            self.all_rates = learning_rates(config, self.steps).to(self.rate)
            self.rates = torch.zeros_like(self.all_rates[: self.steps])

    @property
    def rate(self) -> Tensor:
        """The learning rate, a tensor where a schedule changes it."""
        return self.optimizer.param_groups[0]["lr"]

    def begin_epoch(self, epoch: int) -> None:
        """Fill the buffers. All randomness of an epoch is a pure function of seed and epoch."""
        seed, config = self.config.seed, self.config
        self.seed_dropout(derive_seed(seed, epoch, "dropout"))
        order = self.bring(batch_order(len(self.labels), seed=seed, epoch=epoch))
        whole = self.full * config.batch_size
        self.order.copy_(order[:whole].view_as(self.order))
        self.last.copy_(order[whole:])
        self.position.zero_()
        if config.augment == "mixup":
            self.weights.copy_(self.bring(mixing_weights(self.steps, seed=seed, epoch=epoch)))
        elif config.augment != "none":
            images, background = self.parts.train[0], self.parts.background
            self.images.copy_(
                augment_epoch(images, config.augment, background, seed=seed, epoch=epoch)
            )
        if self.rates is not None:
            self.rates.copy_(self.all_rates[(epoch - 1) * self.steps : epoch * self.steps])
        if self.averaged:
            self.decays.fill_(config.average)
            if epoch == 1:
                self.decays[0].zero_()  # the average starts from the first step

    def seed_dropout(self, seed: int) -> None:
        """Seed the generator that dropout draws from."""
        torch.manual_seed(seed)

    def bring(self, tensor: Tensor) -> Tensor:
        """Return a tensor that was made on the CPU on the run's device."""
        return tensor.to(self.labels.device)

    def next_batch(self) -> Tensor:
        """Return which images the step at the present position sees, (B,)."""
        return self.order.index_select(0, self.position)[0]

    def step(self, batch: Tensor) -> None:
        """Train on these images: forward, loss, backward, step."""
        config = self.config
        images, targets = self.images.index_select(0, batch), self.labels.index_select(0, batch)
        weight = self.weights.index_select(0, self.position)
        if config.augment == "mixup":
            images = mix(images, weight)
        if self.rates is not None:
            self.rate.copy_(self.rates.index_select(0, self.position)[0])
        logits = forward(self.model, images, config)
        loss = F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
        if config.augment == "mixup":
            others = targets.roll(1)
            partners = F.cross_entropy(logits, others, label_smoothing=config.label_smoothing)
            loss = weight[0] * loss + (1 - weight[0]) * partners
            targets = torch.where(weight < 0.5, others, targets)  # who is seen more is right
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged:
            self.averaged.update(self.decays.index_select(0, self.position))
        row = loss_and_correct(loss * len(batch), logits, targets)
        self.sums.index_copy_(0, self.position, row[None])
        self.position += 1

    def train_epoch(self, epoch: int) -> Steps[Sums]:
        """Train on every image once; return the running sums, in train mode."""
        self.begin_epoch(epoch)
        self.model.train()
        for _ in range(self.full):
            self.step(self.next_batch())
            yield
        if len(self.last):
            self.step(self.last)
        return self.running_sums(self.sums, epoch)

    def running_sums(self, sums: Tensor, epoch: int) -> Sums:
        """Return the sums over an epoch's steps (steps, 2); raise `NonFiniteLossError`."""
        sums = sums.cpu().double()  # one transfer an epoch, none a step
        finite = torch.isfinite(sums[:, 0])
        if not finite.all():
            first = int((~finite).nonzero()[0]) + 1
            raise NonFiniteLossError(
                f"{self.config.model}: the training loss is not finite in epoch {epoch}, step "
                f"{first} of {len(sums)} {chance(self.config)}"
            )
        loss, correct = sums.sum(0).tolist()
        return Sums(loss, int(correct), len(self.labels))

    def evaluate(self, split: str) -> Steps[Sums]:
        """Return the sums over the images of `test`, `validation` or `fold`, in eval mode."""
        yield
        return evaluate(self.evaluated, self.parts.held[split])

    def state(self) -> State:
        """Return what a later process needs to go on from here."""
        averaged = self.evaluated.state_dict() if self.averaged else None
        optimizer = self.optimizer.state_dict()["state"]
        return {"model": self.model.state_dict(), "averaged": averaged, "optimizer": optimizer}

    def restore(self, state: State) -> None:
        """Go on from there."""
        self.model.load_state_dict(state["model"])
        if self.averaged:
            self.evaluated.load_state_dict(state["averaged"])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})


def forward(model: nn.Module, images: Tensor, config: RunConfig) -> Tensor:
    """Return the logits (B, 10) in single precision; bf16 has the model alone under autocast."""
    low = config.precision == "bf16"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
        return model(images).float()


def loss_and_correct(summed_loss: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return summed loss and number of correct predictions as one tensor (2,).

    In single precision, in which both are exact: not every device has double.
    """
    correct = (logits.argmax(1) == labels).sum()
    return torch.stack((summed_loss.detach(), correct.to(summed_loss.dtype)))


# --- a run, epoch by epoch ---


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
    `NonFiniteLossError` naming model and epoch, and in training the step, and `OutOfTimeError`
    where another epoch would end after `deadline` (of `time.monotonic`).
    """
    config = trainer.config
    rules = [EarlyStopping(rule) for rule in config.rules]
    history: list[Row] = []
    if state:
        trainer.restore(state)
        history = state["history"]
        rules = [
            EarlyStopping(rule, **kept)
            for rule, kept in zip(config.rules, state["rules"], strict=True)
        ]
    last = min(config.epochs or config.max_epochs, config.max_epochs)
    while len(history) < last and not all(rule.fired for rule in rules):
        began = time.monotonic()
        row = yield from one_epoch(trainer, len(history) + 1)
        history.append(row)
        for rule in rules:
            rule.update(row, trainer.evaluated)
        over = len(history) == last or all(rule.fired for rule in rules)
        late = not over and 2 * time.monotonic() - began > deadline
        kept = {"history": history, "rules": [rule.state for rule in rules]}
        on_state({**trainer.state(), **kept}, over or late)
        on_epoch(row)
        if late:
            raise OutOfTimeError(f"{config.name}: out of time after epoch {len(history)}")
    return history, rules


def one_epoch(trainer: Trainer, epoch: int) -> Steps[Row]:
    """Train and evaluate once; return the epoch's metrics."""
    started = time.perf_counter()
    running = yield from trainer.train_epoch(epoch)
    trained = time.perf_counter()
    test = yield from trainer.evaluate("test")
    tested = time.perf_counter()
    row = {
        "epoch": epoch,
        "train_loss": running.mean_loss,
        "train_accuracy": running.accuracy,
        "test_loss": test.mean_loss,
        "test_accuracy": test.accuracy,
        "validation_loss": None,
        "validation_accuracy": None,
        "train_seconds": trained - started,
        "inference_ms": 1000 * (tested - trained),
    }
    for split in list(trainer.parts.held)[1:]:
        sums = yield from trainer.evaluate(split)
        row |= {f"{split}_loss": sums.mean_loss, f"{split}_accuracy": sums.accuracy}
    for name in (f"{split}_loss" for split in trainer.parts.held):
        if not math.isfinite(row[name]):
            raise NonFiniteLossError(
                f"{trainer.config.model}: the {name.replace('_', ' ')} is not finite after epoch "
                f"{epoch} {chance(trainer.config)}"
            )
    return row


def chance(config: RunConfig) -> str:
    """Return what a message on a loss should name besides."""
    return f"(seed {config.seed}, learning rate {config.learning_rate})"


# --- evaluation ---


@torch.no_grad()
def evaluate(model: nn.Module, part: Part) -> Sums:
    """Return the sums over all images of `part`, in eval mode."""
    model.eval()
    sums = [sums_of_batch(model, images, labels) for images, labels in batches(part)]
    loss, correct = torch.stack(sums).cpu().double().sum(0).tolist()
    return Sums(loss, int(correct), len(part[1]))


def sums_of_batch(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return summed loss and number of correct predictions (2,)."""
    logits = model(images)
    return loss_and_correct(F.cross_entropy(logits, labels, reduction="sum"), logits, labels)


@torch.no_grad()
def predict(model: nn.Module, part: Part) -> Tensor:
    """Return the logits (N, 10) on the CPU, in eval mode."""
    model.eval()
    return torch.cat([model(images) for images, _ in batches(part)]).cpu()


def batches(part: Part) -> Iterator[Part]:
    """Yield images and labels in order, `EVALUATION_BATCH` at a time."""
    size = EVALUATION_BATCH[part[1].device.type]
    return zip(*(tensor.split(size) for tensor in part), strict=True)


# --- the process ---


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


def exact_arithmetic() -> None:
    """Have the GPU give the same bits every time, in single precision throughout."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
