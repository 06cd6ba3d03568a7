"""LeNet-5 for 28×28 images: two convolutions, three dense layers, tanh and average pooling.

The padding of 2 in the first convolution stands in for the 32×32 input of the 1998 original, so
that every later shape is the original's. Unlike there, the second convolution sees all six maps,
and the pooling has no weights.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from .checks import check_length

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
POOLINGS = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


def convolution_stage(
    channels_in: int, channels_out: int, padding: int, *, activation: str, pooling: str, norm: bool
) -> nn.Sequential:
    """5×5 convolution, batch norm if wanted, activation, 2×2 pooling."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=5, padding=padding),
        *([nn.BatchNorm2d(channels_out)] if norm else []),
        ACTIVATIONS[activation](),
        POOLINGS[pooling](2),
    )


class LeNet5(nn.Module):
    """LeNet-5 (paper, section 3.3.1); 61,706 parameters at the defaults.

    `batch_norm` puts a batch norm between each convolution and its activation; `dense` holds the
    two hidden dense layers' widths.
    """

    def __init__(
        self,
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        pooling: Literal["average", "max"] = "average",
        batch_norm: bool = False,
        dense: Sequence[int] = (120, 84),
    ) -> None:
        super().__init__()
        check_length("dense", dense, 2, 2)
        options = {"activation": activation, "pooling": pooling, "norm": batch_norm}
        self.stage1 = convolution_stage(1, 6, padding=2, **options)
        self.stage2 = convolution_stage(6, 16, padding=0, **options)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, dense[0]),
            ACTIVATIONS[activation](),
            nn.Linear(dense[0], dense[1]),
            ACTIVATIONS[activation](),
            nn.Linear(dense[1], 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) to logits (B, 10)."""
        x = self.stage1(images)  # (B, 6, 14, 14)
        x = self.stage2(x)  # (B, 16, 5, 5)
        return self.classifier(x)  # (B, 10)
