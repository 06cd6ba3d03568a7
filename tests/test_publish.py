"""The report as data: what is written is what the records say, described, loadable and harmless."""

import errno
import io
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import mistune
import numpy as np
import pandas as pd
import pytest
import torch
from made_up import ENVIRONMENT, make_cost, make_run, mistaken
from safetensors.torch import load_model
from test_findings import results_of  # noqa: F401, a fixture

from fmnist_lib import paths
from fmnist_lib.commands import assembly
from fmnist_lib.commands.job import Job, check_output
from fmnist_lib.data.fashion_mnist import CLASS_NAMES, load
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.models import build_model
from fmnist_lib.reporting import publish
from fmnist_lib.reporting.analysis import load_results
from fmnist_lib.reporting.cards import model_card
from fmnist_lib.reporting.columns import COLUMNS, LONGER, SPREAD, describe
from fmnist_lib.reporting.folder import MADE_FROM, MARKER, claim, files_in, ours, write, write_files
from fmnist_lib.reporting.markdown import literal
from fmnist_lib.reporting.publish import report_figures, tables, write_models
from fmnist_lib.reporting.readme import PREDICTIONS, report_readme
from fmnist_lib.reporting.tidy import confusion_table, results_table, to_csv
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore

SOON, LATE = Stop(patience=1), Stop(patience=3)
LOSSES = (0.9, 0.5, 0.7, 0.4, 0.6)  # SOON stops at epoch 3, best 2; LATE never does, best 4


def made_up_results(store, **options):
    """Two models and two seeds, each stopped by two rules; LeNet-5 alone was timed."""
    rules = {"losses": LOSSES, "stops": (SOON, LATE), "test_images": 20, **options}
    runs = [
        make_run(model, seed, predicted=mistaken(20, [*range(seed + 1)]), **rules)
        for model in ("lenet5", "vit_tiny")
        for seed in (0, 1)
    ]
    for run in runs:
        store.write(run)
    store.write_cost(make_cost(runs[0].record.config))
    return load_results(store, [run.record.config for run in runs], rule=SOON.name)


@pytest.fixture
def results(tmp_path):
    return made_up_results(RunStore(tmp_path / "store"))


def smoke_results(store, **choice):
    return load_results(store, plan("smoke", **choice))


# --- results.csv and the confusion matrices ---


def test_results_have_a_row_a_run_and_rule(results):
    table = results_table(results)
    assert list(zip(table.model, table.seed, table.stop, strict=True)) == [
        (model, seed, rule.name)
        for model in ("lenet5", "vit_tiny")
        for seed in (0, 1)
        for rule in (SOON, LATE)
    ]
    soon, late = table[(table.model == "vit_tiny") & (table.seed == 1)].itertuples()
    assert (soon.monitor, soon.patience, soon.fired) == ("test_loss", 1, True)
    assert (soon.epochs, soon.best_epoch, soon.test_loss) == (3, 2, 0.5)
    assert (late.patience, late.fired, late.epochs, late.best_epoch) == (3, False, 5, 4)
    assert soon.test_accuracy == late.test_accuracy == 90
    assert (soon.train_images, soon.validation_images, soon.test_images) == (60_000, 0, 20)
    assert soon.parameters == 100_000
    assert soon.fold is soon.variant is None
    assert soon.wall_seconds == late.wall_seconds == pytest.approx(151.5)  # of all five epochs
    assert (soon.cpu, soon.torch, soon.commit) == ("A processor", "2.14.1", "c0ffee")


def test_times_alone_are_those_of_the_models_that_were_timed(results):
    table = results_table(results).set_index("model")
    assert list(table.loc["lenet5"].train_seconds_mean) == [10.0] * 4
    assert set(table.loc["lenet5"].cost) == {results.costs["lenet5"].name}
    untimed = table.loc["vit_tiny", ["train_seconds_mean", "latency_ms_p90", "cost"]]
    assert untimed.isna().to_numpy().all()


def test_a_split_and_options_are_told(tmp_path):
    store, images = RunStore(tmp_path), {"train_images": 20, "validation_images": 6}
    run = make_run("lenet5", protocol="split", model_options={"activation": "relu"}, **images)
    store.write(run)
    (row,) = results_table(load_results(store, [run.record.config])).itertuples()
    assert (row.protocol, row.train_images, row.validation_images) == ("split", 14, 6)
    assert row.variant == '{"activation": "relu"}'


@pytest.mark.parametrize("make", [results_table, confusion_table])
def test_a_table_comes_back_from_its_file(results, make):
    table = make(results)
    back = pd.read_csv(io.BytesIO(to_csv(table)))
    assert list(back) == list(table)
    for name in table:
        values, again = (
            [None if pd.isna(value) else value for value in column]
            for column in (table[name], back[name])
        )
        assert again == values, name


def test_confusion_matrices_are_those_of_the_predictions(results):
    cells = confusion_table(results)
    labels = load(train_images=1, test_images=20).test_labels.numpy()
    for run in results.runs:
        for rule in run.stops:
            predicted = results.store.predictions(run, rule)["predicted"]
            expected = pd.crosstab(labels, predicted)
            own = cells[(cells.model == run.config.model) & (cells.seed == run.config.seed)]
            matrix = own[own.stop == rule].pivot(index="true", columns="predicted", values="count")
            matrix = matrix.loc[list(CLASS_NAMES), list(CLASS_NAMES)].to_numpy()
            assert matrix.sum() == 20
            for true, taken in np.argwhere(matrix):
                assert matrix[true, taken] == expected.loc[true, taken]


def test_no_text_is_run_by_a_spreadsheet():
    hostile = ["=1+1", "+1", "-1", "@x", "\t=1"]
    harmless = ['a, "b"\nc', "T-shirt/top", "", "–", "`=1`"]
    frame = pd.DataFrame({"text": [*hostile, *harmless, "a\r=1"], "number": -1.5})
    back = pd.read_csv(io.BytesIO(to_csv(frame)), keep_default_na=False)
    assert list(back.text) == [*(f"'{text}" for text in hostile), *harmless, "a =1"]
    assert set(back.number) == {-1.5}


# --- what describes them ---


def test_every_column_is_described_and_nothing_else(smoke_store):
    shown = set()
    for choice in ({}, {"models": "lenet5,baseline_cnn", "seeds": "0-1"}):
        results = smoke_results(smoke_store, **choice)
        shown |= {column for table in tables(results).values() for column in table}
        shown |= {column for figure in report_figures(results) for column in figure.data}
    derived = {name for name in shown - set(COLUMNS) if name.endswith((SPREAD, LONGER))}
    assert "test_accuracy_std" in derived
    assert shown - derived == set(COLUMNS)
    assert all(describe(name).meaning for name in shown)


def code_blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_snippets_of_the_readme_run(results, tmp_path, monkeypatch, capsys):
    publish.write_tables(results, tmp_path)
    snippets = code_blocks(report_readme(results, tables(results)))
    shutil.move(tmp_path / "store", tmp_path / "records")
    monkeypatch.chdir(tmp_path)
    for snippet in snippets:
        exec(snippet, names := {})
        if "chosen" in names:
            accuracies = names["chosen"].groupby("model").test_accuracy
            assert accuracies.mean().to_dict() == {"lenet5": 92.5, "vit_tiny": 92.5}
            assert set(accuracies.count()) == {2}
        else:
            assert set(names["arrays"]) == set(PREDICTIONS)
    assert len(snippets) == 2
    assert "Ankle boot" in capsys.readouterr().out


def test_readme_and_cards_are_written_whatever_was_timed(results):
    text = mistune.html(report_readme(results, tables(results)))
    for path in ("results.csv", "tables/", "figures/", "models/", "records/", "notebooks/"):
        assert f"<code>{path}</code>" in text
    assert "Oskar N. L. Edén Wallberg" in text
    assert "It was not timed" in model_card(results, "vit_tiny", "")
    assert "<strong>Draft</strong>" in text


# --- cards and weights ---


def test_a_card_says_what_the_records_say(results):
    card = model_card(results, "lenet5", "")
    lines = [[part.strip() for part in line.split("|")] for line in card.splitlines()]
    rows = {parts[1]: parts[2:4] for parts in lines if len(parts) == 5}
    assert rows["Test accuracy (%)"] == ["92.50 ± 3.54", "89.07"]
    assert rows["Best epoch"][0] == "2 ± 0"
    assert rows["Training an epoch (s)"][0] == "10.00 ± 1.00"
    assert "2 shortened runs (seeds 0 and 1)" in card
    assert "None are kept" in card


def test_a_record_with_markup_is_text(tmp_path):
    hostile = "`x`</code>\n\n# Title | <script>alert(1)</script> [a](javascript:b)"
    store = RunStore(tmp_path)
    results = made_up_results(store)
    cost = make_cost(results.runs[0].config)
    environment = ENVIRONMENT.model_copy(update={"cpu": hostile})
    store.write_cost(cost.model_copy(update={"environment": environment}))
    results = load_results(store, [run.config for run in results.runs], rule=SOON.name)
    page = mistune.create_markdown(escape=False)(model_card(results, "lenet5", ""))
    assert page.count("<h1>") == 1
    assert "<script>" not in page
    assert "javascript:b)" in page
    assert mistune.html(literal(hostile)).count("<code>") == 1


def weights_of(results, model):
    return results.store.weights(results.of(model)[0], results.rule)


def test_the_weights_are_those_the_report_is_about(smoke_store, tmp_path):
    """Loaded as the card says, they classify the test images as the record has it."""
    results = smoke_results(smoke_store, models="lenet5,baseline_cnn", seeds="0-1")
    weights = {model: weights_of(results, model) for model in results.models}
    write_models(results, weights, tmp_path)
    images = load(train_images=1, test_images=500).test_images
    for model in results.models:
        network = build_model(model)
        load_model(network.eval(), tmp_path / "models" / model / "weights.safetensors")
        recorded = smoke_store.predictions(results.of(model)[0], results.rule)["predicted"]
        with torch.no_grad():
            assert network(images).argmax(1).tolist() == recorded.tolist()


def test_the_example_of_the_card_classifies_an_image(smoke_store, tmp_path, monkeypatch, capsys):
    results = smoke_results(smoke_store, models="lenet5")
    write_models(results, {"lenet5": weights_of(results, "lenet5")}, tmp_path)
    monkeypatch.chdir(tmp_path / "models" / "lenet5")
    (example,) = code_blocks(Path("README.md").read_text())
    exec(example, {})
    assert capsys.readouterr().out.strip() in CLASS_NAMES


@pytest.fixture
def job(smoke_store, tmp_path):
    """A job whose machine has LeNet-5's weights and whose released report has the custom CNN's."""
    own, released = RunStore(tmp_path / "runs"), RunStore(tmp_path / "report" / "records")
    results = smoke_results(smoke_store, models="lenet5,baseline_cnn")
    smoke_store.copy(results.of("lenet5")[0], own, with_weights=True)
    kept = {"baseline_cnn": weights_of(results, "baseline_cnn")}
    write_models(results, kept, tmp_path / "report")
    return Job("smoke", plan("smoke"), tmp_path / "out", store=own, released=released)


def test_weights_come_from_this_machine_else_from_the_released_report(job, smoke_store):
    found = assembly.find_weights(job, smoke_results(smoke_store))
    assert set(found) == {"lenet5", "baseline_cnn"}
    results = smoke_results(smoke_store)
    for model, arrays in found.items():
        expected = weights_of(results, model)
        assert all(np.array_equal(arrays[name], expected[name]) for name in expected)


def test_weights_that_are_not_the_records_are_left_out(job, smoke_store):
    path = job.released.folder.parent / "models" / "baseline_cnn" / "weights.safetensors"
    other = smoke_results(smoke_store, models="baseline_cnn", seeds="1")
    content = smoke_store.path_of(other.runs[0], "weights", other.rule).read_bytes()
    path.write_bytes(content)
    assert set(assembly.find_weights(job, smoke_results(smoke_store))) == {"lenet5"}


# --- the folder ---


def job_into(folder):
    return Job("smoke", plan("smoke"), folder)


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_of_what_was_written_before_nothing_stays_that_is_not_written_again(tmp_path):
    write_files(tmp_path, "models", [("old/README.md", b"old"), ("both", b"old")])
    write_files(tmp_path, "figures", [("a.svg", b"a")])
    (tmp_path / "models" / "mine").touch()
    write_files(tmp_path, "models", [("both", b"new"), ("new/README.md", b"new")])
    kept = {"models/both", "models/mine", "models/new/README.md", "figures/a.svg"}
    assert files_of(tmp_path) == {MARKER, *kept}
    assert (tmp_path / "models" / "both").read_bytes() == b"new"
    write_files(tmp_path, "figures", [("b.svg", b"b")], keep=True)
    assert {"figures/a.svg", "figures/b.svg"} <= files_of(tmp_path)


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    check_output(job_into(tmp_path))
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(FailedError, match=r"README\.md"):
        write(tmp_path, "README.md", b"ours")
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_project_with_records_is_not_taken_for_a_report(tmp_path):
    for name in ("records/lenet5-s0/record.json", "figures/mine.svg", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(UserError, match="holds other files"):
        check_output(job_into(tmp_path))
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", ["README.md", "records/a/record.json", "notebooks/a.ipynb"])
def test_a_command_killed_while_it_writes_can_be_given_again(tmp_path, monkeypatch, name):
    def killed(*_):
        raise KeyboardInterrupt

    check_output(job_into(tmp_path))
    for step in ("replace", "write_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, step, killed)
            with pytest.raises(KeyboardInterrupt):
                write(tmp_path, name, b"new")
        check_output(job_into(tmp_path))
        write(tmp_path, name, b"new")
        assert name in ours(tmp_path)


def test_reports_of_before_the_marker_are_known(tmp_path, monkeypatch):
    for folder in (tmp_path / "released", tmp_path / "own"):
        (folder / "figures").mkdir(parents=True)
        (folder / "figures" / "old.svg").touch()
    (tmp_path / "own" / MADE_FROM).touch()
    monkeypatch.setattr(paths, "REPORT", tmp_path / "released")
    for folder, release in ((tmp_path / "released", True), (tmp_path / "own", False)):
        check_output(replace(job_into(folder), release=release))
        write_files(folder, "figures", [("new.svg", b"")])
        assert files_of(folder) - {MADE_FROM} == {MARKER, "figures/new.svg"}


LEFT = ("index.html", "figures/figure1.svg", "models/lenet5/README.md")


@pytest.mark.parametrize("of", ["a dead process", "a live one"])
def test_what_a_killed_command_left_is_swept_and_nothing_else(tmp_path, of):
    pid = os.getpid() if of == "a live one" else 2**22 + 1  # beyond the most there can be
    for name in LEFT:
        write(tmp_path, name, b"")
    for name in (
        f".scratch-{pid}-a1b2c3d4",
        f".records-{pid}-a1b2c3d4",
        f".notebooks-{pid}-a_b2c3d4",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    for name in LEFT:
        path = tmp_path / name
        path.with_name(f".{path.name}.{pid}").touch()
    (tmp_path / ".git").mkdir()
    for name in (".git/.index.html.1", ".index.html.swp", f".mine.txt.{pid}", ".notebooks-mine"):
        (tmp_path / name).touch()
    before = files_of(tmp_path)
    claim(tmp_path)
    swept = {name for name in before if str(pid) in name and "mine" not in name}
    assert len(swept) == 6
    assert files_of(tmp_path) == (before if of == "a live one" else before - swept)


def test_what_lies_beside_a_folder_is_never_copied_with_it(tmp_path):
    for name in ("a/b.json", ".a/b.json", "a/.b.json.123"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [name for name, _ in files_in(tmp_path)] == ["a/b.json"]


def test_a_link_that_leads_nowhere_is_found_at_once(tmp_path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "away")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for name in ("nowhere", "round"):
        for folder in (tmp_path / name, tmp_path / name / "below" / "it"):
            with pytest.raises(UserError, match=f"output: .*{name}"):
                check_output(job_into(folder))
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_what_cannot_be_written_is_named(tmp_path, monkeypatch, error):
    def refuse(*_):
        raise OSError(error, os.strerror(error))  # as writing does: without a path

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(FailedError, match=os.strerror(error)) as caught:
        write(tmp_path, "figures/a.svg", b"")
    assert str(tmp_path / "figures" / "a.svg") in str(caught.value)


def test_the_report_bears_the_day_of_its_last_run(results_of):  # noqa: F811
    results = results_of({"seed": 0}, {"seed": 1})
    first, last = results.runs
    later = last.environment.model_copy(update={"finished": "2026-11-04T23:59:59+00:00"})
    runs = (last.model_copy(update={"environment": later}), first)
    assert assembly.last_day_of(replace(results, runs=runs)) == "4 November 2026"
