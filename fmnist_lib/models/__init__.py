"""The six architectures, by name. Nothing here knows of data, training or results.

Every builder takes keyword arguments only, with the paper's values as defaults. Weights are drawn
from PyTorch's global generator, so a seed set before `build_model` decides them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from .baseline_cnn import BaselineCNN
from .checks import OptionError, check_option, require
from .densenet_tiny import DenseNetTiny
from .lenet5 import LeNet5
from .mobilenet_lite import MobileNetLite
from .resnet_mini import ResNetMini
from .vit_tiny import ViTTiny

__all__ = ["MODELS", "ModelSpec", "OptionError", "build_model", "count_parameters"]


@dataclass(frozen=True)
class ModelSpec:
    """One architecture: the title a reader sees and what builds it."""

    title: str
    builder: Callable[..., nn.Module]

    @property
    def defaults(self) -> dict[str, Any]:
        """The builder's options with the paper's values."""
        parameters = inspect.signature(self.builder).parameters.values()
        return {parameter.name: parameter.default for parameter in parameters}


# In the paper's order, which tables and figures keep.
MODELS: Mapping[str, ModelSpec] = {
    "lenet5": ModelSpec("LeNet-5", LeNet5),
    "resnet_mini": ModelSpec("ResNet-Mini", ResNetMini),
    "densenet_tiny": ModelSpec("DenseNet-Tiny", DenseNetTiny),
    "mobilenet_lite": ModelSpec("MobileNet-Lite", MobileNetLite),
    "vit_tiny": ModelSpec("ViT-Tiny", ViTTiny),
    "baseline_cnn": ModelSpec("Custom CNN", BaselineCNN),
}


def build_model(name: str, **overrides: Any) -> nn.Module:  # noqa: ANN401, values differ by option
    """Build a model that maps images (B, 1, 28, 28) to logits (B, 10).

    Raises `OptionError` with one sentence for an unknown name, an unknown option or a value that
    makes no sense. Under `torch.device("meta")` it checks the options and draws no weights.
    """
    require(name in MODELS, f"unknown model {name!r}; allowed are {', '.join(MODELS)}")
    builder = MODELS[name].builder
    options = inspect.signature(builder).parameters
    try:
        for option, value in overrides.items():
            allowed = ", ".join(options)
            require(option in options, f"there is no option {option!r}; allowed are {allowed}")
            check_option(option, value, options[option].annotation)
        return builder(**overrides)
    except OptionError as error:
        raise OptionError(f"{name}: {error}") from None


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
