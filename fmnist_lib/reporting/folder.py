"""The folder of a report: which of its files are ours, and how they come and go.

`.fmnist-report` names, a line each, every file that was written there, before it is written. What
is not named in it is somebody else's: it is neither replaced nor deleted.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from fmnist_lib import paths
from fmnist_lib.errors import FailedError
from fmnist_lib.runs.store import write_atomically

MARKER = ".fmnist-report"
MADE_FROM = ".made-from"  # the digest of what a whole report was made from
SCRATCH = re.compile(r"\.(?:notebooks|records|scratch)-(?:(\d+)-)?[a-z0-9_]{8}")
UNFINISHED = re.compile(r"\..+\.(?:(\d+)|[a-z0-9_]{8})")
Files = Iterable[tuple[str, bytes]]


def is_report(folder: Path) -> bool:
    """Return whether a folder is a report's; an older one has no marker, but its digest."""
    known = folder.resolve() == paths.REPORT.resolve()
    return known or any((folder / name).is_file() for name in (MARKER, MADE_FROM))


def claim(folder: Path) -> None:
    """Mark a report's folder, and sweep out what commands that were killed have left there."""
    if (folder / MARKER).exists():
        names = {name for name in ours(folder) if (folder / name).exists()}
    else:
        names = {name for name, _ in files_in(folder)} if is_report(folder) else set()
    for path, pid in list(_left_over(folder, {*ours(folder), *names, MADE_FROM, MARKER})):
        if pid is None or not psutil.pid_exists(int(pid)):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
    write_atomically(folder / MARKER, "".join(f"{name}\n" for name in sorted(names)).encode())


def _left_over(folder: Path, names: Iterable[str]) -> Iterator[tuple[Path, str | None]]:
    """Yield scratch folders and unfinished files, with the id of the process they are of."""
    for path in folder.iterdir():
        if found := SCRATCH.fullmatch(path.name):
            yield path, found[1]
    of = {(folder / name).parent: set() for name in names}
    for name in names:
        of[(folder / name).parent].add(Path(name).name)
    for parent, known in of.items():
        for path in parent.iterdir() if parent.is_dir() else ():
            found = UNFINISHED.fullmatch(path.name)
            if found and path.name[1:].rpartition(".")[0] in known:
                yield path, found[1]


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
    written = set()
    for name, content in files:
        written.add(f"{below}/{name}")
        write(folder, f"{below}/{name}", content)
    runs = {name.rpartition("/")[0] for name in written if name.endswith("/record.json")}
    for name in ours(folder) - written:
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
