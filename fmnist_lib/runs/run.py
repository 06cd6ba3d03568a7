"""The spine: one `RunConfig` in, one finished run out. Not here: which runs, where, or storage."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fmnist_lib.data.fashion_mnist import Dataset, load
from fmnist_lib.models import build_model
from fmnist_lib.models.describe import count_parameters
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import checkpoint_bytes, count_macs
from fmnist_lib.runs.environment import describe_environment, ended, peak_memory_mib
from fmnist_lib.runs.record import (
    Arrays,
    EpochRow,
    RunOutput,
    RunRecord,
    StopResult,
    digest_arrays,
    digest_json,
    metrics_of,
)
from fmnist_lib.training.checkpoint import Checkpoint
from fmnist_lib.training.loop import (
    Parts,
    Steps,
    Trainer,
    evaluate,
    exact_arithmetic,
    finish,
    keep_freed_memory,
    on_time,
    one_thread,
    place_model,
    predict,
    split_parts,
    train,
)
from fmnist_lib.training.metrics import confusion_matrix
from fmnist_lib.training.stopping import EarlyStopping, Row


def run_experiment(config: RunConfig, **given: Any) -> RunOutput:  # noqa: ANN401, as run_steps
    """Train one model alone in this process; takes what `run_steps` takes.

    Raises `NonFiniteLossError`, `OutOfTimeError`.
    """
    keep_freed_memory()
    with one_thread():
        return finish(on_time(run_steps(config, **given), given.get("deadline", math.inf)))


def run_steps(
    config: RunConfig,
    *,
    data: Dataset | None = None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    checkpoints: Path | None = None,
    deadline: float = math.inf,
    trainer: type[Trainer] = Trainer,
    runs_beside: int | None = None,
) -> Steps[RunOutput]:
    """Train one model from its seed and return its record, predictions and weights.

    Where the folder `checkpoints` holds one of this run, training goes on from it; whoever stores
    the run removes what is left there. `on_epoch` is called with the metrics of each epoch,
    `deadline` is one of `time.monotonic`, and the record says how many `runs_beside` it shared the
    device. Yields now and then. Raises `NonFiniteLossError`, `OutOfTimeError`.
    """
    gpu = None
    if config.device == "cuda":
        exact_arithmetic()
        gpu = torch.cuda.get_device_name()
    about = {"gpu": gpu, "runs_beside": runs_beside}
    environment = describe_environment().model_copy(update=about)
    data = data or load(train_images=config.train_images, test_images=config.test_images)
    torch.manual_seed(config.seed)
    model = place_model(build_model(config.model, **config.model_options), config)
    parts = split_parts(data, config)
    checkpoint = Checkpoint(checkpoints, config) if checkpoints else None
    going_on = {"state": checkpoint.load(), "on_state": checkpoint.save} if checkpoint else {}
    at_work = trainer(model, parts, config)
    history, rules = yield from train(at_work, on_epoch=on_epoch, deadline=deadline, **going_on)
    rows = [EpochRow(**row) for row in history]
    kept = {rule.rule.name: keep(rule, rows, at_work.evaluated, parts) for rule in rules}
    record = RunRecord(
        name=config.name,
        key=config.key,
        config=config,
        parameters=count_parameters(model),
        macs=count_macs(config.model, config.model_options),
        checkpoint_bytes=checkpoint_bytes(model),
        peak_memory_mib=peak_memory_mib(),
        history=rows,
        stops={name: result for name, (result, _, _) in kept.items()},
        environment=ended(environment),
        result_digest=digest_json(
            [metrics_of(rows), *(kept[name][0].digest for name in sorted(kept))]
        ),
    )
    return RunOutput(
        record,
        predictions={name: predictions for name, (_, predictions, _) in kept.items()},
        weights={name: weights for name, (_, _, weights) in kept.items()},
    )


def keep(
    rule: EarlyStopping, rows: list[EpochRow], model: torch.nn.Module, parts: Parts
) -> tuple[StopResult, Arrays, Arrays]:
    """Return what a rule keeps: the result at its best epoch, predictions and weights."""
    model.load_state_dict(rule.weights)
    best = rows[rule.best_epoch - 1]
    trained = evaluate(model, parts.train)
    predictions = summarise(model, parts)
    weights = {name: tensor.cpu().numpy() for name, tensor in rule.weights.items()}
    predicted = torch.from_numpy(predictions["predicted"])
    hashes = {
        "weights_sha256": digest_arrays(weights),
        "predictions_sha256": digest_arrays(predictions),
    }
    copied = (
        "train_loss",
        "train_accuracy",
        *(f"{split}_{name}" for split in parts.held for name in ("loss", "accuracy")),
    )
    result = StopResult(
        rule=rule.rule,
        fired=rule.fired,
        best_epoch=rule.best_epoch,
        epochs=rule.last_epoch,
        train_loss_eval=trained.mean_loss,
        train_accuracy_eval=trained.accuracy,
        confusion=confusion_matrix(parts.test[1].cpu(), predicted).tolist(),
        digest=digest_json([metrics_of(rows[: rule.last_epoch]), hashes]),
        **{name: getattr(best, name) for name in copied},
        **hashes,
    )
    return result, predictions, weights


def summarise(model: torch.nn.Module, parts: Parts) -> Arrays:
    """Return predicted class, its probability and the true class's, one entry a test image.

    Those of the images of a fold have names that begin with `fold_`. Probabilities are float16:
    enough for ranking and calibration, and a fifth of the size.
    """
    arrays: Arrays = {}
    for split in (name for name in parts.held if name != "validation"):
        labels = parts.held[split][1].cpu()
        logits = predict(model, parts.held[split])
        predicted = logits.argmax(1)  # as evaluations count, also where probabilities round alike
        probability, true = (
            logits.softmax(1).gather(1, classes[:, None]).squeeze(1)
            for classes in (predicted, labels)
        )
        prefix = "" if split == "test" else f"{split}_"
        arrays |= {
            f"{prefix}predicted": predicted.to(torch.uint8).numpy(),
            f"{prefix}probability": probability.half().numpy(),
            f"{prefix}probability_of_true": true.half().numpy(),
        }
    return arrays
