"""FashionMNIST in memory: read, normalised, shortened. Not here: which images train (`splits`)."""

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

MEAN, STD = 0.2860405969887955, 0.3530242445149226  # exact, of all training pixels in [0, 1]
BLACK = (0 - MEAN) / STD


@dataclass(frozen=True, eq=False)  # eq: tensors do not compare to one truth value
class Dataset:
    """FashionMNIST in memory. Pixels are (value in [0, 1] - mean) / std."""

    train_images: Tensor  # (N, 1, 28, 28) float32
    train_labels: Tensor  # (N,) int64
    test_images: Tensor  # (M, 1, 28, 28) float32
    test_labels: Tensor  # (M,) int64
    mean: float = MEAN
    std: float = STD


def load(
    root: Path | str = DATA, *, train_images: int | None = None, test_images: int | None = None
) -> Dataset:
    """Obtain the data if need be, verify it, and hold it in memory, normalised (about 0.22 GB).

    A number of `train_images` or `test_images` asks for the first of each class in the order of the
    files. Raises `UserError` for an impossible number, or where the data cannot be had.
    """
    tensors = []
    raw, counts = raw_images(root), {"train": train_images, "test": test_images}
    for split, (images, labels) in raw.items():
        chosen, count = slice(None), counts[split]
        if count is not None:
            if not 1 <= count <= len(labels):
                raise UserError(f"{split}_images is {count}: allowed are 1 to {len(labels)}")
            chosen = torch.cat([i[:n] for i, n in indices_and_shares(labels, count)]).sort()[0]
        pixels = images[chosen].unsqueeze(1).to(torch.float32)  # (N, 1, 28, 28)
        tensors += [pixels.div_(255).sub_(MEAN).div_(STD), labels[chosen]]
    return Dataset(*tensors)


def raw_images(root: Path | str = DATA) -> dict[str, tuple[Tensor, Tensor]]:
    """All images (N, 28, 28) as uint8 and labels (N,) as int64 of "train" and "test", verified."""
    ensure_data(root)
    raw = {}
    for split, name in (("train", "train"), ("test", "t10k")):
        start = Path(root) / "FashionMNIST" / "raw" / name
        images = np.fromfile(f"{start}-images-idx3-ubyte", np.uint8, offset=16)  # four sizes
        labels = np.fromfile(f"{start}-labels-idx1-ubyte", np.uint8, offset=8)  # two
        images = torch.from_numpy(images).view(-1, 28, 28)
        raw[split] = images, torch.from_numpy(labels).to(torch.int64)
    return raw
