"""Many runs share one GPU: each has its own stream, and this one process feeds them in turn."""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

import torch
from torch.cuda import stream as on_stream  # without one, as on a CPU, it does nothing

from fmnist_lib.data.fashion_mnist import Dataset, load
from fmnist_lib.execution.here import OnEpoch, RunEnds
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.run import run_steps
from fmnist_lib.training.loop import OutOfTimeError, Steps, T, keep_freed_memory, one_thread
from fmnist_lib.training.side_by_side import SideBySide

MOST_AT_ONCE = 32  # as many as PyTorch has streams


def run_side_by_side(
    configs: Sequence[RunConfig],
    *,
    jobs: int,
    on_epoch: OnEpoch,
    deadline: float = math.inf,
    **given: object,
) -> RunEnds:
    """Do what `run_many` does for runs of one device, at most `jobs` at once."""
    keep_freed_memory()
    side_by_side = min(jobs, len(configs), MOST_AT_ONCE)
    on_gpu = configs[0].device == "cuda"
    streams = [torch.cuda.Stream() if on_gpu else None for _ in range(side_by_side)]
    waiting, going = deque(configs), deque()
    with one_thread():
        while waiting or going:
            while waiting and streams:
                config = waiting.popleft()
                steps = run_steps(
                    config,
                    data=data_on(config.device, config.train_images, config.test_images),
                    on_epoch=partial(on_epoch, config.name),
                    deadline=deadline,
                    trainer=SideBySide,
                    runs_beside=side_by_side - 1,
                    **given,
                )
                going.append((config, steps, streams.pop()))
            config, steps, stream = run = going.popleft()
            end = take_turn(steps, stream, deadline)
            if end is None:
                going.append(run)
            else:
                streams.append(stream)
                yield config, end


def take_turn(
    steps: Steps[T], stream: torch.cuda.Stream | None, deadline: float = math.inf
) -> T | Exception | None:
    """Let a run go on until it waits for the GPU; return what it came to once it has ended."""
    try:
        if time.monotonic() >= deadline:
            raise OutOfTimeError("out of time")
        with on_stream(stream):
            next(steps)
    except StopIteration as end:
        return end.value
    except Exception as error:  # it ends alone: the other runs go on
        return error
    return None


@cache
def data_on(device: str, train_images: int | None, test_images: int | None) -> Dataset:
    """Return the data with its images on the device, once for all runs; labels stay here."""
    data = load(train_images=train_images, test_images=test_images)
    images = {name: getattr(data, name).to(device) for name in ("train_images", "test_images")}
    if device == "cuda":
        torch.cuda.synchronize()  # the runs' streams do not wait for this one
    return replace(data, **images)
