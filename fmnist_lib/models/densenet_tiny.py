"""DenseNet-Tiny: three dense blocks of three layers, joined by two compressing transitions.

The paper's text gives every block a transition, its diagram and parameter count give one to the
first two only; so the last block has none here.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from .checks import require, switch, whole_number

NUM_BLOCKS = 3


def plain_width(channels_in: int, growth_rate: int, layers: int) -> int:
    """Width at which a plain block has as many convolution weights as the dense block.

    Dense layers read channels_in + i·growth_rate channels and write growth_rate; plain layers read
    and write w, but for the first, which reads channels_in. Equal sums give a quadratic in w; its
    root is exact at the paper's values (12) and rounded elsewhere.
    """
    dense = growth_rate * (layers * channels_in + growth_rate * layers * (layers - 1) // 2)
    if layers == 1:
        return growth_rate
    root = math.sqrt(channels_in**2 + 4 * (layers - 1) * dense)
    return max(1, round((root - channels_in) / (2 * (layers - 1))))


def layer(channels_in: int, channels_out: int) -> nn.Sequential:
    """Batch norm, ReLU, 3×3 convolution: normalised before it is convolved, as DenseNet does."""
    return nn.Sequential(
        nn.BatchNorm2d(channels_in),
        nn.ReLU(),
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1),
    )


def transition(channels_in: int, channels_out: int) -> nn.Sequential:
    """1×1 convolution to fewer channels, then 2×2 average pooling; no norm."""
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel_size=1), nn.AvgPool2d(2))


class DenseBlock(nn.Module):
    """Every layer reads the block's input and all earlier outputs, concatenated."""

    def __init__(self, channels_in: int, *, growth_rate: int, layers: int) -> None:
        super().__init__()
        self.channels_out = channels_in + layers * growth_rate
        self.layers = nn.ModuleList(
            layer(channels_in + i * growth_rate, growth_rate) for i in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C + layers·growth_rate, H, W)."""
        for dense_layer in self.layers:
            x = torch.cat([x, dense_layer(x)], dim=1)
        return x


class PlainBlock(nn.Module):
    """The same layers in a row, without concatenation, at a dense block's convolution cost."""

    def __init__(self, channels_in: int, *, growth_rate: int, layers: int) -> None:
        super().__init__()
        self.channels_out = plain_width(channels_in, growth_rate, layers)
        channels = [channels_in] + layers * [self.channels_out]
        self.layers = nn.ModuleList(layer(before, after) for before, after in pairwise(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, channels_out, H, W)."""
        for plain_layer in self.layers:
            x = plain_layer(x)
        return x


class DenseNetTiny(nn.Module):
    """DenseNet-Tiny (paper, section 3.3.3); 11,666 parameters at the defaults.

    A transition divides a dense block's channels by `compression` (32 → 8). With `dense=False` the
    blocks are plain stacks of the same depth and of the same number of convolution weights and
    multiplications, and the transitions lead back to the same widths (12 → 8); the model then has
    11,086 parameters, 5 % fewer, because transitions and classifier read narrower maps.
    """

    def __init__(
        self,
        *,
        growth_rate: int = 8,
        layers_per_block: int = 3,
        dense: bool = True,
        stem_width: int = 8,
        compression: int = 4,
    ) -> None:
        super().__init__()
        whole_number("growth_rate", growth_rate)
        whole_number("layers_per_block", layers_per_block)
        switch("dense", dense)
        whole_number("stem_width", stem_width)
        whole_number("compression", compression)
        block_type = DenseBlock if dense else PlainBlock

        self.stem = nn.Conv2d(1, stem_width, kernel_size=3, padding=1)
        self.features = nn.Sequential()
        channels = stem_width
        for i in range(1, NUM_BLOCKS + 1):
            block = block_type(channels, growth_rate=growth_rate, layers=layers_per_block)
            self.features.add_module(f"block{i}", block)
            if i < NUM_BLOCKS:
                channels = (channels + layers_per_block * growth_rate) // compression
                require(channels >= 1, f"compression {compression} leaves a transition no channel")
                narrower = transition(block.channels_out, channels)
                self.features.add_module(f"transition{i}", narrower)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(block.channels_out, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) to logits (B, 10)."""
        x = self.stem(images)  # (B, 8, 28, 28)
        x = self.features(x)  # 8 → 32 channels a block, → 8 a transition; 28 → 14 → 7 pixels
        x = self.pool(x).flatten(1)  # (B, 32)
        return self.classifier(x)  # (B, 10)
