"""The spine: one `RunConfig` in, one finished run out. Not here: which runs, where, or storage."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fmnist_lib.data.fashion_mnist import Dataset, load
from fmnist_lib.models import build_model, count_parameters
from fmnist_lib.runs import record as records
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import count_macs
from fmnist_lib.runs.environment import describe_environment, now, peak_memory_mib
from fmnist_lib.runs.record import Arrays, EpochRow, RunOutput, RunRecord, StopResult
from fmnist_lib.training import loop
from fmnist_lib.training.checkpoint import Checkpoint
from fmnist_lib.training.metrics import confusion_matrix
from fmnist_lib.training.stopping import EarlyStopping, Row


def run_experiment(config: RunConfig, **given: Any) -> RunOutput:  # noqa: ANN401, as run_steps
    """Train one model alone in this process; takes and raises what `run_steps` does."""
    loop.keep_freed_memory()
    with loop.one_thread():
        return loop.carry_out(run_steps(config, **given), given.get("deadline", math.inf))


def run_steps(
    config: RunConfig,
    *,
    data: Dataset | None = None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    checkpoints: Path | None = None,
    deadline: float = math.inf,
    trainer: type[loop.Trainer] = loop.Trainer,
    runs_beside: int | None = None,
) -> loop.Steps[RunOutput]:
    """Train one model from its seed and return its record, predictions and weights.

    Where the folder `checkpoints` holds one of this run, training goes on from it; whoever stores
    the run removes what is left there. `on_epoch` is called with the metrics of each epoch,
    `deadline` is one of `time.monotonic`, and the record says how many `runs_beside` it shared the
    device. Yields now and then. Raises `NonFiniteLossError`, `OutOfTimeError`.
    """
    environment = describe_environment().model_copy(update={"runs_beside": runs_beside})
    if config.device == "cuda":
        loop.exact_arithmetic()
        environment = environment.model_copy(update={"gpu": torch.cuda.get_device_name()})
    data = data or load(train_images=config.train_images, test_images=config.test_images)
    torch.manual_seed(config.seed)
    model = loop.place_model(build_model(config.model, **config.model_options), config)
    parts = loop.split_parts(data, config)
    going_on = {}
    if checkpoints:
        checkpoint = Checkpoint(checkpoints, config)
        going_on = {"state": checkpoint.load(), "on_state": checkpoint.save}
    work = trainer(model, parts, config)
    rows, rules = yield from loop.train(work, on_epoch=on_epoch, deadline=deadline, **going_on)
    history = [EpochRow(**row) for row in rows]
    kept = {rule.rule.name: keep(rule, history, work.evaluated, parts) for rule in rules}
    stops, predictions, weights = ({name: k[i] for name, k in kept.items()} for i in range(3))
    record = RunRecord(
        name=config.name,
        key=config.key,
        config=config,
        parameters=count_parameters(model),
        macs=count_macs(config.model, config.model_options),
        checkpoint_bytes=len(records.encode_arrays(next(iter(weights.values())))),
        peak_memory_mib=peak_memory_mib(),
        history=history,
        stops=stops,
        environment=environment.model_copy(update={"finished": now()}),
        result_digest=records.result_digest(history, stops),
    )
    return RunOutput(record, predictions, weights)


def keep(
    rule: EarlyStopping, history: list[EpochRow], model: torch.nn.Module, parts: loop.Parts
) -> tuple[StopResult, Arrays, Arrays]:
    """Return what a rule keeps: the result at its best epoch, predictions and weights."""
    model.load_state_dict(rule.weights)
    trained, predictions = loop.evaluate(model, parts.train), summarise(model, parts)
    weights = {name: tensor.cpu().numpy() for name, tensor in rule.weights.items()}
    predicted = torch.from_numpy(predictions["predicted"])
    result = StopResult(
        **records.follow(rule.rule, history, records.digest_arrays(weights), predictions),
        train_loss_eval=trained.mean_loss,
        train_accuracy_eval=trained.accuracy,
        confusion=confusion_matrix(parts.held["test"][1].cpu(), predicted).tolist(),
    )
    return result, predictions, weights


def summarise(model: torch.nn.Module, parts: loop.Parts) -> Arrays:
    """Return predicted class, its probability and the true class's, one entry a test image.

    Those of the images of a fold have names that begin with `fold_`. Probabilities are float16:
    enough for ranking and calibration, and a fifth of the size.
    """
    arrays: Arrays = {}
    for split in (name for name in parts.held if name != "validation"):
        labels, logits = parts.held[split][1].cpu(), loop.predict(model, parts.held[split])
        predicted = logits.argmax(1)  # as evaluations count, also where probabilities round alike
        prefix = "" if split == "test" else f"{split}_"
        arrays[f"{prefix}predicted"] = predicted.to(torch.uint8).numpy()
        for name, classes in (("probability", predicted), ("probability_of_true", labels)):
            probability = logits.softmax(1).gather(1, classes[:, None]).squeeze(1)
            arrays[prefix + name] = probability.half().numpy()
    return arrays
