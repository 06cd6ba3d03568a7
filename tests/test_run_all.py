"""The command as a user meets it: what it prints, its exit status, and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from command import command, files_of

import run_all
from fmnist_lib import paths
from fmnist_lib.commands import train
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore


@pytest.mark.parametrize(
    ("arguments", "wrong", "allowed"),
    [
        (["--profile", "fast"], "'fast'", "smoke, paper, quick, study"),
        (["--models", "lenet5,alexnet"], "'alexnet'", "resnet_mini"),
        (["--seeds", "zero"], "'zero'", "0-4,7"),
        (["--seeds", "4-0"], "'4-0'", "0-4,7"),
        (["--families", "split"], "families", "--train-only"),
        (["--jobs", "0"], "0", "1 to 1000"),
        (["--jobs", "1001"], "1001", "1 to 1000"),
        (["--train-only", "--minutes", "inf"], "inf", "more than 0"),
        (["--train-only", "--store", "REPORT"], "store", "another folder"),
        (["--device", "tpu"], "tpu", "cpu"),
        (["--device", "mps" if sys.platform == "linux" else "cuda"], "finds no", "allowed: cpu"),
        (["--prof", "smoke"], "--prof", "--help"),
        (["--release", "--profile", "smoke", "--dry-run"], "shortened", "paper, study"),
        (["--release", "--output", "x"], "--release", "--output"),
        (["--families", "split", "--profile", "paper"], "--families", "--profile"),
        (["--quick"], "--quick", "--verify"),
        (["--minutes", "3"], "--minutes", "--train-only"),
        (["--train-only", "--release"], "--release", "--store"),
        (["--verify", "--from-released"], "--verify", "--output"),
        (["--verify", "--profile", "smoke"], "--profile", "--seeds"),
        (["--from-released", "--seeds", "0"], "--seeds", "--jobs"),
        (["--explain", "x", "--force"], "--force", "--profile"),
        (["--explain", "x", "--output", "REPORT"], "report/x", "holds no report"),
        (["--explain", "x", "--profile", "fast"], "fast", "allowed: smoke, paper"),
        (["--verify"], "holds no such record", "nothing to verify"),
        (["--from-released"], "report/records", "no seed with all models"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_2(
    project, monkeypatch, capsys, arguments, wrong, allowed
):
    monkeypatch.setattr(train, "train_and_store", None)  # nothing gets that far
    with pytest.raises((SystemExit, UserError)) as stopped:
        command(*(paths.REPORT / "x" if word == "REPORT" else word for word in arguments))
    line = str(stopped.value)
    if isinstance(stopped.value, SystemExit):
        assert stopped.value.code == 2
        line = capsys.readouterr().err.rstrip("\n")
    assert "\n" not in line
    assert wrong in line
    assert allowed in line
    assert not list(project.iterdir())


def test_an_output_folder_that_will_not_do_is_refused_before_any_work(project, monkeypatch):
    (project / "file").touch()
    for link, target in (("gone", "nowhere"), ("round", "round")):
        (project / link).symlink_to(project / target)
    for name in ("records/lenet5-s0/record.json", "figures/mine.svg"):  # much like a report
        (project / "mine" / name).parent.mkdir(parents=True)
        (project / "mine" / name).write_text("mine")
    before, names = files_of(project), {*project.rglob("*")}
    refused = {"mine": "holds other files"}
    for place in ("file", "gone", "round"):
        refused |= dict.fromkeys((place, f"{place}/report"), f"cannot write to .*{place}")
    for name in ("NOTEBOOKS", "REPORT", "RUNS", "DATA"):
        monkeypatch.setattr(paths, name, project / f"own/{name}")
        refused |= dict.fromkeys((f"own/{name}", f"own/{name}/part"), "belongs to the project")
    for output, why in (refused | {paths.ROOT.parent: "belongs to the project"}).items():
        with pytest.raises(UserError, match=f"output: .*{why}"):
            command("--profile", "smoke", "--output", project / output)
    assert (files_of(project), {*project.rglob("*")}) == (before, names)


def test_dry_run_names_each_run_and_changes_nothing(project, smoke_store, monkeypatch, capsys):
    monkeypatch.setattr(paths, "RUNS", smoke_store.folder)
    before = files_of(smoke_store.folder)
    assert command("--profile", "smoke", "--seeds", "0,2", "--dry-run") == 0
    *lines, forecast = capsys.readouterr().out.splitlines()
    states = [line.split(maxsplit=1)[1] for line in lines]
    assert states.count("cached") == 11 * len(MODELS)  # a search keeps its seed
    assert states.count("to train") == 9 * len(MODELS)
    assert forecast.startswith(f"forecast: {9 * len(MODELS)} runs to train, 0.0 core hours; ")
    assert files_of(smoke_store.folder) == before
    assert not list(project.iterdir())


def test_a_cut_record_is_named_and_its_run_trained_once_more(project, smoke_store, capsys):
    (config,) = plan("smoke", models="lenet5")
    smoke_store.copy(smoke_store.find(config), RunStore(paths.RUNS))
    path = paths.RUNS / config.name / "record.json"
    digest = json.loads(path.read_text())["result_digest"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    train = ("--train-only", "--profile", "smoke", "--models", "lenet5")
    with RunStore(paths.RUNS).lock(), pytest.raises(UserError, match="another process"):
        command(*train)
    with pytest.warns(UserWarning, match="record.json.*not a whole JSON"):
        assert command(*train) == 0
    assert capsys.readouterr().out == f"{paths.RUNS}\n"
    assert json.loads(path.read_text())["result_digest"] == digest
    before = files_of(paths.RUNS)
    assert command(*train) == 0
    assert files_of(paths.RUNS) == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
@pytest.mark.parametrize(
    ("started", "signals"),  # how many processes are there when the signals come
    [(2, [signal.SIGINT] * 3), (1, [signal.SIGTERM]), (2, [signal.SIGTERM]), (2, [signal.SIGKILL])],
)
def test_however_it_is_ended_no_process_is_left(tmp_path, started, signals):
    process = subprocess.Popen(
        [
            *(sys.executable, run_all.__file__, "--models", "vit_tiny", "--seeds", "0-1"),
            *("--jobs", "2", "--output", tmp_path / "report"),
        ],
        env=os.environ | {"FMNIST_RUNS": str(tmp_path / "runs")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests started in the background would pass on that interrupts are ignored there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not process.stderr.readline().startswith("training"):
            pass
        workers, deadline = [], time.monotonic() + 60
        while len(workers) < started and time.monotonic() < deadline:
            time.sleep(0.01)
            workers = psutil.Process(process.pid).children(recursive=True)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        printed, errors = process.communicate(timeout=60)
        assert workers
        assert psutil.wait_procs(workers, timeout=30)[1] == []
    finally:
        process.kill()
    if signal.SIGKILL not in signals:
        assert process.returncode == 130
        assert errors.splitlines()[-1].startswith("run_all.py: interrupted")
    assert "Traceback" not in printed + errors
    assert not list((tmp_path / "runs").rglob("record.json"))
