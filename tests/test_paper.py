import dataclasses
import json
from pathlib import Path

import pytest

from fmnist_lib.reporting import paper
from fmnist_lib.reporting.contradictions import (
    contradictions,
    densenet_parameters,
    efficiency_ranking,
    resnet_parameters,
)
from fmnist_lib.reporting.paper import (
    CITATION,
    REPORTED,
    implied_parameters,
    reported_results,
    reported_table1,
    wilson_interval,
)
from fmnist_lib.reporting.words import join, name_of, names_of, ordinal

MODELS = [
    "lenet5",
    "resnet_mini",
    "densenet_tiny",
    "mobilenet_lite",
    "vit_tiny",
    "baseline_cnn",
]


def test_the_tables_have_every_printed_figure():
    """Checked by sums over the columns, added up from the paper's text."""
    one = reported_table1()
    assert list(one.model) == list(REPORTED) == MODELS
    sums = one.drop(columns="model").sum()
    assert sums.parameters == 211_000
    assert sums.train_loss == pytest.approx(1.5039)
    assert sums.test_loss == pytest.approx(1.7260)
    assert sums.train_accuracy == pytest.approx(545.22)
    assert sums.test_accuracy == pytest.approx(539.56)
    assert sums.best_epoch == 142
    rows = REPORTED.values()
    assert sum(row.train_seconds.mean for row in rows) == pytest.approx(566.80)
    assert sum(row.train_seconds.std for row in rows) == pytest.approx(15.61)
    assert sum(row.inference_ms.mean for row in rows) == 30_814
    assert sum(row.inference_ms.std for row in rows) == 1_535
    assert sum(row.epochs for row in rows) == 166
    assert sum(row.total_train_seconds for row in rows) == 17_597
    assert sum(row.train_time_per_parameter for row in rows) == 36_286


def test_the_tables_have_the_columns_of_ours():
    assert " ".join(reported_table1()) == (
        "model parameters n train_loss test_loss train_accuracy test_accuracy best_epoch"
    )


def test_total_train_time_is_mean_times_epochs():
    for row in REPORTED.values():
        assert row.total_train_seconds == round(row.train_seconds.mean * row.epochs)


def test_the_facts_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        REPORTED["lenet5"].test_accuracy = 99.0
    with pytest.raises(TypeError):
        REPORTED["alexnet"] = REPORTED["lenet5"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        CITATION.title = "Another"


def test_the_file_names_its_source():
    raw = json.loads(Path(paper.__file__).with_name("reported.json").read_text(encoding="utf-8"))
    assert "Tables 1 and 2" in raw["source"]
    assert CITATION.title in raw["source"]
    assert len(CITATION.authors) == 2


@pytest.mark.parametrize(
    ("model", "interval"),
    [
        ("lenet5", (61563, 61780)),
        ("resnet_mini", (11400, 11402)),
        ("densenet_tiny", (11665, 11666)),
        ("mobilenet_lite", (14217, 14219)),
        ("vit_tiny", (105517, 105606)),
        ("baseline_cnn", (6317, 6342)),
    ],
)
def test_implied_parameters(model, interval):
    assert implied_parameters(model) == interval


@pytest.mark.parametrize("model", MODELS)
def test_every_implied_count_prints_as_the_paper_does(model):
    """The other way round: counts within the interval reach the printed time, others do not."""
    row = REPORTED[model]
    half = 0.05 if model == "baseline_cnn" else 0.005
    seconds = [row.train_seconds.mean - half, row.train_seconds.mean + half]

    def prints(parameters):
        low, high = (1e6 * s / parameters for s in seconds)
        return (
            low < row.train_time_per_parameter + 0.5 and row.train_time_per_parameter - 0.5 < high
        )

    low, high = implied_parameters(model)
    assert [prints(count) for count in (low - 1, low, high, high + 1)] == [False, True, True, False]


def test_our_models_have_what_the_paper_implies():
    from fmnist_lib.models import MODELS as REGISTRY
    from fmnist_lib.models import build_model

    assert list(REGISTRY) == list(REPORTED)
    for name in REGISTRY:
        low, high = implied_parameters(name)
        assert low <= sum(p.numel() for p in build_model(name).parameters()) <= high


@pytest.mark.parametrize("widths", [(4, 8, 16), (16, 32, 64)])
def test_resnet_parameters_counts_what_the_model_has(widths):
    from fmnist_lib.models import build_model

    model = build_model("resnet_mini", widths=widths)
    assert resnet_parameters(widths) == sum(p.numel() for p in model.parameters())


def test_densenet_parameters_by_hand():
    assert densenet_parameters(2) == 80 + 3 * 3576 + 2 * 264 + 330 == 11_666
    assert densenet_parameters(3) == 80 + 3 * 3576 + 3 * 264 + 90


def test_reported_results_take_the_paper_at_face_value():
    results = reported_results()
    assert (results.test_accuracy_low == results.test_accuracy_high).all()
    for name in MODELS:
        low, high = implied_parameters(name)
        assert low <= results.at[name, "parameters"] <= high


def test_wilson_interval_by_the_formula():
    p, n, z = 0.9155, 10_000, 1.959963984540054
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert wilson_interval(91.55, n) == pytest.approx(
        (100 * (centre - half), 100 * (centre + half))
    )


def test_contradictions_are_complete_and_distinct():
    found = contradictions()
    assert len(found) == 14
    assert len({one.title for one in found}) == len(found)
    for one in found:
        assert one.where
        for sentence in (one.says, one.arithmetic):
            assert sentence.endswith(".")
            assert "nan" not in sentence


def test_efficiency_ranking():
    assert efficiency_ranking() == [
        "lenet5",
        "vit_tiny",
        "baseline_cnn",
        "resnet_mini",
        "mobilenet_lite",
        "densenet_tiny",
    ]


@pytest.mark.parametrize(
    ("title", "figures"),
    [
        ("unit of time", ["972 to 1,055 times"]),
        ("most accurate", ["MobileNet-Lite first with 91.55 %", "0.45 points", "91.10 %"]),
        ("width of ResNet", ["175,370", "15 times", "11,400 to 11,402", "need 11,402"]),
        ("patience lasted", ["5 for 4 of 6", "MobileNet-Lite and ViT-Tiny", "43 − 41 = 2"]),
        ("Which epoch", ["2 to 5 epochs", "6 of 6"]),
        ("transitions", ["11,666 with 2", "11,690 with 3"]),
        ("efficient per parameter", ["4th and 3rd of 6", "LeNet-5, ViT-Tiny, Custom CNN"]),
        ("slow at inference", ["7,103 ms", "2.1 % more", "6,958 ms"]),
        ("times are stable", ["Custom CNN has the largest", "(5.0 %)", "MobileNet", "(1.7 %)"]),
        ("regularised", ["3.32", "3.67", "2nd and 1st of 6", "0.35 points"]),
        ("validation", ["60,000", "leaves 0 for validation"]),
        ("pace", ["41, 12 epochs after", "at 29"]),
        ("converge", ["2 of 6 do (ResNet-Mini and ViT-Tiny)", "run 3 (LeNet-5, DenseNet-Tiny"]),
        ("blocks", ["16 blocks", "34 layers", "33 blocks", "101 layers"]),
    ],
)
def test_contradictions_carry_the_figures_counted_by_hand(title, figures):
    (found,) = [one for one in contradictions() if title in one.title]
    for figure in figures:
        assert figure in found.arithmetic


def test_the_arithmetic_follows_the_tables(monkeypatch):
    """With another accuracy in Table 1 the sentence names another model."""
    better = dataclasses.replace(REPORTED["vit_tiny"], test_accuracy=95.0)
    changed = {**REPORTED, "vit_tiny": better}
    monkeypatch.setattr("fmnist_lib.reporting.contradictions.REPORTED", changed)
    assert "Table 1 puts ViT-Tiny first with 95.00 %" in contradictions()[1].arithmetic


def test_words():
    assert join([]) == "none"
    assert join(["a"]) == "a"
    assert join("abc") == "a, b and c"
    assert names_of(["lenet5", "unheard_of"]) == "LeNet-5 and unheard_of"
    assert name_of("vit_tiny") == "ViT-Tiny"
    letters = "abcdefghijklmnopqrstuvw"
    places = " ".join(ordinal(letters, letter) for letter in "abcdkmv")
    assert places == "1st 2nd 3rd 4th 11th 13th 22nd"
