"""What a model costs: multiply-accumulates, size, and time alone on the machine."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from fmnist_lib.data.fashion_mnist import Dataset
from fmnist_lib.models import build_model
from fmnist_lib.runs.config import TEST_IMAGES, TRAIN_IMAGES, RunConfig
from fmnist_lib.runs.environment import cpu_name, describe_environment, now
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
    minutes: float,
    on_minute: Callable[[int], None] = lambda passed: None,
) -> list[CostRecord]:
    """Time training, inference and single images of models on one thread, for so many minutes.

    The models take turns of a few seconds, at least two each, so that a slow stretch of the machine
    falls on all of them. A product of fixed matrices, timed around every block, tells how fast the
    machine was just then: what a virtual machine's neighbours take shows nowhere else. Nothing else
    may run. `on_minute` is told now and then how many minutes have passed.
    """
    loop.keep_freed_memory()
    loop.exact_arithmetic()
    with loop.one_thread():
        environment = describe_environment()
        timings = [Timing(config, data) for config in configs]
        rounds: list[list[Turn]] = []
        started, passed = time.monotonic(), 0.0
        while len(rounds) < 2 or passed < 60 * minutes:
            rounds.append([timing.take_turn() for timing in timings])
            before, passed = passed, time.monotonic() - started
            if passed // 60 > before // 60:
                on_minute(int(passed // 60))
        environment = environment.model_copy(update={"finished": now()})
    return [
        CostRecord(
            name=cost_name(timing.config),
            model=timing.config.model,
            config=timing.config,
            block_images=len(timing.parts.train[1]),
            scaled_to_images=TRAIN_IMAGES,
            inference_images=len(timing.parts.held["test"][1]),
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
        train = tuple(tensor[:TRAINED] for tensor in parts.train)
        test = tuple(tensor[:TESTED] for tensor in parts.held["test"])
        self.parts = loop.Parts(train, {"test": test})
        self.trainer = loop.Trainer(self.model, self.parts, config)
        self.matrix = torch.ones(RULER, RULER, device=config.device)
        self.take_turn()  # the warm-up

    def take_turn(self) -> Turn:
        """Time one block of training, one of testing and some single images, rulers between."""
        start = processor_seconds()
        before = seconds_of(self.multiply)
        train = seconds_of(lambda: loop.carry_out(self.trainer.train_epoch(1)))
        between = seconds_of(self.multiply)
        test = seconds_of(lambda: loop.evaluate(self.model, self.parts.held["test"]))
        single = [seconds_of(self.classify_one) for _ in range(SINGLE_IMAGES)]
        after = seconds_of(self.multiply)
        used = {name: now - start[name] for name, now in processor_seconds().items()}
        others = used["all"] - used["idle"] - used["stolen"] - used["ours"]
        percent = 100 / max(used["all"], 0.01)  # the clock of processors has ticks
        return Turn(
            train_seconds=train * TRAIN_IMAGES / len(self.parts.train[1]),
            inference_ms=1000 * test * TEST_IMAGES / len(self.parts.held["test"][1]),
            latency_ms=1000 * statistics.median(single),
            latency_ms_p90=1000 * statistics.quantiles(single, n=10)[-1],
            ruler_ms=(1000 * before, 1000 * between, 1000 * after),
            others_percent=max(0.0, percent * others),
            steal_percent=percent * used["stolen"],
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


def processor_seconds() -> dict[str, float]:
    """Return how long the cores have run: in all, idle, stolen from a virtual machine, for us."""
    import psutil  # who trains elsewhere times nothing

    times, own = psutil.cpu_times()._asdict(), psutil.Process().cpu_times()
    guests = times.get("guest", 0.0) + times.get("guest_nice", 0.0)  # which `user` has already
    return {
        "all": sum(times.values()) - guests,
        "idle": times["idle"] + times.get("iowait", 0.0),
        "stolen": times.get("steal", 0.0),
        "ours": own.user + own.system,
    }
