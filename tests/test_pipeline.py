"""From a plan to a report, with stubs for what trains long and draws: what is done, and when."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace
from unittest.mock import Mock

import nbformat
import pandas as pd
import pytest
from command import command, files_of
from made_up import make_cost, make_run, make_turn
from nbformat.v4 import new_code_cell, new_notebook, new_output

from fmnist_lib import paths
from fmnist_lib.commands import make_report
from fmnist_lib.commands.job import Job
from fmnist_lib.commands.make_report import has_cost, timed_beside
from fmnist_lib.commands.train import find_run, state_of
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.execution import here
from fmnist_lib.models import MODELS
from fmnist_lib.report.files import BUNDLE, MARKER, write
from fmnist_lib.runs.plans import plan, plan_families
from fmnist_lib.runs.store import RunStore

NUMBER = {"text": "90.00", "value": 90.0, "std": None, "low": None, "high": None, "parts": {}}
WHOLE = {"index.html", "numbers.json", "README.md", "results.csv"}


def job(tmp_path, profile="smoke", *, models="", seeds="", precision="fp32", **options):
    stores = {name: RunStore(tmp_path / name) for name in ("store", "released")}
    configs = plan(profile, models=models, seeds=seeds, precision=precision)
    return Job(profile=profile, configs=configs, output=tmp_path / "out", **stores, **options)


def test_the_variant_of_a_claim_on_times_is_timed_with_its_model():
    configs = plan("paper", models="mobilenet_lite,vit_tiny")
    (variant,) = timed_beside(configs)
    assert variant.differs(configs[0]) == {"model_options": ({"separable": False}, {})}


# --- the whole way, with what takes long left out ---


@pytest.fixture
def quick(monkeypatch, smoke_store, project):
    """Stubs: times are made up, a notebook shows one number and one table, a page says that it is.

    The machine has the smoke runs already; what was executed and timed is noted.
    """
    done = SimpleNamespace(executed=[], timed=[], turns=[make_turn(10.0)], fail={}, parameters={})

    def execute(notebooks, folder, parameters, *, jobs):
        done.executed += [notebook.stem for notebook in notebooks]
        done.parameters = parameters
        for notebook in notebooks:
            files = {f"{kind}/{notebook.stem}.csv": "YQo=" for kind in ("tables", "figures")}
            numbers = {f"{notebook.stem}/x": {**NUMBER, "sources": ["paper"]}}
            output = new_output("display_data", {BUNDLE: {"numbers": numbers, "files": files}})
            made = new_notebook(cells=[new_code_cell("x", outputs=[output])])
            write(folder, f"notebooks/{notebook.name}", nbformat.writes(made).encode())
        return done.fail

    def write_report(notebooks, folder, **front):
        for name in ("index.html", "report.pdf"):
            write(folder, name, front["date"].encode())
        return ""

    def measure(configs, data, *, minutes, on_minute):
        done.timed += [(config.model, minutes) for config in configs]
        return [make_cost(config, turns=done.turns) for config in configs]

    monkeypatch.setattr(make_report, "execute_notebooks", execute)
    monkeypatch.setattr(make_report, "write_report", write_report)
    monkeypatch.setattr(make_report, "measure_costs", measure)
    families = plan_families("smoke", models="lenet5,vit_tiny")
    for config in chain.from_iterable(families.values()):
        shutil.copytree(smoke_store.folder / config.name, paths.RUNS / config.name)
    return done


def make(output, *options):
    chosen = ("--profile", "smoke", "--models", "lenet5,vit_tiny", "--output", output)
    return command(*chosen, *options)


def test_a_report_is_whole_and_timed_once(quick, tmp_path, capsys):
    out = tmp_path / "out"
    assert make(out) == 0
    assert capsys.readouterr().out.strip() == str(out / "index.html")
    assert quick.executed == ["comparison", *make_report.CHAPTERS, "lenet5", "vit_tiny"]
    assert quick.parameters["records"] == (out / "records").as_posix()
    assert (quick.parameters["seeds"], quick.parameters["profile"]) == ("0", "smoke")
    assert quick.timed == [("lenet5", 0), ("vit_tiny", 0)]
    before = files_of(out)
    assert before.keys() >= WHOLE | {
        *("tables/table1.csv", "tables/lenet5.csv", "notebooks/comparison.ipynb"),
        *("models/vit_tiny/README.md", "models/vit_tiny/weights.safetensors"),
    }
    assert set(json.loads(before["numbers.json"])["numbers"]) == {
        f"{name}/x" for name in ("comparison", *make_report.CHAPTERS, "lenet5", "vit_tiny")
    }
    assert pd.read_csv(out / "tables" / "table1.csv").model.tolist() == ["lenet5", "vit_tiny"]
    runs = RunStore(out / "records").runs()
    assert Counter(run.config.protocol for run in runs) == {"paper": 6, "split": 12, "fold": 4}
    assert len(RunStore(out / "records").costs()) == 2
    assert before["index.html"].startswith(b"From runs finished by ")

    (out / "tables" / "table1.csv").unlink()
    assert make(out) == 0
    assert files_of(out).keys() == before.keys()
    assert len(quick.timed) == 2  # never again


def test_what_has_no_run_by_the_papers_protocol_is_shown_with_the_released_ones(
    quick, tmp_path, capsys
):
    released = RunStore(paths.REPORT / "records")
    for model in MODELS:
        run = make_run(model)
        released.write(run)
        released.write_cost(make_cost(run.record.config))
    assert command("--profile", "quick", "--output", tmp_path / "out") == 0
    assert "to be planned once quick-search is whole" in capsys.readouterr().err
    assert quick.timed == []
    records = RunStore(tmp_path / "out" / "records")
    assert records.names() == released.names()
    assert [cost.model for cost in records.costs()] == sorted(MODELS)


@pytest.mark.parametrize("stage", ["execute_notebooks", "collect", "write_files", "write_report"])
def test_whatever_cuts_a_report_short_the_same_command_makes_it(
    quick, tmp_path, monkeypatch, stage
):
    owner = make_report.files if stage in ("collect", "write_files") else make_report
    with monkeypatch.context() as patch:
        patch.setattr(owner, stage, Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "out")
    assert make(tmp_path / "out") == 0
    assert files_of(tmp_path / "out").keys() >= WHOLE


def test_what_failed_lacks_or_was_disturbed_is_told_at_the_end(quick, tmp_path, capsys):
    quick.fail = {"lenet5": "ZeroDivisionError: division by zero"}
    quick.turns = [make_turn(10.0, others=8.0, steal=4.0)] * 3
    for path in paths.RUNS.glob("lenet5*/weights-*"):
        path.unlink()
    with pytest.raises(FailedError, match=r"notebook lenet5: ZeroDiv.*/out/notebooks/lenet5.ipynb"):
        make(tmp_path / "out")
    assert make(tmp_path / "new", "--keep-going") == 1
    told = capsys.readouterr().err
    assert "failed: notebook lenet5: ZeroDivisionError" in told
    busy, without = [line for line in told.splitlines() if line.startswith("note: ")]
    assert "others took 12 %" in busy
    assert "no weights of lenet5;" in without
    assert "models/lenet5/weights.safetensors" not in files_of(tmp_path / "new")


def test_when_every_run_failed_the_report_before_is_left_alone(
    quick, tmp_path, monkeypatch, capsys
):
    make(tmp_path / "out")
    before = files_of(tmp_path / "out")
    (config,) = plan("smoke", models="lenet5", seeds="7")
    failed = [(config, ValueError("no luck"))]
    monkeypatch.setattr(here, "run_many", lambda *_, **__: (pair for pair in failed))
    with pytest.raises(FailedError, match="no run succeeded"):
        make(tmp_path / "out", "--keep-going", "--seeds", "7")
    assert "ValueError: no luck" in capsys.readouterr().err
    assert {**files_of(tmp_path / "out"), MARKER: before[MARKER]} == before


# --- what becomes of each run, and of each time ---


def test_a_run_is_cached_released_or_to_train(tmp_path):
    (config,), run = plan("paper", models="lenet5"), make_run("lenet5")
    own, release = job(tmp_path), job(tmp_path, release=True)
    assert state_of(own, config) == "to train"
    own.released.write(run)
    assert state_of(own, config) == "released, to be trained here too"
    assert find_run(own, config) is None
    assert find_run(replace(own, configs=[], beside=[config]), config)[1] is own.released
    assert state_of(release, config) == "released"
    own.store.write(run)
    assert state_of(own, config) == "cached"
    assert find_run(release, config)[1] is release.store
    assert state_of(job(tmp_path, force=True), config).endswith("--force asks for it")


def test_a_timing_counts_in_turns_and_for_a_release_in_many_of_them(tmp_path):
    (config,) = plan("smoke", models="lenet5")
    own, release = job(tmp_path), job(tmp_path, release=True)
    own.store.write_cost(make_cost(config, turns=[]))  # in blocks, as it was done once
    assert not has_cost(own, config)
    own.store.write_cost(make_cost(config, turns=[make_turn(10.0)] * 99))
    assert has_cost(own, config)
    assert not has_cost(release, config)
    own.released.write_cost(make_cost(config, name="before", turns=[make_turn(10.0)] * 100))
    assert has_cost(release, config)
    assert not has_cost(job(tmp_path / "other"), config)


# --- a release ---


@pytest.mark.parametrize(
    ("profile", "choice", "message"),
    [
        ("smoke", {}, "shortened"),
        ("paper", {"models": "lenet5"}, "all models"),
        ("paper", {"keep_going": True}, "leave --keep-going out"),
        ("paper", {"seeds": "1"}, r"leaves out lenet5-s0-\w+, .*--seeds 0,1 and more, with"),
        ("paper", {"seeds": "0-1", "precision": "bf16"}, r"leaves out lenet5-s0-.* precision"),
        ("paper", {"seeds": "0-1"}, None),
        ("paper", {"seeds": "0"}, None),  # of seed 1 there is one model alone
    ],
)
def test_a_release_is_whole_and_keeps_what_was_released(
    tmp_path, monkeypatch, profile, choice, message
):
    monkeypatch.setattr(make_report, "git", lambda *_: "")
    wanted = job(tmp_path, profile, **choice)
    for model in MODELS:
        wanted.released.write(make_run(model))
    wanted.released.write(make_run("lenet5", 1))
    if message is None:
        make_report.check_release(wanted)
        return
    with pytest.raises(UserError, match=f"release: .*{message}"):
        make_report.check_release(wanted)


def test_a_release_needs_a_clean_checkout_and_its_pdf(tmp_path, monkeypatch):
    for status in (" M README.md", None):
        monkeypatch.setattr(make_report, "git", lambda *_, status=status: status)
        with pytest.raises(UserError, match="without uncommitted changes"):
            make_report.check_release(job(tmp_path, "paper"))
    monkeypatch.setattr(make_report, "why_no_pdf", lambda: "no PDF can be made")
    with pytest.raises(UserError, match="release: needs its PDF, but no PDF can be made"):
        make_report.check_release(job(tmp_path, "paper"))
