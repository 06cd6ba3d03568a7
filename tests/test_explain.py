"""`--explain`: the chain behind a number, from the report's own files."""

from collections import defaultdict

import pytest
from made_up import ENVIRONMENT, make_cost, make_run

import run_all
from fmnist_lib import paths
from fmnist_lib.commands.explain import explain
from fmnist_lib.errors import UserError
from fmnist_lib.report.files import numbers_json
from fmnist_lib.runs.store import RunStore


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report's folder: two runs of LeNet-5 and one of ViT-Tiny, a timing, three numbers."""
    folder = tmp_path_factory.mktemp("report")
    store = RunStore(folder / "records")
    hostile = {"cpu": "A \x1b[31mprocessor\nvalue  100", "dirty": True, "finished": "later"}
    other = ENVIRONMENT.model_copy(update=hostile)
    runs = [("lenet5", 0, ENVIRONMENT), ("lenet5", 1, other), ("vit_tiny", 0, ENVIRONMENT)]
    runs = [make_run(m, seed, test_images=20, environment=place) for m, seed, place in runs]
    for run in runs:
        store.write(run)
    cost = make_cost(runs[0].record.config)
    store.write_cost(cost)
    names = [run.record.name for run in runs]
    plain = {"std": None, "low": None, "high": None, "parts": {}}
    mean = {"text": "90.33 ± 1.41", "value": 90.328125, "std": 1.41421356, "low": 88.5}
    mean |= {"high": 92.0, "parts": {"seed 0": 91.25, "seed 1": 89.40625}, "sources": names[:2]}
    time = {**plain, "text": "9", "value": 9.5, "sources": [f"costs/{cost.name}"]}
    numbers = {
        "table1/lenet5/test_accuracy": mean,
        "table2/lenet5/time": time,
        "table2/lenet5/time_paper": {**time, "text": "20", "sources": ["paper"]},
    }
    (folder / "numbers.json").write_text(numbers_json(numbers))
    return folder


def told(address, report):
    """What is told, by label; the address itself first."""
    by_label = defaultdict(list)
    for line in explain(address, report).splitlines():
        label, _, text = line.partition("  ")
        by_label[label].append(text.strip())
    return by_label


def test_the_chain_behind_a_mean(report):
    lines = told("table1/lenet5/test_accuracy", report)
    expected = {"table1/lenet5/test_accuracy": "90.33 ± 1.41", "in full": "90.328125"}
    expected |= {"standard deviation": "1.41421356", "interval from": "88.5"}
    expected |= {"interval to": "92.0", "seed 0": "91.25", "seed 1": "89.40625"}
    assert {label: lines[label] for label in expected} == {n: [t] for n, t in expected.items()}
    store = RunStore(report / "records")
    assert lines["rests on"] == [n for n in store.names() if n.startswith("lenet5")]
    (settings,) = lines["settings"]
    assert {"model lenet5", "protocol paper", "learning_rate 0.001"} <= set(settings.split(", "))
    assert lines["commit"] == ["c0ffee, clean", "c0ffee, with uncommitted changes"]
    assert len(lines["versions"]) == 1  # what is the same, once
    assert lines["machine"][1].startswith("A [31mprocessorvalue  100, 2 cores")  # on one line


def test_a_time_rests_on_its_timing_and_the_papers_on_the_paper(report):
    (cost,) = RunStore(report / "records").costs()
    assert told("table2/lenet5/time", report)["rests on"] == [f"costs/{cost.name}"]
    lines = told("table2/lenet5/time_paper", report)
    assert lines["rests on"] == ["printed in the paper"]
    assert "machine" not in lines
    assert told(f"costs/{cost.name}", report)["key"] == ["–"]


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
    report, tmp_path, monkeypatch, capsys
):
    def command(*arguments):
        options = run_all.parse_arguments(["--explain", "vit", *map(str, arguments)])
        assert run_all.run(options) == 0
        return capsys.readouterr().out.partition("\n")[0]

    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(paths, "REPORT", report)
    assert command() == f"in the report of {report}"
    own = tmp_path / "build" / "smoke"
    own.parent.mkdir()
    own.symlink_to(report)
    assert command("--profile", "smoke") == f"in the report of {own}"
    assert command("--output", report) == f"in the report of {report}"
    with pytest.raises(UserError, match="holds no report"):
        command("--output", tmp_path / "none")
    with pytest.raises(UserError, match="smoke, paper, study"):
        command("--profile", "fast")


@pytest.mark.parametrize("content", ["", "[1]", '{"numbers": {}}'])
def test_damaged_numbers_are_named_in_one_line(tmp_path, content):
    (tmp_path / "numbers.json").write_text(content)
    with pytest.raises(UserError, match=r"^[^\n]*numbers\.json: cannot be read[^\n]*$"):
        explain("table1/lenet5/test_accuracy", tmp_path)
