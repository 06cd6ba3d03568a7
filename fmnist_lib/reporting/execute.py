"""Notebooks → executed notebooks, side by side, never in place. Not here: what they show."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from fmnist_lib.errors import UserError
from fmnist_lib.reporting.processes import fresh_processes

# A kernel warns of its loopback connection and calls the interrupt that ends it an error; that one
# died or a cell failed is told by other means.
QUIET_KERNEL = "--IPKernelApp.log_level=50"
STARTS = 3  # of a kernel: one that starts beside it may take its port at the last moment
Parameters = Mapping[str, str | bool]


def execute_notebooks(
    notebooks: Sequence[Path], folder: Path, parameters: Parameters, *, jobs: int
) -> dict[str, str]:
    """Execute notebooks into `folder`, which afterwards holds these and no others.

    Returns, by notebook name, the error of each that failed; that one is saved too, with its error
    shown. Raises `UserError` before any work for a parameter that a notebook does not have.
    """
    for notebook in notebooks:
        check_parameters(notebook, parameters)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".notebooks-") as scratch,
        fresh_processes(jobs) as pool,  # one event loop each
    ):
        targets = [Path(scratch) / notebook.name for notebook in notebooks]
        errors = list(pool.map(execute, notebooks, targets, [parameters] * len(targets)))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for target in targets:
            shutil.move(target, folder / target.name)
    return {path.stem: error for path, error in zip(notebooks, errors, strict=True) if error}


def check_parameters(notebook: Path, parameters: Parameters) -> None:
    """Raise `UserError` when the notebook lacks one of the parameters."""
    known = papermill.inspect_notebook(notebook)
    for name in parameters:
        if name not in known:
            raise UserError(
                f"{notebook.name}: has no parameter {name!r}; its parameters: {', '.join(known)}"
            )


def execute(notebook: Path, target: Path, parameters: Parameters) -> str:
    """Execute one notebook into `target`; return its error in one line, empty for none.

    What the kernel says beside the notebook is shown after an error alone: one that lost its port
    has a traceback, and is started again.
    """
    with tempfile.TemporaryFile() as said:
        with stderr_into(said):
            error = start_and_execute(notebook, target, parameters)
        said.seek(0)
        if error:
            sys.stderr.write(said.read().decode(errors="replace"))
    clean(target)
    return error


@contextmanager
def stderr_into(file: IO[bytes]) -> Iterator[None]:
    """Lead what this process and those it starts write to standard error into a file."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def start_and_execute(notebook: Path, target: Path, parameters: Parameters) -> str:
    """Execute one notebook, in a second or third kernel if need be; return as `execute` does."""
    for _ in range(STARTS):
        error = ""
        try:
            papermill.execute_notebook(
                notebook,
                target,
                dict(parameters),
                kernel_name="python3",
                progress_bar=False,
                extra_arguments=[QUIET_KERNEL],
            )
        except PapermillExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}".splitlines()[0]
        except (DeadKernelError, CellTimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}".splitlines()[0]
        except RuntimeError as failure:  # nothing was executed yet
            error = f"the kernel did not start: {failure}".splitlines()[0]
            continue
        break
    return error


def clean(path: Path) -> None:
    """Remove what papermill noted about this machine and the hour; the records tell that.

    The notebook is given its name, since its cells are told apart by it in the report.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    notebook.metadata.name = path.stem
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)
