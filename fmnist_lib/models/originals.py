"""The networks that the lightweight models shrink.

They come from torchvision where it has them; it is imported only when one is asked for, so that the
models themselves need torch alone.
"""

from torch import nn

IMAGENET_SIZE = 224  # pixels a side, for an original of which torchvision has no record

# torchvision's smallest and largest where the paper names a range.
TORCHVISION = {
    "resnet_mini": ("ResNet-34 to ResNet-101 (torchvision)", ("resnet34", "resnet101")),
    "densenet_tiny": ("DenseNet-121 (torchvision)", ("densenet121",)),
    "vit_tiny": ("ViT-B/16 (torchvision)", ("vit_b_16",)),
}

# LeNet-5 as published (LeCun et al. 1998, section II.B): it was never a torchvision model, and its
# sparse second convolution, pooling weights and output units have no ready-made layers.
LENET5_1998 = {
    "Input": "32×32 grey",
    "Convolution kernels": "6 and 16 of 5×5",
    "Connections of the second convolution": "60 of 96 pairs of maps",
    "Activation": "scaled tanh",
    "Pooling": "average, with a trained weight and bias a map, then squashed",
    "Dense layers": "120 → 84",
    "Output": "10 radial basis units with fixed codes",
    "Parameters": "60,000 trained",
}


def mobilenet_v1() -> nn.Module:
    """Build MobileNet at width 1 from Table 1 of its paper (Howard et al. 2017).

    torchvision starts at version 2, whose inverted residual blocks are another design; the model
    here is a child of version 1. The table prints a stride of 2 for the last depthwise convolution,
    which its own output sizes contradict; it is 1.
    """
    from torchvision.ops import Conv2dNormActivation as Convolution  # conv, norm, ReLU

    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    plan += 5 * [(512, 1)] + [(1024, 2), (1024, 1)]
    modules: list[nn.Module] = [Convolution(3, 32, 3, stride=2)]
    channels = 32
    for channels_out, stride in plan:
        modules.append(Convolution(channels, channels, 3, stride=stride, groups=channels))
        modules.append(Convolution(channels, channels_out, 1))
        channels = channels_out
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def originals_of(name: str) -> tuple[str, list[nn.Module], int]:
    """Return what the original is called, its module objects and its input's pixels a side."""
    if name == "mobilenet_lite":
        return "MobileNet, 2017 (rebuilt from its paper)", [mobilenet_v1()], IMAGENET_SIZE
    from torchvision.models import get_model, get_model_weights

    title, names = TORCHVISION[name]
    (size,) = get_model_weights(names[0]).DEFAULT.transforms().crop_size
    return title, [get_model(original, weights=None) for original in names], size
