"""Notebooks are executed out of place; a failure is kept, shown, and does not stop the others."""

import errno
import os
import sys

import nbformat
import pytest

from fmnist_lib.errors import UserError
from fmnist_lib.paths import ROOT
from fmnist_lib.report import execute as execution
from fmnist_lib.report.execute import execute, execute_notebooks
from fmnist_lib.report.files import MARKER, write


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of these cells; the first holds its parameters."""

    def make(*sources, name="a", parameters="number = 1"):
        first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        cells = [first, *map(nbformat.v4.new_code_cell, sources)]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
        return path

    return make


def outputs_of(path):
    cells = nbformat.read(path, as_version=4).cells
    return [out for cell in cells for out in cell.get("outputs", [])]


def test_a_failed_notebook_is_saved_with_its_error_and_the_others_go_on(notebook, tmp_path):
    bad, good = notebook("1 / 0", name="bad"), notebook("print(number)", name="good")
    before = bad.read_bytes()
    errors = execute_notebooks([bad, good], tmp_path / "out", {"number": 7}, jobs=2)
    assert errors == {"bad": "ZeroDivisionError: division by zero"}
    assert [out.ename for out in outputs_of(tmp_path / "out/notebooks/bad.ipynb") if "ename" in out]
    assert outputs_of(tmp_path / "out/notebooks/good.ipynb")[0].text == "7\n"
    assert bad.read_bytes() == before


def test_an_unknown_parameter_is_an_error_before_any_work(notebook, tmp_path):
    with pytest.raises(UserError, match=r"a.ipynb.*'nubmer'.*number"):
        execute_notebooks([notebook("number")], tmp_path / "out", {"nubmer": 7}, jobs=1)
    assert not (tmp_path / "out").exists()


def test_the_folder_holds_the_new_notebooks_and_nothing_of_this_machine(notebook, tmp_path):
    folder, inside = tmp_path / "{out}", ROOT / "build" / "records"
    write(folder, "notebooks/old.ipynb", b"")
    book = notebook("place", parameters='place = ""')
    execute_notebooks([book], folder, {"place": inside.as_posix()}, jobs=1)
    assert [path.name for path in folder.iterdir() if path.name != MARKER] == ["notebooks"]
    (made,) = (folder / "notebooks").iterdir()
    assert made.name == "a.ipynb"
    assert str(tmp_path) not in made.read_text()
    sources = [cell.source for cell in nbformat.read(made, as_version=4).cells]
    assert sources[0] == 'place = ""'
    assert 'place = "build/records"' in sources[1]
    assert outputs_of(made)[0].data["text/plain"] == repr(inside.as_posix())  # to the kernel


# --- whose kernel ------------------------------------------------------------------------------


def test_wherever_the_command_is_given_the_kernel_is_ours(notebook, tmp_path, monkeypatch):
    """Also in a folder with another library and `pandas`, and with another kernel of its name."""
    place, startup = tmp_path / "place", tmp_path / "ipython" / "profile_default" / "startup"
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    for folder in (place / "fmnist_lib", place / "pandas", startup, kernel):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise SystemExit('foreign')")
    (kernel / "kernel.json").write_text(
        '{"argv": ["false", "{connection_file}"], "display_name": "x", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(place)
    said = "import os, sys, pandas, fmnist_lib; print(os.getcwd(), sys.executable, number)"
    assert execute(notebook(said), tmp_path / "b.ipynb", {}) == ""
    assert outputs_of(tmp_path / "b.ipynb")[0].text == f"{ROOT} {sys.executable} 1\n"


def test_a_kernel_with_another_library_ends_the_notebook(notebook, tmp_path, monkeypatch):
    (tmp_path / "fmnist_lib").mkdir()
    (tmp_path / "fmnist_lib" / "__init__.py").touch()
    monkeypatch.setattr(execution.paths, "ROOT", tmp_path)  # where the kernel then works
    error = execute(notebook("print(number)"), tmp_path / "b.ipynb", {"number": 7})
    assert str(tmp_path / "fmnist_lib") in error
    (output,) = outputs_of(tmp_path / "b.ipynb")
    assert output.output_type == "error"


# --- kernels that fail -------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 99])
def test_a_kernel_that_did_not_start_is_started_again(notebook, tmp_path, monkeypatch, times):
    starts, start = [], execution.papermill.execute_notebook

    def failing(*arguments, **options):
        starts.append(arguments)
        if len(starts) <= times:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return start(*arguments, **options)

    monkeypatch.setattr(execution.papermill, "execute_notebook", failing)
    error = execute(notebook("print(number)"), tmp_path / "b.ipynb", {"number": 7})
    (output,) = outputs_of(tmp_path / "b.ipynb")
    if times == 1:
        assert (error, output.text, len(starts)) == ("", "7\n", 2)
    else:
        assert error == "the kernel did not start: Kernel died before replying to kernel_info"
        assert (len(starts), output.evalue) == (execution.STARTS, error.partition(": ")[2])


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOSPC])
def test_what_the_system_refuses_is_told_in_words(notebook, tmp_path, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(execution.papermill, "execute_notebook", refuse)
    assert os.strerror(code) in execute(notebook("1"), tmp_path / "b.ipynb", {"number": 7})
    assert outputs_of(tmp_path / "b.ipynb")


def test_an_error_that_the_notebook_did_not_get_is_told_all_the_same(
    notebook, tmp_path, monkeypatch
):
    """As when the kernel has too few file handles to send it."""

    def lose(*_, on_cell_error, **__):
        content = {"ename": "OSError", "evalue": "Too many open files"}
        on_cell_error(cell=None, cell_index=0, execute_reply={"content": content})
        raise execution.PapermillExecutionError(0, 1, "", "CellExecutionError", "", [])

    monkeypatch.setattr(execution.papermill, "execute_notebook", lose)
    error = execute(notebook("1"), tmp_path / "b.ipynb", {"number": 7})
    assert error == "OSError: Too many open files"
