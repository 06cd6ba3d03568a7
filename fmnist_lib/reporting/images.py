"""The test images of a run: what they show, their classes, and which of them the run gets right."""

from functools import cache

import numpy as np

from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.runs.store import RunStore


def images_of(run: RunRecord) -> np.ndarray:
    """The images (N, 28, 28) that a run was tested on, 0 (background) to 1."""
    return _test_part(run.config.test_images)[0]


def true_labels(run: RunRecord) -> np.ndarray:
    """The classes (N,) of the test images of a run."""
    return _test_part(run.config.test_images)[1]


def right(store: RunStore, run: RunRecord, rule: str) -> np.ndarray:
    """For each test image (N,), 1 if a run gets it right with what a stopping rule kept, else 0."""
    predicted = store.predictions(run, rule)["predicted"]
    return (predicted == true_labels(run)).astype(np.int8)


@cache
def _test_part(test_images: int | None) -> tuple[np.ndarray, np.ndarray]:
    data = load(train_images=1, test_images=test_images)
    images = data.test_images.squeeze(1) * data.std + data.mean
    return images.clamp(0, 1).numpy(), data.test_labels.numpy()
