"""Models in words and numbers: their layers, and how each differs from the original it shrinks.

Everything is read off module objects, so a table cannot disagree with the code. For reading only:
nothing that trains imports this file.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from . import MODELS, build_model
from .features import FEATURES, classifier, count_parameters, image, of_class, parameters
from .originals import LENET5_1998, originals_of

__all__ = ["compare_with_original", "count_parameters", "layers"]

IMAGE_SHAPE = (1, 28, 28)

Row = dict[str, str]


def parts(module: nn.Module, name: str, depth: float) -> Iterator[tuple[str, nn.Module, int]]:
    """Yield name, module and parameters of what is seen when containers are opened `depth` times.

    A module list is opened without counting, since it is never called. A container's own weights
    (the class token, say) come after its parts, so that all rows add up to the model's parameters.
    """
    children = list(module.named_children())
    is_list = isinstance(module, nn.ModuleList)
    if not children or (depth == 0 and not is_list):
        yield name, module, count_parameters(module)
        return
    for child_name, child in children:
        full_name = f"{name}.{child_name}" if name else child_name
        yield from parts(child, full_name, depth if is_list else depth - 1)
    own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
    if own:
        yield name, module, own


def does_nothing(module: nn.Module) -> bool:
    """Return whether a module only passes its input on: an identity, or dropout at rate 0."""
    return isinstance(module, nn.Identity) or (isinstance(module, nn.Dropout) and module.p == 0)


def layers(model: nn.Module, *, depth: int | None = None) -> list[dict[str, object]]:
    """Return one row a layer: `name`, `type`, `output_shape` (without batch), `parameters`.

    `depth` says how often containers are opened: 1 lists the model's own parts, None goes down to
    single layers. Shapes come from a forward pass of one blank 1×28×28 image in eval mode; steps
    written as functions (an addition, a ReLU within a block) have no row.
    """
    seen = [
        part
        for part in parts(model, "", math.inf if depth is None else depth)
        if not does_nothing(part[1])
    ]
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note_shape(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        shapes[module] = tuple(output.shape[1:])

    hooks = [module.register_forward_hook(note_shape) for _, module, _ in seen]
    was_training = model.training
    device = next(model.parameters()).device
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *IMAGE_SHAPE, device=device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return [
        {
            "name": name,
            "type": type(module).__name__,
            "output_shape": shapes[module],
            "parameters": parameters,
        }
        for name, module, parameters in seen
    ]


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
