"""MobileNet-Lite: three depthwise-separable blocks with a halving of the resolution between them.

The paper draws the halvings as steps of their own between the blocks, so they are max pooling here;
the original's stride in the depthwise convolution is the variant `downsample="stride"`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from .checks import check_length


def normalised(convolution: nn.Conv2d) -> list[nn.Module]:
    """Convolution, batch norm, ReLU."""
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def full_block(channels_in: int, channels_out: int, *, stride: int) -> nn.Sequential:
    """One ordinary 3×3 convolution, for comparison."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
    return nn.Sequential(*normalised(convolution))


def separable_block(channels_in: int, channels_out: int, *, stride: int) -> nn.Sequential:
    """3×3 filter a channel, then 1×1 mixing of channels (Howard et al. 2017, section 3.1)."""
    depthwise = nn.Conv2d(channels_in, channels_in, 3, stride=stride, padding=1, groups=channels_in)
    pointwise = nn.Conv2d(channels_in, channels_out, kernel_size=1)
    return nn.Sequential(*normalised(depthwise), *normalised(pointwise))


class MobileNetLite(nn.Module):
    """MobileNet-Lite (paper, section 3.3.4); 14,218 parameters at the defaults.

    `widths` holds the stem's channels and then those of each block. The resolution is halved by a
    pooling after every block but the last, or by a stride in every block but the first.
    `separable=False` puts full convolutions of the same widths in the blocks' place.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (16, 32, 64, 128),
        separable: bool = True,
        downsample: Literal["pool", "stride"] = "pool",
    ) -> None:
        super().__init__()
        check_length("widths", widths, 2, 6)  # 28 pixels can be halved four times: five blocks
        block = separable_block if separable else full_block
        self.stem = nn.Conv2d(1, widths[0], kernel_size=3, padding=1)
        self.features = nn.Sequential()
        for i, (before, after) in enumerate(pairwise(widths), start=1):
            stride = 2 if downsample == "stride" and i > 1 else 1
            self.features.add_module(f"block{i}", block(before, after, stride=stride))
            if downsample == "pool" and i + 1 < len(widths):
                self.features.add_module(f"pool{i}", nn.MaxPool2d(2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) to logits (B, 10)."""
        x = self.stem(images)  # (B, 16, 28, 28)
        x = self.features(x)  # (B, 32, 28, 28) → (B, 64, 14, 14) → (B, 128, 7, 7)
        x = self.pool(x).flatten(1)  # (B, 128)
        return self.classifier(x)  # (B, 10)
