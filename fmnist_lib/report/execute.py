"""Notebooks → executed notebooks, side by side, never in place. Not here: what they show."""

import asyncio
import atexit
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from fmnist_lib import paths
from fmnist_lib.report.files import scratch, write_files
from fmnist_lib.runs.environment import ONE_THREAD

KERNEL = "ipykernel_launcher"
# A kernel warns of its loopback connection and calls the interrupt that ends it an error; that one
# died or a cell failed is told by other means. What the user's own start-up files say is not ours.
KERNEL_OPTIONS = ("--IPKernelApp.log_level=50", "--IPKernelApp.exec_PYTHONSTARTUP=False")
CHECK = f"""\
import os, fmnist_lib
if not os.path.samefile(fmnist_lib.__path__[0], {str(paths.ROOT / "fmnist_lib")!r}):
    raise ImportError("the kernel has another fmnist_lib: " + fmnist_lib.__path__[0])
"""  # executed with a notebook's first code, and not kept


def execute_notebooks(
    notebooks: Sequence[Path], folder: Path, parameters: Mapping[str, str | bool], *, jobs: int
) -> dict[str, str]:
    """Execute notebooks into `notebooks/` of a report's folder, which then has no others of ours.

    Returns, by notebook name, the error of each that failed; that one is saved too, with its error
    shown. An exception, such as that of Ctrl-C, ends them all. Raises `FailedError` where there
    can be no files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with scratch(folder) as own, ThreadPoolExecutor(jobs) as threads:
        waiting = [
            threads.submit(execute_one, path, parameters, Path(own) / path.stem)
            for path in notebooks
        ]
        try:
            done = dict(zip(notebooks, [each.result() for each in waiting], strict=True))
        except BaseException:
            for each in waiting:
                each.cancel()
            while wait(waiting, timeout=0.1).not_done:  # a thread ends after its kernel
                kill_kernels()
            raise
    made = ((f"notebooks/{p.name}", nbformat.writes(b).encode()) for p, (b, _) in done.items())
    write_files(folder, made, "notebooks")
    return {path.stem: error for path, (_, error) in done.items() if error}


def kill_kernels() -> None:
    """Kill the kernels of this process, and all that they started."""
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if KERNEL in process.cmdline():
                for doomed in [*process.children(recursive=True), process]:
                    doomed.kill()


def execute_one(
    path: Path, parameters: Mapping[str, str | bool], ipython_folder: Path
) -> tuple[NotebookNode, str]:
    """Return a notebook as executed and its error in one line, empty for none.

    The kernel works in the project's folder, where it finds our library before any other.
    """
    ipython_folder.mkdir()
    book = parameterize_notebook(load_notebook_node(str(path)), dict(parameters))
    for part in (book, *book.cells):
        part.metadata.pop("papermill", None)  # among it paths of this machine
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    code[0].source = CHECK + code[0].source
    client = NotebookClient(
        book,
        extra_arguments=[*KERNEL_OPTIONS, f"--ipython-dir={ipython_folder}"],
        resources={"metadata": {"path": paths.ROOT}},
        record_timing=False,
    )
    # A kernel of this interpreter, whatever other kernels are named as it is.
    client.km = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    error = ""
    try:
        asyncio.run(client.async_execute(env=os.environ | ONE_THREAD))
    except CellExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    except Exception as failure:  # of the system or the kernel
        error = f"{type(failure).__name__}: {failure}"
        atexit.unregister(client._cleanup_kernel)  # which nbclient leaves there
    error = error.partition("\n")[0].strip(" :")
    if error and not any(out.output_type == "error" for cell in code for out in cell.outputs):
        name, _, value = error.partition(": ")  # the kernel could not show it
        last = next((cell for cell in reversed(code) if cell.execution_count), code[0])
        told = {"ename": name, "evalue": value, "traceback": [error]}
        last.outputs.append(nbformat.v4.new_output("error", **told))
    code[0].source = code[0].source.removeprefix(CHECK)
    given = next(cell for cell in code if "injected-parameters" in cell.metadata.get("tags", []))
    given.source = given.source.replace(f"{paths.ROOT.as_posix()}/", "")  # of this machine
    return book, error
