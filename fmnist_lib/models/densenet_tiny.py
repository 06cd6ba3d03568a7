"""DenseNet-Tiny: three dense blocks of three layers, joined by two compressing transitions.

The paper's text gives every block a transition, its diagram and parameter count give one to the
first two only; so the last block has none here.
"""

import math

import torch
from torch import Tensor, nn

from .checks import require

NUM_BLOCKS = 3


def plain_width(channels_in: int, growth_rate: int, layers: int) -> int:
    """Width at which a plain block has as many convolution weights as the dense block.

    Layer i of a dense block reads channels_in + i·growth_rate channels, a plain one its w, the
    first channels_in. Equal sums give a quadratic in w, whose root is whole at the defaults (12).
    """
    dense = growth_rate * (layers * channels_in + growth_rate * layers * (layers - 1) // 2)
    if layers == 1:
        return growth_rate
    root = math.sqrt(channels_in**2 + 4 * (layers - 1) * dense)
    return max(1, round((root - channels_in) / (2 * (layers - 1))))


def layer(channels_in: int, channels_out: int) -> nn.Sequential:
    """Batch norm, ReLU, 3×3 convolution: normalised before it is convolved, as DenseNet does."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)
    return nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU(), convolution)


def transition(channels_in: int, channels_out: int) -> nn.Sequential:
    """1×1 convolution to fewer channels, then 2×2 average pooling; no norm."""
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel_size=1), nn.AvgPool2d(2))


class DenseBlock(nn.Module):
    """Every layer reads the block's input and all earlier outputs, concatenated.

    If not `dense`, the same layers in a row, at the same convolution cost.
    """

    def __init__(self, channels_in: int, growth_rate: int, layers: int, *, dense: bool) -> None:
        super().__init__()
        self.dense = dense
        if dense:
            writes = growth_rate
            reads = [channels_in + i * growth_rate for i in range(layers)]
            self.channels_out = channels_in + layers * growth_rate
        else:
            writes = self.channels_out = plain_width(channels_in, growth_rate, layers)
            reads = [channels_in] + (layers - 1) * [writes]
        self.layers = nn.ModuleList(layer(channels, writes) for channels in reads)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, channels_out, H, W)."""
        for each in self.layers:
            x = torch.cat([x, each(x)], dim=1) if self.dense else each(x)
        return x


class DenseNetTiny(nn.Module):
    """DenseNet-Tiny (paper, section 3.3.3); 11,666 parameters at the defaults.

    A transition divides a dense block's channels by `compression` (32 → 8). With `dense=False` the
    blocks are plain stacks of the same depth and convolution cost, and the transitions lead back to
    the same widths (12 → 8); transitions and classifier are then smaller (11,086 parameters).
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
        self.stem = nn.Conv2d(1, stem_width, kernel_size=3, padding=1)
        self.features = nn.Sequential()
        channels = stem_width
        for i in range(1, NUM_BLOCKS + 1):
            block = DenseBlock(channels, growth_rate, layers_per_block, dense=dense)
            self.features.add_module(f"block{i}", block)
            if i < NUM_BLOCKS:
                channels = (channels + layers_per_block * growth_rate) // compression
                require(channels >= 1, f"compression {compression} leaves a transition no channel")
                self.features.add_module(f"transition{i}", transition(block.channels_out, channels))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(block.channels_out, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) to logits (B, 10)."""
        x = self.stem(images)  # (B, 8, 28, 28)
        x = self.features(x)  # 8 → 32 channels a block, → 8 a transition; 28 → 14 → 7 pixels
        x = self.pool(x).flatten(1)  # (B, 32)
        return self.classifier(x)  # (B, 10)
