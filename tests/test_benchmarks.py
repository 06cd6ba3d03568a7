"""The benchmarks' commands work and add up; how fast anything is, is nobody's business here."""

import csv
import os
import subprocess
import sys

import pytest

from fmnist_lib.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"
NARROW = ("--models", "lenet5", "--images", "128", "--rounds", "1")


def call(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, BENCHMARKS / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


@pytest.mark.parametrize(
    "script", ["throughput.py", "operations.py", "overheads.py", "precision.py", "scaling.py"]
)
def test_help(script):
    done = call(script, "--help")
    assert done.returncode == 0, done.stderr
    assert script in done.stdout


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny comparison, with a README beside the CSV."""
    folder = tmp_path_factory.mktemp("throughput")
    source = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(source, encoding="utf-8")
    output = folder / "throughput.csv"
    ways = "ours_per_core,ours_single,dataloader"
    done = call("throughput.py", *NARROW, "--ways", ways, "--output", output)
    assert done.returncode == 0, done.stderr
    return done, output


def test_the_csv_adds_up(tiny):
    _, output = tiny
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["model", "way", "images_per_second", "ratio_to_dataloader"]
    ways = ["dataloader", "ours_single", "ours_per_core"]
    assert [(r["model"], r["way"]) for r in rows] == [
        (model, way) for model in ("lenet5", "all") for way in ways
    ]
    rates = {(r["model"], r["way"]): float(r["images_per_second"]) for r in rows}
    for row in rows:
        ratio = rates[row["model"], row["way"]] / rates[row["model"], "dataloader"]
        assert float(row["ratio_to_dataloader"]) == pytest.approx(ratio, rel=0.01)
        assert rates["all", row["way"]] == rates["lenet5", row["way"]]  # of one model: its own


def test_every_way_did_the_same_work(tiny):
    done, _ = tiny
    results = {line.partition(" images/s, ")[2] for line in done.stderr.splitlines()} - {""}
    assert len(results) == 1, done.stderr  # loss and accuracy, as printed


def test_the_readme_holds_the_table_between_its_markers(tiny):
    done, output = tiny
    text = output.with_name("README.md").read_text(encoding="utf-8")
    assert done.stdout.strip() in text
    assert "| LeNet-5 |" in text
    before = (BENCHMARKS / "README.md").read_text(encoding="utf-8").partition("<!-- throughput")
    assert text.startswith(before[0])
    assert text.endswith(before[2].partition("<!-- /throughput")[2])


def test_a_part_alone_is_printed_and_replaces_nothing():
    table = BENCHMARKS / "throughput.csv"
    before = table.read_bytes(), (BENCHMARKS / "README.md").read_bytes()
    done = call("throughput.py", *NARROW, "--ways", "dataloader")
    assert done.returncode == 0, done.stderr
    assert "| LeNet-5 |" in done.stdout
    assert "nothing is written without --output" in done.stderr
    assert (table.read_bytes(), (BENCHMARKS / "README.md").read_bytes()) == before


@pytest.mark.parametrize(
    ("script", "arguments", "named"),
    [
        ("precision.py", ("--seeds", 1), "seeds"),
        ("precision.py", ("--epochs", 0), "max_epochs"),
        ("overheads.py", ("--model", "vgg"), "vgg"),
        ("scaling.py", ("--tasks", 0), "--tasks"),
    ],
)
def test_bad_input_of_the_others_is_one_line(script, arguments, named):
    done = call(script, *arguments)
    assert done.returncode == 2
    assert named in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_all_models_in_sequence_is_the_harmonic_mean(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import throughput

    rates = {("lenet5", "dataloader"): 100.0, ("vit_tiny", "dataloader"): 300.0}
    assert throughput.in_sequence(rates, "dataloader") == pytest.approx(150.0)


def test_a_missing_peer_is_one_line(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'skorch' else found(name)\n"
    )
    output = tmp_path / "throughput.csv"
    done = call(
        "throughput.py",
        *NARROW,
        *("--ways", "dataloader,skorch", "--output", output),
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "skorch is not installed" in done.stderr
    assert "--ways" in done.stderr
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--ways", "dataloader,jax"), "jax"),
        (("--ways", "ours_single"), "dataloader"),
        (("--models", "vgg", "--ways", "dataloader"), "vgg"),
        (("--images", "0", "--ways", "dataloader"), "images"),
    ],
)
def test_bad_input_is_one_line(arguments, named):
    done = call("throughput.py", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr


def test_overheads_names_every_stage():
    done = call("overheads.py", "--epochs", 2, "--train-images", 256)
    assert done.returncode == 0, done.stderr
    for stage in ("planning", "start", "training", "between", "evaluation", "end", "writing"):
        assert done.stdout.count(f"| {stage} |") == 2  # in this process, on a cluster


def test_operations_have_a_place_each(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
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
    assert done.returncode == 0, done.stderr
    cells = done.stdout.splitlines()[-1].split("|")[2:-1]
    shares = [int(cell.strip(" %")) for cell in cells[1:-1]]
    assert sum(shares) == pytest.approx(100, abs=len(shares) / 2)  # each is rounded
    assert shares[0] > 0  # it has convolutions
    assert 0 < int(cells[-1].strip(" %")) <= 100
