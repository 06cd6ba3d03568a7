"""The released records give the released tables, number for number, and the command says so."""

import pandas as pd
import pytest
from command import command, files_of
from matplotlib import pyplot
from test_publish import code_blocks

from fmnist_lib import paths
from fmnist_lib.commands import make_report
from fmnist_lib.commands.job import Job
from fmnist_lib.commands.make_report import complete_seeds
from fmnist_lib.errors import UserError
from fmnist_lib.report.data_files import data_files
from fmnist_lib.results.load import load_results
from fmnist_lib.runs.store import RunStore

RELEASED = paths.REPORT
FLAT = ("results.csv", "tables/table1.csv", "tables/table2.csv", "tables/confusion.csv")
TIMED = ("train_seconds", "inference_ms", "latency_ms", "total_train", "train_us", "ratio")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The flat tables of the released records, as files."""
    records = RunStore(paths.REPORT / "records", read_only=True)
    folder = tmp_path_factory.mktemp("made")
    (folder / "tables").mkdir()
    configs = complete_seeds(records)
    study = make_report.study_results(Job("paper", configs, folder), records)
    for path, content in data_files(load_results(records, configs), {}, study).items():
        if path in FLAT:
            (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize("path", FLAT)
def test_the_released_numbers_come_out_again(made, path):
    ours, theirs = (pd.read_csv(folder / path) for folder in (made, RELEASED))
    assert [*ours][: len([*theirs])] == [*theirs]  # more may stand behind
    kept = [name for name in theirs if not name.startswith(TIMED)]
    pd.testing.assert_frame_equal(ours[kept], theirs[kept], check_exact=True)


def test_the_code_in_its_readme_draws_from_its_data(monkeypatch):
    monkeypatch.chdir(RELEASED)
    for block in code_blocks((RELEASED / "README.md").read_text("utf-8")):
        exec(block, {})
    drawn = [pyplot.figure(number).axes[0].has_data() for number in pyplot.get_fignums()]
    pyplot.close("all")
    assert drawn == [True] * 4


@pytest.mark.parametrize(
    ("files", "state"),
    [(["a"], "equal"), (["b"], "differs"), (["a", "a"], "differs"), ([], "differs")],
)
def test_the_command_makes_the_report_from_the_records_alone(
    project, monkeypatch, capsys, files, state
):
    released, out = RELEASED / "records", project / "out"
    paths.REPORT.mkdir()
    (paths.REPORT / "records").symlink_to(released)
    (paths.REPORT / "results.csv").write_text("a")

    def make_pages(job):  # stands for notebooks and pages, which have tests of their own
        assert {config.seed for config in job.shown} >= {0, 1, 2, 3, 4}
        for name, content in zip(("results.csv", "tables/more.csv"), files, strict=False):
            make_report.files.write(job.output, name, content.encode())
        return []

    monkeypatch.setattr(make_report, "make_pages", make_pages)
    assert command("--from-released", "--output", out) == (0 if state == "equal" else 1)
    told, place = capsys.readouterr().out.splitlines()
    assert state in told
    assert ("more.csv differs" in told) == (len(files) == 2)
    assert place == str(out / "index.html")
    ours, theirs = ({n for n in files_of(f) if n.endswith(".json")} for f in (out, released.parent))
    assert ours == {name for name in theirs if name.startswith("records/")}
    assert not paths.RUNS.exists()


def test_nothing_to_rebuild_from_is_one_line(project):
    with pytest.raises(UserError, match="no seed with all models"):
        command("--from-released", "--output", project / "out")
    assert not list(project.iterdir())
