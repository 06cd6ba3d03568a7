"""`--explain`: the chain behind a number, from the report's own files."""

from collections import defaultdict

import pytest
from command import command
from made_report import bundles
from made_up import ENVIRONMENT, make_cost, make_run, mistaken, stored

from fmnist_lib import paths
from fmnist_lib.commands.explain import explain
from fmnist_lib.errors import UserError
from fmnist_lib.report.files import BUNDLE, numbers_json
from fmnist_lib.report.show import show_table
from fmnist_lib.results.tables import models_frame
from fmnist_lib.runs.store import RunStore


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report's folder: two runs of LeNet-5 and one of ViT-Tiny, a timing, one table."""
    folder = tmp_path_factory.mktemp("report")
    hostile = {"cpu": "A \x1b[31mprocessor\nvalue  100", "dirty": True, "finished": "later"}
    other = {"seed": 1, "environment": ENVIRONMENT.model_copy(update=hostile)}
    runs = {"predicted": mistaken(100, range(9))}, other, {"model": "vit_tiny"}
    cost = make_cost(make_run(test_images=100).record.config, blocks=(9.5, 9.5))
    frame = models_frame(stored(folder / "records", *runs, costs=[cost]))
    columns = ["title", "test_accuracy", "train_seconds", "train_seconds_paper"]
    (bundle,) = bundles(show_table, frame[columns], name="table1", caption="All")
    (folder / "numbers.json").write_text(numbers_json(bundle[BUNDLE]["numbers"]))
    return folder


def told(address, report):
    """What is told, by label; the address itself first."""
    by_label = defaultdict(list)
    for line in explain(address, report).splitlines():
        label, _, text = line.partition("  ")
        by_label[label].append(text.strip())
    return by_label


def test_the_chain_behind_a_mean_and_a_time(report):
    lines = told("table1/lenet5/test_accuracy", report)
    assert lines["table1/lenet5/test_accuracy"][0].startswith("95.50")
    expected = {"in full": "95.5", "standard deviation": "6.363961030678928"}
    expected |= {"seed 0": "91.0", "seed 1": "100.0"}
    assert {label: lines[label] for label in expected} == {n: [t] for n, t in expected.items()}
    assert float(lines["interval from"][0]) < 95.5 < float(lines["interval to"][0])
    store = RunStore(report / "records")
    assert lines["rests on"] == [n for n in store.names() if n.startswith("lenet5")]
    (settings,) = lines["settings"]
    assert {"model lenet5", "protocol paper", "learning_rate 0.001"} <= set(settings.split(", "))
    assert lines["commit"] == ["c0ffee, clean", "c0ffee, with uncommitted changes"]
    assert len(lines["versions"]) == 1  # what is the same, once
    assert lines["machine"][1].startswith("A [31mprocessorvalue  100, 2 cores")  # on one line

    (cost,) = store.costs()
    assert told("table1/lenet5/train_seconds", report)["rests on"] == [f"costs/{cost.name}"]
    assert told(f"costs/{cost.name}", report)["key"] == ["–"]
    lines = told("table1/lenet5/train_seconds_paper", report)
    assert (lines["rests on"], "machine" in lines) == (["printed in the paper"], False)


@pytest.mark.parametrize("part", ["name", "start", "key"])
def test_a_run_is_found_by_its_name_or_key(report, part):
    run = RunStore(report / "records").runs()[-1]
    address = {"name": run.name, "start": "vit", "key": run.key[:9]}[part]
    lines = told(address, report)
    assert (lines["record"], lines["key"]) == ([run.name], [run.key])
    assert lines["test_loss-p5"] == ["test accuracy 100.0 %, epoch 2 of 3"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("table1/lenet/test_accuracy", "near it: table1/lenet5/test_accuracy"),
        ("lenet5", "near it: lenet5-s0-"),  # the start of several
        ("zzz", "allowed: TABLE/ROW/COLUMN"),
        ("", "allowed: TABLE/ROW/COLUMN"),
    ],
)
def test_an_unknown_address_is_one_line_with_what_is_near(report, address, message):
    with pytest.raises(UserError) as error:
        explain(address, report)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_report_asked_for_is_read_else_ones_own_else_the_released(
    report, project, monkeypatch, capsys
):
    def told_of(*options):
        assert command("--explain", "vit", *options) == 0
        return capsys.readouterr().out.partition("\n")[0]

    monkeypatch.setattr(paths, "REPORT", report)
    assert told_of() == f"in the report of {report}"
    own = paths.BUILD / "smoke"
    own.parent.mkdir()
    own.symlink_to(report)
    assert told_of("--profile", "smoke") == f"in the report of {own}"
    assert told_of("--output", report) == f"in the report of {report}"


@pytest.mark.parametrize("content", ["", "[1]", '{"numbers": {}}'])
def test_damaged_numbers_are_named_in_one_line(tmp_path, content):
    (tmp_path / "numbers.json").write_text(content)
    with pytest.raises(UserError, match=r"^[^\n]*numbers\.json: cannot be read[^\n]*$"):
        explain("table1/lenet5/test_accuracy", tmp_path)
