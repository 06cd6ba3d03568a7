"""What a model costs: multiply-accumulates, size, and time alone on the machine."""

import time
from collections.abc import Callable

import psutil
import safetensors.torch
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fmnist_lib.config import RunConfig
from fmnist_lib.data import Dataset
from fmnist_lib.engine import make_forward
from fmnist_lib.environment import cpu_name, describe_environment, ended
from fmnist_lib.models import build_model
from fmnist_lib.records import CostRecord, digest_json
from fmnist_lib.training import (
    evaluate,
    keep_freed_memory,
    make_optimizer,
    one_thread,
    place_model,
    split_parts,
    train_epoch,
)

BLOCKS = 5  # timed blocks of training
BLOCK_IMAGES = 10_000  # at least; rounded up to whole batches
PASSES = 5  # timed passes over the test images
SINGLE_IMAGES = 200  # timed one by one
SCALED_TO = 60_000  # images of one epoch; times of blocks are scaled to it


def count_macs(name: str, options: dict) -> int:
    """Return the multiply-accumulates of the forward pass of one 1×28×28 image.

    Counts convolutions and matrix products (PyTorch's flop counter, halved): not additions of
    biases, norms, activations or pooling, as is usual for this figure.
    """
    counter = FlopCounterMode(display=False)
    with torch.device("meta"):  # shapes are enough, and no weights are drawn
        model, image = build_model(name, **options).eval(), torch.zeros(1, 1, 28, 28)
    with counter, torch.no_grad():
        model(image)
    return counter.get_total_flops() // 2


def checkpoint_bytes(model: nn.Module) -> int:
    """Return the size of the weights as a safetensors file."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return len(safetensors.torch.save(weights))


def cost_name(config: RunConfig) -> str:
    """Return the name of a cost record: what was timed, on which processor, with which torch.

    The seed and the rules change no time, so that runs which differ in nothing else share one.
    """
    timed = config.model_dump(mode="json", exclude_defaults=True, exclude={"stops", "seed"})
    identity = [timed, cpu_name(), torch.__version__]
    return f"{config.model}-{digest_json(identity)[:12]}"


def measure_cost(config: RunConfig, data: Dataset) -> CostRecord:
    """Time training, inference and single images on one thread, after a warm-up.

    Nothing else may run on the machine meanwhile; the caller sees to that.
    """
    busy = psutil.cpu_percent(interval=0.25)  # by others: this process sleeps meanwhile
    keep_freed_memory()
    with one_thread():
        environment = describe_environment()
        torch.manual_seed(config.seed)
        model = place_model(build_model(config.model, **config.model_options), config)
        forward = make_forward(model, config)
        optimizer = make_optimizer(model, config)
        parts = split_parts(data, config)
        images, labels = parts.train
        whole_batches = -(-BLOCK_IMAGES // config.batch_size) * config.batch_size
        size = min(whole_batches, len(labels))

        def train_block(number: int) -> None:
            rows = torch.arange(number * size, (number + 1) * size) % len(labels)
            part = images[rows], labels[rows]
            train_epoch(model, forward, optimizer, part, config, number)

        def pass_over_test() -> None:
            evaluate(model, parts.test)

        def classify_one() -> None:
            with torch.no_grad():
                model(images[:1]).argmax().item()

        train_block(0)
        pass_over_test()
        train_times = [timed(lambda n=n: train_block(n)) for n in range(1, BLOCKS + 1)]
        test_times = [timed(pass_over_test) for _ in range(PASSES)]
        model.eval()
        for _ in range(SINGLE_IMAGES // 10):
            classify_one()
        single_times = [timed(classify_one) for _ in range(SINGLE_IMAGES)]
        return CostRecord(
            name=cost_name(config),
            model=config.model,
            config=config,
            busy_percent=busy,
            block_images=size,
            train_seconds_blocks=[t * SCALED_TO / size for t in train_times],
            scaled_to_images=SCALED_TO,
            inference_images=len(parts.test[1]),
            inference_ms_passes=[1000 * t for t in test_times],
            latency_ms=[1000 * t for t in single_times],
            environment=ended(environment),
        )


def timed(action: Callable[[], None]) -> float:
    """Return the wall time of a call in seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
