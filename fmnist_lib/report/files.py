"""The folder of a report: which of its files are ours, how they come and go, what notebooks bring.

`.fmnist-report` names, a line each, every file that was written there, before it is written. What
is not named in it is somebody else's: it is neither replaced nor deleted.
"""

import base64
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from nbformat import NotebookNode

from fmnist_lib import paths
from fmnist_lib.errors import FailedError
from fmnist_lib.runs.store import write_atomically

MARKER = ".fmnist-report"
MADE_FROM = ".made-from"  # the digest of what a whole report was made from
SCRATCH = re.compile(r"\.(?:notebooks|records|scratch)-(?:(\d+)-)?[a-z0-9_]{8}")
UNFINISHED = re.compile(r"\.(.+)\.(?:(\d+)|[a-z0-9_]{8})")
BUNDLE = "application/vnd.fmnist+json"  # beside an output: its numbers and files, see `show`
BROUGHT = re.compile(r"(figures/[\w-]+\.(svg|png|csv)|tables/[\w-]+\.csv)", re.ASCII)
Files = Iterable[tuple[str, bytes]]
Numbers = dict[str, dict]


def is_report(folder: Path) -> bool:
    """Return whether a folder is a report's; an older one has no marker, but its digest."""
    known = folder.resolve() == paths.REPORT.resolve()
    return known or any((folder / name).is_file() for name in (MARKER, MADE_FROM))


def claim(folder: Path) -> None:
    """Mark a report's folder, and sweep out what commands that were killed have left there."""
    names = {name for name in ours(folder) if (folder / name).exists()}
    if is_report(folder) and not (folder / MARKER).exists():
        names = {name for name, _ in files_in(folder)}
    for path, pid in list(_left_over(folder, {*ours(folder), *names, MADE_FROM, MARKER})):
        if pid is None or not psutil.pid_exists(int(pid)):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
    write_atomically(folder / MARKER, "".join(f"{name}\n" for name in sorted(names)).encode())


def _left_over(folder: Path, names: set[str]) -> Iterator[tuple[Path, str | None]]:
    """Yield scratch folders and unfinished files, with the id of the process they are of."""
    known = {folder / name for name in names}
    for path in (path for parent in {p.parent for p in known} for path in parent.glob(".*")):
        if path.parent == folder and (found := SCRATCH.fullmatch(path.name)):
            yield path, found[1]
        elif (found := UNFINISHED.fullmatch(path.name)) and path.parent / found[1] in known:
            yield path, found[2]


def ours(folder: Path) -> set[str]:
    """Return the files that were written there, by their paths within the folder."""
    with suppress(FileNotFoundError):
        return set((folder / MARKER).read_text(encoding="utf-8").splitlines())
    return set()


def scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a folder within a report's for the time being; swept out later if we are killed."""
    return tempfile.TemporaryDirectory(
        dir=folder, prefix=f".scratch-{os.getpid()}-", ignore_cleanup_errors=True
    )


@contextmanager
def replacing(folder: Path, name: str) -> Iterator[Path]:
    """Yield a path to write a report's file to; without an error it takes the old one's place.

    Raises `FailedError` where that is somebody else's, and where the disk is full or read-only.
    """
    target = folder / name
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if name not in ours(folder):
            if os.path.lexists(target):
                raise FailedError(f"{target}: is not of this report; move it away and run again")
            with (folder / MARKER).open("a", encoding="utf-8") as marker:
                marker.write(f"{name}\n")
        yield unfinished
        unfinished.replace(target)
    except OSError as error:
        raise FailedError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        unfinished.unlink(missing_ok=True)


def write(folder: Path, name: str, content: bytes) -> None:
    """Write a file of a report; raise as `replacing` does."""
    with replacing(folder, name) as unfinished:
        unfinished.write_bytes(content)


def write_files(folder: Path, below: str, files: Files, *, keep: bool = False) -> None:
    """Write files into a folder within a report's; it then has no others of ours.

    With `keep` it still has those of other runs.
    """
    written = {f"{below}/{name}": content for name, content in files}
    for name, content in written.items():
        write(folder, name, content)
    runs = {name.rpartition("/")[0] for name in written if name.endswith("/record.json")}
    for name in ours(folder) - written.keys():
        if name.startswith(f"{below}/") and (not keep or name.rpartition("/")[0] in runs):
            (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # not empty, or gone
                (folder / name).parent.rmdir()


def files_in(folder: Path) -> Files:
    """Yield path within the folder and content of each file in it that is not hidden."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix(), path.read_bytes()


# --- what executed notebooks bring with them ---


def collect(*notebooks: NotebookNode) -> tuple[Numbers, dict[str, bytes]]:
    """Take their bundles out of executed notebooks: numbers by address, files by path.

    Raises `FailedError` for an address or a path that stands for two different things, and for a
    path that is neither a figure's nor a table's.
    """
    numbers: Numbers = {}
    files: dict[str, bytes] = {}
    for cell in (cell for notebook in notebooks for cell in notebook.cells):
        for output in cell.get("outputs", ()):
            bundle = output.get("data", {}).pop(BUNDLE, {})
            for address, number in bundle.get("numbers", {}).items():
                add_number(numbers, address, dict(number))
            for path, content in bundle.get("files", {}).items():
                if not BROUGHT.fullmatch(path):
                    raise FailedError(f"{path}: a notebook can bring no such file")
                if files.setdefault(path, base64.b64decode(content)) != base64.b64decode(content):
                    raise FailedError(f"{path}: two different tables or figures have this name")
    return numbers, files


def add_number(numbers: Numbers, address: str, number: dict) -> None:
    """Add a number, as `show` marks it; raise `FailedError` if another has its address."""
    before = numbers.setdefault(address, number)
    if before | {"text": ""} != number | {"text": ""}:
        texts = f"{before['text']} and {number['text']}"
        raise FailedError(f"{address}: two numbers, {texts}; `name` one of the sentences or tables")


def numbers_json(numbers: Mapping[str, Mapping]) -> str:
    """Return the content of `numbers.json`: each list of sources once, each number with its own."""
    lists = {tuple(number["sources"]): None for number in numbers.values()}
    index = {sources: place for place, sources in enumerate(lists)}
    told = {at: dict(number) for at, number in numbers.items()}
    for number in told.values():
        number["source"] = index[tuple(number.pop("sources"))]
    content = {"sources": list(lists), "numbers": told}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
