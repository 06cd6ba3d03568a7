"""Counts become ratios here, and only here. Not here: intervals and comparisons (results)."""

from dataclasses import dataclass

import torch
from torch import Tensor

NUM_CLASSES = 10


@dataclass
class Sums:
    """Loss, correct predictions and images seen; summed over batches, divided once."""

    loss: float = 0.0
    correct: int = 0
    seen: int = 0

    @classmethod
    def over(cls, rows: Tensor, seen: int) -> "Sums":
        """Sum what `loss_and_correct` gave for each batch, (batches, 2)."""
        loss, correct = rows.cpu().double().sum(0).tolist()  # one transfer, not one a batch
        return cls(loss, int(correct), seen)

    @property
    def mean_loss(self) -> float:
        """Cross-entropy per image, in nats."""
        return self.loss / self.seen

    @property
    def accuracy(self) -> float:
        """Correct predictions in percent."""
        return 100.0 * self.correct / self.seen


def loss_and_correct(summed_loss: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return summed loss and number of correct predictions, (…, 2), of logits (…, B, 10).

    In single precision, in which both are exact: not every device has double.
    """
    correct = (logits.argmax(-1) == labels).sum(-1)
    return torch.stack((summed_loss, correct.to(summed_loss.dtype)), -1)


def confusion_matrix(labels: Tensor, predicted: Tensor) -> Tensor:
    """Return counts as int64 (10, 10): row = true class, column = predicted class."""
    cells = labels.long() * NUM_CLASSES + predicted.long()
    return torch.bincount(cells, minlength=NUM_CLASSES**2).view(NUM_CLASSES, NUM_CLASSES)
