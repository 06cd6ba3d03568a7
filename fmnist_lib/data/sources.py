"""Where FashionMNIST's files can be had. Not here: any trust in them (fetching verifies)."""

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path

from torchvision.datasets import FashionMNIST
from tqdm import tqdm

SYSTEM_COPY = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts its files
DEBIAN_PACKAGE = "dataset-fashion-mnist"
NETWORK_TIMEOUT_SECONDS = 10  # of silence, not of the whole download
CHUNK_BYTES = 1 << 18  # read and written at a time
MAX_BYTES = 1 << 26  # of a download; the largest file has 45 MiB before it is compressed


class SourceError(Exception):
    """A source has nothing (more) to offer; the message is the reason, in one line."""


# A source gets the names that are missing and a scratch folder, and yields pairs of a name and
# the path of that file, plain or as .gz. It verifies nothing: fetching does, for all of them.
Source = Callable[[Sequence[str], Path], Iterator[tuple[str, Path]]]


def from_system_copy(names: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
    """Take the files that the system's package installed."""
    yield from _files_in(SYSTEM_COPY, names)


def _files_in(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}")
    absent = []
    for name in names:
        plain, archive = folder / name, folder / f"{name}.gz"
        if plain.exists() or archive.exists():
            yield name, plain if plain.exists() else archive
        else:
            absent.append(name)
    if absent:
        raise SourceError(f"{folder} has no {', '.join(absent)}")


def from_torchvision(names: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
    """Download what torchvision would, from where it would.

    Its own function waits for ever on a silent network and draws its bar into log files too.
    """
    for name in names:
        archive = scratch / f"{name}.gz"
        errors = []
        for mirror in FashionMNIST.mirrors:
            try:
                _download(f"{mirror}{archive.name}", archive)
                break
            except (OSError, HTTPException) as error:
                errors.append(f"{mirror}{archive.name}: {error}")
        else:
            raise SourceError(" / ".join(errors))
        yield name, archive


def _download(url: str, path: Path) -> None:
    with (
        urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT_SECONDS) as response,
        path.open("wb") as file,
        _byte_bar(path.name, total=int(response.headers.get("Content-Length", 0)) or None) as bar,
    ):
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            if file.tell() > MAX_BYTES:
                raise OSError(
                    f"more than {MAX_BYTES:,} bytes came, which is no file of FashionMNIST"
                )
            bar.update(len(chunk))


def from_debian_package(names: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
    """Fetch Debian's package as any user: apt-get keeps its lists and cache in `scratch`.

    The package comes from whatever sources this system's apt is set up with, signatures checked.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise SourceError(f"this system has no {program}")
    lists, cache, unpacked = scratch / "lists", scratch / "cache", scratch / "unpacked"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    apt_get = [
        "apt-get",
        "--quiet",
        *("-o", f"Dir::State::Lists={lists}"),
        *("-o", f"Dir::Cache={cache}"),
        *("-o", "Acquire::Languages=none"),  # no translated descriptions: a smaller download
        *("-o", f"Acquire::http::Timeout={NETWORK_TIMEOUT_SECONDS}"),
        *("-o", f"Acquire::https::Timeout={NETWORK_TIMEOUT_SECONDS}"),
        *("-o", "Acquire::Retries=1"),
        *("-o", "APT::Update::Error-Mode=any"),  # or "no network" would pass for a mere warning
        # Started by root, apt would switch to a user of its own, who may not enter our folder.
        *("-o", "APT::Sandbox::User=root"),
    ]
    # One unreachable third-party list fails the update; ours may be within reach all the same.
    update_problem = _run([*apt_get, "update"], folder=scratch, title="package lists")
    problem = _run([*apt_get, "download", DEBIAN_PACKAGE], folder=scratch, title=DEBIAN_PACKAGE)
    packages = list(scratch.glob(f"{DEBIAN_PACKAGE}_*.deb"))
    if problem or not packages:
        raise SourceError("; ".join(filter(None, [update_problem, problem])) or "no package came")
    if problem := _run(["dpkg-deb", "-x", packages[0], unpacked], folder=scratch, title="unpack"):
        raise SourceError(problem)
    yield from _files_in(unpacked / SYSTEM_COPY.relative_to("/"), names)


def _run(command: Sequence[str | Path], *, folder: Path, title: str) -> str:
    """Run `command` in `folder`; return its complaint in one line, "" when it went well.

    The bar shows the bytes that arrive in the folder, since the command has no other way to tell.
    """
    log = folder / "log"
    before = _bytes_in(folder)
    with (
        log.open("wb") as output,
        _byte_bar(title) as bar,
        subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
        ) as process,
    ):
        try:
            while process.poll() is None:
                time.sleep(0.1)
                bar.update(max(0, _bytes_in(folder) - before - bar.n))
        except BaseException:  # Ctrl-C too: a download must not go on behind our back
            process.kill()
            raise
    if process.returncode == 0:
        return ""
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith(("E:", "dpkg-deb: error"))] or lines[-1:]
    return one_line(f"{command[0]} ended with status {process.returncode}: {' '.join(errors)}")


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # renamed or deleted while we looked
            continue
    return total


def _byte_bar(title: str, total: int | None = None) -> tqdm:
    # disable=None: no bar when nobody watches (no terminal)
    return tqdm(total=total, desc=title, unit="B", unit_scale=True, disable=None)


def one_line(text: str, limit: int = 400) -> str:
    """Return the text on one line, cut at `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}…"


SOURCES: dict[str, Source] = {
    "a copy installed on this system": from_system_copy,
    "torchvision's download": from_torchvision,
    f"Debian's package {DEBIAN_PACKAGE}": from_debian_package,
}
