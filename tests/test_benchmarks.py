"""The benchmarks' commands work and add up; how fast anything is, is nobody's business here."""

import importlib.util
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.models import build_model
from fmnist_lib.paths import ROOT
from fmnist_lib.runs.config import make_config
from fmnist_lib.training.loop import Trainer, finish, place_model, split_parts

BENCHMARKS = ROOT / "benchmarks"
SHORT = {"model": "lenet5", "train_images": 200, "test_images": 100, "max_epochs": 1}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def call(script: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, BENCHMARKS / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


# --- bad input


@pytest.mark.parametrize("name", ["throughput", "operations", "scaling", "gpu"])
def test_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        __import__(name).main(["--help"])
    assert f"usage: {name}.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("throughput", "--ways dataloader,jax", "jax"),
        ("throughput", "--ways ours_single", "dataloader"),
        ("throughput", "--models vgg", "vgg"),
        ("throughput", "--ways dataloader,skorch", "skorch is not installed"),
        ("throughput", "--images 0", "allowed: 1 to 50,000"),
        ("throughput", "--rounds many", "many"),
        ("operations", "--models vgg", "vgg"),
        ("scaling", "--tasks 0", "allowed: 1 and more"),
        ("gpu", "--models vgg", "vgg"),
        ("gpu", "--runs 33", "allowed: 1 to 32"),
        ("gpu", "--image 5", "--image"),
        ("gpu", "", "no CUDA device"),
        ("gpu", "--profiles", "no CUDA device"),
    ],
)
def test_bad_input_is_one_line(name, arguments, named, capsys, monkeypatch):
    command = __import__(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # no peer is installed
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments.split())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{name}.py: ")
    assert named in line


# --- arithmetic, on timings that are made up


def test_the_better_number_of_workers_counts_and_slow_models_weigh_most():
    import common
    import gpu

    timings = {
        ("lenet5", "dataloader", 0): [90, 100, 400],  # the median: 100
        ("lenet5", "dataloader", 8): [50, 60, 70],
        ("vit_tiny", "dataloader", 0): [10, 20, 30],
        ("vit_tiny", "dataloader", 8): [20, 25, 30],
        ("lenet5", "side_by_side", 0): [4000],
        ("vit_tiny", "side_by_side", 0): [325],
    }
    rates = common.rates_of(timings)
    assert rates["lenet5", "dataloader"] == 100
    assert rates["all", "dataloader"] == pytest.approx(2 / (1 / 100 + 1 / 25))  # in sequence
    assert common.row_of(rates, "lenet5", gpu.WAYS[::3])[1:] == ["100 (1.00×)", "4,000 (40.00×)"]
    said = gpu.verdict(rates)
    assert "15.0 times the DataLoader over all (at least 20: missed; goal 40: missed)" in said
    assert "13.0 times for ViT-Tiny, which gains least (at least 12: met)" in said


def test_a_part_alone_is_printed_and_replaces_nothing(capsys):
    import common

    files = [BENCHMARKS / name for name in ("throughput.csv", "README.md")]
    before = [file.read_bytes() for file in files]
    common.publish("throughput", "a table", {}, None, whole=False)
    assert [file.read_bytes() for file in files] == before
    printed = capsys.readouterr()
    assert printed.out == "a table\n"
    assert "nothing is written without --output" in printed.err


@pytest.mark.parametrize("name", ["throughput", "gpu"])
def test_the_readme_holds_the_section_between_its_markers(name, tmp_path):
    import common

    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    rates = {("lenet5", "dataloader"): 2.0, ("lenet5", "eager"): 3.0}
    common.publish(name, "a table", rates, tmp_path / "x.csv", whole=False, card="H100")
    (before, _), (_, after) = (text.split(f"<!-- {x}") for x in (f"{name}:", f"/{name} -->"))
    written = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert written.startswith(before)
    assert written.endswith(after)
    assert "\n\na table\n\n" in written.removeprefix(before).removesuffix(after)
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines() == [
        "model,way,images_per_second,ratio_to_dataloader,card",
        "lenet5,dataloader,2.0,1.000,H100",
        "lenet5,eager,3.0,1.500,H100",
    ]


# --- every way trains the same


@pytest.mark.parametrize("way", ["dataloader", "ours_single"])
def test_a_way_trains_what_a_plain_loop_does(way):
    import ways

    work = ways.Work("lenet5", 200)
    block = ways.run_block(way, work)
    data = load()
    torch.manual_seed(0)
    model, losses = build_model("lenet5"), []
    adam = torch.optim.Adam(model.parameters(), lr=0.001)
    for batch in torch.tensor(work.order).split(64):
        loss = F.cross_entropy(model(data.train_images[batch]), data.train_labels[batch])
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses += [loss.item()] * len(batch)
    assert len(losses) == 840  # with the warm-up's
    assert block.loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert block.finished > block.started > 0


def test_runs_side_by_side_train_what_each_does_alone():
    import gpu

    runs = gpu.captured_runs("lenet5", 2, device="cpu", train_images=200)
    for epoch in (1, 2):
        rate, first = gpu.time_epoch(runs, epoch, "cpu")
        assert rate > 0
        assert first.seen == 200
    config = make_config(**SHORT, seed=0)
    torch.manual_seed(0)
    model = place_model(build_model("lenet5"), config)
    alone = Trainer(model, split_parts(load(train_images=200, test_images=1), config), config)
    finish(alone.train_epoch(1))
    assert finish(alone.train_epoch(2)).loss == pytest.approx(first.loss, rel=1e-6)


def test_profiles_end_with_all_their_runs():
    import gpu

    seconds, epochs = gpu.time_runs([make_config(**SHORT, seed=seed) for seed in (0, 1)], 2)
    assert seconds > 0
    assert epochs == 2
    impossible = make_config(**SHORT, learning_rate=1e38)
    with pytest.raises(RuntimeError, match="not finite"):
        gpu.time_runs([impossible], 1)


def test_throughput_measures_every_way(tmp_path):
    output = tmp_path / "throughput.csv"
    narrow = ("--models", "lenet5", "--images", 128, "--rounds", 1, "--output", output)
    done = call("throughput.py", *narrow, "--ways", "ours_per_core,ours_single,dataloader")
    results = {line.partition(" images/s, ")[2] for line in done.stderr.splitlines()} - {""}
    assert len(results) == 1, done.stderr  # loss and accuracy: the same work
    rows = [line.split(",")[:2] for line in output.read_text(encoding="utf-8").splitlines()]
    ways = ["dataloader", "ours_single", "ours_per_core"]
    assert rows[1:] == [[model, way] for model in ("lenet5", "all") for way in ways]


# --- where a step's time goes


def test_operations_have_a_place_each():
    import operations

    names = {
        "aten::mkldnn_convolution": "convolutions",
        "aten::convolution_backward": "convolutions",
        "aten::addmm": "matrix products",
        "aten::native_batch_norm_backward": "normalisation",
        "aten::max_pool2d_with_indices": "pooling",
        "aten::_fused_adam_": "optimiser",
        "aten::copy_": operations.REST,
    }
    assert {name: operations.kind_of(name) for name in names} == names


def test_operations_shares_add_up_to_the_step():
    done = call("operations.py", "--models", "lenet5")
    cells = done.stdout.splitlines()[-1].split("|")[2:-1]
    shares = [int(cell.strip(" %")) for cell in cells[1:-1]]
    assert sum(shares) == pytest.approx(100, abs=len(shares) / 2)  # each is rounded
    assert shares[0] > 0  # it has convolutions
    assert 0 < int(cells[-1].strip(" %")) <= 100
