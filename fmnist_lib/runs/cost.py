"""What a model costs: multiply-accumulates, size, and time alone on the machine."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from fmnist_lib.data.fashion_mnist import Dataset
from fmnist_lib.models import build_model
from fmnist_lib.runs.config import TEST_IMAGES, TRAIN_IMAGES, RunConfig
from fmnist_lib.runs.environment import cpu_name, describe_environment, ended
from fmnist_lib.runs.record import CostRecord, Turn, digest_json
from fmnist_lib.training import loop

TRAINED, TESTED = 1_280, 2_000  # images of a block in a turn, scaled to the whole data set
SINGLE_IMAGES = 20  # classified one by one in a turn
RULER = 512  # side of the square matrices whose product is timed beside every block
MINUTES, FOR_RELEASE = 3, 35  # of measuring, all models together


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


def cost_name(config: RunConfig) -> str:
    """Return the name of a cost record: settings that change a time, processor and torch."""
    timed = config.model_dump(mode="json", exclude_defaults=True, exclude={"stops", "seed"})
    return f"{config.model}-{digest_json([timed, cpu_name(), torch.__version__])[:12]}"


def measure_costs(
    configs: Sequence[RunConfig],
    data: Dataset,
    *,
    minutes: float = MINUTES,
    on_round: Callable[[int], None] = lambda number: None,
) -> list[CostRecord]:
    """Time training, inference and single images of models on one thread, for so many minutes.

    The models take turns of a few seconds, at least two each, so that a slow stretch of the machine
    falls on all of them. A product of fixed matrices, timed around every block, tells how fast the
    machine was just then: what a virtual machine's neighbours take shows nowhere else. Nothing else
    may run. `on_round` is told each round's number, from 1.
    """
    loop.keep_freed_memory()
    loop.exact_arithmetic()
    with loop.one_thread():
        environment = describe_environment()
        timings = [Timing(config, data) for config in configs]
        rounds: list[list[Turn]] = []
        end = time.monotonic() + 60 * minutes
        while len(rounds) < 2 or time.monotonic() < end:
            on_round(len(rounds) + 1)
            rounds.append([timing.take_turn() for timing in timings])
        environment = ended(environment)
    return [
        CostRecord(
            name=cost_name(timing.config),
            model=timing.config.model,
            config=timing.config,
            block_images=len(timing.parts.train[1]),
            scaled_to_images=TRAIN_IMAGES,
            inference_images=len(timing.parts.test[1]),
            turns=turns,
            environment=environment,
        )
        for timing, *turns in zip(timings, *rounds, strict=True)
    ]


class Timing:
    """One model, ready to be timed."""

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.model = loop.place_model(build_model(config.model, **config.model_options), config)
        parts = loop.split_parts(data, config)
        train, test = (
            tuple(tensor[:images] for tensor in part)
            for part, images in ((parts.train, TRAINED), (parts.test, TESTED))
        )
        self.parts = replace(parts, train=train, held={"test": test})
        self.trainer = loop.Trainer(self.model, self.parts, config)
        self.matrix = torch.ones(RULER, RULER, device=config.device)
        self.take_turn()  # the warm-up

    def take_turn(self) -> Turn:
        """Time one block of training, one of testing and some single images, rulers between."""
        import psutil  # who trains elsewhere times nothing

        machine, process = psutil.cpu_times_percent, psutil.Process()
        machine(), process.cpu_percent()  # from here on
        before = seconds_of(self.multiply)
        train = seconds_of(lambda: loop.finish(self.trainer.train_epoch(1)))
        between = seconds_of(self.multiply)
        test = seconds_of(lambda: loop.evaluate(self.model, self.parts.test))
        single = [seconds_of(self.classify_one) for _ in range(SINGLE_IMAGES)]
        after = seconds_of(self.multiply)
        used, own = machine(), process.cpu_percent() / psutil.cpu_count()
        steal = getattr(used, "steal", 0.0)
        others = 100 - used.idle - getattr(used, "iowait", 0.0) - steal - own
        return Turn(
            train_seconds=train * TRAIN_IMAGES / len(self.parts.train[1]),
            inference_ms=1000 * test * TEST_IMAGES / len(self.parts.test[1]),
            latency_ms=1000 * statistics.median(single),
            latency_ms_p90=1000 * statistics.quantiles(single, n=10)[-1],
            ruler_ms=(1000 * before, 1000 * between, 1000 * after),
            others_percent=max(0.0, others),
            steal_percent=steal,
        )

    def classify_one(self) -> None:
        """Classify a single image; the model is in eval mode."""
        with torch.no_grad():
            self.model(self.parts.train[0][:1]).argmax().item()

    def multiply(self) -> None:
        """Multiply matrices of a fixed size, some 30 ms of pure arithmetic: the ruler."""
        for _ in range(8):
            product = self.matrix @ self.matrix
        product[0, 0].item()  # a GPU is only then done


def seconds_of(action: Callable[[], object]) -> float:
    """Return the wall time of a call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
