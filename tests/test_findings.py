"""What is said about one model, from records with chosen numbers."""

import pytest
from made_up import labels, make_cost, make_run, mistaken

from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.reporting import findings
from fmnist_lib.reporting.analysis import load_results
from fmnist_lib.reporting.paper import REPORTED
from fmnist_lib.runs.store import RunStore

N = 100  # test images of a made-up run


@pytest.fixture
def results_of(tmp_path):
    """Results of runs that are written first; each run is what `make_run` takes."""

    def write_and_load(*runs, costs=(), **options):
        store = RunStore(tmp_path)
        outputs = [make_run(**{"test_images": N, **run}) for run in runs]
        for output in outputs:
            store.write(output)
        for model in costs:
            config = next(o.record.config for o in outputs if o.record.config.model == model)
            store.write_cost(make_cost(config))
        return load_results(store, [output.record.config for output in outputs], **options)

    return write_and_load


def test_numbers_become_words():
    assert findings.compared(89.5, 89.07) == "0.43 points above"
    assert findings.compared(88.0, 89.07) == "1.07 points below"
    assert findings.compared(89.0701, 89.07) == "the same as"
    assert [findings.position(value, 88, 90) for value in (87, 88, 89, 90, 91)] == [
        *("below", "inside", "inside", "inside", "above")
    ]
    assert findings.change(0.2, 0.3) == "rose from 0.200 to 0.300"
    assert findings.change(0.3, 0.2) == "fell from 0.300 to 0.200"
    assert findings.change(0.3, 0.3001) == "stayed at 0.300"
    assert [findings.count(number, "run") for number in (0, 1, 2)] == [
        "no run",
        "one run",
        "2 runs",
    ]


def test_the_headline_of_one_run_is_about_the_test_images(results_of):
    found = findings.headline(results_of({"predicted": mistaken(N, [0, 1])}), "lenet5")
    assert (found.title, found.runs) == ("LeNet-5", "one shortened run")
    assert found.ours.test_accuracy == 98
    assert {found.runs, found.shown, found.with_spread, found.counted} == {"one shortened run"}
    assert found.was == "was"
    assert found.over == "over the 100 test images"
    assert found.compared == f"{98 - REPORTED['lenet5'].test_accuracy:.2f} points above"
    assert found.expected == "A single run does not tell how much of that is chance."
    assert "not what another seed would" in found.caveat


def test_the_headline_of_several_runs_is_about_the_seeds(results_of):
    runs = [{"seed": seed, "predicted": mistaken(N, range(seed + 9))} for seed in range(3)]
    found = findings.headline(results_of(*runs), "lenet5")
    assert (found.ours.test_accuracy, found.runs) == (90, "3 shortened runs")
    assert found.shown == "mean of 3 shortened runs, standard deviation 1.00"
    assert found.with_spread == "3 shortened runs, ± standard deviation over them"
    assert found.counted == "3 shortened runs together"
    assert (found.was, found.first_seed) == ("was on average", 0)
    assert found.over == "over seeds and the 100 test images"
    low, high = 90 - 4.968275, 90 + 4.968275  # t with 2 degrees of freedom × √(1 + 1/3)
    assert f"{low:.2f} to {high:.2f} % is to be expected" in found.expected
    assert found.expected.endswith("the paper's figure lies inside that range.")
    assert "what other seeds and what other test images" in found.caveat


def test_the_course_tells_what_the_losses_did_after_the_best_epoch(results_of):
    losses = (0.9, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    found = findings.course(results_of({"losses": losses}), "lenet5")
    assert found.further == 5
    assert found.test_loss == "rose from 0.500 to 1.000"
    assert found.train_loss == "fell from 0.500 to 0.143"
    assert found.ended == "the patience of 5 epochs was used up"
    assert found.meanwhile == "Meanwhile"


def test_the_course_of_a_run_that_was_cut_short(results_of):
    found = findings.course(results_of({"losses": (0.9, 0.5)}), "lenet5")
    assert (found.further, found.ended) == (0, "the limit on epochs was reached")


def test_the_course_of_runs_that_ended_differently(results_of):
    long = {"seed": 1, "losses": (0.5, *5 * [0.6])}
    found = findings.course(results_of({"losses": (0.9, 0.5)}, long), "lenet5")
    assert (found.further, found.meanwhile) == (2.5, "Meanwhile, on average,")
    assert found.ended.endswith("in 1 of 2 runs, the others reached the limit")


def test_the_gap_is_in_words_that_need_no_sign(results_of):
    found = findings.gap(results_of({"losses": (0.9, 0.5)}), "lenet5")  # test accuracy: 100
    assert (found.running, found.evaluated) == ("18.00 points below", "17.00 points below")
    assert found.paper == "3.67 points above"


def test_mistakes_are_counted_by_kind(results_of):
    true, predicted = labels(N), labels(N).copy()
    shirts, sneakers = (
        (true == CLASS_NAMES.index(name)).nonzero()[0] for name in ("Shirt", "Sneaker")
    )
    predicted[shirts[:4]] = CLASS_NAMES.index("Coat")
    predicted[sneakers[:1]] = CLASS_NAMES.index("Bag")
    probability = [0.9 if place == shirts[2] else 0.5 for place in range(N)]
    results = results_of({"predicted": predicted, "probability": probability})
    found = findings.mistakes(results, "lenet5")
    assert (found.number, found.images) == (5, N)
    assert (found.garments_share, found.shoes_share) == (80, 0)
    assert (found.pair.true, found.pair.predicted, found.pair.count) == ("Shirt", "Coat", 4)
    assert found.worst_class.name == "Shirt"
    assert found.best_class.f1 == 100
    sure = findings.surest_mistakes(results, "lenet5")
    assert list(zip(sure.true, sure.predicted, strict=True)) == [
        *(("Shirt", "Coat"), ("Sneaker", "Bag"))
    ]
    assert list(sure["index"]) == [shirts[2], sneakers[0]]


def test_a_model_without_mistakes_has_no_pair(results_of):
    found = findings.mistakes(results_of({}), "lenet5")
    assert (found.number, found.pair, found.garments_share) == (0, None, 0)
