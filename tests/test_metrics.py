"""Counts and ratios, against loops so slow and plain that they cannot be wrong."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fmnist_lib.reporting.predictions import scores_of as per_class
from fmnist_lib.training.metrics import Sums, confusion_matrix

pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=80)


def columns(pairs):
    labels, predicted = zip(*pairs, strict=True)
    return torch.tensor(labels), torch.tensor(predicted)


def test_sums_are_divided_once():
    sums = Sums(loss=6.0, correct=3, seen=4)
    assert sums.mean_loss == 1.5
    assert sums.accuracy == 75.0


@given(pairs)
def test_confusion_counts_true_classes_in_rows(pairs):
    by_hand = [[0] * 10 for _ in range(10)]
    for label, predicted in pairs:
        by_hand[label][predicted] += 1
    confusion = confusion_matrix(*columns(pairs))
    assert confusion.dtype == torch.int64
    assert confusion.tolist() == by_hand


def test_confusion_takes_predictions_as_they_are_stored():
    labels, predicted = torch.tensor([1, 2]), torch.tensor([1, 3], dtype=torch.uint8)
    assert confusion_matrix(labels, predicted)[2, 3] == 1


def ratio(part, whole):
    return 100 * part / whole if whole else 0.0


@given(pairs)
def test_per_class_figures(pairs):
    figures = per_class(confusion_matrix(*columns(pairs)))
    assert set(figures) == {"precision", "recall", "specificity", "f1", "support"}
    for k in range(10):
        hits = sum(label == k and predicted == k for label, predicted in pairs)
        misses = sum(label == k and predicted != k for label, predicted in pairs)
        false_alarms = sum(label != k and predicted == k for label, predicted in pairs)
        rejections = sum(label != k and predicted != k for label, predicted in pairs)
        expected = {
            "precision": ratio(hits, hits + false_alarms),
            "recall": ratio(hits, hits + misses),
            "specificity": ratio(rejections, rejections + false_alarms),
            "f1": ratio(2 * hits, 2 * hits + false_alarms + misses),
            "support": hits + misses,
        }
        found = {name: figures[name][k].item() for name in expected}
        assert found == pytest.approx(expected, rel=1e-6), f"class {k}"


def test_a_class_without_images_or_predictions_counts_as_0():
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    confusion[0, 0] = 5  # only class 0 occurs, always recognised
    figures = per_class(confusion)
    assert figures["precision"].tolist() == [100.0] + [0.0] * 9
    assert figures["recall"].tolist() == [100.0] + [0.0] * 9
    assert figures["f1"].tolist() == [100.0] + [0.0] * 9
    assert figures["specificity"].tolist() == [0.0] + [100.0] * 9
    assert figures["support"].tolist() == [5] + [0] * 9
