"""Notebooks are executed out of place; a failure is kept, shown, and does not stop the others."""

import errno
import os
import signal
import subprocess
import sys
from unittest.mock import AsyncMock

import nbformat
import psutil
import pytest
from command import files_of

from fmnist_lib.paths import ROOT
from fmnist_lib.report import execute as execution
from fmnist_lib.report.execute import execute_notebooks, execute_one
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


def outputs_of(book):
    return [out for cell in book.cells for out in cell.get("outputs", [])]


def test_a_failed_notebook_is_saved_with_its_error_and_the_others_go_on(notebook, tmp_path):
    """The folder holds the new ones alone; they name no place of this machine."""
    folder, inside = tmp_path / "{out}", ROOT / "build" / "records"
    write(folder, "notebooks/old.ipynb", b"")
    place = {"parameters": 'place = ""'}
    bad, good = notebook("1 / 0", name="bad", **place), notebook("place", name="good", **place)
    before = bad.read_bytes()
    errors = execute_notebooks([bad, good], folder, {"place": inside.as_posix()}, jobs=2)
    assert errors == {"bad": "ZeroDivisionError: division by zero"}
    files = files_of(folder)
    assert files.keys() == {MARKER, "notebooks/bad.ipynb", "notebooks/good.ipynb"}
    assert str(tmp_path).encode() not in files["notebooks/good.ipynb"]
    made = {name: nbformat.reads(files[name], as_version=4) for name in files if name != MARKER}
    assert [out.ename for out in outputs_of(made["notebooks/bad.ipynb"])] == ["ZeroDivisionError"]
    executed = made["notebooks/good.ipynb"]
    assert executed.cells[0].source == 'place = ""'
    assert executed.cells[1].source.endswith('place = "build/records"\n')
    assert outputs_of(executed)[0].data["text/plain"] == repr(inside.as_posix())  # to the kernel
    assert bad.read_bytes() == before


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
    made, error = execute_one(notebook(said), {}, tmp_path / "own")
    assert error == ""
    assert outputs_of(made)[0].text == f"{ROOT} {sys.executable} 1\n"


def test_a_kernel_with_another_library_ends_the_notebook(notebook, tmp_path, monkeypatch):
    (tmp_path / "fmnist_lib").mkdir()
    (tmp_path / "fmnist_lib" / "__init__.py").touch()
    monkeypatch.setattr(execution.paths, "ROOT", tmp_path)  # where the kernel then works
    made, error = execute_one(notebook("print(number)"), {"number": 7}, tmp_path / "own")
    assert str(tmp_path / "fmnist_lib") in error
    assert [output.output_type for output in outputs_of(made)] == ["error"]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), os.strerror(errno.ENOSPC)),
        (RuntimeError("Kernel died before replying"), "RuntimeError: Kernel died before"),
        (execution.CellExecutionError("", "OSError", "Too many open files"), "OSError: Too many"),
    ],
)
def test_an_error_that_the_kernel_cannot_show_is_told_in_words(
    notebook, tmp_path, monkeypatch, failure, told
):
    monkeypatch.setattr(execution.NotebookClient, "async_execute", AsyncMock(side_effect=failure))
    made, error = execute_one(notebook("1"), {"number": 7}, tmp_path / "own")
    assert told in error
    assert [output.traceback for output in outputs_of(made)] == [[error]]


COMMAND = """
import sys
from pathlib import Path
from fmnist_lib.report.execute import execute_notebooks
try:
    execute_notebooks([*map(Path, sys.argv[2:])], Path(sys.argv[1]), {}, jobs=1)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_kernels_end_with_the_command_whatever_ends_it(notebook, tmp_path, sign):
    """And what waits in line is never executed."""
    started, later = tmp_path / "started", tmp_path / "later"
    first = notebook(f"import os, time; open({str(started)!r}, 'w').close(); time.sleep(600)")
    second = notebook(f"open({str(later)!r}, 'w')", name="b")
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, tmp_path / "out", first, second],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # whoever starts the tests in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as command:
        while not started.exists():
            assert command.poll() is None, command.communicate()
        kernels = psutil.Process(command.pid).children(recursive=True)
        assert kernels
        (os.killpg if sign == signal.SIGINT else os.kill)(command.pid, sign)
        if sign == signal.SIGINT:
            assert command.communicate(timeout=60) == ("interrupted\n", "")
    assert psutil.wait_procs(kernels, timeout=60)[1] == []
    assert not later.exists()
