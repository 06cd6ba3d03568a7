"""Notebooks are executed out of place; a failure is kept, shown, and does not stop the others."""

import errno
import os
import subprocess
import sys

import nbformat
import pytest

from fmnist_lib.errors import UserError
from fmnist_lib.paths import ROOT
from fmnist_lib.reporting import execute as execution
from fmnist_lib.reporting.execute import execute, execute_notebooks
from fmnist_lib.reporting.folder import MARKER, write


def write_notebook(path, *sources, parameters="number = 1"):
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def outputs_of(path):
    cells = nbformat.read(path, as_version=4).cells
    return [out for cell in cells for out in cell.get("outputs", [])]


def test_a_failed_notebook_is_saved_with_its_error_and_the_others_go_on(tmp_path):
    bad = write_notebook(tmp_path / "bad.ipynb", "1 / 0")
    good = write_notebook(tmp_path / "good.ipynb", "print(number)")
    before = bad.read_bytes()
    errors = execute_notebooks([bad, good], tmp_path / "out", {"number": 7}, jobs=2)
    assert errors == {"bad": "ZeroDivisionError: division by zero"}
    assert [out.ename for out in outputs_of(tmp_path / "out/notebooks/bad.ipynb") if "ename" in out]
    assert outputs_of(tmp_path / "out/notebooks/good.ipynb")[0].text == "7\n"
    assert bad.read_bytes() == before


def test_an_unknown_parameter_is_an_error_before_any_work(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", "number")
    with pytest.raises(UserError, match=r"a.ipynb.*'nubmer'.*number"):
        execute_notebooks([notebook], tmp_path / "out", {"nubmer": 7}, jobs=1)
    assert not (tmp_path / "out").exists()


def test_the_folder_holds_the_new_notebooks_and_nothing_of_this_machine(tmp_path):
    folder, inside = tmp_path / "{out}", ROOT / "build" / "records"
    write(folder, "notebooks/old.ipynb", b"")
    notebook = write_notebook(tmp_path / "a.ipynb", "place", parameters='place = ""')
    execute_notebooks([notebook], folder, {"place": inside.as_posix()}, jobs=1)
    assert [path.name for path in folder.iterdir() if path.name != MARKER] == ["notebooks"]
    (made,) = (folder / "notebooks").iterdir()
    assert made.name == "a.ipynb"
    assert str(tmp_path) not in made.read_text()
    sources = [cell.source for cell in nbformat.read(made, as_version=4).cells]
    assert sources[0] == 'place = ""'
    assert 'place = "build/records"' in sources[1]
    assert outputs_of(made)[0].data["text/plain"] == repr(inside.as_posix())  # to the kernel


# --- whose kernel ------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder to stand in, with another `fmnist_lib` and `pandas`, and another kernel's name."""
    for name in ("fmnist_lib", "pandas"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
        (tmp_path / "elsewhere" / name / "__init__.py").write_text("raise SystemExit('foreign')")
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        '{"argv": ["false", "{connection_file}"], "display_name": "x", "language": "python"}'
    )
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "x.py").write_text("number = 'from the start-up file'")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_wherever_the_command_is_given_the_kernel_is_ours(elsewhere, tmp_path):
    said = "import os, sys, pandas, fmnist_lib; print(os.getcwd(), sys.executable, number)"
    notebook = write_notebook(tmp_path / "a.ipynb", said, parameters="number = 1")
    assert execute(notebook, tmp_path / "b.ipynb", {}) == ""
    assert outputs_of(tmp_path / "b.ipynb")[0].text == f"{ROOT} {sys.executable} 1\n"


def test_a_kernel_with_another_library_ends_the_notebook(tmp_path, monkeypatch):
    (tmp_path / "fmnist_lib").mkdir()
    (tmp_path / "fmnist_lib" / "__init__.py").touch()
    notebook = write_notebook(tmp_path / "a.ipynb", "print(number)")
    monkeypatch.setattr(execution.paths, "ROOT", tmp_path)  # where the kernel then works
    error = execute(notebook, tmp_path / "b.ipynb", {"number": 7})
    assert str(tmp_path / "fmnist_lib") in error
    (output,) = outputs_of(tmp_path / "b.ipynb")
    assert output.output_type == "error"


# --- kernels that fail -------------------------------------------------------------------------


def fail_to_start(monkeypatch, times):
    """Let the first kernels fail as one does whose port was taken; return the list of starts.

    Such a kernel writes a traceback to the standard error that it has from us.
    """
    starts, start = [], execution.papermill.execute_notebook

    def failing(*arguments, **options):
        starts.append(arguments)
        if len(starts) <= times:
            nbformat.write(nbformat.read(arguments[0], as_version=4), arguments[1])
            subprocess.run("echo Address already in use >&2", shell=True, check=True)
            raise RuntimeError("Kernel died before replying to kernel_info")
        return start(*arguments, **options)

    monkeypatch.setattr(execution.papermill, "execute_notebook", failing)
    return starts


def test_a_kernel_that_did_not_start_is_started_again(tmp_path, monkeypatch, capfd):
    notebook = write_notebook(tmp_path / "a.ipynb", "print(number)")
    starts = fail_to_start(monkeypatch, 1)
    assert execute(notebook, tmp_path / "b.ipynb", {"number": 7}) == ""
    assert len(starts) == 2
    assert outputs_of(tmp_path / "b.ipynb")[0].text == "7\n"
    assert "Address" not in capfd.readouterr().err


def test_kernels_that_never_start_are_an_error_in_one_line(tmp_path, monkeypatch, capfd):
    notebook = write_notebook(tmp_path / "a.ipynb", "print(number)")
    starts = fail_to_start(monkeypatch, 99)
    error = execute(notebook, tmp_path / "b.ipynb", {"number": 7})
    assert error == "the kernel did not start: Kernel died before replying to kernel_info"
    assert len(starts) == execution.STARTS
    assert "Address already in use" in capfd.readouterr().err
    assert [out.evalue for out in outputs_of(tmp_path / "b.ipynb")]  # the page shows it


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOSPC])
def test_what_the_system_refuses_is_told_in_words(tmp_path, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(execution.papermill, "execute_notebook", refuse)
    notebook = write_notebook(tmp_path / "a.ipynb", "print(number)")
    assert os.strerror(code) in execute(notebook, tmp_path / "b.ipynb", {"number": 7})
    assert outputs_of(tmp_path / "b.ipynb")


def test_an_error_that_the_notebook_did_not_get_is_told_all_the_same(tmp_path, monkeypatch):
    """As when the kernel has too few file handles to send it."""

    def lose(*_, on_cell_error, **__):
        content = {"ename": "OSError", "evalue": "Too many open files"}
        on_cell_error(cell=None, cell_index=0, execute_reply={"content": content})
        raise execution.PapermillExecutionError(0, 1, "", "CellExecutionError", "", [])

    monkeypatch.setattr(execution.papermill, "execute_notebook", lose)
    notebook = write_notebook(tmp_path / "a.ipynb", "print(number)")
    error = execute(notebook, tmp_path / "b.ipynb", {"number": 7})
    assert error == "OSError: Too many open files"
