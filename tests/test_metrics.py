"""Counts and ratios, against loops so plain that they cannot be wrong."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from fmnist_lib.training.metrics import Sums, confusion_matrix


def test_sums_are_divided_once():
    sums = Sums.over(torch.tensor([[4.0, 1.0], [2.0, 2.0]]), seen=4)
    assert (sums.mean_loss, sums.accuracy) == (1.5, 75.0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=80))
def test_confusion_counts_true_classes_in_rows(pairs):
    by_hand = [[0] * 10 for _ in range(10)]
    for label, predicted in pairs:
        by_hand[label][predicted] += 1
    labels, predicted = torch.tensor(pairs).T
    confusion = confusion_matrix(labels, predicted.to(torch.uint8))  # as predictions are stored
    assert confusion.dtype == torch.int64
    assert confusion.tolist() == by_hand
