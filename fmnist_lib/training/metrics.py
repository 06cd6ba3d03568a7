"""Counts become ratios here, and only here. Not here: intervals and comparisons (analysis)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
    multiclass_specificity,
)

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
    return multiclass_confusion_matrix(predicted.long(), labels.long(), NUM_CLASSES)


def per_class(confusion: Tensor) -> dict[str, Tensor]:
    """Return precision, recall, specificity and F1 (percent) and support, each of shape (10,).

    A ratio whose denominator is 0 (a class never predicted, or absent) counts as 0.
    """
    counts = confusion.flatten()
    cells = torch.arange(NUM_CLASSES**2).repeat_interleave(counts)
    labels, predicted = cells // NUM_CLASSES, cells % NUM_CLASSES
    scores = {
        "precision": multiclass_precision,
        "recall": multiclass_recall,
        "specificity": multiclass_specificity,
        "f1": multiclass_f1_score,
    }
    figures = {
        name: 100.0 * score(predicted, labels, NUM_CLASSES, average="none").double()
        for name, score in scores.items()
    }
    return figures | {"support": confusion.sum(1)}
