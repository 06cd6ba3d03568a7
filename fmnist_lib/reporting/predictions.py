"""What the models predicted, class by class and image by image. Not here: scores of whole runs."""

from collections.abc import Iterable
from functools import cache

import numpy as np
import pandas as pd
import torch

from fmnist_lib import metrics
from fmnist_lib.data import CLASS_NAMES, load
from fmnist_lib.errors import UserError
from fmnist_lib.records import RunRecord
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.intervals import Interval, paired_interval, t_interval


def confusion(results: Results, model: str) -> pd.DataFrame:
    """Counts of test images (rows: true class, columns: predicted), summed over the runs."""
    counts = np.sum([results.kept(run).confusion for run in results.of(model)], axis=0)
    rows, columns = (pd.Index(CLASS_NAMES, name=name) for name in ("true", "predicted"))
    return pd.DataFrame(counts, rows, columns)


def per_class(results: Results, model: str) -> pd.DataFrame:
    """One row a class: precision, recall, specificity, f1 (percent) and support, over all runs.

    `support` counts the images of the class, each once a run, as `confusion` does.
    """
    counts = torch.tensor(confusion(results, model).to_numpy())
    scores = {name: values.numpy() for name, values in metrics.per_class(counts).items()}
    return pd.DataFrame({"class": CLASS_NAMES, **scores})


def most_confused(results: Results, model: str, k: int = 5) -> pd.DataFrame:
    """The `k` most frequent mistakes: true, predicted, count, share of the true class's images.

    `share` is in percent, `count` is summed over the runs. Ties stand in the order of the classes;
    fewer rows where fewer kinds of mistakes were made.
    """
    counts = confusion(results, model)
    pairs = counts.stack().rename("count").reset_index()
    pairs["share"] = 100 * pairs["count"] / pairs.true.map(counts.sum(axis=1))
    mistakes = pairs[(pairs.true != pairs.predicted) & (pairs["count"] > 0)]
    by_count = mistakes.sort_values("count", ascending=False, kind="stable")
    return by_count.head(k).reset_index(drop=True)


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
    labels = _test_part(run.config.test_images)[1]
    taken = found.predicted == CLASS_NAMES.index(predicted)
    wanted = found[taken & (labels == CLASS_NAMES.index(true))].drop(columns="predicted")
    surest = wanted.sort_values("probability", ascending=False, kind="stable").head(k)
    return surest.astype(float).reset_index()


def images_at(results: Results, model: str, indices: Iterable[int]) -> np.ndarray:
    """Images that a model was tested on, by index: (k, 28, 28), 0 (background) to 1."""
    return _test_part(results.of(model)[0].config.test_images)[0][list(indices)]


def paired_difference(results: Results, first: str, second: str) -> Interval:
    """The 95 % interval of (first − second) model's test accuracy, in points.

    With one seed in common: over the test images, from those that only one of the two gets right
    (`paired_interval`). With several: over the seeds, from the difference at each (`t_interval`).

    Raises:
        UserError: the two have no seed in common, or were not tested on the same images.
    """
    runs = {m: {run.config.seed: run for run in results.of(m)} for m in (first, second)}
    pairs = [(run, runs[second][s]) for s, run in runs[first].items() if s in runs[second]]
    if not pairs:
        raise UserError(f"{first} and {second} have no seed in common")
    if len({run.config.test_images for pair in pairs for run in pair}) > 1:
        raise UserError(f"{first} and {second} were not tested on the same images")
    if len(pairs) > 1:
        accuracy = [[results.kept(run).test_accuracy for run in pair] for pair in pairs]
        return t_interval([a - b for a, b in accuracy])
    one, other = (_correct(results, run) for run in pairs[0])
    return paired_interval(int((one & ~other).sum()), int((other & ~one).sum()), len(one))


def _correct(results: Results, run: RunRecord) -> np.ndarray:
    predicted = results.store.predictions(run, results.rule)["predicted"]
    return predicted == _test_part(run.config.test_images)[1]


@cache
def _test_part(test_images: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The images a run was tested on, (N, 28, 28) in [0, 1], and their labels (N,)."""
    data = load(train_images=1, test_images=test_images)
    images = data.test_images.squeeze(1) * data.std + data.mean
    return images.clamp(0, 1).numpy(), data.test_labels.numpy()
