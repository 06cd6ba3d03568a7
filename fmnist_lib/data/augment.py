"""Augmentation of a whole epoch, on the images' device. Not here: the loss of MixUp.

Everything is a pure function of seed and epoch, and drawn on the CPU: the same on any device.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fmnist_lib.data.fashion_mnist import BLACK
from fmnist_lib.data.splits import derive_seed

SHIFT = 2  # pixels at most, in each direction
MIXUP_ALPHA = 0.2  # of the Beta distribution (Zhang et al. 2018, section 3: 0.1 to 0.4)


def augment_epoch(images: Tensor, kind: str, *, seed: int, epoch: int) -> Tensor:
    """Return the images (N, 1, 28, 28) as one epoch sees them.

    With `flip` half of them are mirrored left to right, with `shift` each is moved by up to two
    pixels each way and black moves in.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, "augmentation"))
    if "flip" in kind:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(bring(mirrored, images)[:, None, None, None], images.flip(3), images)
    if "shift" in kind:
        offsets = torch.randint(0, 2 * SHIFT + 1, (len(images), 2), generator=generator)
        images = shift(images, bring(offsets, images))
    return images


def shift(images: Tensor, offsets: Tensor) -> Tensor:
    """Return images (N, 1, H, W) cut at `offsets` (N, 2), 0 to 4, out of a black frame."""
    framed = F.pad(images, 4 * (SHIFT,), value=BLACK)  # (N, 1, H + 4, W + 4)
    cuts = framed.unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)  # (N, 1, 5, 5, H, W)
    each = torch.arange(len(images), device=images.device)
    return cuts[each, :, offsets[:, 0], offsets[:, 1]]


def mixing_weights(steps: int, *, seed: int, epoch: int) -> Tensor:
    """Return for each step of an epoch the weight of an image against its partner, (steps,)."""
    random = np.random.default_rng(derive_seed(seed, epoch, "mixup"))
    return torch.from_numpy(random.beta(MIXUP_ALPHA, MIXUP_ALPHA, steps)).float()


def mix(images: Tensor, weight: Tensor) -> Tensor:
    """Return each image (B, 1, 28, 28) mixed with the one before; the order is random anyway."""
    return weight * images + (1 - weight) * images.roll(1, 0)


def bring(drawn: Tensor, images: Tensor) -> Tensor:
    """Return what was drawn on the CPU where the images are, without waiting for a GPU."""
    drawn = drawn.pin_memory() if images.is_cuda else drawn
    return drawn.to(images.device, non_blocking=images.is_cuda)
