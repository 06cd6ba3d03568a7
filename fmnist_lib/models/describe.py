"""Models in numbers, read off module objects, so that no table can disagree with the code."""

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def layers(model: nn.Module, *, depth: float = math.inf) -> list[dict[str, object]]:
    """Return one row a layer: `name`, `type`, `output_shape` (without batch), `parameters`.

    `depth` says how often containers are opened: 1 lists the model's own parts, the default single
    layers. Shapes come from a forward pass of one blank image in eval mode. Steps written as
    functions (an addition, a ReLU within a block) have no row.
    """
    model = copy.deepcopy(model).eval()  # the caller's keeps its mode and gets no hooks
    rows = list(parts(model, "", depth))
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note_shape(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        shapes[module] = tuple(output.shape[1:])

    for _, part, _ in rows:
        part.register_forward_hook(note_shape)
    with torch.no_grad():
        model(torch.zeros(1, 1, 28, 28, device=next(model.parameters()).device))
    return [
        {"name": name, "type": type(part).__name__, "output_shape": shapes[part], "parameters": num}
        for name, part, num in rows
    ]


def parts(module: nn.Module, name: str, depth: float) -> Iterator[tuple[str, nn.Module, int]]:
    """Yield name, module and parameters of what is seen when containers are opened `depth` times.

    Not what only passes its input on. A module list, which is never called, is opened without
    counting. A container's own weights (the class token, say) come after its parts, so that all
    rows add up to the model's parameters.
    """
    children = list(module.named_children())
    is_list = isinstance(module, nn.ModuleList)
    if not children or (depth == 0 and not is_list):
        no_dropout = isinstance(module, nn.Dropout) and module.p == 0
        if not (no_dropout or isinstance(module, nn.Identity)):
            yield name, module, count_parameters(module)
        return
    for child_name, child in children:
        full_name = f"{name}.{child_name}" if name else child_name
        yield from parts(child, full_name, depth if is_list else depth - 1)
    if own := sum(parameter.numel() for parameter in module.parameters(recurse=False)):
        yield name, module, own
