"""What turns gradients into weights: the optimiser, its learning rates, the averaged weights."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from fmnist_lib.runs.config import RunConfig


def make_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Return the optimiser, with PyTorch's defaults where the config has no setting.

    Where a schedule changes the learning rate it is a tensor, which a captured step can read; on a
    CPU in double precision, in which a plain number is kept as well.
    """
    parameters = list(model.parameters())
    device = parameters[0].device
    rate: float | Tensor = config.learning_rate
    if config.schedule != "constant":
        exact = torch.float64 if device.type == "cpu" else torch.float32
        rate = torch.tensor(rate, dtype=exact, device=device)
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(
        parameters,
        lr=rate,
        weight_decay=config.weight_decay,
        fused=True,
        capturable=device.type == "cuda",
    )


def learning_rates(config: RunConfig, steps: int) -> Tensor:
    """Return the rate of every step of a run, (epochs × steps,): PyTorch's one-cycle policy.

    From a 25th of `learning_rate` up to it over three tenths of the run, and down to nearly zero,
    both along a cosine (Smith and Topin 2018); momentum stays as it is. Written out, since calling
    the scheduler takes a third of a millisecond a step, in which no other run would be served.
    """

    def along(start: float, end: float, share: float) -> float:
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)

    total, top, low = config.epochs * steps, config.learning_rate, config.learning_rate / 25
    turn, last = 0.3 * total - 1, total - 1
    rates = [
        along(low, top, step / turn)
        if step <= turn
        else along(top, low / 1e4, (step - turn) / (last - turn))
        for step in range(total)
    ]
    return torch.tensor(rates, dtype=torch.float64)


class Averaged:
    """An exponential moving average of a model's weights and batch-norm statistics.

    The statistics too, since those of the last step do not belong to averaged weights.
    """

    def __init__(self, model: nn.Module, mean: nn.Module) -> None:
        self.tensors = list(zip(tensors_of(mean), tensors_of(model), strict=True))

    @torch.no_grad()
    def update(self, decay: Tensor) -> None:
        """Take the step that was just made into account; `decay` (1,) of 0 starts from there."""
        for mean, now in self.tensors:
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:  # a count of batches
                mean.copy_(now)


def tensors_of(model: nn.Module) -> Iterator[Tensor]:
    """Yield weights and buffers, which stay where they are as long as the model lives."""
    yield from model.state_dict().values()
