"""Which images train, choose the epoch or are held out, and in which order an epoch sees them.

Pure functions of their arguments: nothing touches a global random generator, so that neither what
was drawn before nor the number of workers matters. Not here: the images (fashion_mnist).
"""

import numpy as np
import torch
from torch import Tensor

from fmnist_lib.errors import UserError


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
    """In which order an epoch visits the images: a permutation (num_images,) int64."""
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, "batch order"))
    return torch.randperm(num_images, generator=generator)


def stratified_split(labels: Tensor, validation_images: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Set aside a random part of each class: (train_indices, validation_indices), sorted int64.

    The two are disjoint and together cover `labels` (N,). Each class gives its exact share of the
    `validation_images`, to within one image. Raises `UserError` where one of the two is empty.
    """
    if not 1 <= validation_images < len(labels):
        raise UserError(
            f"validation_images is {validation_images}: allowed are 1 to {len(labels) - 1}, fewer "
            f"than the {len(labels)} training images"
        )
    generator = torch.Generator().manual_seed(derive_seed(seed, 0, "stratified split"))
    is_validation = torch.zeros(len(labels), dtype=torch.bool)
    for indices, share in indices_and_shares(labels, validation_images):
        is_validation[_shuffled(indices, generator)[:share]] = True
    return (~is_validation).nonzero().squeeze(1), is_validation.nonzero().squeeze(1)


def stratified_folds(
    labels: Tensor, *, fold: int, folds: int, partition: int, stopping_images: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Deal all images into `folds` folds: (train, stopping, held_out) indices, sorted int64.

    Fold `fold` (from 0) is held out. Of the rest, `stopping_images` choose the epoch and the others
    train; the three are disjoint and together cover `labels` (N,). The folds depend on `partition`
    and `folds` alone, so that each image is held out exactly once; which of the rest stop depends
    on `fold` besides. Folds differ by at most one image, in all and of each class. Raises
    `UserError` where there is no such fold, or nothing left to train on or to stop by.
    """
    if not (2 <= folds <= len(labels) and 0 <= fold < folds and partition >= 0):
        raise UserError(
            f"partition {partition}, fold {fold} of {folds} folds: allowed are 2 to {len(labels)} "
            "folds, counted from 0, and partitions from 0"
        )
    generator = torch.Generator().manual_seed(derive_seed(partition, 0, "folds"))
    dealt = torch.cat([_shuffled(indices, generator) for indices in _by_class(labels)])
    is_held_out = torch.zeros(len(labels), dtype=torch.bool)
    is_held_out[dealt[fold::folds]] = True  # card after card, so that every class is spread evenly
    rest = (~is_held_out).nonzero().squeeze(1)
    if not 1 <= stopping_images < len(rest):
        raise UserError(
            f"stopping_images is {stopping_images}: allowed are 1 to {len(rest) - 1}, fewer than "
            f"the {len(rest)} images outside the fold that is held out"
        )
    seed = derive_seed(partition, fold, "stopping images")
    train, stopping = stratified_split(labels[rest], stopping_images, seed=seed)
    return rest[train], rest[stopping], is_held_out.nonzero().squeeze(1)


def _shuffled(indices: Tensor, generator: torch.Generator) -> Tensor:
    return indices[torch.randperm(len(indices), generator=generator)]


def _by_class(labels: Tensor) -> list[Tensor]:
    """The indices of each class, in file order."""
    if labels.ndim != 1 or labels.is_floating_point():
        raise UserError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}: a split needs whole "
            "numbers in one dimension"
        )
    return [(labels == label).nonzero().squeeze(1) for label in labels.unique().tolist()]


def indices_and_shares(labels: Tensor, count: int) -> list[tuple[Tensor, int]]:
    """For each class its indices, in file order, and its share of `count` images.

    Shares add up to `count` exactly: each is rounded down, and what is left goes, one each, to
    the classes that lost most by it (ties: the lower label).
    """
    classes = _by_class(labels)
    exact = [divmod(count * len(indices), len(labels)) for indices in classes]
    shares = [share for share, _ in exact]
    losers_first = sorted(range(len(classes)), key=lambda k: -exact[k][1])  # stable
    for k in losers_first[: count - sum(shares)]:
        shares[k] += 1
    return list(zip(classes, shares, strict=True))
