"""The custom CNN: three convolutions with batch norm and max pooling, and nothing else."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from .checks import check_length


def convolution_block(channels_in: int, channels_out: int) -> nn.Sequential:
    """3×3 convolution, batch norm, ReLU, 2×2 max pooling."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class BaselineCNN(nn.Module):
    """Custom CNN (paper, section 3.3.6); 6,330 parameters at the defaults.

    `widths` holds one channel count a block; `dropout` acts between pooling and classifier. The
    paper does not give its rate: 0.2 is an assumption.
    """

    def __init__(self, *, widths: Sequence[int] = (8, 16, 32), dropout: float = 0.2) -> None:
        super().__init__()
        check_length("widths", widths, 1, 4)  # 28 pixels can be halved four times
        blocks = (convolution_block(before, after) for before, after in pairwise((1, *widths)))
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(widths[-1], 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) to logits (B, 10)."""
        x = self.blocks(images)  # (B, 8, 14, 14) → (B, 16, 7, 7) → (B, 32, 3, 3)
        x = self.pool(x).flatten(1)  # (B, 32)
        return self.classifier(self.dropout(x))  # (B, 10)
