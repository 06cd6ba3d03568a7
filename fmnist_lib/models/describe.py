"""Models in numbers, read off module objects, so that no table can disagree with the code."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

IMAGE_SHAPE = (1, 28, 28)


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


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
    rows = parts(model, "", math.inf if depth is None else depth)
    seen = [row for row in rows if not does_nothing(row[1])]
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note_shape(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        shapes[module] = tuple(output.shape[1:])

    hooks = [module.register_forward_hook(note_shape) for _, module, _ in seen]
    was_training = model.training
    blank = torch.zeros(1, *IMAGE_SHAPE, device=next(model.parameters()).device)
    try:
        with torch.no_grad():
            model.eval()(blank)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return [
        {"name": name, "type": type(part).__name__, "output_shape": shapes[part], "parameters": num}
        for name, part, num in seen
    ]
