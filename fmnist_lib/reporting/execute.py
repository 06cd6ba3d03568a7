"""Notebooks → executed notebooks, side by side, never in place. Not here: what they show."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from fmnist_lib import paths
from fmnist_lib.errors import UserError
from fmnist_lib.reporting.folder import files_in, scratch, write_files
from fmnist_lib.reporting.processes import fresh_processes

STARTS = 3  # of a kernel: one that starts beside it may take its port at the last moment
NOT_STARTED = "the kernel did not start"
CAUSE = re.compile(r"^[\w.]*Error: .+", re.MULTILINE)
Parameters = Mapping[str, str | bool]

# A kernel warns of its loopback connection and calls the interrupt that ends it an error; that one
# died or a cell failed is told by other means. What the user's own start-up files say is not ours.
KERNEL_OPTIONS = ("--IPKernelApp.log_level=50", "--IPKernelApp.exec_PYTHONSTARTUP=False")
CHECK = f"""\
import os, fmnist_lib
if not os.path.samefile(fmnist_lib.__path__[0], {str(paths.ROOT / "fmnist_lib")!r}):
    raise ImportError("the kernel has another fmnist_lib: " + fmnist_lib.__path__[0])
"""  # executed with a notebook's first code, and not kept


class OwnKernelManager(AsyncKernelManager):
    """Starts a kernel of this interpreter, whatever other kernels are named as it is."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How the kernel is started."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def execute_notebooks(
    notebooks: Sequence[Path], folder: Path, parameters: Parameters, *, jobs: int
) -> dict[str, str]:
    """Execute notebooks into `notebooks/` of a report's folder, which then has no others of ours.

    Returns, by notebook name, the error of each that failed; that one is saved too, with its error
    shown. Raises `UserError` before any work for a parameter that a notebook does not have, and
    `FailedError` where there can be no processes or files.
    """
    for notebook in notebooks:
        check_parameters(notebook, parameters)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        scratch(folder) as made,
        fresh_processes(jobs) as pool,  # one event loop each
    ):
        targets = [Path(made) / notebook.name for notebook in notebooks]
        errors = list(pool.map(execute, notebooks, targets, [parameters] * len(targets)))
        write_files(folder, "notebooks", files_in(Path(made)))
    return {path.stem: error for path, error in zip(notebooks, errors, strict=True) if error}


def check_parameters(notebook: Path, parameters: Parameters) -> None:
    """Raise `UserError` when the notebook lacks one of the parameters."""
    known = papermill.inspect_notebook(literally(notebook))
    for name in parameters:
        if name not in known:
            raise UserError(
                f"{notebook.name}: has no parameter {name!r}; its parameters: {', '.join(known)}"
            )


def literally(path: Path) -> str:
    """Return a path as papermill takes it, which fills in what stands in braces."""
    return str(path.resolve()).replace("{", "{{").replace("}", "}}")


def execute(notebook: Path, target: Path, parameters: Parameters) -> str:
    """Execute one notebook into `target`; return its error in one line, empty for none.

    What the kernel says beside the notebook is shown after an error alone: one that lost its port
    has a traceback, and is started again.
    """
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=".kernel-", ignore_cleanup_errors=True
    ) as own:
        book = nbformat.read(notebook, as_version=4)
        first_code(book).source = CHECK + first_code(book).source
        prepared = Path(own) / notebook.name
        nbformat.write(book, prepared)
        with (Path(own) / "said").open("w+b") as said:
            with stderr_into(said):
                error = start_and_execute(prepared, target, parameters)
            said.seek(0)
            if error:
                words = said.read().decode(errors="replace")
                sys.stderr.write(words)
                if error.startswith(NOT_STARTED) and (cause := CAUSE.search(words)):
                    error += f" ({cause[0].strip()})"
        clean(target if target.exists() else prepared, target, error)
    return error


def first_code(notebook: NotebookNode) -> NotebookNode:
    """Return the first code cell."""
    return next(cell for cell in notebook.cells if cell.cell_type == "code")


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
    """Execute one notebook, in a second or third kernel if need be; return as `execute` does.

    The kernel works in the project's folder, where it finds our library before any other.
    """
    replies: list[Mapping[str, str]] = []
    for _ in range(STARTS):
        error = ""
        try:
            papermill.execute_notebook(
                literally(notebook),
                literally(target),
                dict(parameters),
                kernel_name="python3",
                kernel_manager_class=OwnKernelManager,
                progress_bar=False,
                cwd=paths.ROOT,
                extra_arguments=[*KERNEL_OPTIONS, f"--ipython-dir={notebook.parent}"],
                on_cell_error=lambda execute_reply, **_: replies.append(execute_reply["content"]),
            )
        except PapermillExecutionError as failure:  # which may have lost what the kernel said
            reply = replies[-1] if replies else {}
            name, value = reply.get("ename", failure.ename), reply.get("evalue", failure.evalue)
            error = f"{name}: {value}"
        except Exception as failure:  # of the system, or of the connection to the kernel
            error = f"{type(failure).__name__}: {failure}"
            if type(failure) is RuntimeError:  # nothing was executed yet
                error = f"{NOT_STARTED}: {failure}"
                continue
        break
    return error.partition("\n")[0].strip(" :")


def clean(path: Path, target: Path, error: str) -> None:
    """Write an executed notebook to `target` without what is of this machine and the hour.

    The records tell that. The notebook is given its name, since its cells are told apart by it in
    the report, and shows its error even where the kernel could not.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    notebook.metadata.name = target.stem
    first = first_code(notebook)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        cell.source = cell.source.removeprefix(CHECK)
        if "injected-parameters" in cell.metadata.get("tags", []):  # within the project
            cell.source = cell.source.replace(f'"{paths.ROOT.as_posix()}/', '"')
        first = cell if cell.cell_type == "code" and cell.get("execution_count") else first
    shown = (out for cell in notebook.cells for out in cell.get("outputs", []))
    if error and not any(output.output_type == "error" for output in shown):
        name, _, value = error.rpartition(": ")
        first.outputs.append(
            nbformat.v4.new_output("error", ename=name or "Error", evalue=value, traceback=[error])
        )
    nbformat.write(notebook, target)
