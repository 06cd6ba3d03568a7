"""What the models predicted, class by class and image by image. Not here: scores of whole runs."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from fmnist_lib.data.fashion_mnist import CLASS_NAMES, load
from fmnist_lib.results.load import Results, names_of, over_runs, paired
from fmnist_lib.results.value import Value, framed
from fmnist_lib.runs.record import RunRecord

BINS = 15
SHOWN = ["index", "probability", "probability_of_true"]  # of an image


def _counts(results: Results, model: str) -> np.ndarray:
    """The confusion matrix of each run: (runs, 10, 10), rows true, columns predicted."""
    return np.array([results.kept(run).confusion for run in results.of(model)])


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return 100 * part / np.maximum(whole, 1)  # 0 of 0 is 0


def confusion(results: Results, model: str) -> pd.DataFrame:
    """Counts of test images (rows: true class, columns: predicted), plain, summed over the runs."""
    return pd.DataFrame(_counts(results, model).sum(axis=0), CLASS_NAMES, CLASS_NAMES)


def class_scores(results: Results) -> pd.DataFrame:
    """One row a model and class: precision, recall, specificity, F1 in percent, and support.

    A ratio whose denominator is 0 (a class never predicted, or absent) counts as 0.
    """
    rows = []
    for model in results.models:
        runs, counts = results.of(model), _counts(results, model)
        right, true, taken = np.einsum("rcc->rc", counts), counts.sum(axis=2), counts.sum(axis=1)
        others = true.sum(axis=1, keepdims=True) - true
        scores = {
            "class_precision": _percent(right, taken),
            "class_recall": _percent(right, true),
            "class_specificity": _percent(others - taken + right, others),
            "f1": _percent(2 * right, true + taken),
        }
        for place, name in enumerate(CLASS_NAMES):
            row = {score: over_runs(runs, by_run[:, place]) for score, by_run in scores.items()}
            support = Value(true[0, place], runs[0].name)
            rows.append({"model": model, "class": name, **row, "support": support})
    return pd.DataFrame(rows, dtype=object)


def recall_changes(results: Results, control: Results) -> pd.DataFrame:
    """One row a variant, model and class: `change` in recall against the control, in points.

    Paired by seed; its interval is over seeds alone.
    """
    rows, control = [], replace(control, rule=results.rule)
    before = class_scores(control).set_index(["model", "class"]).class_recall
    for variant in dict.fromkeys(variant for _, variant in results.variants):
        own = replace(results, variant=variant)
        for row in class_scores(own)[["model", "class", "class_recall"]].itertuples(index=False):
            change = paired(row.class_recall, before[row[:2]])
            rows.append([variant, *row[:2], change])
    return pd.DataFrame(rows, columns=["variant", "model", "class", "change"], dtype=object)


def most_confused(results: Results, model: str, k: int) -> pd.DataFrame:
    """The `k` most frequent mistakes, and the image that the first run is surest about in each.

    Columns: true, predicted, share (percent of the class); index (among the run's test images),
    probability, probability_of_true, which are NaN where the first run made no such mistake. Ties
    stand in the order of the classes; fewer rows where fewer kinds of mistakes were made.
    """
    runs, counts, rows = results.of(model), _counts(results, model), []
    shares = _percent(counts, counts.sum(axis=2, keepdims=True))
    mistakes = counts.sum(axis=0) * ~np.eye(len(CLASS_NAMES), dtype=bool)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:k]
    first = pd.DataFrame(results.predictions(runs[0])).rename_axis("index").reset_index()
    for true, taken in zip(*np.unravel_index(order, mistakes.shape), strict=True):
        if mistakes[true, taken]:
            row = {"true": CLASS_NAMES[true], "predicted": CLASS_NAMES[taken]}
            row["share"] = over_runs(runs, shares[:, true, taken])
            own = first[(first.true == true) & (first.predicted == taken)]
            if len(own):
                surest = own.iloc[np.argmax(own["probability"])]
                row |= {name: Value(surest[name], runs[0].name) for name in SHOWN}
            rows.append(row)
    return pd.DataFrame(rows, columns=["true", "predicted", "share", *SHOWN], dtype=object)


def images_at(results: Results, model: str, indices: Iterable[float]) -> np.ndarray:
    """Images that a model was tested on, by index: (k, 28, 28), 0 (background) to 1."""
    data = load(train_images=1, test_images=results.of(model)[0].config.test_images)
    chosen = data.test_images[[int(index) for index in indices]].squeeze(1)
    return (chosen * data.std + data.mean).clamp(0, 1).numpy()


def unanimous(results: Results) -> pd.DataFrame:
    """Test images that every run of every model takes for the same wrong class, the surest first.

    Columns: index, true, predicted, probability (mean over the runs).
    """
    runs = [run for model in results.models for run in results.of(model)]
    found, names = [results.predictions(run) for run in runs], names_of(runs)
    predicted, true = np.array([each["predicted"] for each in found]), found[0]["true"]
    sure = np.mean([each["probability"] for each in found], axis=0, dtype=float)
    same = np.flatnonzero((predicted == predicted[0]).all(axis=0) & (predicted[0] != true))
    same = same[np.argsort(-sure[same], kind="stable")]
    columns = {
        "index": [Value(place, names) for place in same],
        "true": [CLASS_NAMES[label] for label in true[same]],
        "predicted": [CLASS_NAMES[label] for label in predicted[0, same]],
        "probability": [Value(number, names) for number in sure[same]],
    }
    return pd.DataFrame(columns, dtype=object)


def calibration(results: Results) -> pd.DataFrame:
    """By model, means over runs: calibration_error (points), confidence and accuracy (percent).

    The expected calibration error over 15 bins of equal width, from the probability of the
    predicted class: Guo et al., ICML 2017, equation 3.
    """
    rows = {}
    for model in results.models:
        runs = results.of(model)
        bins = np.array([_bins(results, run) for run in runs])  # (runs, 3, bins)
        _, sure, right = 100 * bins.swapaxes(0, 1) / bins[:1, 0].sum()
        rows[model] = {
            "calibration_error": over_runs(runs, np.abs(sure - right).sum(axis=1)),
            "confidence": over_runs(runs, sure.sum(axis=1)),
            "accuracy": over_runs(runs, right.sum(axis=1)),
        }
    return framed(rows).rename_axis("model")


def calibration_bins(results: Results, model: str) -> pd.DataFrame:
    """One row a bin that has images, all runs together, plain: images, confidence, accuracy."""
    bins = np.sum([_bins(results, run) for run in results.of(model)], axis=0)
    images, sure, right = bins[:, bins[0] > 0]
    shares = {"confidence": 100 * sure / images, "accuracy": 100 * right / images}
    return pd.DataFrame({"images": images.astype(int), **shares})


def _bins(results: Results, run: RunRecord) -> np.ndarray:
    """Of each bin: how many images, the sum of their probabilities, how many are right."""
    found = results.predictions(run)
    sure = found["probability"].astype(float)
    places = np.maximum(np.ceil(sure * BINS).astype(int) - 1, 0)
    each = np.ones(len(sure)), sure, found["right"]
    return np.array([np.bincount(places, weights, BINS) for weights in each])
