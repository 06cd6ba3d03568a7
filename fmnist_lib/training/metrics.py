"""Counts become ratios here, and only here. Not here: intervals and comparisons (reporting)."""

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

    @property
    def mean_loss(self) -> float:
        """Cross-entropy per image, in nats."""
        return self.loss / self.seen

    @property
    def accuracy(self) -> float:
        """Correct predictions in percent."""
        return 100.0 * self.correct / self.seen


def confusion_matrix(labels: Tensor, predicted: Tensor) -> Tensor:
    """Return counts as int64 (10, 10): row = true class, column = predicted class."""
    cells = labels.long() * NUM_CLASSES + predicted.long()
    return torch.bincount(cells, minlength=NUM_CLASSES**2).view(NUM_CLASSES, NUM_CLASSES)
