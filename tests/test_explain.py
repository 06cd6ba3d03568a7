"""`--explain`: the chain behind a number, from the report's own files."""

from dataclasses import replace

import nbformat
import pytest
from bs4 import BeautifulSoup
from made_up import ENVIRONMENT, make_cost, make_run, mistaken
from nbformat.v4 import new_code_cell, new_notebook, new_output

import run_all
from fmnist_lib import paths
from fmnist_lib.errors import UserError
from fmnist_lib.reporting import analysis, beside, predictions, protocol, say, sources
from fmnist_lib.reporting.explain import explain
from fmnist_lib.runs.store import RunStore

N = 100  # test images of a made-up run


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on two runs of LeNet-5 (90 and 88 % right) and one of ViT-Tiny, with its files."""
    folder = tmp_path_factory.mktemp("report")
    store = RunStore(folder / "records")
    hostile = ENVIRONMENT.model_copy(
        update={"cpu": "A \x1b[31mprocessor\nvalue  100", "dirty": True}
    )
    runs = [
        make_run(seed=0, predicted=mistaken(N, range(10)), test_images=N),
        make_run(seed=1, predicted=mistaken(N, range(12)), test_images=N, environment=hostile),
        make_run("vit_tiny", test_images=N),
    ]
    for run in runs:
        store.write(run)
    store.write_cost(make_cost(runs[0].record.config))
    results = analysis.load_results(store, [run.record.config for run in runs])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_results", None)
        outputs = []
        patch.setattr(say, "display", lambda data, raw: outputs.append(data))
        for name, table, look in (
            ("table1", beside.table1(results), beside.TABLE1),
            ("table2", beside.table2(results), beside.TABLE2),
            ("lenet5-result", beside.result(results, "lenet5"), beside.RESULT),
            ("lenet5-classes", predictions.per_class(results, "lenet5"), beside.CLASSES),
            ("claims", beside.claims_table(a_claim()), beside.CLAIMS),
            ("runs", protocol.runs(results), protocol.RUNS),
            ("timings", protocol.timings(results), protocol.TIMINGS),
        ):
            own = results.runs[:2] if name.startswith("lenet5") else results.runs
            sources.show_results(replace(results, runs=own))  # as a notebook on one model, or all
            more = {"source": {"evidence": "runs"}} if name == "claims" else {}
            say.show_table(table, name=name, caption="c", **look, **more)
        cells = [
            new_code_cell("x", outputs=[new_output("display_data", output)]) for output in outputs
        ]
    (folder / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells), folder / "notebooks" / "comparison.ipynb")
    (folder / "tables").mkdir()
    analysis.table1(results).to_csv(folder / "tables" / "table1.csv", index=False)
    analysis.table2(results).to_csv(folder / "tables" / "table2.csv", index=False)
    return folder


def a_claim():
    """One judged claim, with numbers in its words."""
    columns = ("id", "claim", "where", "in_paper", "outcome", "evidence")
    row = ("C1", "A claim.", "Section 7", "holds", "undecided", "90.00 % against 88.00 %")
    return analysis.pd.DataFrame([row], columns=columns)


def page(report):
    notebook = nbformat.read(report / "notebooks" / "comparison.ipynb", as_version=4)
    html = "".join(cell.outputs[0].data["text/html"] for cell in notebook.cells)
    return BeautifulSoup(html, "html.parser")


def told(address, report):
    """The lines, split into label and text; a label stands for the lines below it too."""
    lines, label = [], ""
    for line in explain(address, report).splitlines():
        head, _, text = line.partition("  ")
        label = head or label
        lines.append((label, text.strip()))
    return lines


def texts(lines, label):
    return [text for name, text in lines if name == label]


def test_every_number_of_a_table_is_told_as_the_table_shows_it(report):
    cells = [cell for cell in page(report).select("tbody :is(td, th)") if cell.select(".value")]
    known = [cell for cell in cells if cell.select("[data-at]")]
    assert len(known) > 100
    assert {cell.text for cell in cells if cell not in known} == {"–"}
    for cell in known:
        (address, text), *_ = told(cell.select_one("[data-at]")["data-at"], report)
        assert text.partition("  (")[0] == cell.text, address


def test_the_chain_behind_an_accuracy(report):
    lines = told("table1/lenet5/test_accuracy", report)
    assert lines[0] == ("table1/lenet5/test_accuracy", "89.00 ± 1.41  (Test accuracy (%))")
    (spread,) = texts(lines, "spread")
    assert spread.startswith("standard deviation 1.41 over 2 runs; 95 % interval ")
    assert texts(lines, "shown in") == ["notebooks/comparison.ipynb, cell 0; index.html#tab-table1"]
    names = [
        run.name for run in RunStore(report / "records").runs() if run.config.model == "lenet5"
    ]
    assert texts(lines, "rests on") == [f"{names[0]}  90", f"{names[1]}  88"]
    assert texts(lines, "record") == [f"records/{name}/record.json" for name in names]
    assert texts(lines, "seeds") == ["0, 1"]
    (settings,) = texts(lines, "settings")
    assert {"model lenet5", "protocol paper", "learning_rate 0.001"} <= set(settings.split(", "))
    first, second = texts(lines, "commit")
    assert first.startswith("c0ffee, clean; ")
    assert first.endswith("(1 of 2)")
    assert "uncommitted changes" in second
    assert texts(lines, "data") == [ENVIRONMENT.data_sha256]
    assert any("torch 2.14.1" in text for text in texts(lines, "versions"))


def test_strings_of_a_record_neither_control_the_terminal_nor_begin_a_line(report):
    text = explain("table1/lenet5/test_accuracy", report)
    assert "\x1b" not in text
    assert "A [31mprocessorvalue  100" in text
    assert sources.names("runs") == []  # and nothing stays behind in this process


def test_a_time_rests_on_the_timing_and_the_papers_on_the_paper(report):
    lines = told("table2/lenet5/train_seconds", report)
    (rests,) = texts(lines, "rests on")
    assert rests.startswith("costs/lenet5-")
    assert rests.endswith("  9, 10, 11")
    (record,) = texts(lines, "record")
    assert (report / record).exists()
    assert texts(told("table2/lenet5/epochs_paper", report), "rests on") == [
        "the paper's own figure"
    ]


def test_a_number_that_only_a_file_has_is_told_too(report):
    lines = told("table1/lenet5/train_accuracy_eval", report)
    assert lines[0][1] == "83"
    assert texts(lines, "shown in") == ["tables/table1.csv"]
    assert len(texts(lines, "rests on")) == 2
    assert texts(told("table2/lenet5/train_seconds_mean", report), "rests on")[0].startswith(
        "costs/"
    )


@pytest.mark.parametrize("part", ["name", "start", "key"])
def test_a_run_is_found_by_its_name_or_key(report, part):
    run = RunStore(report / "records").runs()[-1]
    address = {"name": run.name, "start": "vit", "key": run.key[:9]}[part]
    lines = told(address, report)
    assert lines[:2] == [("run", run.name), ("key", run.key)]
    assert "test accuracy 100.00 %" in texts(lines, "test_loss-p5")[0]
    assert {text.partition(":")[0] for text in texts(lines, "shown in")} == {
        *("table1", "table2", "claims", "runs")
    }


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("table1/lenet/test_accuracy", "near it: table1/lenet5/test_accuracy"),
        ("tabel2/vit_tiny/epochs", "near it: table2/vit_tiny/epochs"),
        ("lenet5", "the start of several: lenet5-s0-"),
        ("zzz", "allowed: TABLE/ROW/COLUMN of claims, lenet5-classes,"),
        ("", "allowed: TABLE/ROW/COLUMN"),
    ],
)
def test_an_unknown_address_is_one_line_with_what_is_allowed(report, address, message):
    with pytest.raises(UserError) as error:
        explain(address, report)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_takes_the_report_asked_for_else_ones_own_else_the_released(
    report, tmp_path, monkeypatch, capsys
):
    def command(*arguments):
        monkeypatch.setattr(run_all.sys, "argv", ["run_all.py", *map(str, arguments)])
        monkeypatch.setattr(run_all.warnings, "showwarning", run_all.warnings.showwarning)
        return run_all.main(), capsys.readouterr()

    address = "table1/lenet5/test_accuracy"
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(paths, "REPORT", report)
    status, printed = command("--explain", address)
    assert (status, printed.out.splitlines()[0]) == (0, f"in the report of {report}")
    (tmp_path / "build" / "smoke").mkdir(parents=True)
    (tmp_path / "build" / "smoke" / "records").symlink_to(report / "records")
    status, printed = command("--explain", "vit", "--profile", "smoke")
    assert printed.out.startswith(f"in the report of {tmp_path / 'build' / 'smoke'}\n")
    assert command("--explain", "vit", "--output", report)[0] == 0
    for arguments, message in (
        (["--explain", "zzz"], "nothing is called 'zzz'"),
        (["--explain", ""], "nothing is called ''"),
        (["--explain", address, "--output", tmp_path / "none"], "holds no report"),
        (["--explain", address, "--profile", "fast"], "smoke, paper, study"),
    ):
        status, printed = command(*arguments)
        assert (status, printed.out) == (2, "")
        (line,) = printed.err.splitlines()
        assert message in line
