"""The page `make lab` opens: it leads to every notebook and says what there is to show."""

import re

import nbformat
import pytest
from made_up import make_run

from fmnist_lib import paths
from fmnist_lib.commands import start
from fmnist_lib.models import MODELS
from fmnist_lib.runs.store import RunStore


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """This machine's records and the released ones, both empty."""
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "REPORT", tmp_path / "report")
    return RunStore(paths.RUNS), RunStore(paths.REPORT / "records")


def rows():
    """The cells of each row, by the notebook that it links."""
    lines = [line for line in start.page().splitlines() if line.startswith("| [")]
    return {re.search(r"/(\w+)\.ipynb", line)[1]: line.strip("| ").split(" | ") for line in lines}


def test_every_notebook_has_a_row(stores):
    assert list(rows()) == ["comparison", *MODELS]
    links = re.findall(r"\]\((.*?\.ipynb)\)", start.page())
    targets = {(start.PAGE.parent / link).resolve() for link in links}
    assert targets == set(paths.NOTEBOOKS.glob("*.ipynb"))


def test_it_says_what_was_trained_here_and_what_is_released(stores):
    own, released = stores
    for seed in (0, 1):
        released.write(make_run("lenet5", seed))
    own.write(make_run("vit_tiny", 3))
    own.write(make_run("vit_tiny", test_images=20))  # shortened: not what the notebooks show
    own.write(make_run("vit_tiny", learning_rate=0.1))
    found = {name: cells[2:4] for name, cells in rows().items()}
    assert found["lenet5"] == ["–", "2 runs"]
    assert found["vit_tiny"] == ["1 run", "–"]
    assert found["comparison"] == ["1 run", "2 runs"]
    assert found["resnet_mini"] == ["–", "–"]


def test_training_takes_as_long_as_it_took(stores):
    """Three epochs of 10, 20 and 30 s, each with a test of a hundredth of that: 60.6 s."""
    stores[1].write(make_run("lenet5"))
    assert rows()["lenet5"][4] == "2 min"


def test_it_is_a_notebook_of_text_alone(stores, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(start, "PAGE", tmp_path / "build" / "start.ipynb")
    start.main()
    notebook = nbformat.read(capsys.readouterr().out.strip(), as_version=4)
    nbformat.validate(notebook)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown"]
    assert notebook.metadata.kernelspec.name == "python3"  # else JupyterLab asks for one
