"""Figures: what they show is what the frames hold, and a reader can tell it all apart."""

import io
import itertools
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axis import Tick
from matplotlib.text import Text

from fmnist_lib.data.fashion_mnist import CLASS_NAMES
from fmnist_lib.models import MODELS
from fmnist_lib.report import figures
from fmnist_lib.report.figures.style import LOOKS, SMALL, styled
from fmnist_lib.results.value import Value, framed, reported

SIX, TITLES = tuple(MODELS), [model.title for model in MODELS.values()]
PARAMETERS = [61706, 11402, 11666, 14218, 105546, 6330]
MACS = [4.2e5, 1.3e6, 3.9e6, 1.5e6, 5.9e6, 5.1e5]
ACCURACY = [89.4, 90.7, 90.9, 90.5, 88.5, 89.9]
PAPERS = [89.1, 91.1, 89.7, 91.6, 88.1, 90.0]
IMAGES = np.random.default_rng(0).uniform(0, 1, (8, 28, 28))


def make_epochs(models=SIX, runs=3):
    """Run n is n epochs longer, and n / 10 points better; the second epoch's time is a stall."""
    rows = []
    for model, run in itertools.product(models, range(runs)):
        place = SIX.index(model)
        for epoch in range(1, 13 + 4 * place + run):
            accuracy = ACCURACY[place] - (40 if epoch == 1 else 14 * np.exp(-epoch / 3)) + run / 10
            loss = 0.3 + (2 if epoch == 1 else np.exp(-epoch / 3)) + 0.01 * np.sin(7 * epoch + run)
            time = (place + 1 + run / 10) * (100 if epoch == 2 else 1)
            row = {"name": f"{model}-s{run}", "model": model, "epoch": epoch}
            row |= {"test_accuracy": accuracy, "train_accuracy": accuracy + 0.1 * epoch - 1}
            row |= {"test_loss": loss, "train_loss": loss - 0.01 * epoch}
            rows.append({**row, "train_seconds": 7 * time, "inference_ms": 300 * time})
    return pd.DataFrame(rows)


def make_models(models=SIX, runs=3, timed=True):
    rows = []
    for place in map(SIX.index, models):
        seconds = 7.0 * (6 - place) if timed else np.nan  # the last model is the fastest
        end = {"best_epoch": 10 + 6 * place, "test_accuracy": PAPERS[place], "test_loss": 0.3}
        end |= {"train_accuracy": PAPERS[place] + 1, "train_loss": 0.25}
        row = {"parameters": Value(PARAMETERS[place]), "macs": Value(MACS[place])}
        row["test_accuracy"] = spread(ACCURACY[place], 0.5, runs)
        row["gain"] = spread(0.1 * place - 0.05, 0.3, runs)
        row["train_seconds"] = Value(seconds, low=0.9 * seconds, high=1.2 * seconds)
        row |= {"inference_ms": Value(40 * seconds), "inference_ms_paper": reported(1500.0, 90.0)}
        row["train_seconds_paper"] = reported(20.0 * (place + 1), 2.0)
        rows.append(row | {f"{name}_paper": reported(number) for name, number in end.items()})
    return pd.DataFrame(rows, models, dtype=object)


def spread(number, reach, runs):
    parts = {f"seed {n}": number + 0.1 * (n - (runs - 1) / 2) for n in range(runs)}
    return Value(number, low=number - reach, high=number + reach, parts=parts)


def make_scores(models):
    """The fourth class is the hardest, the models differ by a point each."""
    pairs = itertools.product(enumerate(models), enumerate(CLASS_NAMES))
    rows = [(m, name, Value(62 + 4 * abs(n - 3) - place)) for (place, m), (n, name) in pairs]
    return pd.DataFrame(rows, columns=["model", "class", "f1"], dtype=object)


def make_counts(models):
    """Of a thousand images of class n, 12 + 40 n are taken for the next class, 3 for another."""
    counts = np.zeros((10, 10))
    for n in {*range(10)} - {5}:  # no images of the sixth class
        counts[n, [n, (n + 1) % 10, (n + 2) % 10]] = 985 - 40 * n, 12 + 40 * n, 3
    return dict.fromkeys(models, pd.DataFrame(counts, CLASS_NAMES, CLASS_NAMES))


def make_bins(models=SIX):
    sure, images = np.linspace(25, 98, 8), [1, *range(100, 800, 100)]
    bins = pd.DataFrame({"images": images, "confidence": sure})
    return {model: bins.assign(accuracy=sure * (0.9 + n / 50)) for n, model in enumerate(models)}


ALL = {
    "accuracy": lambda *frames: figures.all_curves(*frames, "accuracy"),
    "loss": lambda *frames: figures.all_curves(*frames, "loss"),
    "time": figures.time_per_epoch,
    "learning": lambda epochs, models: figures.learning_curves(
        epochs[epochs.model == models.index[-1]], models[-1:]
    ),
    "overview": lambda _, models: figures.overview(models),
    "pareto": lambda _, models: figures.pareto(models),
    "paper": lambda _, models: figures.against_paper(models),
    "effects": lambda _, models: figures.effects(models, ["gain", "gain"]),
    "classes": lambda _, models: figures.class_heat(make_scores(models.index)),
    "confusion": lambda _, models: figures.confusion_multiples(make_counts(models.index)),
    "calibration": lambda _, models: figures.reliability(make_bins(models.index)),
    "images": lambda *_: figures.images_grid(IMAGES, ["T-shirt/top → Ankle boot\n91 %"] * 8),
}


def draw(name, models=SIX, runs=3, timed=True):
    epochs = make_epochs(models, runs)
    epochs = epochs if timed else epochs.assign(inference_ms=np.nan)
    return ALL[name](epochs, make_models(models, runs, timed))


drawn = cache(draw)


def lines(figure, label):
    found = [line for axes in figure.axes for line in axes.get_lines()]
    return [line for line in found if line.get_label() == label]


def points(figure, label):
    """Where marks or lines of this label are, one array (points, 2) a line."""
    return [line.get_xydata() for line in lines(figure, label)]


@styled
def boxes(figure):
    """Where each text is that a reader sees; ticks beyond the ends of an axis have some unseen."""
    figure.draw_without_rendering()
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    ticks = {tick for axis in axes for tick in axis.get_children() if isinstance(tick, Tick)}
    unseen = ticks - {tick for axis in axes for tick in axis._update_ticks()}
    hidden = {text for tick in unseen for text in (tick.label1, tick.label2)}
    seen = [text for text in figure.findobj(Text) if text.get_visible() and text not in hidden]
    return {text: text.get_window_extent() for text in seen if text.get_text().strip()}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("runs", [(), (SIX[:1], 2), (SIX[1:], 1, False)])
def test_no_text_is_small_cut_or_on_another(name, runs):
    figure = drawn(name, *runs)
    found = boxes(figure)
    assert all(text.get_fontsize() >= SMALL for text in found)
    for text, box in found.items():
        assert figure.bbox.padded(1).count_contains(box.corners()) == 4, text
    for (first, one), (second, other) in itertools.combinations(found.items(), 2):
        assert not one.padded(-0.5).overlaps(other.padded(-0.5)), (first, second)


def test_the_same_data_gives_the_same_files_in_another_process_and_under_other_settings():
    expected = figures.image_files(draw("paper"))
    assert b"<text" not in expected["svg"]  # but paths: no font is needed to read it
    script = (
        "from test_figures import *; open(1, 'wb').write(figures.image_files(draw('paper'))['svg'])"
    )
    env, folder = {**os.environ, "PYTHONHASHSEED": "1"}, Path(__file__).parent
    found = subprocess.run([sys.executable, "-c", script], cwd=folder, env=env, capture_output=True)
    assert found.stdout == expected["svg"]
    with mpl.rc_context({"font.size": 20, "axes.grid": False, "lines.linewidth": 9}):
        before = dict(mpl.rcParams)
        assert figures.image_files(draw("paper")) == expected
        assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_an_svg_has_two_decimals_and_the_same_lines_and_scales_as_matplotlibs():
    figure, whole = draw("pareto"), io.StringIO()
    styled(figure.savefig)(whole, format="svg")
    whole, light = whole.getvalue(), figures.image_files(figure)["svg"].decode()
    assert len(light) < 0.7 * len(whole)
    for part, off in ((r' d="([^"]*)', 0.006), (r"scale\(([^)]*)", 0)):
        both = (" ".join(re.findall(part, svg)) for svg in (light, whole))
        light_ones, all_ones = (np.array(re.findall(r"-?[\d.]+", each), float) for each in both)
        np.testing.assert_allclose(light_ones, all_ones, atol=off)


def contrast(colour):
    """With white: WCAG 2.2."""
    channels = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return 1.05 / (linear @ (0.2126, 0.7152, 0.0722) + 0.05)


def test_every_model_has_a_look_of_its_own_that_can_be_seen():
    assert tuple(LOOKS) == SIX
    for kind in ("colour", "marker", "dashes"):
        assert len({getattr(look, kind) for look in LOOKS.values()}) == len(SIX)
    assert min(contrast(look.colour) for look in LOOKS.values()) >= 3
    assert min(contrast(look.ink) for look in LOOKS.values()) >= 4.5


def test_means_are_drawn_to_the_end_of_the_last_run():
    """ViT-Tiny's three runs have 28, 29 and 30 epochs."""
    accuracy = drawn("accuracy")
    test, going, run = (lines(accuracy, f"_{of}")[4] for of in ("test", "test-going", "run"))
    single = make_epochs(["vit_tiny"], 1).set_index("epoch").test_accuracy
    np.testing.assert_allclose(test.get_xydata(), np.column_stack([range(1, 29), single + 0.1]))
    last = 88.5 - 14 * np.exp(-np.array([28, 29, 30]) / 3) + np.array([0.1, 0.15, 0.2])
    np.testing.assert_allclose(going.get_xydata(), np.column_stack([[28, 29, 30], last]))
    assert test.get_linewidth() > going.get_linewidth() > run.get_linewidth()


@pytest.mark.parametrize("name", ["accuracy", "loss"])
def test_panels_share_axes_without_first_epochs_and_mark_best_ones_and_the_papers(name):
    figure, epochs = drawn(name), make_epochs()
    assert [axes.get_title(loc="left") for axes in figure.axes] == TITLES
    limits = {(axes.get_xscale(), *axes.viewLim.frozen().bounds) for axes in figure.axes}
    assert [first for first, *_ in limits] == ["linear"]  # one for all
    shown = epochs[f"test_{name}"].between(*figure.axes[0].get_ylim())
    assert shown[epochs.epoch >= 5].all()
    assert not shown[epochs.epoch == 1].any()
    assert all(line.is_dashed() for line in lines(figure, "_train"))
    assert not any(line.is_dashed() for line in lines(figure, "_test"))
    best = epochs.loc[epochs.groupby("name", sort=False).test_loss.idxmin()]
    marks = np.concatenate(points(figure, "_best"))
    np.testing.assert_array_equal(marks, best[["epoch", f"test_{name}"]])
    for split in ("test", "train"):
        marks = np.concatenate(points(figure, f"_paper-{split}"))
        ends = make_models()[["best_epoch_paper", f"{split}_{name}_paper"]]
        np.testing.assert_array_equal(marks, ends.astype(float))
        assert figure.axes[0].viewLim.count_contains(marks) == len(SIX)


def test_times_stand_in_the_order_of_ours_and_stalls_do_not_count():
    axes, models, epochs = drawn("time").axes[0], make_models(), make_epochs()
    found = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    titles = [label.get_text() for label in axes.get_yticklabels()]
    assert (axes.get_xscale(), titles) == ("log", TITLES[::-1])
    for place, model in enumerate(reversed(SIX)):
        alone, within = found[f"_ours-interval-{model}"], found[f"_within-{model}"]
        np.testing.assert_allclose(alone[:, 0], models.train_seconds[model].interval)
        paper = models.train_seconds_paper[model] + np.array([-2, 2])
        np.testing.assert_allclose(found[f"_paper-interval-{model}"][:, 0], paper)
        times = epochs[epochs.model == model].train_seconds
        np.testing.assert_allclose(within, [(q, place) for q in times.quantile([0.1, 0.9])])
        assert within[1][0] < 2 * times.median() < times.max()
        assert axes.viewLim.count_contains(np.concatenate([alone, within])) == 4


@pytest.mark.parametrize("accuracies", [ACCURACY, [90.0] * 6, [89.2, 90.5, 90.6, 90.5, 88.5, 90.4]])
def test_the_overview_shows_both_and_names_touch_neither_each_other_nor_a_mark(accuracies):
    models = make_models()
    models["test_accuracy"] = pd.Series([spread(a, 0.3, 1) for a in accuracies], SIX, dtype=object)
    figure = figures.overview(models)
    figure.draw_without_rendering()
    names = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(names, 2))
    for model, own in models.iterrows():
        ((here,), (there,)) = (points(figure, f"_{of}-{model}")[0] for of in ("ours", "paper"))
        assert [*here, there[1]] == [own.macs, own.test_accuracy, own.test_accuracy_paper]
        (interval,) = points(figure, f"_ours-interval-{model}")
        assert [*interval[:, 1]] == [*own.test_accuracy.interval]
        for spot in figure.axes[0].transData.transform([here, there]):
            assert not any(name.contains(*spot) for name in names)


def test_fronts_by_hand():
    """Ours by parameters: CNN, then ResNet, then DenseNet; the paper's: CNN, ResNet, MobileNet."""
    ours, theirs = (line.get_ydata() for line in lines(drawn("pareto"), "_front")[:2])
    assert [[*ours], [*theirs]] == [[89.9, 90.7, 90.9], [90.0, 91.1, 91.6]]
    assert points(drawn("pareto"), "_paper-vit_tiny")[2][0, 0] == 100  # seconds


@pytest.mark.parametrize(("name", "reach"), [("paper", 0.5), ("effects", 0.3)])
def test_rows_have_interval_and_runs_about_their_number(name, reach):
    for n, model in enumerate(SIX):
        number = ACCURACY[n] - PAPERS[n] if name == "paper" else 0.1 * n - 0.05
        expected = {"ours": [0], "ours-interval": [-reach, reach], "runs": [-0.1, 0, 0.1]}
        for what, offsets in expected.items():
            found = points(drawn(name), f"_{what}-{model}")[-1]
            np.testing.assert_allclose(found[:, 0], number + np.array(offsets), atol=1e-9)


def test_several_rows_may_be_of_one_model_and_runs_are_explained_where_there_are_some():
    rows = make_models(SIX[:2])[["gain"]].assign(model="vit_tiny").set_axis(["so", "or so"])
    figure = figures.effects(rows, ["gain"])
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["so", "or so"]
    assert [line[0, 0] for line in points(figure, "_ours-vit_tiny")] == [-0.05, pytest.approx(0.05)]
    bare = framed({name: {"model": "vit_tiny", "gain": Value(1, low=0, high=2)} for name in "ab"})
    explained = [figures.effects(each, ["gain"]).legends[0].get_texts() for each in (rows, bare)]
    assert [len(texts) for texts in explained] == [2, 1]


def test_classes_stand_by_how_hard_they_are_with_readable_numbers():
    (axes,) = drawn("classes").axes
    assert axes.get_xticklabels()[0].get_text() == CLASS_NAMES[3]
    assert [text.get_text() for text in axes.texts[::10]] == [f"{62 - n}.0" for n in range(6)]
    assert max(contrast(cell[:3]) for cell in axes.collections[0].get_facecolors()) < 2.5


def test_confusion_shows_errors_alone():
    axes = drawn("confusion").axes[1]
    cells = axes.collections[0].get_array().reshape(10, 10)
    assert (cells.mask.diagonal().all(), cells.count()) == (True, 18)
    np.testing.assert_allclose([cells[1, 2], cells[9, 0], cells[9, 1]], [5.2, 37.2, 0.3])
    written = [text for text in axes.texts if text.get_text()]
    assert " ".join(text.get_text() for text in written) == "5 9 13 17 25 29 33 37"
    assert {text.get_color() for text in written} == {"w"}
    dark = axes.collections[0].get_facecolors()[(cells.filled(0) >= 5).ravel()]
    assert min(contrast(cell[:3]) for cell in dark) >= 4.5


def test_calibration_leaves_out_bins_of_a_few_images():
    left, right = drawn("calibration").axes
    own = make_bins()["lenet5"].iloc[1:]
    np.testing.assert_array_equal(left.get_lines()[1].get_xydata(), own.iloc[:, 1:])
    np.testing.assert_allclose(right.get_lines()[1].get_ydata(), -0.1 * own.confidence)


def test_images_are_shown_as_they_are_with_a_caption_each():
    for axes, image in zip(drawn("images").axes, IMAGES, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array()[::4, ::4], image)
    assert figures.images_grid(IMAGES[:0], []).axes == []
