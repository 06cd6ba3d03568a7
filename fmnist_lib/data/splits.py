"""Which images train, choose the epoch or are held out, and in which order an epoch sees them.

Pure functions of their arguments: nothing touches a global random generator.
"""

import numpy as np
import torch
from torch import Tensor

from fmnist_lib.errors import UserError


def derive_seed(seed: int, epoch: int, stream: str) -> int:
    """Return a seed from 0 to 2^63 - 1, unrelated to those of neighbouring seeds and epochs.

    `stream` names what it is for: two uses in one epoch never share their random numbers.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(epoch, *stream.encode()))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def batch_order(num_images: int, *, seed: int, epoch: int) -> Tensor:
    """In which order an epoch visits the images: a permutation (num_images,) int64."""
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, "batch order"))
    return torch.randperm(num_images, generator=generator)


def stratified_split(labels: Tensor, validation_images: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Set aside a random part of each class: (train_indices, validation_indices), sorted int64.

    Each class of `labels` (N,) gives its exact share, to within one image. Raises `UserError` where
    one of the two would be empty.
    """
    if not 1 <= validation_images < len(labels):
        what = f"of {len(labels)} images, {validation_images} cannot be set aside"
        raise UserError(f"validation_images: {what}; allowed are 1 to {len(labels) - 1}")
    generator = torch.Generator().manual_seed(derive_seed(seed, 0, "stratified split"))
    is_validation = torch.zeros(len(labels), dtype=torch.bool)
    for indices, share in indices_and_shares(labels, validation_images):
        order = torch.randperm(len(indices), generator=generator)
        is_validation[indices[order[:share]]] = True
    return torch.where(~is_validation)[0], torch.where(is_validation)[0]


def stratified_folds(
    labels: Tensor, *, fold: int, folds: int, partition: int, stopping_images: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Deal all images into `folds` folds: (train, stopping, held_out) indices, sorted int64.

    Fold `fold` (from 0) is held out; of the rest, `stopping_images` choose the epoch and the others
    train. The folds depend on `partition` and `folds` alone, hold each image once, and differ by at
    most one image, in all and of each class. Raises `UserError` where one part would be empty.
    """
    if not 0 <= fold < folds <= len(labels):
        raise UserError(f"fold {fold} of {folds}: allowed are 2 to {len(labels)}, counted from 0")
    generator = torch.Generator().manual_seed(derive_seed(partition, 0, "folds"))
    classes = [indices for indices, _ in indices_and_shares(labels, len(labels))]
    dealt = torch.cat([i[torch.randperm(len(i), generator=generator)] for i in classes])
    is_held_out = torch.zeros(len(labels), dtype=torch.bool)
    is_held_out[dealt[fold::folds]] = True  # card after card, so that every class is spread evenly
    rest = torch.where(~is_held_out)[0]
    seed = derive_seed(partition, fold, "stopping images")
    train, stopping = stratified_split(labels[rest], stopping_images, seed=seed)
    return rest[train], rest[stopping], torch.where(is_held_out)[0]


def indices_and_shares(labels: Tensor, count: int) -> list[tuple[Tensor, int]]:
    """For each class its indices, in file order, and its share of `count` images.

    Each share is rounded down; what is left of `count` goes, one each, to the classes that lost
    most by it (ties: the lower label).
    """
    classes = [torch.where(labels == label)[0] for label in labels.unique()]
    shares, lost = zip(*(divmod(count * len(each), len(labels)) for each in classes), strict=True)
    losers_first = sorted(range(len(classes)), key=lambda k: -lost[k])  # stable
    favoured = losers_first[: count - sum(shares)]
    return [(each, shares[k] + (k in favoured)) for k, each in enumerate(classes)]
