"""The benchmarks' commands work and add up; how fast anything is, is nobody's business here."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.models import build_model
from fmnist_lib.paths import ROOT
from fmnist_lib.runs.config import make_config
from fmnist_lib.training.loop import Trainer, carry_out, place_model, split_parts

BENCHMARKS = ROOT / "benchmarks"
SHORT = {"model": "lenet5", "train_images": 200, "test_images": 100, "max_epochs": 1}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def call(script: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, BENCHMARKS / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("throughput", "--ways ours_single", "dataloader"),
        ("throughput", "--ways dataloader,skorch", "skorch is not installed"),
        ("throughput", "--images 0", "allowed: 1 to 50,000"),
        ("operations", "--models vgg", "vgg"),
        ("gpu", "--profiles", "no CUDA device"),
        ("deployment", "--models lenet5", "onnx is not installed"),
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
    assert "15.0 times the DataLoader over all (at least 20: missed" in gpu.verdict(rates)


@pytest.mark.parametrize("name", ["throughput", "gpu", "deployment"])
def test_the_readme_holds_the_section_between_its_markers(name, tmp_path):
    import common

    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    rates = {("lenet5", "dataloader"): 2.0, ("lenet5", "eager"): 3.0}
    rows = common.rows_of(rates, card="H100")
    common.publish(name, "a table", rows, None, whole=False)  # a part alone replaces nothing
    assert (BENCHMARKS / "README.md").read_text(encoding="utf-8") == text
    common.publish(name, "a table", rows, tmp_path / "x.csv", whole=False)
    (before, _), (_, after) = (text.split(f"<!-- {x}") for x in (f"{name}:", f"/{name} -->"))
    written = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\n\na table\n\n" in written.removeprefix(before).removesuffix(after)
    assert len(written) < len(before) + len(after) + 100
    lines = (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "model,way,images_per_second,ratio_to_dataloader,card"
    assert lines[2] == "lenet5,eager,3.0,1.500,H100"


def test_runs_side_by_side_train_what_each_does_alone():
    import gpu

    runs = gpu.captured_runs("lenet5", 2, device="cpu", train_images=200)
    first = [gpu.time_epoch(runs, epoch, "cpu")[1] for epoch in (1, 2)]
    config = make_config(**SHORT, seed=0)
    torch.manual_seed(0)
    model = place_model(build_model("lenet5"), config)
    alone = Trainer(model, split_parts(load(train_images=200, test_images=1), config), config)
    expected = [carry_out(alone.train_epoch(epoch)) for epoch in (1, 2)]
    assert [sums.seen for sums in first] == [200, 200]
    assert [s.loss for s in first] == pytest.approx([s.loss for s in expected], rel=1e-6)


def test_profiles_end_with_all_their_runs():
    import gpu

    _, epochs = gpu.time_runs([make_config(**SHORT, seed=seed) for seed in (0, 1)], 2)
    assert epochs == 2


def test_throughput_measures_every_way(tmp_path):
    output, ways = tmp_path / "throughput.csv", ["dataloader", "ours_single", "ours_per_core"]
    narrow = ("--models", "lenet5", "--images", 128, "--rounds", 1, "--output", output)
    done = call("throughput.py", *narrow, "--ways", ",".join(reversed(ways)))
    results = {line.partition(" images/s, ")[2] for line in done.stderr.splitlines()} - {""}
    assert len(results) == 1, done.stderr  # loss and accuracy: the same work
    rows = [line.split(",")[:2] for line in output.read_text(encoding="utf-8").splitlines()]
    assert rows[1:] == [[model, way] for model in ("lenet5", "all") for way in ways]


def test_operations_shares_add_up_to_the_step():
    cells = call("operations.py", "--models", "lenet5").stdout.splitlines()[-1].split("|")[2:-1]
    shares = [int(cell.strip(" %")) for cell in cells[1:-1]]
    assert sum(shares) == pytest.approx(100, abs=len(shares) / 2)  # each is rounded
    assert shares[0] > 0  # it has convolutions
    assert 0 < int(cells[-1].strip(" %")) <= 100
