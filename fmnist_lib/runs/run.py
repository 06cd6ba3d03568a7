"""The spine: one `RunConfig` in, one finished run out. Not here: which runs, where, or storage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fmnist_lib.training.checkpoint import Checkpoint
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.cost import checkpoint_bytes, count_macs
from fmnist_lib.data.fashion_mnist import Dataset, load
from fmnist_lib.runs.environment import describe_environment, ended, peak_memory_mib
from fmnist_lib.training.metrics import confusion_matrix
from fmnist_lib.models import build_model
from fmnist_lib.models.describe import count_parameters
from fmnist_lib.runs.record import (
    Arrays,
    EpochRow,
    RunOutput,
    RunRecord,
    StopResult,
    digest_arrays,
    digest_json,
)
from fmnist_lib.training.loop import (
    EarlyStopping,
    Parts,
    Row,
    evaluate,
    keep_freed_memory,
    one_thread,
    place_model,
    predict,
    split_parts,
    train,
)

TIMES = {"train_seconds", "inference_ms"}


def run_experiment(
    config: RunConfig,
    *,
    data: Dataset | None = None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    checkpoints: Path | None = None,
) -> RunOutput:
    """Train one model from its seed and return its record, predictions and weights.

    Where the folder `checkpoints` holds one of this run, training goes on from it; one is left
    there after every epoch, and whoever stores the run removes it. `on_epoch` is called after every
    epoch with its metrics. Raises `NonFiniteLossError`.
    """
    keep_freed_memory()
    with one_thread():
        environment = describe_environment()
        data = data or load(train_images=config.train_images, test_images=config.test_images)
        torch.manual_seed(config.seed)
        model = place_model(build_model(config.model, **config.model_options), config)
        parts = split_parts(data, config)
        history, rules = train(
            model, parts, config, on_epoch=on_epoch, **going_on(checkpoints, config)
        )
        rows = [EpochRow(**row) for row in history]
        kept = {rule.rule.name: keep(rule, rows, model, parts) for rule in rules}
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


def going_on(checkpoints: Path | None, config: RunConfig) -> dict[str, Any]:
    """Return what `train` needs to go on from a checkpoint, and to leave one."""
    if checkpoints is None:
        return {}
    checkpoint = Checkpoint(checkpoints, config)
    return {"state": checkpoint.load(), "on_state": checkpoint.save}


def keep(
    rule: EarlyStopping,
    rows: list[EpochRow],
    model: torch.nn.Module,
    parts: Parts,
) -> tuple[StopResult, Arrays, Arrays]:
    """Return what a rule keeps: the result at its best epoch, predictions and weights."""
    model.load_state_dict(rule.weights)
    best = rows[rule.best_epoch - 1]
    trained = evaluate(model, parts.train)
    labels = parts.test[1].cpu()
    predictions = summarise(predict(model, parts.test), labels)
    weights = {name: tensor.cpu().numpy() for name, tensor in rule.weights.items()}
    predicted = torch.from_numpy(predictions["predicted"])
    hashes = {
        "weights_sha256": digest_arrays(weights),
        "predictions_sha256": digest_arrays(predictions),
    }
    result = StopResult(
        rule=rule.rule,
        fired=rule.fired,
        best_epoch=rule.best_epoch,
        epochs=rule.last_epoch,
        train_loss=best.train_loss,
        train_accuracy=best.train_accuracy,
        train_loss_eval=trained.mean_loss,
        train_accuracy_eval=trained.accuracy,
        test_loss=best.test_loss,
        test_accuracy=best.test_accuracy,
        validation_loss=best.validation_loss,
        validation_accuracy=best.validation_accuracy,
        confusion=confusion_matrix(labels, predicted).tolist(),
        digest=digest_json([metrics_of(rows[: rule.last_epoch]), hashes]),
        **hashes,
    )
    return result, predictions, weights


def summarise(probabilities: torch.Tensor, labels: torch.Tensor) -> Arrays:
    """Return predicted class, its probability and the true class's, one entry an image.

    Probabilities are float16: enough for ranking and calibration, and a fifth of the size.
    """
    probability, predicted = probabilities.max(1)
    true = probabilities.gather(1, labels[:, None]).squeeze(1)
    return {
        "predicted": predicted.to(torch.uint8).numpy(),
        "probability": probability.half().numpy(),
        "probability_of_true": true.half().numpy(),
    }


def metrics_of(rows: list[EpochRow]) -> list[dict]:
    """Return the history without its times: what must be equal when a run is repeated."""
    return [row.model_dump(exclude=TIMES) for row in rows]
