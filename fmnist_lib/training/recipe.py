"""What turns gradients into weights: the optimiser, its learning rates, the averaged weights."""

import math
from collections.abc import Iterable

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
    options = {"lr": rate, "weight_decay": config.weight_decay, "fused": True}
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=config.momentum, **options)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, capturable=device.type == "cuda", **options)


def learning_rates(config: RunConfig, steps: int) -> Tensor:
    """Return the rate of every step of a run, (epochs × steps,): PyTorch's one-cycle policy.

    From a 25th of `learning_rate` up to it over three tenths of the run, and down to nearly zero,
    both along a cosine (Smith and Topin 2018); momentum stays as it is. Written out, since calling
    the scheduler takes a third of a millisecond a step, in which no other run would be served.
    """
    total, top = config.epochs * steps, torch.tensor(config.learning_rate, dtype=torch.float64)
    step, turn, last = torch.arange(total, dtype=torch.float64), 0.3 * total - 1, total - 1
    rising, low = step <= turn, top / 25
    share = torch.where(rising, step / turn, (step - turn) / (last - turn))
    start, end = torch.where(rising, low, top), torch.where(rising, top, low / 1e4)
    wave = [math.cos(math.pi * each) for each in share.tolist()]  # the same bits on any processor
    return end + (start - end) / 2 * (torch.tensor(wave, dtype=torch.float64) + 1)


@torch.no_grad()
def average(means: Iterable[tuple[Tensor, Tensor]], decay: Tensor) -> None:
    """Move each mean exponentially towards what it is the mean of; `decay` (1,) of 0: all the way.

    Batch-norm statistics too: those of the last step do not belong to averaged weights.
    """
    for mean, now in means:
        if mean.is_floating_point():
            mean.lerp_(now, 1 - decay)
        else:  # a count of batches
            mean.copy_(now)
