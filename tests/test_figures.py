"""Figures: what they show is what the frames hold, and a reader can tell it all apart."""

import itertools
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axis import Tick
from matplotlib.figure import Figure
from matplotlib.text import Text

from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.models import MODELS
from fmnist_lib.reporting import figures
from fmnist_lib.reporting.figures import (
    accuracy_against,
    accuracy_curves,
    against_paper,
    class_f1,
    confused_images,
    confusion_heatmap,
    learning_curves,
    loss_curves,
    patience_gains,
    time_per_epoch,
)
from fmnist_lib.reporting.labels import along, spread
from fmnist_lib.reporting.paper import REPORTED, reported_table1
from fmnist_lib.reporting.style import (
    COLOURS,
    LOOKS,
    SMALL,
    WIDTH,
    contrast,
    ink_on,
    ordered,
    text_colour,
    to_png,
    to_svg,
)
from fmnist_lib.reporting.words import name_of

SIX = list(MODELS)
TWO = ["baseline_cnn", "vit_tiny"]
WHITE = (1, 1, 1)


# What is drawn


def make_histories(models=SIX, seeds=1, epochs=None):
    """Runs of lengths like the real ones, up to 45 epochs; several seeds differ in length."""
    rows = []
    for place, model in enumerate(models):
        for seed in range(seeds):
            random = np.random.default_rng([place, seed])
            last = epochs or 15 + 5 * place + seed
            epoch = np.arange(1, last + 1)
            test_loss = 0.3 + 0.5 * np.exp(-epoch / 3) + random.uniform(0, 0.01, last)
            test_loss[max(0, last - 6)] = 0.25
            accuracy = 92 - place - 14 * np.exp(-epoch / 3)
            rows.append(
                pd.DataFrame(
                    {
                        "model": model,
                        "seed": seed,
                        "epoch": epoch,
                        "train_loss": test_loss - 0.01 * epoch,
                        "train_accuracy": accuracy + 0.1 * epoch - 1,
                        "test_loss": test_loss,
                        "test_accuracy": accuracy + random.normal(0, 0.2, last),
                        "train_seconds": 7 * (place + 1) * random.uniform(0.95, 1.1, last),
                        "inference_ms": 300 * (place + 1) * random.uniform(0.95, 1.1, last),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def make_summary(models=SIX, accuracies=None):
    """All a model's numbers in one row; the columns of `analysis.summary` that figures read."""
    places = np.array([SIX.index(model) for model in models])
    accuracy = 91 - 0.5 * places if accuracies is None else np.array(accuracies)
    return pd.DataFrame(
        {
            "parameters": np.array([61706, 11402, 11666, 14218, 105546, 6330])[places],
            "macs": np.array([4.2e5, 1.3e6, 3.9e6, 1.5e6, 5.9e6, 5.1e5])[places],
            "train_seconds": 7.0 * (places + 1),
            "test_accuracy": accuracy,
            "test_accuracy_low": accuracy - 0.6,
            "test_accuracy_high": accuracy + 0.5,
        },
        index=pd.Index(models, name="model"),
    )


def make_table1(models=SIX):
    return make_summary(models).reset_index()


def make_table2(models=SIX):
    seconds = 7.0 * (np.array([SIX.index(model) for model in models]) + 1)
    return pd.DataFrame(
        {
            "model": models,
            "train_seconds_mean": seconds,
            "train_seconds_std": seconds / 50,
            "inference_ms_mean": 40 * seconds,
            "inference_ms_std": seconds,
        }
    )


def make_confusion(images=1000):
    """Every class has its own share of right answers; most mistakes are of neighbours."""
    counts = np.zeros((10, 10), int)
    for true in range(10):
        right = images * (99 - 4 * true) // 100
        counts[true, true] = right
        counts[true, (true + 1) % 10] = images - right - 3
        counts[true, (true + 2) % 10] = 3
    names = list(CLASS_NAMES)
    return pd.DataFrame(
        counts, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted")
    )


def make_runs(models=SIX, seeds=5):
    """One row a run, around the accuracies of `make_summary`."""
    summary = make_summary(models)
    return pd.DataFrame(
        {"model": model, "seed": seed, "test_accuracy": summary.test_accuracy[model] + offset}
        for model in models
        for seed, offset in enumerate(np.linspace(-0.4, 0.4, seeds))
    )


def make_scores(models=SIX, spread=True):
    """F1 of each class: the fourth class is the hardest, the spread is half a point."""
    hard = 4 * np.abs(np.arange(10) - 3)
    scores = [
        pd.DataFrame({"model": model, "class": CLASS_NAMES, "f1": 62.0 + hard - place})
        for place, model in enumerate(models)
    ]
    frame = pd.concat(scores, ignore_index=True)
    return frame.assign(f1_std=0.5) if spread else frame


def make_patience(models=SIX):
    gain = 0.1 * np.arange(len(models)) - 0.05
    return pd.DataFrame(
        {
            "model": models,
            "epochs": 20.0 + np.arange(len(models)),
            "epochs_long": 45.0,
            "gain": gain,
            "gain_low": gain - 0.2,
            "gain_high": gain + 0.3,
        }
    )


def make_gains(models=SIX, seeds=5):
    return make_runs(models, seeds).assign(gain=lambda runs: runs.test_accuracy % 0.3)


def make_images(number):
    return np.random.default_rng(0).uniform(0, 1, (number, 28, 28))


def draw_images(number=6):
    words = {"true": ["Shirt"] * number, "predicted": ["Ankle boot"] * number}
    return confused_images(make_images(number), **words, probabilities=[0.91] * number)


CURVES = {
    "accuracy": accuracy_curves,
    "loss": loss_curves,
    "time": time_per_epoch,
    "learning": lambda runs: learning_curves(runs, runs.model.iloc[-1], REPORTED["vit_tiny"]),
}
OTHERS = {
    "confusion": lambda: confusion_heatmap(make_confusion()),
    "classes": lambda: class_f1(make_scores()),
    "classes, one run": lambda: class_f1(make_scores(spread=False)),
    "patience": lambda: patience_gains(make_patience(), make_gains()),
    "patience, one run": lambda: patience_gains(make_patience(TWO), make_gains(TWO, 1)),
    "against": lambda: accuracy_against(make_summary(), "macs", pareto=["lenet5", "resnet_mini"]),
    "against, seeds": lambda: accuracy_against(make_summary(), "macs", runs=make_runs()),
    "paper": lambda: against_paper(make_table1(), reported_table1()),
    "paper, seeds": lambda: against_paper(make_table1(), reported_table1(), make_runs()),
    "time and alone": lambda: time_per_epoch(make_histories(), make_table2()),
    "images": draw_images,
}
ALL = {
    **OTHERS,
    **{name: lambda draw=draw: draw(make_histories()) for name, draw in CURVES.items()},
    **{
        f"{name}, seeds": lambda draw=draw: draw(make_histories(seeds=5))
        for name, draw in CURVES.items()
    },
}
every_figure = pytest.mark.parametrize("name", ALL)


@cache
def drawn(name):
    return ALL[name]()


# What is found in a figure


def lines(figure, name):
    """The lines that a drawing function named so, in all panels."""
    found = [line for axes in figure.axes for line in axes.get_lines()]
    return [line for line in found if line.get_label() == f"_{name}"]


def texts(figure):
    """All texts that a reader sees; ticks beyond the ends of an axis have some that none does."""
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    ticks = {tick for axis in axes for tick in axis.get_children() if isinstance(tick, Tick)}
    unseen = ticks - {tick for axis in axes for tick in axis._update_ticks()}
    hidden = {text for tick in unseen for text in (tick.label1, tick.label2)}
    found = [text for text in figure.findobj(Text) if text.get_text().strip()]
    return [text for text in found if text.get_visible() and text not in hidden]


def boxes(figure):
    figure.draw_without_rendering()
    return {text: text.get_window_extent() for text in texts(figure)}


def words(figure):
    return [text.get_text() for text in texts(figure)]


# Every figure


@every_figure
def test_no_text_is_small_cut_or_on_another(name):
    figure = drawn(name)
    found = boxes(figure)
    assert all(text.get_fontsize() >= SMALL for text in found)
    canvas = figure.bbox.padded(1)
    outside = [text.get_text() for text, box in found.items() if not inside(box, canvas)]
    assert outside == []
    # A rotated label's box is larger than the label, and covers its neighbours'.
    level = {text: box for text, box in found.items() if text.get_rotation() in (0, 90)}
    overlapping = [
        (first.get_text(), second.get_text())
        for (first, one), (second, other) in itertools.combinations(level.items(), 2)
        if one.padded(-0.5).overlaps(other.padded(-0.5))
    ]
    assert overlapping == []


def inside(inner, outer):
    return (
        outer.x0 <= inner.x0
        and inner.x1 <= outer.x1
        and outer.y0 <= inner.y0
        and inner.y1 <= outer.y1
    )


@every_figure
def test_the_same_data_gives_the_same_bytes_and_valid_svg(name):
    svg = to_svg(drawn(name))
    assert svg == to_svg(drawn(name))
    assert svg == to_svg(ALL[name]())
    root = ElementTree.fromstring(svg)
    assert root.get("width") == f"{WIDTH * 72:g}pt"
    assert b"<text" not in svg  # as paths: no font is needed to read it
    assert b"dc:date" not in svg


def test_pyplot_and_settings_are_left_alone():
    before = dict(mpl.rcParams)
    to_svg(accuracy_curves(make_histories(TWO)))
    to_png(OTHERS["confusion"]())
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_settings_of_the_user_change_nothing():
    expected = to_svg(drawn("accuracy"))
    with mpl.rc_context({"font.size": 20, "axes.grid": False, "lines.linewidth": 9}):
        assert to_svg(ALL["accuracy"]()) == expected


def test_bytes_are_the_same_in_another_process():
    script = (
        "import sys, test_figures as t;"
        "sys.stdout.buffer.write(t.to_svg(t.accuracy_curves(t.make_histories(t.TWO))))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
    ).stdout
    assert found == to_svg(accuracy_curves(make_histories(TWO)))


def test_png():
    figure = against_paper(make_table1(), reported_table1())
    assert to_png(figure).startswith(b"\x89PNG")
    assert to_png(figure) == to_png(figure)


@pytest.mark.parametrize(
    ("name", "across", "up"),
    [
        ("accuracy", "Epoch, log scale", "Accuracy (%)"),
        ("loss", "Epoch, log scale", "Loss per image (nats)"),
        ("learning", "Epoch", "Accuracy (%)"),
        ("time", "Epoch", "Training epoch (s), log scale"),
        ("time", "Epoch", "Test pass (ms), log scale"),
        ("confusion", "Predicted class", "True class"),
        ("confusion", "", "Share of the true class (%)"),
        ("classes", "F1 (%)", ""),
        ("patience", "Gain in test accuracy (points)", ""),
        ("patience", "Epochs trained, mean of the runs", ""),
        ("paper", "Test accuracy (%)", ""),
        ("against", "Multiply-accumulates per image, log scale", "Test accuracy (%)"),
    ],
)
def test_axes_say_what_they_measure_and_in_which_unit(name, across, up):
    figure = drawn(name)
    assert isinstance(figure, Figure)
    assert across in {axes.get_xlabel() for axes in figure.axes}
    assert up in {axes.get_ylabel() for axes in figure.axes}


# One look a model


def test_every_model_has_a_look_of_its_own_in_the_papers_order():
    assert list(LOOKS) == SIX
    for kind in ("colour", "marker", "dashes"):
        assert len({getattr(look, kind) for look in LOOKS.values()}) == len(SIX)


@pytest.mark.parametrize("model", SIX)
def test_colours_have_contrast_on_white(model):
    assert contrast(mpl.colors.to_rgb(COLOURS[model]), WHITE) >= 3
    assert contrast(mpl.colors.to_rgb(text_colour(model)), WHITE) >= 4.5


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "protan": [(0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)],
    "deutan": [(0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)],
    "tritan": [(1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)],
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_stay_apart_for_the_colour_blind(kind):
    seen = {}
    for model, colour in COLOURS.items():
        linear = np.array(mpl.colors.to_rgb(colour)) ** 2.2
        seen[model] = np.clip(np.array(BLINDNESS[kind]) @ linear, 0, 1) ** (1 / 2.2)
    for first, second in itertools.combinations(SIX, 2):
        assert np.linalg.norm(seen[first] - seen[second]) > 0.1, (first, second)


def test_a_models_colour_is_the_same_everywhere():
    places = {"accuracy": "test_accuracy", "loss": "test_loss", "time": "train_seconds"}
    for model, (name, column) in itertools.product(SIX, places.items()):
        (line,) = lines(drawn(name), f"{model}-{column}")
        assert line.get_color() == COLOURS[model]
    (line,) = lines(drawn("learning"), "baseline_cnn-test_loss")
    assert line.get_color() == COLOURS["baseline_cnn"]
    for name in ("accuracy", "against", "paper", "patience", "time", "classes"):
        named = {text.get_text(): text.get_color() for text in texts(drawn(name))}
        assert {one: named[name_of(one)] for one in SIX} == {one: text_colour(one) for one in SIX}


def test_models_come_in_the_papers_order():
    assert ordered(["vit_tiny", "lenet5", "vit_tiny"]) == ["lenet5", "vit_tiny"]
    with pytest.raises(ValueError, match="lenet6"):
        ordered(["lenet6"])
    backwards = accuracy_curves(make_histories(epochs=2)[::-1])
    titles = [axes.get_title(loc="left") for axes in backwards.axes]
    assert titles == [name_of(model) for model in SIX]


@every_figure
def test_the_svg_says_what_belongs_to_which_model(name):
    if name in ("confusion", "images"):
        return  # of one model each
    names = [
        element.get("id", "")
        for element in ElementTree.fromstring(to_svg(drawn(name))).iter()
        if element.get("id", "").startswith("model-")
    ]
    assert len(names) == len(set(names))
    models = {re.sub(r"^model-|-[0-9]+$", "", one) for one in names}
    assert models == ({"baseline_cnn"} if "learning" in name else models_of(name))


def models_of(name):
    return set(TWO) if name == "patience, one run" else set(SIX)


@pytest.mark.parametrize("grey", np.linspace(0, 1, 21))
def test_ink_is_readable_on_any_cell(grey):
    cell = (grey, grey, grey)
    assert contrast(mpl.colors.to_rgb(ink_on(cell)), cell) >= 4.5


# Curves


def test_one_run_is_drawn_as_it_was():
    runs = make_histories()
    shown = {
        "train_accuracy": drawn("accuracy"),
        "test_accuracy": drawn("accuracy"),
        "train_loss": drawn("loss"),
        "test_loss": drawn("loss"),
        "train_seconds": drawn("time"),
        "inference_ms": drawn("time"),
    }
    for model, (column, figure) in itertools.product(SIX, shown.items()):
        own = runs[runs.model == model]
        (line,) = lines(figure, f"{model}-{column}")
        np.testing.assert_array_equal(line.get_xdata(), own.epoch)
        np.testing.assert_array_equal(line.get_ydata(), own[column])


def test_one_models_curves_are_drawn_as_they_were():
    runs = make_histories(["lenet5"])
    figure = learning_curves(runs, "lenet5")
    for column in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        (line,) = lines(figure, f"lenet5-{column}")
        np.testing.assert_array_equal(line.get_ydata(), runs[column])


def test_several_runs_are_drawn_as_mean_range_and_what_is_longer():
    runs = make_histories(["lenet5"], seeds=5)
    (axes,) = accuracy_curves(runs).axes
    (line,) = [line for line in axes.get_lines() if line.get_label() == "_lenet5-test_accuracy"]
    by_epoch = runs.groupby("epoch").test_accuracy
    shared = by_epoch.count()[lambda number: number == 5].index
    np.testing.assert_array_equal(line.get_xdata(), shared)
    np.testing.assert_allclose(line.get_ydata(), by_epoch.mean()[shared])
    band = axes.collections[-1].get_paths()[0].vertices
    several = by_epoch.count()[lambda number: number > 1].index
    assert band[:, 0].max() == several.max()
    assert band[:, 1].max() == pytest.approx(by_epoch.max()[several].max())
    tests = [one for one in axes.get_lines() if one.get_label() == "_run" and not one.is_dashed()]
    for (_, own), one in zip(runs.groupby("seed"), tests, strict=True):
        np.testing.assert_array_equal(one.get_ydata()[: len(own)], own.test_accuracy)


def test_the_best_epoch_of_each_seed_is_marked():
    runs = make_histories(["lenet5"], seeds=5)
    best = runs.loc[runs.groupby("seed").test_loss.idxmin()]
    (marks,) = lines(loss_curves(runs), "best-test")
    np.testing.assert_array_equal(marks.get_xdata(), best.epoch)
    np.testing.assert_array_equal(marks.get_ydata(), best.test_loss)
    low, high = best.epoch.min(), best.epoch.max()
    assert f"mean {best.test_loss.mean():.3f}, epochs {low}–{high}" in words(loss_curves(runs))


@pytest.mark.parametrize("best_is_first", [False, True])
def test_only_a_first_epoch_that_is_not_the_best_may_lie_outside(best_is_first):
    runs = make_histories(TWO, seeds=2)
    first = runs.epoch == 1
    runs.loc[first, "test_accuracy"] = 10.0
    if best_is_first:
        runs.loc[first, "test_loss"] = 0.0
    axes = accuracy_curves(runs).axes[0]
    low, high = axes.get_ylim()
    assert (low < 10) == best_is_first
    later = runs.loc[~first, ["train_accuracy", "test_accuracy"]]
    assert low < later.min(axis=None) <= later.max(axis=None) < high
    assert axes.get_xlim()[0] < 1
    assert axes.get_xlim()[1] > runs.epoch.max()


def test_one_stalled_run_does_not_move_the_curve_of_times():
    runs = make_histories(["lenet5"], seeds=3, epochs=4)
    usual = runs.groupby("epoch").train_seconds.median()
    slowest = runs[
        (runs.epoch == 2)
        & (runs.train_seconds == runs.groupby("epoch").train_seconds.transform("max"))
    ]
    runs.loc[slowest.index, "train_seconds"] *= 50
    (line,) = lines(time_per_epoch(runs), "lenet5-train_seconds")
    np.testing.assert_allclose(line.get_ydata(), usual)


def test_another_column_can_decide_the_best_epoch():
    runs = make_histories(["lenet5"])
    runs["validation_loss"] = np.where(runs.epoch == 3, 0.1, 0.2)
    (marks,) = lines(loss_curves(runs, monitor="validation_loss"), "best-test")
    assert list(marks.get_xdata()) == [3]


def test_one_panel_says_what_was_reached():
    runs = make_histories(["lenet5"])
    best = runs.loc[runs.test_loss.idxmin()]
    assert f"{best.test_accuracy:.2f} % at epoch {best.epoch}" in words(accuracy_curves(runs))


@pytest.mark.parametrize("draw", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize("number", [1, 2, 4, 5])
def test_missing_models_are_fine(draw, number):
    models = SIX[:number]
    found = words(draw(make_histories(models)))
    assert draw is CURVES["learning"] or all(found.count(name_of(one)) for one in models)


@pytest.mark.parametrize("draw", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize(("seeds", "epochs"), [(1, 1), (2, 2)])
def test_shortened_runs_are_fine(draw, seeds, epochs):
    figure = draw(make_histories(TWO, seeds, epochs))
    assert all(box.width > 0 for box in boxes(figure).values())


def test_a_choice_of_models():
    figure = accuracy_curves(make_histories(), models=TWO)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ViT-Tiny", "Custom CNN"]


def test_the_papers_best_epoch_is_in_view():
    reported = REPORTED["mobilenet_lite"]
    figure = learning_curves(make_histories(["mobilenet_lite"]), "mobilenet_lite", reported)
    for split, marks in (
        ("test", lines(figure, "paper-test")),
        ("train", lines(figure, "paper-train")),
    ):
        shown = [(*line.get_xdata(), *line.get_ydata()) for line in marks]
        assert shown == [
            (reported.best_epoch, getattr(reported, f"{split}_loss")),
            (reported.best_epoch, getattr(reported, f"{split}_accuracy")),
        ]
        for line in marks:
            assert line.axes.viewLim.contains(*line.get_xydata()[0])
    assert f"paper, test (epoch {reported.best_epoch})" in words(figure)


def test_without_the_paper_nothing_is_said_of_it():
    figure = learning_curves(make_histories(["lenet5"]), "lenet5")
    assert not [text for text in words(figure) if "paper" in text]


def test_times_measured_alone_stand_in_a_strip():
    table = make_table2(TWO)
    figure = time_per_epoch(make_histories(TWO), table)
    strip = next(axes for axes in figure.axes if axes.get_position().x0 > 0.5)
    drawn = sorted(line.get_ydata()[0] for line in strip.get_lines())
    assert drawn == sorted(table.train_seconds_mean)


@pytest.mark.parametrize("measured", [["lenet5"], []])
def test_models_that_were_not_timed_alone_are_fine(measured):
    table = make_table2()
    table.loc[~table.model.isin(measured), table.columns != "model"] = np.nan
    found = words(time_per_epoch(make_histories(), table))
    assert all(found.count(name_of(model)) == 2 for model in SIX)


def test_a_single_timing_has_no_spread():
    table = make_table2().assign(train_seconds_std=np.nan)
    time_per_epoch(make_histories(), table)


def test_times_far_apart_leave_every_label_in_place():
    runs = make_histories()
    slow = runs.model.isin(SIX[:5])
    runs.loc[slow, "train_seconds"] = 2000.0  # five labels at one height, at the top
    found = boxes(time_per_epoch(runs))
    names = [box for text, box in found.items() if text.get_text() == "LeNet-5"]
    assert len(names) == 2


@pytest.mark.parametrize("scale", [0.003, 0.7, 30, 12_345])
def test_a_log_axis_always_has_a_number_on_it(scale):
    runs = make_histories(["lenet5"])
    runs["train_seconds"] = scale
    axes = time_per_epoch(runs).axes[0]
    low, high = axes.get_ylim()
    assert any(low <= tick <= high for tick in axes.get_yticks())


# Classes


def test_confusion_shows_share_and_count_of_every_cell_that_has_any():
    counts = make_confusion(images=5000)
    found = words(confusion_heatmap(counts))
    for count in counts.to_numpy().ravel():
        assert (f"{count / 50:.1f}\n{count:,}" in found) == bool(count)


def test_confusion_is_drawn_in_vectors():
    assert b"<image" not in to_svg(confusion_heatmap(make_confusion()))


def test_confusion_of_a_class_without_images():
    counts = make_confusion()
    counts.iloc[3] = 0
    assert "nan" not in " ".join(words(confusion_heatmap(counts)))


def test_cells_are_readable():
    figure = confusion_heatmap(make_confusion())
    cells = figure.axes[0].collections[0]
    cells.update_scalarmappable()
    shades = cells.get_facecolors().reshape(10, 10, 4)
    for text in figure.axes[0].texts:
        column, row = (int(place) for place in text.get_position())
        ink = mpl.colors.to_rgb(text.get_color())
        assert contrast(ink, shades[row, column]) >= 4.5


def test_classes_stand_by_how_hard_they_are_with_their_spread():
    scores = make_scores(TWO)
    figure = class_f1(scores)
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown[0] == CLASS_NAMES[3]
    assert figure.axes[0].yaxis_inverted()
    (line,) = lines(figure, "vit_tiny-f1")
    own = scores[scores.model == "vit_tiny"].set_index("class").f1
    np.testing.assert_array_equal(line.get_xdata(), own[shown])
    (bars,) = line.axes.collections
    assert [*np.ptp([bar[:, 0] for bar in bars.get_segments()], axis=1)] == [1.0] * 10


@pytest.mark.parametrize("number", [1, 2, 4, 6])
def test_classes_of_any_number_of_models(number):
    figure = class_f1(make_scores(SIX[:number]))
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == [name_of(model) for model in SIX[:number]]


@pytest.mark.parametrize("number", [1, 5, 6, 7])
def test_images_have_captions(number):
    figure = draw_images(number)
    assert words(figure) == ["Shirt\n→ Ankle boot\nat 91 %"] * number
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown[::8, ::8], make_images(number)[0])


def test_images_come_from_a_frame_too():
    frame = pd.DataFrame({"true": ["Bag"], "predicted": ["Dress"], "p": [0.5]}, index=[7])
    figure = confused_images(make_images(1)[:, None], frame.true, frame.predicted, frame.p)
    assert words(figure) == ["Bag\n→ Dress\nat 50 %"]
    assert words(confused_images(make_images(1), ["Bag"], ["Dress"])) == ["Bag\n→ Dress"]


def test_images_without_captions_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        confused_images(make_images(2), ["Bag"], ["Dress"])


def test_no_mistakes_give_an_empty_figure():
    assert confused_images(np.empty((0, 28, 28)), [], []).axes == []


# Models against each other


def intervals(figure):
    """The ends of the error bars, along the accuracy."""
    bars = [bar for axes in figure.axes for bar in axes.containers]
    return [bar.lines[2][0].get_segments()[0] for bar in bars]


@pytest.mark.parametrize("column", ["parameters", "macs", "train_seconds"])
def test_accuracy_stands_against_a_cost_with_its_interval(column):
    summary = make_summary()
    figure = accuracy_against(summary, column)
    for (model, row), bar in zip(summary.iterrows(), intervals(figure), strict=True):
        np.testing.assert_allclose(bar[:, 0], row[column])
        np.testing.assert_allclose(bar[:, 1], [row.test_accuracy_low, row.test_accuracy_high])
        assert name_of(model) in words(figure)


def test_the_front_steps_through_its_models():
    summary = make_summary(accuracies=[89, 90.5, 91, 91.5, 88, 90])
    front = ["baseline_cnn", "resnet_mini", "densenet_tiny", "mobilenet_lite"]
    (line,) = lines(accuracy_against(summary, "parameters", pareto=front[::-1]), "pareto")
    corners = line.get_xydata()
    expected = summary.loc[front, ["parameters", "test_accuracy"]].to_numpy()
    np.testing.assert_array_equal(corners[::2], expected)
    assert (np.diff(corners, axis=0) == 0).any(axis=1).all()  # level or upright throughout
    assert not lines(accuracy_against(summary, "parameters"), "pareto")


def test_a_cost_that_a_model_lacks_leaves_it_out():
    summary = make_summary()
    summary.loc["vit_tiny", "train_seconds"] = np.nan
    found = words(accuracy_against(summary, "train_seconds"))
    assert "ViT-Tiny" not in found
    assert "LeNet-5" in found


def test_a_cost_of_ones_own_needs_a_label():
    summary = make_summary().assign(watts=1.0)
    with pytest.raises(KeyError, match="watts"):
        accuracy_against(summary, "watts")
    figure = accuracy_against(summary, "watts", label="Power (W)")
    assert figure.axes[0].get_xlabel() == "Power (W), log scale"


CROWDED = {
    "all at one accuracy": [90.0] * 6,
    "as close as in a real run": [89.2, 90.48, 90.64, 90.46, 88.52, 90.43],
    "spread out": [60, 65, 70, 75, 80, 85],
    "shortened": [58.5, 13.1, 15.8, 20.4, 37.6, 38.2],
}


@pytest.mark.parametrize("accuracies", CROWDED.values(), ids=CROWDED)
@pytest.mark.parametrize("column", ["parameters", "macs", "train_seconds"])
def test_labels_of_points_touch_neither_each_other_nor_a_marker(accuracies, column):
    summary = make_summary(accuracies=accuracies)
    figure = accuracy_against(summary, column, pareto=["baseline_cnn"])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    found = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(found) == len(SIX)
    assert not any(one.overlaps(two) for one, two in itertools.combinations(found, 2))
    for spot in axes.transData.transform(summary[[column, "test_accuracy"]]):
        assert not any(box.contains(*spot) for box in found)


def test_the_paper_stands_beside_ours():
    ours, theirs = make_table1(), reported_table1()
    figure = against_paper(ours, theirs)
    found = words(figure)
    for row, bar in zip(ours.itertuples(), intervals(figure), strict=True):
        reported = REPORTED[row.model].test_accuracy
        (line,) = lines(figure, f"paper-{row.model}")
        assert list(line.get_xdata()) == [reported]
        assert f"{row.test_accuracy - reported:+.2f}".replace("-", "−") in found
        np.testing.assert_allclose(bar[:, 0], [row.test_accuracy_low, row.test_accuracy_high])


def test_a_model_that_the_paper_lacks_stands_alone():
    figure = against_paper(make_table1(TWO), reported_table1().query("model != 'vit_tiny'"))
    assert not lines(figure, "paper-vit_tiny")
    assert lines(figure, "paper-baseline_cnn")
    assert "ViT-Tiny" in words(figure)


@pytest.mark.parametrize(("name", "along"), [("against, seeds", 1), ("paper, seeds", 0)])
def test_single_runs_stand_on_their_interval(name, along):
    runs = make_runs()
    for model in SIX:
        (strokes,) = lines(drawn(name), f"runs-{model}")
        own = runs[runs.model == model].test_accuracy
        np.testing.assert_array_equal(strokes.get_xydata()[:, along], own)
        assert len(set(strokes.get_xydata()[:, 1 - along])) == 1
    assert "single runs" in words(drawn(name))


def test_a_model_with_one_run_has_no_strokes():
    runs = make_runs(TWO, 1)
    found = against_paper(make_table1(TWO), reported_table1(), runs)
    assert not lines(found, "runs-vit_tiny")
    assert "single runs" not in words(found)


def test_patience_shows_cost_and_gain():
    table, each = make_patience(), make_gains()
    figure = patience_gains(table, each)
    left, right = figure.axes
    spans = [line.get_xdata() for line in left.get_lines() if len(line.get_xdata()) == 2]
    np.testing.assert_array_equal(spans, table[["epochs", "epochs_long"]])
    for row, bar in zip(table.itertuples(), intervals(figure), strict=True):
        np.testing.assert_allclose(bar[:, 0], [row.gain_low, row.gain_high])
        (strokes,) = lines(figure, f"runs-{row.model}")
        np.testing.assert_array_equal(strokes.get_xdata(), each.gain[each.model == row.model])
    assert right.get_ylim() == left.get_ylim()


# Labels


def test_labels_that_have_room_stay():
    np.testing.assert_array_equal(spread([30, 10, 20], 5), [30, 10, 20])


def test_labels_are_moved_as_little_as_needed():
    np.testing.assert_allclose(spread([10, 10, 100], 4), [8, 12, 100])
    np.testing.assert_allclose(spread([10, 11, 12], 4), [7, 11, 15])


def test_labels_stay_between_their_bounds():
    np.testing.assert_allclose(spread([9, 10, 2], 4, low=0, high=10), [6, 10, 2])
    np.testing.assert_allclose(spread([0, 1], 4, low=0, high=10), [0, 4])


def test_points_along_a_line():
    np.testing.assert_allclose(along(np.array([[0, 0], [2, 4]]), steps=2), [[0, 0], [1, 2], [2, 4]])
    np.testing.assert_allclose(along(np.array([[3, 5]])), [[3, 5]])


def test_every_drawing_function_is_exported():
    drawing = {name for name in dir(figures) if hasattr(getattr(figures, name), "__wrapped__")}
    assert drawing == set(figures.__all__)
