"""What is said about the models together, from records with chosen numbers."""

import numpy as np
import pytest
from made_up import labels, mistaken
from test_findings import N, results_of  # noqa: F401, a fixture

from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.reporting import standing
from fmnist_lib.reporting.claims import CLAIMS
from fmnist_lib.reporting.paper import REPORTED


def run_of(model, accuracy, **options):
    """A run that gets `accuracy` percent of the test images right."""
    wrong = range(round(N * (1 - accuracy / 100)))
    return {"model": model, "predicted": mistaken(N, wrong), **options}


@pytest.fixture
def three(results_of):  # noqa: F811
    """Three models; one agrees with the paper, one is a little off, one far."""
    accuracies = {"lenet5": 89, "resnet_mini": 90, "vit_tiny": 50}
    runs = [run_of(model, accuracy) for model, accuracy in accuracies.items()]
    return results_of(*runs, costs=["lenet5", "vit_tiny"])


def test_agreement_with_the_paper(three):
    found = standing.agreement(three)
    assert (found.within, found.beyond) == ("2 of 3 models", "; farther off: ViT-Tiny")
    assert (found.farthest, found.largest) == ("ViT-Tiny", "38.09 points below")
    assert found.expected == "A single run does not tell how much of that is chance."
    assert found.our_order == "ResNet-Mini, LeNet-5 and ViT-Tiny"
    assert found.paper_order == "ResNet-Mini, LeNet-5 and ViT-Tiny"
    differences = [89 - 89.07, 90 - 91.10, 50 - 88.09]
    assert found.mean == pytest.approx(sum(differences) / 3)
    assert (found.epochs_model, found.epochs_ours) == ("ResNet-Mini", 2)
    assert (found.epochs_least, found.epochs_most) == (14, 27)
    assert found.epochs_paper == REPORTED["resnet_mini"].best_epoch


def test_agreement_of_several_runs_asks_what_one_more_would_give(results_of):  # noqa: F811
    accuracies = {("lenet5", 0): 89, ("lenet5", 1): 90, ("vit_tiny", 0): 50, ("vit_tiny", 1): 51}
    runs = [run_of(model, accuracy, seed=seed) for (model, seed), accuracy in accuracies.items()]
    results = results_of(*runs)
    found = standing.agreement(results)
    # LeNet-5: 89.5 and 12.71 × sqrt(1.5) × 0.707 points on each side; the paper has 89.07
    assert found.expected.endswith("nearest to its end for LeNet-5, 10.57 points inside.")
    far = results_of(run_of("vit_tiny", 50), run_of("vit_tiny", 51, seed=1))
    assert standing.agreement(far).expected.endswith("for 0 of 1 models.")


def test_a_lead_is_clear_only_if_the_images_tell(three):
    found = standing.lead(three)
    assert (found.title, found.value) == ("ResNet-Mini", 90)
    assert np.isnan(found.value_std)
    assert found.sentence == "not clearly ahead of LeNet-5"


def test_who_has_the_largest_gap_and_by_more_than_chance(results_of):  # noqa: F811
    runs = [run_of(m, 60 + seed, seed=seed) for m in ("lenet5", "vit_tiny") for seed in (0, 1)]
    runs.append(run_of("resnet_mini", 95))
    runs.append(run_of("resnet_mini", 95, seed=1))
    found = standing.lead(results_of(*runs), "gap")  # the train accuracy is the same in all
    assert found.title == "LeNet-5"
    assert found.value_std == pytest.approx(2**-0.5)
    assert found.sentence == "not clearly ahead of ViT-Tiny"


def test_a_clear_lead_names_the_others(results_of):  # noqa: F811
    results = results_of(run_of("lenet5", 60), run_of("vit_tiny", 95))
    assert standing.lead(results).sentence == "clearly ahead of LeNet-5"


def test_one_model_leads_nobody(results_of):  # noqa: F811
    results = results_of(run_of("lenet5", 60))
    assert standing.lead(results).sentence == "the only model here"


def test_without_times_there_is_no_front_of_them(results_of):  # noqa: F811
    results = results_of(run_of("lenet5", 60), run_of("vit_tiny", 95))
    assert [front.column for front in standing.fronts(results)] == ["parameters", "macs"]
    assert all(front.models == ["lenet5", "vit_tiny"] for front in standing.fronts(results))


def test_claims_are_tallied_by_outcome(three):
    judged = standing.judged(three)
    found = standing.tally(judged)
    assert found.total == len(CLAIMS) == len(judged)
    assert found.holds + found.fails + found.undecided + found.untested == found.total
    assert "C3" in found.which["holds"]  # ResNet-Mini beats ViT-Tiny: 10,000 against 100,000
    assert found.said["C3"] == "holds"
    assert found.said["C16"] == "is not tested"
    assert "C2" in found.against_itself
    assert "C3" not in found.turned  # its tables say the same
    statement = "ResNet-Mini beats ViT-Tiny with about a tenth of its parameters (C3)"
    assert statement in found.stated["holds"].split("; ")
    untested = found.stated["not tested here"].split("; ")
    assert "skip connections are what makes ResNet-Mini good (C16)" in untested


def test_claims_of_several_runs_rest_on_seeds_and_images(results_of):  # noqa: F811
    """ViT-Tiny is behind at every seed, but by less or more than chance."""
    for behind, outcome in {20: "holds", 2: "undecided"}.items():
        runs = [
            run_of(model, 90 + seed - less, seed=seed)
            for model, less in {"resnet_mini": 0, "vit_tiny": behind}.items()
            for seed in range(3)
        ]
        found = standing.judged(results_of(*runs)).set_index("id")
        assert found.outcome["C3"] == outcome


def test_classes_are_ordered_by_how_hard_they_are(results_of):  # noqa: F811
    true = labels(N)
    shirts, bags = (np.flatnonzero(true == CLASS_NAMES.index(name)) for name in ("Shirt", "Bag"))
    runs = {"lenet5": [*shirts[:5], *bags[:1]], "vit_tiny": [*shirts[:4]]}
    results = results_of(
        *({"model": model, "predicted": mistaken(N, wrong)} for model, wrong in runs.items())
    )
    found = standing.classes(results)
    assert (found.hardest, found.hardest_of) == ("Shirt", "all 2 models")
    assert found.hardest_least < found.hardest_most < found.easiest_least == 100
    assert found.apart in ("Shirt", "Bag", "Ankle boot")  # a bag taken for a boot counts in both
    assert found.apart_points > 0


@pytest.mark.parametrize(
    ("seeds", "runs", "caveats"),
    [
        ({"lenet5": 1, "vit_tiny": 1}, "one shortened run of each model", 1),
        ({"lenet5": 2, "vit_tiny": 2}, "2 shortened runs of each model", 1),
        ({"lenet5": 3, "vit_tiny": 1}, "1 to 3 shortened runs of each model", 2),
    ],
)
def test_the_number_of_runs_in_words(results_of, seeds, runs, caveats):  # noqa: F811
    results = results_of(
        *(run_of(model, 90, seed=seed) for model, n in seeds.items() for seed in range(n))
    )
    shown = standing.shown(results)
    assert shown.runs == runs
    assert shown.caveat.count(".") == caveats
    several = max(seeds.values()) > 1
    assert ("±" in shown.table) == ("±" in shown.with_spread) == several
    assert ("single runs" in shown.strokes) == ("band" in shown.curves) == several
    assert ("the spread over several runs" in shown.new) == several
    assert (
        ("Of a single run" in shown.table) == ("Of a single run" in shown.strokes) == (caveats == 2)
    )
    assert "patience" not in shown.new
