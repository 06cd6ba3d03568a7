"""FashionMNIST in memory: read, normalised, and shortened when asked.

Not here: obtaining the files (obtain), and which images train (splits).
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fmnist_lib.data.obtain import ensure_data
from fmnist_lib.data.splits import indices_and_shares
from fmnist_lib.errors import UserError
from fmnist_lib.paths import DATA

CLASS_NAMES = (  # the position is the label
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

MEAN, STD = 0.2860, 0.3530  # of all training pixels in [0, 1], rounded; load() has them exactly


@dataclass(frozen=True, eq=False)  # eq: tensors do not compare to one truth value
class Dataset:
    """FashionMNIST in memory. Pixels are (value in [0, 1] - mean) / std.

    `mean` and `std` are those of all 60,000 training images, even when only some are held here.
    """

    train_images: Tensor  # (N, 1, 28, 28) float32
    train_labels: Tensor  # (N,) int64
    test_images: Tensor  # (M, 1, 28, 28) float32
    test_labels: Tensor  # (M,) int64
    mean: float
    std: float


def load(
    root: Path | str = DATA, *, train_images: int | None = None, test_images: int | None = None
) -> Dataset:
    """Obtain the data if need be, verify it, and hold it in memory, normalised (about 0.22 GB).

    `train_images` and `test_images` ask for that many images only, for shortened runs. The choice
    depends on nothing but the number: the first of each class in the order of the files, the
    classes as evenly filled as the number allows, so that it is the same for every seed. Raises
    `DataError` where the data cannot be had, `UserError` for a number that there is not.
    """
    root = ensure_data(root)
    images, labels = _read(root, "train")
    mean, std = pixel_mean_std(images)
    train, train_labels = _shorten(images, labels, train_images, "train_images")
    test, test_labels = _shorten(*_read(root, "test"), test_images, "test_images")
    train, test = _normalise(train, mean, std), _normalise(test, mean, std)
    return Dataset(train, train_labels, test, test_labels, mean, std)


def raw_images(root: Path | str = DATA, split: str = "test") -> tuple[Tensor, Tensor]:
    """All images (N, 28, 28) as uint8 and labels (N,) as int64 of "train" or "test", verified."""
    if split not in ("train", "test"):
        raise UserError(f"unknown split {split!r}: allowed are 'train' and 'test'")
    return _read(ensure_data(root), split)


def _read(root: Path, split: str) -> tuple[Tensor, Tensor]:
    start = root / "FashionMNIST" / "raw" / {"train": "train", "test": "t10k"}[split]
    images = np.fromfile(f"{start}-images-idx3-ubyte", np.uint8, offset=16)  # after four sizes
    labels = np.fromfile(f"{start}-labels-idx1-ubyte", np.uint8, offset=8)  # after two
    return torch.from_numpy(images).view(-1, 28, 28), torch.from_numpy(labels).to(torch.int64)


def pixel_mean_std(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation (over all N pixels, divided by N) of uint8 images over 255.

    From the histogram of the 256 values, in whole numbers: exact, and no copy of all pixels.
    """
    # in parts, since bincount() makes eight bytes of each pixel
    counts = sum(torch.bincount(part.flatten(), minlength=256) for part in images.split(1000))
    values, num_pixels = torch.arange(256), images.numel()
    total, squares = int(counts @ values), int(counts @ values**2)
    std = math.sqrt(num_pixels * squares - total**2) / num_pixels
    return total / num_pixels / 255, std / 255


def _normalise(images: Tensor, mean: float, std: float) -> Tensor:
    # (N, 28, 28) uint8 -> (N, 1, 28, 28) float32; in place after the one copy
    return images.unsqueeze(1).to(torch.float32).div_(255).sub_(mean).div_(std)


def _shorten(
    images: Tensor, labels: Tensor, count: int | None, option: str
) -> tuple[Tensor, Tensor]:
    """The first images of each class, `count` in all, in the order of the files."""
    if count is None:
        return images, labels
    if not 1 <= count <= len(labels):
        raise UserError(f"{option} is {count}: allowed are 1 to {len(labels)}")
    chosen = torch.cat([i[:n] for i, n in indices_and_shares(labels, count)]).sort().values
    return images[chosen], labels[chosen]
