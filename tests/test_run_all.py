"""The command as a user meets it: one smoke run through everything, then what can go wrong."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from bs4 import BeautifulSoup
from made_up import make_run
from pypdf import PdfReader

from fmnist_lib.models import MODELS
from fmnist_lib.paths import ROOT
from fmnist_lib.reporting.publish import WEIGHTS
from fmnist_lib.reporting.readme import FILES
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore

OURS = {".made-from", ".fmnist-report"}  # how a report's folder is known


def command(*arguments, runs, **options):
    """The finished process of `run_all.py`, with a record store of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "run_all.py", *map(str, arguments)],
        env=os.environ | {"FMNIST_RUNS": str(runs)},
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A whole smoke run: its record store, its report's folder, what it printed."""
    folder = tmp_path_factory.mktemp("smoke")
    runs, output = folder / "runs", folder / "report"
    done = command("--profile", "smoke", "--jobs", 2, "--output", output, runs=runs)
    assert done.returncode == 0, done.stderr
    return runs, output, done


def test_everything_that_is_promised_comes_out(smoke):
    _, output, done = smoke
    expected = [
        "index.html",
        "report.pdf",
        "README.md",
        "results.csv",
        *(f"figures/figure{number}.svg" for number in (1, 2, 3)),
        *(f"models/{model}/{name}" for model in MODELS for name in ("README.md", WEIGHTS)),
        "notebooks/comparison.ipynb",
        *(f"notebooks/{model}.ipynb" for model in MODELS),
    ]
    assert [name for name in expected if not (output / name).stat().st_size] == []
    assert len(RunStore(output / "records").runs()) == len(MODELS)
    assert len(RunStore(output / "records").costs()) == len(MODELS)
    assert done.stdout.strip() == str(output / "index.html")
    assert not [path for path in output.rglob(".*") if path.name not in OURS]


def test_its_readme_says_what_each_file_is(smoke):
    _, output, _ = smoke
    found = {path.name + "/" * path.is_dir() for path in output.iterdir()}
    assert found - {"README.md", *OURS} == set(FILES)


def test_every_figure_is_there_as_svg_png_and_csv(smoke):
    _, output, _ = smoke
    page = BeautifulSoup((output / "index.html").read_text(), "html.parser")
    names = {figure["id"].removeprefix("fig-") for figure in page.select("figure.figure")}
    assert {path.name for path in (output / "figures").iterdir()} == {
        f"{name}.{kind}" for name in names for kind in ("svg", "png", "csv")
    }
    for image in page.select("figure.figure img"):
        drawn = base64.b64decode(image["src"].partition(",")[2])
        name = image.find_parent("figure")["id"].removeprefix("fig-")
        assert (output / "figures" / f"{name}.svg").read_bytes() == drawn


def test_tables_have_the_columns_others_rely_on(smoke):
    _, output, _ = smoke
    table1 = pd.read_csv(output / "tables" / "table1.csv")
    assert list(table1.columns[:8]) == [
        *("model", "parameters", "n", "train_loss", "test_loss"),
        *("train_accuracy", "test_accuracy", "best_epoch"),
    ]
    assert list(table1.model) == list(MODELS)
    assert list(table1.parameters) == [61_706, 11_402, 11_666, 14_218, 105_546, 6_330]
    table2 = pd.read_csv(output / "tables" / "table2.csv")
    assert list(table2.columns[:9]) == [
        *("model", "n", "train_seconds_mean", "train_seconds_std"),
        *("inference_ms_mean", "inference_ms_std", "epochs"),
        *("total_train_seconds", "train_us_per_parameter"),
    ]
    total = table2.train_seconds_mean * table2.epochs
    assert list(table2.total_train_seconds) == pytest.approx(list(total))


def test_the_table_says_what_the_records_say(smoke):
    _, output, _ = smoke
    table = pd.read_csv(output / "tables" / "table1.csv").set_index("model")
    for record in RunStore(output / "records").runs():
        (result,) = record.stops.values()
        row = table.loc[record.config.model]
        assert row.test_accuracy == pytest.approx(result.test_accuracy)
        right = sum(result.confusion[i][i] for i in range(10))
        assert row.test_accuracy == pytest.approx(100 * right / 500)


def test_every_measured_number_of_the_page_carries_its_source(smoke):
    _, output, _ = smoke
    page = BeautifulSoup((output / "index.html").read_text(), "html.parser")
    sourced = page.select(".value[data-source][data-at]")
    assert len(sourced) > 1000
    for element in (*sourced, *page.select("#body :is(details, .number)")):
        element.decompose()
    measured = re.compile(r"\d\.\d\d|\d,\d\d\d")
    assert page.select_one("#abstract").find_all(string=measured) == []
    assert page.select_one("#body").find_all(string=measured) == []


def test_a_shortened_report_says_draft_on_every_page(smoke):
    _, output, _ = smoke
    assert "DRAFT" in (output / "index.html").read_text()
    pages = PdfReader(output / "report.pdf").pages
    assert all("DRAFT" in page.extract_text() for page in pages)


def test_executed_notebooks_have_outputs_and_no_error(smoke):
    _, output, _ = smoke
    for path in (output / "notebooks").glob("*.ipynb"):
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        outputs = [out for cell in cells for out in cell.outputs]
        assert outputs, path
        assert not [out for out in outputs if out.output_type == "error"], path


def test_an_unchanged_second_run_trains_nothing_and_leaves_the_report(smoke):
    runs, output, _ = smoke
    before = {p: p.stat().st_mtime_ns for p in [*runs.rglob("*.json"), output / "index.html"]}
    done = command("--profile", "smoke", "--output", output, runs=runs)
    assert done.returncode == 0, done.stderr
    assert "nothing has changed" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_dry_run_names_each_run_and_why(smoke):
    runs, _, _ = smoke
    done = command("--profile", "smoke", "--seeds", "0-1", "--dry-run", runs=runs)
    *lines, forecast = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) == 2 * len(MODELS)
    assert forecast.startswith(f"forecast: {len(MODELS)} runs to train, 0.0 core hours; ")
    assert sum(line.endswith(" cached") for line in lines) == len(MODELS)
    reason = "to train, because no record of this model and seed"
    assert sum(line.endswith(reason) for line in lines) == len(MODELS)


def test_a_dry_run_leaves_damaged_files_where_they_are(tmp_path):
    output = make_run()
    RunStore(tmp_path).write(output)
    (config,) = plan("smoke", models="lenet5")
    shutil.move(tmp_path / output.record.name, tmp_path / config.name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = command("--profile", "smoke", "--models", "lenet5", "--dry-run", runs=tmp_path)
    assert done.returncode == 0
    assert f"{config.name}/record.json: name: the record is of another run" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_cut_record_is_named_and_its_run_trained_again(smoke, tmp_path):
    runs, _, _ = smoke
    (config,) = plan("smoke", models="lenet5")
    path = runs / config.name / "record.json"
    digest = json.loads(path.read_text())["result_digest"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = command(
        *("--profile", "smoke", "--models", "lenet5", "--output", tmp_path / "out"), runs=runs
    )
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(path.read_text())["result_digest"] == digest


@pytest.mark.parametrize(
    ("arguments", "wrong", "allowed"),
    [
        (["--profile", "fast"], "'fast'", "smoke, paper, study"),
        (["--models", "lenet5,alexnet"], "'alexnet'", "resnet_mini"),
        (["--seeds", "zero"], "'zero'", "0-4,7"),
        (["--seeds", "4-0"], "'4-0'", "0-4,7"),
        (["--jobs", "0"], "0", "1 to 1000"),
        (["--device", "tpu"], "tpu", "cpu"),
        (["--device", "mps" if sys.platform == "linux" else "cuda"], "finds no", "allowed: cpu"),
        (["--prof", "smoke"], "--prof", "--help"),
        (["--release", "--profile", "smoke"], "shortened", "paper, study"),
        (["--release", "--output", "x"], "--release", "--output"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, arguments, wrong, allowed):
    done = command(*arguments, runs=tmp_path / "runs")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert wrong in line
    assert allowed in line
    assert not list(tmp_path.iterdir())


def test_output_that_cannot_be_written_is_said_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "report"
    done = command("--profile", "smoke", "--output", output, runs=tmp_path / "runs")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(output) in line
    assert not (tmp_path / "runs").exists()


def test_a_second_command_on_the_same_store_says_who_holds_it(tmp_path):
    with RunStore(tmp_path / "runs").lock():
        done = command("--profile", "smoke", "--output", tmp_path / "out", runs=tmp_path / "runs")
    assert done.returncode == 2
    assert f"(id {os.getpid()})" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
@pytest.mark.parametrize("signals", [[signal.SIGINT] * 3, [signal.SIGTERM]])
def test_ctrl_c_ends_with_one_line_and_leaves_no_process(tmp_path, signals):
    process = subprocess.Popen(
        [
            *(sys.executable, ROOT / "run_all.py", "--models", "vit_tiny"),
            *("--seeds", "0-1", "--jobs", "2", "--output", tmp_path / "report"),
        ],
        env=os.environ | {"FMNIST_RUNS": str(tmp_path / "runs")},
        stderr=subprocess.PIPE,
        text=True,
        # Tests started in the background would pass on that interrupts are ignored there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not process.stderr.readline().startswith("training"):
            pass
        workers, deadline = [], time.monotonic() + 60
        while len(workers) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
            workers = psutil.Process(process.pid).children(recursive=True)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        _, errors = process.communicate(timeout=60)
        assert workers
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert alive == []
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("run_all.py: interrupted")
    assert "Traceback" not in errors
    assert not list(Path(tmp_path / "runs").rglob("record.json"))
