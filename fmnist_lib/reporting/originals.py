"""The networks that the lightweight models shrink, and how each differs from its original.

They come from torchvision where it has them; it is imported only when one is asked for, so that the
models themselves need torch alone.
"""

import math

import torch
from torch import nn

from fmnist_lib.models import MODELS, build_model
from fmnist_lib.reporting.features import FEATURES, classifier, image, of_class, parameters

Row = dict[str, str]

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


def lenet5_rows(lite: nn.Module) -> list[Row]:
    """Return the comparison with the published facts of the 1998 network."""
    convolutions = of_class(lite, "Conv2d")
    kernels = " and ".join(str(convolution.out_channels) for convolution in convolutions)
    linears = of_class(lite, "Linear")
    pairs = math.prod(convolutions[1].weight.shape[:2])
    ours = {
        "Input": f"{image(lite, 28)}, padded by {convolutions[0].padding[0]}",
        "Convolution kernels": "{} of {}×{}".format(kernels, *convolutions[0].kernel_size),
        "Connections of the second convolution": f"{pairs} of {pairs} pairs of maps",
        "Activation": type(lite.stage1[1]).__name__.lower(),
        "Pooling": "average, no weights" if of_class(lite, "AvgPool2d") else "maximum",
        "Dense layers": " → ".join(str(linear.out_features) for linear in linears[:-1]),
        "Output": f"{classifier(lite)}, logits",
        "Parameters": parameters(lite),
    }
    return [
        {"feature": feature, "original": original, "lite": ours[feature]}
        for feature, original in LENET5_1998.items()
    ]


def span(values: list[str]) -> str:
    """Return one value if all agree, else the first and the last joined as a range."""
    return values[0] if len(set(values)) == 1 else f"{values[0]}–{values[-1]}"


def compare_with_original(name: str) -> list[Row]:
    """Return the paper's appendix comparison: rows of `feature`, `original` and `lite`, as text.

    The first row names the two models and the original's source: torchvision's module objects
    (ResNet, DenseNet, ViT), a reconstruction from the publication (MobileNet), or published facts
    (LeNet-5). The custom CNN has no original, so its list is empty. Nothing is downloaded and no
    memory taken: all models are built on the `meta` device.

    Raises `OptionError` for an unknown name.
    """
    with torch.device("meta"):
        lite = build_model(name)
        if name == "baseline_cnn":
            return []
        title = MODELS[name].title
        if name == "lenet5":
            published = "LeNet-5, 1998 (as published)"
            return [{"feature": "Model", "original": published, "lite": title}, *lenet5_rows(lite)]
        original_title, originals, size = originals_of(name)
    return [
        {"feature": "Model", "original": original_title, "lite": title},
        {"feature": "Input", "original": image(originals[0], size), "lite": image(lite, 28)},
        *(
            {
                "feature": feature,
                "original": span([read(original) for original in originals]),
                "lite": read(lite),
            }
            for feature, read in FEATURES[name].items()
        ),
    ]
