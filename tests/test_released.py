"""The released records give the released tables, number for number, and the command says so."""

import pandas as pd
import pytest

import run_all
from fmnist_lib import paths
from fmnist_lib.commands import make_report
from fmnist_lib.commands.make_report import complete_seeds
from fmnist_lib.errors import UserError
from fmnist_lib.report.data_files import data_files
from fmnist_lib.results.load import load_results
from fmnist_lib.runs.store import RunStore

FLAT = ("results.csv", "tables/table1.csv", "tables/table2.csv", "tables/confusion.csv")
TIMED = ("train_seconds", "inference_ms", "latency_ms", "total_train", "train_us", "ratio")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The flat tables of the released records, as files."""
    records = RunStore(paths.REPORT / "records", read_only=True)
    folder = tmp_path_factory.mktemp("made")
    (folder / "tables").mkdir()
    for path, content in data_files(load_results(records, complete_seeds(records)), {}).items():
        if path in FLAT:
            (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize("path", FLAT)
def test_the_released_numbers_come_out_again(made, path):
    ours, theirs = (pd.read_csv(folder / path) for folder in (made, paths.REPORT))
    assert [*ours][: len([*theirs])] == [*theirs]  # more may stand behind
    kept = [name for name in theirs if not name.startswith(TIMED)]
    pd.testing.assert_frame_equal(ours[kept], theirs[kept], check_exact=True)


def command(*arguments):
    return run_all.run(run_all.parse_arguments(["--from-released", *map(str, arguments)]))


@pytest.mark.parametrize(
    ("files", "state"),
    [(["a"], "equal"), (["b"], "differs"), (["a", "a"], "differs"), ([], "differs")],
)
def test_the_command_makes_the_report_from_the_records_alone(
    tmp_path, monkeypatch, capsys, files, state
):
    report = tmp_path / "report"
    report.mkdir()
    (report / "records").symlink_to(paths.REPORT / "records")
    (report / "results.csv").write_text("a")

    def make_pages(job):  # stands for notebooks and pages, which have tests of their own
        assert {config.seed for config in job.shown} >= {0, 1, 2, 3, 4}
        for name, content in zip(("results.csv", "tables/more.csv"), files, strict=False):
            make_report.files.write(job.output, name, content.encode())
        return []

    monkeypatch.setattr(paths, "REPORT", report)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(make_report, "make_pages", make_pages)
    assert command("--output", tmp_path / "out") == (0 if state == "equal" else 1)
    told, place = capsys.readouterr().out.splitlines()
    assert state in told
    assert ("more.csv differs" in told) == (len(files) == 2)
    assert place == str(tmp_path / "out" / "index.html")
    ours = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.json")}
    assert ours == {path.relative_to(report) for path in (report / "records").rglob("*.json")}
    assert not (tmp_path / "runs").exists()


def test_nothing_to_rebuild_from_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPORT", tmp_path)
    with pytest.raises(UserError, match="no seed with all models"):
        command("--output", tmp_path / "out")
    assert not list(tmp_path.iterdir())
