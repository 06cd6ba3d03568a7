"""FashionMNIST: obtain, verify, load, split, and the order of the batches.

Not for training, figures or augmentation. Nothing here touches a global random generator, and no
byte is used before its SHA-256 was compared with the published content (fetching).

`python -m fmnist_lib.data.fashion_mnist` obtains and verifies the files, and names each that it had to obtain.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

from fmnist_lib.errors import UserError
from fmnist_lib.data.fetching import BYTES as BYTES
from fmnist_lib.data.fetching import SHA256, DataError, ensure_data, obtain_missing
from fmnist_lib.paths import DATA

CLASS_NAMES = (  # the position is the label
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Of the 60,000 training images, pixels in [0, 1], rounded to four decimals; load() checks them.
MEAN = 0.2860
STD = 0.3530


# ---------------------------------------------------------------------------------------------
# Loading


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
    classes as evenly filled as the number allows, so that it is the same for every seed.

    Raises:
        DataError: the data cannot be had, or its mean and deviation are not FashionMNIST's.
        UserError: more images asked for than there are, or less than one.
    """
    root = ensure_data(root)
    images, labels = _read(root, "train")
    mean, std = pixel_mean_std(images)
    if (round(mean, 4), round(std, 4)) != (MEAN, STD):
        raise DataError(
            f"the training images in {root} have mean {mean:.4f} and standard deviation {std:.4f}, "
            f"FashionMNIST has {MEAN:.4f} and {STD:.4f}"
        )
    train = _choose(images, labels, train_images, "train_images")
    test = _choose(*_read(root, "test"), test_images, "test_images")
    return Dataset(
        train_images=_normalise(train[0], mean, std),
        train_labels=train[1],
        test_images=_normalise(test[0], mean, std),
        test_labels=test[1],
        mean=mean,
        std=std,
    )


def raw_images(root: Path | str = DATA, split: str = "test") -> tuple[Tensor, Tensor]:
    """All images (N, 28, 28) as uint8 and labels (N,) as int64 of "train" or "test", verified."""
    if split not in ("train", "test"):
        raise UserError(f"unknown split {split!r}: allowed are 'train' and 'test'")
    return _read(ensure_data(root), split)


def _read(root: Path, split: str) -> tuple[Tensor, Tensor]:
    dataset = FashionMNIST(root=root, train=split == "train")
    return dataset.data, dataset.targets.to(torch.int64)


def pixel_mean_std(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation (over all N pixels, divided by N) of uint8 images over 255.

    From the histogram of the 256 values, in whole numbers: exact, and no copy of all pixels.
    """
    # in parts, since bincount() makes eight bytes of each pixel
    parts = [torch.bincount(part.flatten(), minlength=256) for part in images.split(1000)]
    counts = torch.stack(parts).sum(dim=0).tolist()
    num_pixels = sum(counts)
    total = sum(count * value for value, count in enumerate(counts))
    squares = sum(count * value**2 for value, count in enumerate(counts))
    mean = total / num_pixels
    std = math.sqrt(num_pixels * squares - total**2) / num_pixels
    return mean / 255, std / 255


def _normalise(images: Tensor, mean: float, std: float) -> Tensor:
    # (N, 28, 28) uint8 -> (N, 1, 28, 28) float32; in place after the one copy
    return images.unsqueeze(1).to(torch.float32).div_(255).sub_(mean).div_(std)


def _choose(
    images: Tensor, labels: Tensor, count: int | None, option: str
) -> tuple[Tensor, Tensor]:
    """The first images of each class, `count` in all, in the order of the files."""
    if count is None:
        return images, labels
    if not 1 <= count <= len(labels):
        raise UserError(f"{option} is {count}: allowed are 1 to {len(labels)}")
    chosen = torch.cat([i[:n] for i, n in _indices_and_shares(labels, count)]).sort().values
    return images[chosen], labels[chosen]


# ---------------------------------------------------------------------------------------------
# Splitting and ordering


def derive_seed(seed: int, epoch: int, stream: str) -> int:
    """A seed for `torch.manual_seed` (0 to 2^63 - 1), a pure function of its arguments.

    `stream` names what it is for ("batch order", "initialisation", ...), so that two uses in one
    epoch never share their random numbers. Neighbouring seeds and epochs give unrelated results.
    """
    if seed < 0 or epoch < 0:
        raise UserError(f"seed {seed}, epoch {epoch}: allowed are whole numbers from 0")
    sequence = np.random.SeedSequence(seed, spawn_key=(epoch, *stream.encode()))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def batch_order(num_images: int, *, seed: int, epoch: int) -> Tensor:
    """In which order an epoch visits the images: a permutation (num_images,) int64.

    A pure function of its arguments: neither what was drawn before nor the number of workers
    matters, and a run that is resumed at an epoch sees the same batches.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, "batch order"))
    return torch.randperm(num_images, generator=generator)


def stratified_split(labels: Tensor, validation_images: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Set aside a random part of each class: (train_indices, validation_indices), sorted int64.

    The two are disjoint and together cover `labels` (N,). Each class gives its exact share of the
    `validation_images`, to within one image (largest remainders first, then lower labels). A pure
    function of its arguments.

    Raises:
        UserError: `validation_images` leaves nothing to train on, or nothing to validate on.
    """
    if labels.ndim != 1 or labels.is_floating_point():
        raise UserError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}: a split needs whole "
            "numbers in one dimension"
        )
    if not 1 <= validation_images < len(labels):
        raise UserError(
            f"validation_images is {validation_images}: allowed are 1 to {len(labels) - 1}, fewer "
            f"than the {len(labels)} training images"
        )
    generator = torch.Generator().manual_seed(derive_seed(seed, 0, "stratified split"))
    is_validation = torch.zeros(len(labels), dtype=torch.bool)
    for indices, share in _indices_and_shares(labels, validation_images):
        shuffled = indices[torch.randperm(len(indices), generator=generator)]
        is_validation[shuffled[:share]] = True
    return (~is_validation).nonzero().squeeze(1), is_validation.nonzero().squeeze(1)


def _indices_and_shares(labels: Tensor, count: int) -> list[tuple[Tensor, int]]:
    """For each class its indices, in file order, and its share of `count` images.

    Shares add up to `count` exactly: each is rounded down, and what is left goes, one each, to
    the classes that lost most by it (ties: the lower label).
    """
    classes = [(labels == label).nonzero().squeeze(1) for label in labels.unique().tolist()]
    shares, remainders = zip(
        *(divmod(count * len(indices), len(labels)) for indices in classes), strict=True
    )
    shares = list(shares)
    losers_first = sorted(range(len(classes)), key=lambda k: -remainders[k])  # stable
    for k in losers_first[: count - sum(shares)]:
        shares[k] += 1
    return list(zip(classes, shares, strict=True))


# ---------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Obtain and verify; print what was obtained. Status 0, or 2 with one line on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m fmnist_lib.data.fashion_mnist", description="Obtain and verify FashionMNIST."
    )
    parser.add_argument(
        "--root", type=Path, default=DATA, help="torchvision's root folder (default: %(default)s)"
    )
    root = parser.parse_args(arguments).root
    raw = root / "FashionMNIST" / "raw"
    try:
        obtained = obtain_missing(root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in obtained:
        print(f"obtained {raw / name}, sha256 {SHA256[name]}")
    print(f"FashionMNIST: {len(SHA256)} files verified in {raw}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
