"""Models in numbers, read off module objects, so that no table can disagree with the code."""

from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
