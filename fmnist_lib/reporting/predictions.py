"""What the models predicted, class by class and image by image. Not here: scores of whole runs."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
    multiclass_specificity,
)

from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.errors import UserError
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.images import images_of, true_labels
from fmnist_lib.training.metrics import NUM_CLASSES

SCORES = {
    "precision": multiclass_precision,
    "recall": multiclass_recall,
    "specificity": multiclass_specificity,
    "f1": multiclass_f1_score,
}


def confusion(results: Results, model: str) -> pd.DataFrame:
    """Counts of test images (rows: true class, columns: predicted), summed over the runs."""
    counts = np.sum([results.kept(run).confusion for run in results.of(model)], axis=0)
    rows, columns = (pd.Index(CLASS_NAMES, name=name) for name in ("true", "predicted"))
    return pd.DataFrame(counts, rows, columns)


def per_class(results: Results, model: str) -> pd.DataFrame:
    """One row a class: precision, recall, specificity, f1 (percent) and support (test images).

    Means over the model's runs; of several, `_std` columns hold the sample standard deviations.
    """
    runs = results.of(model)
    scores = [scores_of(torch.tensor(results.kept(run).confusion)) for run in runs]
    frame = pd.DataFrame({"class": CLASS_NAMES})
    for name in SCORES:
        values = np.stack([score[name].numpy() for score in scores])  # (runs, classes)
        frame[name] = values.mean(axis=0)
        if len(runs) > 1:
            frame[f"{name}_std"] = values.std(axis=0, ddof=1)
    return frame.assign(support=scores[0]["support"].numpy())


def scores_of(confusion: Tensor) -> dict[str, Tensor]:
    """Return precision, recall, specificity and F1 (percent) and support, each of shape (10,).

    A ratio whose denominator is 0 (a class never predicted, or absent) counts as 0.
    """
    cells = torch.arange(NUM_CLASSES**2).repeat_interleave(confusion.flatten())
    labels, predicted = cells // NUM_CLASSES, cells % NUM_CLASSES
    figures = {
        name: 100.0 * score(predicted, labels, NUM_CLASSES, average="none").double()
        for name, score in SCORES.items()
    }
    return figures | {"support": confusion.sum(1)}


def class_scores(results: Results) -> pd.DataFrame:
    """The rows of `per_class` of every model, with a column model in front."""
    scores = {model: per_class(results, model) for model in results.models}
    frame = pd.concat(scores, names=["model"]).reset_index(level="model")
    return frame.reset_index(drop=True)


def most_confused(results: Results, model: str, k: int = 5) -> pd.DataFrame:
    """The `k` most frequent mistakes: true, predicted, count, share of the true class's images.

    `share` is in percent, `count` is summed over the runs; of several, `share_std` is the sample
    standard deviation over them. Ties stand in the order of the classes; fewer rows where fewer
    kinds of mistakes were made.
    """
    counts = confusion(results, model)
    pairs = counts.stack().rename("count").reset_index()
    pairs["share"] = 100 * pairs["count"] / pairs.true.map(counts.sum(axis=1))
    if len(results.of(model)) > 1:
        pairs["share_std"] = _shares(results, model).std(axis=0, ddof=1).ravel()
    mistakes = pairs[(pairs.true != pairs.predicted) & (pairs["count"] > 0)]
    by_count = mistakes.sort_values("count", ascending=False, kind="stable")
    return by_count.head(k).reset_index(drop=True)


def _shares(results: Results, model: str) -> np.ndarray:
    """The confusion matrix of each run in percent of its rows: (runs, 10, 10)."""
    counts = np.array([results.kept(run).confusion for run in results.of(model)])
    return 100 * counts / np.maximum(counts.sum(axis=2, keepdims=True), 1)


def confused_examples(
    results: Results, model: str, true: str, predicted: str, k: int = 5
) -> pd.DataFrame:
    """The `k` images of class `true` taken for `predicted` with the highest probability.

    Of the model's first seed. Columns: index (among the test images of the run), probability and
    probability_of_true (0 to 1). `images_at` gives the images.
    """
    for name in (true, predicted):
        if name not in CLASS_NAMES:
            raise UserError(f"unknown class {name!r}; allowed: {', '.join(CLASS_NAMES)}")
    run = results.of(model)[0]
    found = pd.DataFrame(results.store.predictions(run, results.rule)).rename_axis("index")
    labels = true_labels(run)
    taken = found.predicted == CLASS_NAMES.index(predicted)
    wanted = found[taken & (labels == CLASS_NAMES.index(true))].drop(columns="predicted")
    surest = wanted.sort_values("probability", ascending=False, kind="stable").head(k)
    return surest.astype(float).reset_index()


def images_at(results: Results, model: str, indices: Iterable[int]) -> np.ndarray:
    """Images that a model was tested on, by index: (k, 28, 28), 0 (background) to 1."""
    return images_of(results.of(model)[0])[list(indices)]
