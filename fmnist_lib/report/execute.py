"""Notebooks → executed notebooks, side by side, never in place. Not here: what they show."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from fmnist_lib import paths
from fmnist_lib.errors import UserError
from fmnist_lib.report.files import files_in, scratch, write_files
from fmnist_lib.report.processes import fresh_processes

STARTS = 3  # of a kernel: one that starts beside it may take its port at the last moment
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
        known = papermill.inspect_notebook(_literally(notebook))
        for name in parameters.keys() - known.keys():
            raise UserError(
                f"{notebook.name}: has no parameter {name!r}; its parameters: {', '.join(known)}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    with scratch(folder) as made, fresh_processes(jobs) as pool:  # one event loop each
        targets = [Path(made) / notebook.name for notebook in notebooks]
        errors = list(pool.map(execute, notebooks, targets, [parameters] * len(targets)))
        write_files(folder, "notebooks", files_in(Path(made)))
    return {path.stem: error for path, error in zip(notebooks, errors, strict=True) if error}


def execute(notebook: Path, target: Path, parameters: Parameters) -> str:
    """Execute one notebook into `target`; return its error in one line, empty for none."""
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=".kernel-", ignore_cleanup_errors=True
    ) as own:
        book = nbformat.read(notebook, as_version=4)
        first = next(cell for cell in book.cells if cell.cell_type == "code")
        first.source = CHECK + first.source
        prepared = Path(own) / notebook.name
        nbformat.write(book, prepared)
        error = _start(prepared, target, parameters)
        made = nbformat.read(target if target.exists() else prepared, as_version=4)
    made.metadata.name = target.stem
    _clean(made, error)
    nbformat.write(made, target)
    return error


def _literally(path: Path) -> str:
    """Return a path as papermill takes it, which fills in what stands in braces."""
    return str(path.resolve()).replace("{", "{{").replace("}", "}}")


def _start(notebook: Path, target: Path, parameters: Parameters) -> str:
    """Execute one notebook, in a second or third kernel if need be; return as `execute` does.

    The kernel works in the project's folder, where it finds our library before any other.
    """
    replies: list[Mapping[str, str]] = []
    for _ in range(STARTS):
        try:
            papermill.execute_notebook(
                _literally(notebook),
                _literally(target),
                dict(parameters),
                kernel_name="python3",
                kernel_manager_class=OwnKernelManager,
                progress_bar=False,
                cwd=paths.ROOT,
                extra_arguments=[*KERNEL_OPTIONS, f"--ipython-dir={notebook.parent}"],
                on_cell_error=lambda execute_reply, **_: replies.append(execute_reply["content"]),
            )
            return ""
        except PapermillExecutionError as failure:  # which may have lost what the kernel said
            reply = replies[-1] if replies else {}
            name, value = reply.get("ename", failure.ename), reply.get("evalue", failure.evalue)
            return f"{name}: {value}".partition("\n")[0].strip(" :")
        except Exception as failure:  # of the system, or of the connection to the kernel
            error = f"{type(failure).__name__}: {failure}".partition("\n")[0]
            if type(failure) is not RuntimeError:  # else nothing was executed yet
                return error
    return error.replace("RuntimeError", "the kernel did not start")


def _clean(notebook: NotebookNode, error: str) -> None:
    """Take from an executed notebook what is of this machine and the hour: the records tell that.

    It shows its error even where the kernel could not.
    """
    notebook.metadata.pop("papermill", None)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        cell.source = cell.source.removeprefix(CHECK)
        if "injected-parameters" in cell.metadata.get("tags", []):  # within the project
            cell.source = cell.source.replace(f'"{paths.ROOT.as_posix()}/', '"')
    if error and not any(out.output_type == "error" for cell in code for out in cell.outputs):
        name, _, value = error.rpartition(": ")
        last = next((cell for cell in reversed(code) if cell.get("execution_count")), code[0])
        told = {"ename": name or "Error", "evalue": value, "traceback": [error]}
        last.outputs.append(nbformat.v4.new_output("error", **told))
