"""What a model costs: multiply-accumulates, size, and time alone on the machine."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import safetensors.torch
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fmnist_lib.data.fashion_mnist import Dataset
from fmnist_lib.models import build_model
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import cpu_name, describe_environment, ended
from fmnist_lib.runs.record import CostRecord, Environment, digest_json
from fmnist_lib.training import loop

ROUNDS = 5  # in each, every model trains on a block and passes over the test images once
BLOCK_IMAGES = 10_000  # at least; rounded up to whole batches
SINGLE_IMAGES = 200  # timed one by one, over all rounds
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
    return f"{config.model}-{digest_json([timed, cpu_name(), torch.__version__])[:12]}"


def measure_costs(
    configs: Sequence[RunConfig], data: Dataset, *, on_round: Callable[[int], None] | None = None
) -> list[CostRecord]:
    """Time training, inference and single images of models on one thread, after a warm-up.

    The models take turns, so that a slow minute of the machine falls on all of them. Nothing else
    may run on it meanwhile; the caller sees to that. `on_round` is told the number of each round,
    counted from 1, before it starts.
    """
    import psutil

    busy = psutil.cpu_percent(interval=0.25)  # by others: this process sleeps meanwhile
    loop.keep_freed_memory()
    loop.exact_arithmetic()
    with loop.one_thread():
        environment = describe_environment()
        timings = [Timing(config, data) for config in configs]
        for number in range(1, ROUNDS + 1):
            if on_round:
                on_round(number)
            for timing in timings:
                timing.take_turn()
        environment = ended(environment)
        return [timing.record(busy, environment) for timing in timings]


class Timing:
    """The times of one model, which is trained, tested and asked for single images in turn."""

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.model = loop.place_model(build_model(config.model, **config.model_options), config)
        parts = loop.split_parts(data, config)
        whole_batches = -(-BLOCK_IMAGES // config.batch_size) * config.batch_size
        images, labels = (t[:whole_batches] for t in parts.train)
        self.parts = replace(parts, train=(images, labels))
        self.trainer = loop.Trainer(self.model, self.parts, config)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.take_turn()
        self.seconds.clear()  # that was the warm-up

    def take_turn(self) -> None:
        """Time one block of training, one pass over the test images and a share of single ones."""
        self.time("train", lambda: loop.finish(self.trainer.train_epoch(1)))
        self.time("test", lambda: loop.evaluate(self.model, self.parts.test))  # in eval mode
        for _ in range(SINGLE_IMAGES // ROUNDS // 10):
            self.classify_one()
        for _ in range(SINGLE_IMAGES // ROUNDS):
            self.time("single", self.classify_one)

    @torch.no_grad()
    def classify_one(self) -> None:
        """Classify a single image."""
        self.model(self.parts.train[0][:1]).argmax().item()

    def time(self, what: str, action: Callable[[], None]) -> None:
        """Keep the wall time of a call, in seconds."""
        started = time.perf_counter()
        action()
        self.seconds[what].append(time.perf_counter() - started)

    def record(self, busy: float, environment: Environment) -> CostRecord:
        """Return the record of all turns."""
        block_images = len(self.parts.train[1])
        scale = SCALED_TO / block_images
        return CostRecord(
            name=cost_name(self.config),
            model=self.config.model,
            config=self.config,
            busy_percent=busy,
            block_images=block_images,
            train_seconds_blocks=[scale * s for s in self.seconds["train"]],
            scaled_to_images=SCALED_TO,
            inference_images=len(self.parts.test[1]),
            inference_ms_passes=[1000 * s for s in self.seconds["test"]],
            latency_ms=[1000 * s for s in self.seconds["single"]],
            environment=environment,
        )
