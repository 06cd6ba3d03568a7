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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from fmnist_lib.errors import FailedError
from fmnist_lib.runs.store import write_atomically

MARKER = ".fmnist-report"
SCRATCH = re.compile(r"\.scratch-(\d+)-[a-z0-9_]{8}")
BUNDLE = "application/vnd.fmnist+json"  # beside an output: its numbers and files, see `show`
BROUGHT = re.compile(r"(figures/[\w-]+\.(svg|png|csv)|tables/[\w-]+\.csv)", re.ASCII)
Files = Iterable[tuple[str, bytes]]
Numbers = dict[str, dict]


def prepare(folder: Path) -> None:
    """Mark a report's folder, and sweep out what commands that were killed have left there."""
    for path in folder.glob(".scratch-*"):
        if (found := SCRATCH.fullmatch(path.name)) and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)
    names = [f"{name}\n" for name in sorted(ours(folder)) if (folder / name).exists()]
    write_atomically(folder / MARKER, "".join(names).encode())


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


def write(folder: Path, name: str, content: bytes) -> None:
    """Write a file of a report, whole or not at all, in place of its older one.

    Raises `FailedError` where that is somebody else's, and where the disk is full or read-only.
    """
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if name not in ours(folder):
            if os.path.lexists(target):
                raise FailedError(f"{target}: is not of this report; move it away and run again")
            with (folder / MARKER).open("a", encoding="utf-8") as marker:
                marker.write(f"{name}\n")
        with scratch(folder) as made:
            (Path(made) / "unfinished").write_bytes(content)
            (Path(made) / "unfinished").replace(target)
    except OSError as error:
        raise FailedError(f"{target}: cannot be written ({error.strerror or error})") from error


def write_files(folder: Path, files: Files, *below: str, keep: bool = False) -> None:
    """Write files of a report; below these folders of it there are then no others of ours.

    With `keep` there are still those of other runs.
    """
    written = dict(files)
    for name, content in written.items():
        write(folder, name, content)
    runs = {name.rpartition("/")[0] for name in written if name.endswith("/record.json")}
    for name in ours(folder) - written.keys():
        if name.partition("/")[0] in below and (not keep or name.rpartition("/")[0] in runs):
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


def collect(*notebooks: Mapping[str, Any]) -> tuple[Numbers, dict[str, bytes]]:
    """Take their bundles out of executed notebooks: numbers by address, files by path.

    Raises `FailedError` for an address or a path that stands for two different things, and for a
    path that is neither a figure's nor a table's.
    """
    numbers: Numbers = {}
    files: dict[str, bytes] = {}
    for cell in (cell for notebook in notebooks for cell in notebook["cells"]):
        for output in cell.get("outputs", ()):
            bundle = output.get("data", {}).pop(BUNDLE, {})
            for address, number in bundle.get("numbers", {}).items():
                add_number(numbers, address, dict(number))
            for path, encoded in bundle.get("files", {}).items():
                content = base64.b64decode(encoded)
                if not BROUGHT.fullmatch(path):
                    raise FailedError(f"{path}: a notebook can bring no such file")
                if files.setdefault(path, content) != content:
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
    places: dict[tuple[str, ...], int] = {}
    told = {at: dict(number) for at, number in numbers.items()}
    for number in told.values():
        number["source"] = places.setdefault(tuple(number.pop("sources")), len(places))
    content = {"sources": list(places), "numbers": told}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
