"""What the models predicted, class by class and image by image. Not here: scores of whole runs."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.results.load import Results, names_of, over_runs, tested_on
from fmnist_lib.results.value import framed, value
from fmnist_lib.runs.record import RunRecord

BINS = 15


def _counts(results: Results, model: str) -> np.ndarray:
    """The confusion matrix of each run: (runs, 10, 10), rows true, columns predicted."""
    return np.array([results.kept(run).confusion for run in results.of(model)])


def confusion(results: Results, model: str) -> pd.DataFrame:
    """Counts of test images (rows: true class, columns: predicted), summed over the runs."""
    names = names_of(results.of(model))
    cells = [[value(n, names) for n in row] for row in _counts(results, model).sum(axis=0)]
    rows, columns = (pd.Index(CLASS_NAMES, name=name) for name in ("true", "predicted"))
    return pd.DataFrame(cells, rows, columns, dtype=object)


def class_scores(results: Results) -> pd.DataFrame:
    """One row a model and class: precision, recall, specificity, F1 in percent, and support.

    A ratio whose denominator is 0 (a class never predicted, or absent) counts as 0.
    """
    rows = []
    for model in results.models:
        runs, counts = results.of(model), _counts(results, model)
        right, true, taken = (
            counts.diagonal(axis1=1, axis2=2),
            counts.sum(axis=2),
            counts.sum(axis=1),
        )
        others = true.sum(axis=1, keepdims=True) - true
        scores = {
            "class_precision": _percent(right, taken),
            "class_recall": _percent(right, true),
            "class_specificity": _percent(others - taken + right, others),
            "f1": _percent(2 * right, true + taken),
        }
        for place, name in enumerate(CLASS_NAMES):
            row = {score: over_runs(runs, by_run[:, place]) for score, by_run in scores.items()}
            support = value(true[0, place], names_of(runs[:1]))
            rows.append({"model": model, "class": name, **row, "support": support})
    return pd.DataFrame(rows, dtype=object)


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return 100 * part / np.maximum(whole, 1)  # 0 of 0 is 0


def most_confused(results: Results, model: str, k: int = 5) -> pd.DataFrame:
    """The `k` most frequent mistakes: true, predicted, count (all runs), share of the class.

    Ties stand in the order of the classes; fewer rows where fewer kinds of mistakes were made.
    """
    runs, counts = results.of(model), _counts(results, model)
    shares = _percent(counts, counts.sum(axis=2, keepdims=True))
    mistakes = counts.sum(axis=0) * ~np.eye(len(CLASS_NAMES), dtype=bool)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:k]
    rows = [
        {
            **{"true": CLASS_NAMES[true], "predicted": CLASS_NAMES[taken]},
            "count": value(mistakes[true, taken], names_of(runs)),
            "share": over_runs(runs, shares[:, true, taken]),
        }
        for true, taken in zip(*np.unravel_index(order, mistakes.shape), strict=True)
        if mistakes[true, taken]
    ]
    return pd.DataFrame(rows, columns=["true", "predicted", "count", "share"], dtype=object)


def surest_mistakes(
    results: Results, model: str, true: str, predicted: str, k: int = 5
) -> pd.DataFrame:
    """The `k` images of class `true` that the first run is surest to be `predicted`.

    Columns: index (among the test images of the run), probability, probability_of_true.
    """
    run = results.of(model)[0]
    found = results.predictions(run)
    taken = found["predicted"] == CLASS_NAMES.index(predicted)
    places = np.flatnonzero(taken & (found["true"] == CLASS_NAMES.index(true)))
    surest = places[np.argsort(-found["probability"][places], kind="stable")][:k]
    columns = {"index": np.arange(len(taken)), **found}
    names = ["index", "probability", "probability_of_true"]
    rows = [{name: value(columns[name][place], run.name) for name in names} for place in surest]
    return pd.DataFrame(rows, columns=names, dtype=object)


def images_at(results: Results, model: str, indices: Iterable[float]) -> np.ndarray:
    """Images that a model was tested on, by index: (k, 28, 28), 0 (background) to 1."""
    images, _ = tested_on(results.of(model)[0].config.test_images)
    return images[[int(index) for index in indices]]


def unanimous(results: Results) -> pd.DataFrame:
    """Test images that every run of every model takes for the same wrong class, the surest first.

    Columns: index, true, predicted, probability (mean over the runs).
    """
    runs = [run for model in results.models for run in results.of(model)]
    found = [results.predictions(run) for run in runs]
    predicted, true = np.array([each["predicted"] for each in found]), found[0]["true"]
    sure = np.mean([each["probability"] for each in found], axis=0, dtype=float)
    same = np.flatnonzero((predicted == predicted[0]).all(axis=0) & (predicted[0] != true))
    rows = [
        {
            **{"index": value(place, names_of(runs)), "true": CLASS_NAMES[true[place]]},
            "predicted": CLASS_NAMES[predicted[0, place]],
            "probability": value(sure[place], names_of(runs)),
        }
        for place in same[np.argsort(-sure[same], kind="stable")]
    ]
    return pd.DataFrame(rows, columns=["index", "true", "predicted", "probability"], dtype=object)


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
    images, sure, right = np.sum([_bins(results, run) for run in results.of(model)], axis=0)
    some = images > 0
    shares = {
        "confidence": 100 * sure[some] / images[some],
        "accuracy": 100 * right[some] / images[some],
    }
    return pd.DataFrame({"images": images[some].astype(int), **shares})


def _bins(results: Results, run: RunRecord) -> np.ndarray:
    """Of each bin: how many images, the sum of their probabilities, how many are right."""
    found = results.predictions(run)
    sure = found["probability"].astype(float)
    places = np.maximum(np.ceil(sure * BINS).astype(int) - 1, 0)
    each = np.ones(len(sure)), sure, found["predicted"] == found["true"]
    return np.array([np.bincount(places, weights, BINS) for weights in each])
