"""LeNet-5 for 28×28 images: two convolutions, three dense layers, tanh and average pooling.

The padding of 2 in the first convolution stands in for the 32×32 input of the 1998 original, so
that every later shape is the original's. Unlike there, the second convolution sees all six maps,
and the pooling has no weights.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from .checks import one_of, switch, whole_numbers

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
POOLINGS = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


def convolution_stage(
    channels_in: int, channels_out: int, *, padding: int, activation: str, pooling: str, norm: bool
) -> nn.Sequential:
    """5×5 convolution, batch norm if wanted, activation, 2×2 pooling."""
    batch_norm = [nn.BatchNorm2d(channels_out)] if norm else []
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=5, padding=padding),
        *batch_norm,
        ACTIVATIONS[activation](),
        POOLINGS[pooling](2),
    )


class LeNet5(nn.Module):
    """LeNet-5 (paper, section 3.3.1); 61,706 parameters at the defaults.

    `activation` is "tanh" or "relu", `pooling` "average" or "max"; `batch_norm` puts a batch norm
    between each convolution and its activation; `dense` holds the hidden dense layers' widths.
    """

    def __init__(
        self,
        *,
        activation: str = "tanh",
        pooling: str = "average",
        batch_norm: bool = False,
        dense: Sequence[int] = (120, 84),
    ) -> None:
        super().__init__()
        first, second = whole_numbers("dense", dense, fewest=2, most=2)
        one_of("activation", activation, ACTIVATIONS)
        one_of("pooling", pooling, POOLINGS)
        switch("batch_norm", batch_norm)
        options = {"activation": activation, "pooling": pooling, "norm": batch_norm}
        self.stage1 = convolution_stage(1, 6, padding=2, **options)
        self.stage2 = convolution_stage(6, 16, padding=0, **options)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, first),
            ACTIVATIONS[activation](),
            nn.Linear(first, second),
            ACTIVATIONS[activation](),
            nn.Linear(second, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) to logits (B, 10)."""
        x = self.stage1(images)  # (B, 6, 14, 14)
        x = self.stage2(x)  # (B, 16, 5, 5)
        return self.classifier(x)  # (B, 10)
