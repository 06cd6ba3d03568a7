"""Records with chosen numbers, for tests of what is read out of them; not a test.

Labels are those of the real test images; everything else is made up.
"""

from functools import cache
from itertools import zip_longest

import numpy as np

from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.results.load import Results, load_results
from fmnist_lib.runs.config import DATA_SHA256, Stop, make_config
from fmnist_lib.runs.cost import cost_name
from fmnist_lib.runs.record import (
    CostRecord,
    Environment,
    EpochRow,
    RunOutput,
    RunRecord,
    StopResult,
    Turn,
    digest_json,
    follow,
    metrics_of,
    result_digest,
)
from fmnist_lib.runs.store import RunStore

ENVIRONMENT = Environment(
    python="3.13.1",
    packages={"torch": "2.14.1", "numpy": "2.4.6"},
    system="Linux 6 x86_64",
    cpu="A processor",
    cores=2,
    threads=1,
    commit="c0ffee",
    dirty=False,
    code_sha256="code",
    data_sha256=DATA_SHA256,
    started="2026-01-01T10:00:00+00:00",
    finished="2026-01-01T10:01:30+00:00",
)
SMALL = {"train_images": 256, "test_images": 200}  # as many has the fixture `small_data`
BY_TEST, BY_VALIDATION = Stop(), Stop(monitor="validation_loss")
PARAMETERS = {"lenet5": 60_000, "vit_tiny": 100_000}  # else 10,000


@cache
def labels(test_images):
    return load(train_images=1, test_images=test_images).test_labels.numpy()


def mistaken(test_images, wrong):
    """Predictions that are wrong on the images at `wrong`: there, the class after the true one."""
    predicted = labels(test_images).copy()
    predicted[wrong] = (predicted[wrong] + 1) % 10
    return predicted


def make_run(
    model="lenet5",
    seed=0,
    *,
    losses=(0.9, 0.5, 0.7),
    validation_losses=(),
    predicted=None,
    probability=0.5,
    environment=ENVIRONMENT,
    **settings,
):
    """A run whose test losses are `losses`, and which classifies the test images as `predicted`.

    One that holds validation images has as many `validation_losses`.

    `predicted` may be a dict by rule's name. `probability` is that of the predicted class.
    """
    config = make_config(model=model, seed=seed, **{"stops": (Stop(),), **settings})
    true, predictions = labels(config.test_images), {}
    pairs = zip_longest(losses, validation_losses)
    history = [make_epoch(number, *pair) for number, pair in enumerate(pairs, start=1)]
    for rule in config.rules:
        found = predicted[rule.name] if isinstance(predicted, dict) else predicted
        found = np.asarray(true if found is None else found).astype(np.uint8)
        predictions[rule.name] = {
            "predicted": found,
            "probability": np.broadcast_to(probability, len(true)).astype(np.float16),
            "probability_of_true": np.full(len(true), 0.25, np.float16),
        }
        best = follow(rule, history, "weights", {})["best_epoch"] - 1
        accuracy = {"test_accuracy": 100.0 * int((found == true).sum()) / len(true)}
        history[best] = history[best].model_copy(update=accuracy)
    stops = {rule.name: keep(rule, history, true, predictions[rule.name]) for rule in config.rules}
    parameters = PARAMETERS.get(model, 10_000)
    record = RunRecord(
        name=config.name,
        key=config.key,
        config=config,
        parameters=parameters,
        macs=7 * parameters,
        checkpoint_bytes=4 * parameters,
        peak_memory_mib=None,
        history=history,
        stops=stops,
        environment=environment,
        result_digest="",
    )
    return RunOutput(sealed(record), predictions, {})


def split_run(model, seed, tested, chosen, **more):
    """A run wrong on so many of 100 images where the test loss chose, and where validation did."""
    wrong = {BY_TEST.name: tested, BY_VALIDATION.name: chosen}
    return {
        **{"model": model, "seed": seed, "protocol": "split", "stops": (BY_TEST, BY_VALIDATION)},
        **{"losses": (0.9, 0.5, 0.7), "validation_losses": (0.9, 0.6, 0.4)},
        "predicted": {rule: mistaken(100, slice(count)) for rule, count in wrong.items()},
        **more,
    }


def sealed(record):
    """The record with the digests that follow from what is in it now."""
    stops = {}
    for name, kept in record.stops.items():
        hashes = {n: getattr(kept, n) for n in ("weights_sha256", "predictions_sha256")}
        digest = digest_json([metrics_of(record.history[: kept.epochs]), hashes])
        stops[name] = kept.model_copy(update={"digest": digest})
    digest = result_digest(record.history, stops)
    return record.model_copy(update={"stops": stops, "result_digest": digest})


def make_epoch(number, test_loss, validation_loss=None):
    return EpochRow(
        epoch=number,
        train_loss=1 / number,
        train_accuracy=80.0 + number,
        test_loss=test_loss,
        validation_loss=validation_loss,
        validation_accuracy=None if validation_loss is None else 71.0 + number,
        test_accuracy=70.0 + number,
        train_seconds=10.0 * number,
        inference_ms=100.0 * number,
    )


def keep(rule, history, true, arrays):
    kept = follow(rule, history, "weights", arrays)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (true, arrays["predicted"]), 1)
    again = {
        "train_loss_eval": 0.5 / kept["best_epoch"],
        "train_accuracy_eval": 81.0 + kept["best_epoch"],
    }
    return StopResult(**kept, **again, confusion=confusion.tolist())


def stored(folder, *runs, costs=(), **options) -> Results:
    """The results of runs, each what `make_run` takes (100 test images), once written to a store.

    `options` are those of `load_results`.
    """
    store = RunStore(folder)
    outputs = [make_run(**{"test_images": 100, **run}) for run in runs]
    for output in outputs:
        store.write(output)
    for cost in costs:
        store.write_cost(cost)
    return load_results(store, [output.record.config for output in outputs], **options)


def make_turn(seconds, ruler=30.0, *, others=0.0, steal=0.0):
    """A turn whose training took so long; testing and a single image took 50 and 0.1 ms a second.

    `ruler` is one number, or three.
    """
    return Turn(
        train_seconds=seconds,
        inference_ms=50.0 * seconds,
        latency_ms=0.1 * seconds,
        latency_ms_p90=0.2 * seconds,
        ruler_ms=(ruler,) * 3 if isinstance(ruler, float) else ruler,
        others_percent=others,
        steal_percent=steal,
    )


def make_cost(config, *, blocks=(9.0, 10.0, 11.0), turns=None, finished="", name=""):
    """Times of `config`'s model, by default of turns whose quieter half trained for `blocks`."""
    loud = [make_turn(99.0, 99.0)] * len(blocks)
    return CostRecord(
        name=name or cost_name(config),
        model=config.model,
        config=config,
        block_images=10_048,
        turns=[*map(make_turn, blocks), *loud] if turns is None else turns,
        scaled_to_images=60_000,
        inference_images=config.test_images or 10_000,
        environment=ENVIRONMENT.model_copy(update={"finished": finished or ENVIRONMENT.finished}),
    )
