"""ResNet-Mini: six basic residual blocks in three stages behind a 1×1 stem.

The paper's text has it start at 16 channels, its timings imply widths of 4, 8 and 16; the defaults
follow the timings, and `widths=(16, 32, 64)` is the literal reading.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .checks import require


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, added to a shortcut (He et al. 2015, section 3.3).

    The shortcut is the identity where shapes agree and a 1×1 convolution with batch norm where they
    do not; without `shortcut` it is left out altogether and the block is a plain stack.
    """

    def __init__(self, channels_in: int, channels_out: int, *, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.stride = stride
        self.shortcut = nn.Identity() if shortcut else None
        if shortcut and not (channels_in == channels_out and stride == 1):
            projection = nn.Conv2d(channels_in, channels_out, kernel_size=1)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H/stride, W/stride)."""
        residual = F.relu(self.norm1(self.conv1(x)))
        residual = self.norm2(self.conv2(residual))
        if self.shortcut is None:
            return F.relu(residual)
        # The projection's stride is taken here, which gives the same numbers: PyTorch's CPU library
        # writes beyond its memory in the backward pass of a strided 1×1 convolution with few
        # channels (oneDNN issue 6035) and crashes processors without AVX-512.
        return F.relu(residual + self.shortcut(x[..., :: self.stride, :: self.stride]))


class ResNetMini(nn.Module):
    """ResNet-Mini (paper, section 3.3.2); 11,402 parameters at the defaults.

    `widths` holds one channel count a stage; the first block of every stage after the first halves
    the resolution.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (4, 8, 16),
        blocks_per_stage: int = 2,
        shortcuts: bool = True,
    ) -> None:
        super().__init__()
        require(len(widths) > 0, "widths must hold at least one number")
        self.stem = nn.Conv2d(1, widths[0], kernel_size=1)
        self.stages = nn.Sequential()
        channels = widths[0]
        for i, width in enumerate(widths):
            self.stages.append(nn.Sequential())
            for j in range(blocks_per_stage):
                stride = 2 if i > 0 and j == 0 else 1
                block = ResidualBlock(channels, width, stride=stride, shortcut=shortcuts)
                self.stages[-1].append(block)
                channels = width
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) to logits (B, 10)."""
        x = self.stem(images)  # (B, 4, 28, 28)
        x = self.stages(x)  # (B, 4, 28, 28) → (B, 8, 14, 14) → (B, 16, 7, 7)
        x = self.pool(x).flatten(1)  # (B, 16)
        return self.classifier(x)  # (B, 10)
