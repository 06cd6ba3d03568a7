"""Classes and images, counted by hand and by torchmetrics."""

import numpy as np
import pytest
import torch
from made_up import labels, mistaken, stored
from torchmetrics.functional import classification

from fmnist_lib.data.fashion_mnist import CLASS_NAMES, raw_images
from fmnist_lib.results import classes

N = 100
SHIRTS = np.flatnonzero(labels(N) == CLASS_NAMES.index("Shirt"))


def taken_for(name, places):
    predicted = labels(N).copy()
    predicted[places] = CLASS_NAMES.index(name)
    return predicted


def random_predictions(seed):
    chance = np.random.default_rng(seed)
    predicted = np.where(chance.random(N) < 0.7, labels(N), chance.integers(0, 9, N))  # never 9
    return np.where(predicted == 9, 0, predicted)


@pytest.fixture
def chances(tmp_path):
    """Three runs whose predictions are drawn at random; class 9 is never predicted."""
    sure = {"probability": np.linspace(0.11, 0.98, N)}
    runs = ({"seed": s, "predicted": random_predictions(s), **sure} for s in range(3))
    return stored(tmp_path, *runs)


def test_scores_are_torchmetrics_and_counts_are_of_all_runs(chances):
    frame = classes.class_scores(chances).set_index("class")
    for name in ("precision", "recall", "specificity", "f1"):
        score = getattr(classification, f"multiclass_{name}" + "_score" * (name == "f1"))
        pairs = [[*map(torch.tensor, (random_predictions(s), labels(N)))] for s in range(3)]
        by_run = 100 * np.array([score(*pair, 10, average="none") for pair in pairs])
        found = [*frame["f1" if name == "f1" else f"class_{name}"]]
        assert [*map(float, found)] == pytest.approx(by_run.mean(axis=0), abs=1e-4)
        assert [v.std for v in found] == pytest.approx(by_run.std(axis=0, ddof=1), abs=1e-4)
        assert [v.parts["seed 2"] for v in found] == pytest.approx(by_run[2], abs=1e-4)
    assert frame.support.tolist() == [10] * 10
    assert frame.f1["Ankle boot"] == 0
    assert frame.f1["Bag"].sources == tuple(run.name for run in chances.runs)
    counts = classes.confusion(chances, "lenet5")
    assert counts.loc["Shirt"].sum() == 30
    assert np.trace(counts) == sum((random_predictions(s) == labels(N)).sum() for s in range(3))


def test_the_most_confused_come_first_and_ties_in_class_order(tmp_path):
    predicted, true = labels(N).copy(), labels(N)
    for label, other, count in [(6, 0, 3), (9, 7, 2), (0, 6, 2), (0, 2, 2), (4, 2, 1)]:
        predicted[np.flatnonzero((true == label) & (predicted == true))[:count]] = other
    runs = {"predicted": predicted}, {"seed": 1, "predicted": taken_for("T-shirt/top", SHIRTS[:1])}
    results = stored(tmp_path, *runs, {"model": "vit_tiny"})
    top = classes.most_confused(results, "lenet5", 4)
    assert top[["true", "predicted"]].to_numpy().tolist() == [
        ["Shirt", "T-shirt/top"],
        ["T-shirt/top", "Pullover"],
        ["T-shirt/top", "Shirt"],
        ["Ankle boot", "Sneaker"],
    ]
    share = top.share[0]  # three and one of ten shirts
    assert (share, share.std) == pytest.approx((20, 20 / np.sqrt(2)))
    assert len(classes.most_confused(results, "lenet5", 50)) == 5
    assert classes.most_confused(results, "vit_tiny", 5).empty


def test_each_mistake_has_the_image_that_the_first_run_is_surest_about(tmp_path):
    probability = np.full(N, 0.99)
    probability[SHIRTS[:4]] = [0.5, 0.75, 0.75, 0.25]
    sure = {"predicted": taken_for("Coat", SHIRTS[:4]), "probability": probability}
    results = stored(tmp_path, sure, {"seed": 1, "predicted": taken_for("Bag", SHIRTS[:1])})
    coat, bag = classes.most_confused(results, "lenet5", 5).itertuples()
    assert coat[-3:] == (SHIRTS[1], 0.75, 0.25)
    assert coat.probability_of_true.sources == (results.runs[0].name,)
    assert (bag.predicted, *map(np.isnan, bag[-3:])) == ("Bag", True, True, True)


@pytest.mark.parametrize("test_images", [N, None])
def test_images_are_those_that_the_run_was_tested_on(tmp_path, test_images):
    results = stored(tmp_path, {"test_images": test_images})
    raw, raw_labels = (tensor.numpy() for tensor in raw_images()["test"])
    own = labels(test_images)
    for place, image in zip((3, 90), classes.images_at(results, "lenet5", [3.0, 90]), strict=True):
        same = np.abs(raw / 255 - image).max(axis=(1, 2)) < 1e-5
        assert set(raw_labels[same]) == {own[place]}


def test_unanimous_are_images_that_all_take_for_the_same_wrong_class(tmp_path):
    probability = np.full(N, 0.5)
    probability[SHIRTS[2]] = 0.75
    shared = taken_for("Coat", SHIRTS[:3])
    other = taken_for("Coat", SHIRTS[1:5])
    other[SHIRTS[3]] = CLASS_NAMES.index("Bag")
    results = stored(
        tmp_path,
        *({"seed": s, "predicted": shared, "probability": probability} for s in range(2)),
        {"model": "vit_tiny", "predicted": other, "probability": probability},
    )
    found = classes.unanimous(results)
    assert found["index"].tolist() == [SHIRTS[2], SHIRTS[1]]
    assert found[["true", "predicted"]].to_numpy().tolist() == [["Shirt", "Coat"]] * 2
    assert found.probability.tolist() == [0.75, 0.5]
    assert len(found["index"][0].sources) == 3
    assert classes.unanimous(stored(tmp_path / "right", {}, {"model": "vit_tiny"})).empty


def test_calibration_is_torchmetrics(chances):
    frame = classes.calibration(chances)
    sure = torch.tensor(np.float16(np.linspace(0.11, 0.98, N)).astype(np.float32))
    right = [torch.tensor(random_predictions(s) == labels(N)) for s in range(3)]
    errors = [100 * classification.binary_calibration_error(sure, each.int()) for each in right]
    found = frame.calibration_error["lenet5"]
    assert [*found.parts.values()] == pytest.approx([float(e) for e in errors], abs=1e-3)
    assert found == pytest.approx(np.mean(errors), abs=1e-3)
    assert frame.confidence["lenet5"] == pytest.approx(100 * float(sure.mean()), abs=1e-3)
    bins = classes.calibration_bins(chances, "lenet5")
    assert bins["images"].sum() == 3 * N
    accuracy = np.average(bins.accuracy, weights=bins["images"])
    assert accuracy == pytest.approx(frame.accuracy["lenet5"])


@pytest.mark.parametrize(("of_right", "error"), [(1.0, 10.0), (0.9375, 4.375)])
def test_certain_probabilities_are_in_the_last_bin(tmp_path, of_right, error):
    """Ten of 100 images are wrong with certainty; the last bin begins at 14/15."""
    sure = np.where(np.arange(N) < 10, 1.0, of_right)
    run = {"predicted": mistaken(N, range(10)), "probability": sure}
    assert classes.calibration(stored(tmp_path, run)).calibration_error["lenet5"] == error
