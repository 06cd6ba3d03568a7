"""One block of the same training in each way. Not here: what is compared, processes, tables.

A block takes some warm-up batches, then the clock starts. Model, seed, images and the order of the
batches are the same in every way; so, but for dropout and rounding, is the loss.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from fmnist_lib.data.fashion_mnist import MEAN, STD, load
from fmnist_lib.data.splits import batch_order
from fmnist_lib.models import build_model
from fmnist_lib.paths import DATA
from fmnist_lib.runs.config import RunConfig, make_config
from fmnist_lib.training.loop import Parts, Trainer, carry_out, keep_freed_memory, place_model
from fmnist_lib.training.metrics import Sums

WARM_UP = 10  # batches before the clock starts


@dataclass(frozen=True)
class Work:
    """What one block trains: a model on some images, once."""

    model: str
    images: int  # on the clock
    workers: int = 0  # processes that load, where the way uses a DataLoader
    device: str = "cpu"

    @property
    def config(self) -> RunConfig:
        """Our settings for this work."""
        return make_config(model=self.model, device=self.device)

    @property
    def warm_up(self) -> int:
        """Images before the clock starts."""
        return WARM_UP * self.config.batch_size

    @property
    def order(self) -> list[int]:
        """The images in the order of their use, as `ours` visits them."""
        first = batch_order(self.warm_up, seed=self.config.seed, epoch=1)
        then = batch_order(self.images, seed=self.config.seed, epoch=2) + self.warm_up
        return torch.cat((first, then)).tolist()


@dataclass
class Block:
    """What a block gave; the clock is the machine's, so that blocks side by side compare."""

    device: str = "cpu"
    started: float = 0.0
    finished: float = 0.0
    loss: float = 0.0  # mean, in train mode, warm-up included
    accuracy: float = 0.0  # percent

    def step(self, number: int) -> None:
        """Start the clock before the first batch that counts (from 0)."""
        if number == WARM_UP:
            self.started = now(self.device)

    def stop(self) -> None:
        """Stop the clock."""
        self.finished = now(self.device)


def now(device: str) -> float:
    """Return the time in seconds at which the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


_together: Barrier | None = None


def prepare(threads: int | None, together: Barrier | None) -> None:
    """Make a fresh process ready; `threads` None leaves PyTorch's default."""
    global _together
    _together = together
    if threads:
        torch.set_num_threads(threads)


def run_block(way: str, work: Work) -> Block:
    """Train one block in this process."""
    torch.manual_seed(work.config.seed)
    model = build_model(work.model)
    return WAYS[way](model, work)


def dataset() -> FashionMNIST:
    """Return the training images as most code has them: transformed one by one."""
    steps = [transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
    return FashionMNIST(DATA, train=True, transform=transforms.Compose(steps))


def loader(work: Work) -> DataLoader:
    """Return the batches of the block."""
    return DataLoader(
        dataset(),
        batch_size=work.config.batch_size,
        sampler=work.order,
        num_workers=work.workers,
        pin_memory=work.device == "cuda",
    )


def dataloader(model: nn.Module, work: Work) -> Block:
    """Train with the loop of PyTorch's tutorials."""
    model = model.to(work.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=work.config.learning_rate)
    criterion = nn.CrossEntropyLoss()
    block = Block(work.device)
    running_loss, correct, seen = 0.0, 0, 0
    model.train()
    for number, (images, labels) in enumerate(loader(work)):
        block.step(number)
        images = images.to(work.device, non_blocking=True)
        labels = labels.to(work.device, non_blocking=True)
        optimizer.zero_grad()
        logits = model(images)
        loss = criterion(logits, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * labels.size(0)
        correct += (logits.argmax(1) == labels).sum().item()
        seen += labels.size(0)
    block.loss, block.accuracy = running_loss / seen, 100 * correct / seen
    block.stop()
    return block


def lightning(model: nn.Module, work: Work) -> Block:
    """Train with Lightning's trainer: no logger, checkpoints or progress bar."""
    import logging

    import lightning as pl
    from torchmetrics.classification import MulticlassAccuracy

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.accuracy = MulticlassAccuracy(10, average="micro")

        def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
            images, labels = batch
            logits = self.model(images)
            loss = F.cross_entropy(logits, labels)
            self.accuracy(logits, labels)
            self.log("loss", loss, on_step=False, on_epoch=True)
            self.log("accuracy", self.accuracy, on_step=False, on_epoch=True)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=work.config.learning_rate)

    class Clock(pl.Callback):
        def on_train_batch_start(
            self, _trainer: object, _module: object, _: object, n: int
        ) -> None:
            block.step(n)

    block = Block()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # advice on loaders
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Clock()],
    )
    trainer.fit(Classifier(), loader(work))
    block.stop()
    block.loss = trainer.callback_metrics["loss"].item()
    block.accuracy = 100 * trainer.callback_metrics["accuracy"].item()
    return block


def skorch(model: nn.Module, work: Work) -> Block:
    """Train with skorch's classifier, its accuracy as a callback over the predictions it made."""
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback, EpochScoring

    class Clock(Callback):
        number = -1

        def on_batch_begin(self, *_: object, **__: object) -> None:
            self.number += 1
            block.step(self.number)

    block = Block()
    net = NeuralNetClassifier(
        model,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=work.config.learning_rate,
        batch_size=work.config.batch_size,
        max_epochs=1,
        train_split=None,
        classes=list(range(10)),
        iterator_train__sampler=work.order,
        iterator_train__num_workers=work.workers,
        callbacks=[("accuracy", EpochScoring("accuracy", on_train=True)), ("clock", Clock())],
        callbacks__print_log=None,
    )
    net.fit(dataset(), y=None)
    block.stop()
    block.loss = net.history[-1, "train_loss"]
    block.accuracy = 100 * net.history[-1, "accuracy"]
    return block


def ours(model: nn.Module, work: Work) -> Block:
    """Train with this project's loop."""
    keep_freed_memory()
    config, data = work.config, load()
    model = place_model(model, config)
    tensors = data.train_images, data.train_labels
    parts = (slice(0, work.warm_up), slice(work.warm_up, work.warm_up + work.images))
    first, then = (
        Trainer(model, Parts(tuple(t[rows].to(work.device) for t in tensors), {}), config)
        for rows in parts
    )
    warm_up = carry_out(first.train_epoch(1))
    then.restore(first.state())  # the optimiser's
    if _together:
        _together.wait(timeout=600)  # another process may have failed
    block = Block(work.device, started=now(work.device))
    running = carry_out(then.train_epoch(2))
    block.stop()
    both = Sums(*(getattr(warm_up, x) + getattr(running, x) for x in ("loss", "correct", "seen")))
    block.loss, block.accuracy = both.mean_loss, both.accuracy
    return block


def matrix_gflops(size: int = 1024, repeats: int = 30) -> float:
    """Return the machine's own limit: fp32 matrix products a second on this process's threads.

    The fastest of several, in 10^9 operations (a multiplication or an addition is one).
    """
    left, right = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times) / 1e9


WAYS: dict[str, Callable[[nn.Module, Work], Block]] = {
    "dataloader": dataloader,
    "lightning": lightning,
    "skorch": skorch,
    "ours_single": ours,
    "ours_per_core": ours,
}
