"""Notebooks are executed out of place; a failure is kept, shown, and does not stop the others."""

import subprocess

import nbformat
import pytest

from fmnist_lib.errors import UserError
from fmnist_lib.reporting import execute as execution
from fmnist_lib.reporting.execute import execute, execute_notebooks


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
    assert [out.ename for out in outputs_of(tmp_path / "out" / "bad.ipynb") if "ename" in out]
    assert outputs_of(tmp_path / "out" / "good.ipynb")[0].text == "7\n"
    assert bad.read_bytes() == before


def test_an_unknown_parameter_is_an_error_before_any_work(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", "number")
    with pytest.raises(UserError, match=r"a.ipynb.*'nubmer'.*number"):
        execute_notebooks([notebook], tmp_path / "out", {"nubmer": 7}, jobs=1)
    assert not (tmp_path / "out").exists()


def test_the_folder_holds_the_new_notebooks_and_nothing_of_this_machine(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old.ipynb").touch()
    notebook = write_notebook(tmp_path / "a.ipynb", "number")
    execute_notebooks([notebook], folder, {"number": 7}, jobs=1)
    assert [path.name for path in folder.iterdir()] == ["a.ipynb"]
    assert str(tmp_path) not in (folder / "a.ipynb").read_text()


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
