"""The four files of FashionMNIST: obtained from whichever source has them, and verified.

Not here: the sources themselves (sources), and reading what is in the files (data). No byte is used
before its SHA-256 was compared with the published content's.
"""

import gzip
import hashlib
import os
import shutil
import sys
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fmnist_lib.errors import UserError
from fmnist_lib.paths import DATA
from fmnist_lib.data.sources import CHUNK_BYTES, DEBIAN_PACKAGE, SOURCES, SourceError, one_line

# Of the decompressed files: archives of the same content differ from one packager to the next.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
BYTES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}


class DataError(UserError):
    """The data cannot be obtained, or it is not the published FashionMNIST."""


def ensure_data(root: Path | str = DATA) -> Path:
    """Make sure that the four verified files lie in `root/FashionMNIST/raw`; return `root`.

    Afterwards `torchvision.datasets.FashionMNIST(root)` opens them itself. Raises as
    `obtain_missing` does.
    """
    obtain_missing(root)
    return Path(root)


def obtain_missing(root: Path | str = DATA) -> list[str]:
    """Fetch what is missing or bad in `root/FashionMNIST/raw`; return the names of these files.

    What is there already is verified on every call (55 MB); only the rest is fetched, from the
    first of `SOURCES` that has it. Files arrive by an atomic rename after verification, so a name
    in that folder never stands for half a file, and a call that was cut short goes on where it
    stopped. A bad file that is there already is removed, with a warning. Safe to call from several
    processes at once.

    Raises:
        DataError: no source could deliver; the message lists each with its reason.
        UserError: the folder cannot be written.
    """
    root = Path(root)
    raw = root / "FashionMNIST" / "raw"
    _refuse_legacy_cache(raw.parent / "processed")
    try:
        if not _faults(raw):  # needs no lock, so a read-only copy of the data will do
            return []
        raw.mkdir(parents=True, exist_ok=True)
        with _only_process(raw / ".lock"):
            faults = _faults(raw)  # another process may have mended them meanwhile
            for name, fault in faults.items():
                if (raw / name).exists():
                    (raw / name).unlink()
                    warnings.warn(f"removed and fetched anew: {fault}", stacklevel=3)
            _obtain(raw)
    except OSError as error:
        raise UserError(
            f"cannot use the data folder {root}: {error}; it must be a folder that you may write"
        ) from error
    return list(faults)


def _faults(raw: Path) -> dict[str, str]:
    """What is wrong, by name, with the files in `raw`; empty when all are there and good."""
    faults = {}
    for name in SHA256:
        path = raw / name
        if not path.exists():
            faults[name] = f"{path} is missing"
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != SHA256[name]:
            faults[name] = _mismatch(path, name, found, path.stat().st_size)
    return faults


def _mismatch(path: Path, name: str, found: str, num_bytes: int) -> str:
    return (
        f"{path} is not FashionMNIST's {name}: expected sha256 {SHA256[name]} ({BYTES[name]:,} "
        f"bytes), found {found} ({num_bytes:,} bytes)"
    )


def _refuse_legacy_cache(processed: Path) -> None:
    """Old releases of torchvision left a cache that newer ones still prefer to the raw files."""
    if all((processed / name).exists() for name in ("training.pt", "test.pt")):
        raise DataError(
            f"{processed} is a cache of an old torchvision, which would be read instead of the "
            "verified files; delete that folder"
        )


@contextmanager
def _only_process(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; say so when another process makes us wait for it."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        _say(f"waiting for another process that obtains FashionMNIST (it holds {path})")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _obtain(raw: Path) -> None:
    """Fill `raw` from the sources in turn, each asked only for what is still missing."""
    incoming = raw / ".incoming"  # on the same disk as `raw`, which makes the rename atomic
    reasons = []
    for title, source in SOURCES.items():
        missing = [name for name in SHA256 if not (raw / name).exists()]
        if not missing:
            return
        shutil.rmtree(incoming, ignore_errors=True)  # what a killed process may have left
        incoming.mkdir()
        _say(f"FashionMNIST: trying {title}")
        problems = []
        try:
            for name, path in source(missing, incoming):
                problems += _install(path, name, raw)
        except (SourceError, OSError) as error:
            problems.append(one_line(str(error)))
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        reasons.append(f"{title}: {', '.join(problems) or 'did not have every file'}")
    missing = [name for name in SHA256 if not (raw / name).exists()]
    if missing:
        raise DataError(
            f"FashionMNIST cannot be obtained, missing {', '.join(missing)} | "
            + " | ".join(reasons)
            + f" | by hand: put the decompressed files into {raw}, or install the system package "
            f"{DEBIAN_PACKAGE} (Debian, Ubuntu), or try again with a network connection"
        )


def _install(path: Path, name: str, raw: Path) -> list[str]:
    """Decompress `path` if need be, verify, and rename to `raw/name`; return the problems.

    A file that fails stays in the folder for incoming files, which the caller deletes.
    """
    partial = raw / ".incoming" / f"{name}.partial"
    digest = hashlib.sha256()
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file, partial.open("wb") as output:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                output.write(chunk)
                if output.tell() > BYTES[name]:  # a small archive can unpack to terabytes
                    return [f"{path} holds more than the {BYTES[name]:,} bytes of {name}"]
        if digest.hexdigest() != SHA256[name]:
            return [_mismatch(path, name, digest.hexdigest(), partial.stat().st_size)]
        os.replace(partial, raw / name)
    except (OSError, EOFError, zlib.error) as error:  # the last two: a damaged archive
        return [
            f"{path} cannot be unpacked ({one_line(str(error))}): expected sha256 {SHA256[name]}, "
            f"found {digest.hexdigest()} up to the fault"
        ]
    return []


def read_files(root: Path | str = DATA) -> dict[str, bytes]:
    """Return the content of the four files by name, for a machine that cannot obtain them."""
    raw = ensure_data(root) / "FashionMNIST" / "raw"
    return {name: (raw / name).read_bytes() for name in SHA256}


def accept_files(files: Mapping[str, bytes], root: Path | str = DATA) -> None:
    """Keep files that another machine sent, where ours are missing or bad; raise `DataError`.

    Nothing is kept before it was verified; names other than the four are not looked at.
    """
    raw = Path(root) / "FashionMNIST" / "raw"
    incoming = raw / ".incoming"
    raw.mkdir(parents=True, exist_ok=True)
    with _only_process(raw / ".lock"):
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        try:
            for name in _faults(raw):
                path = incoming / name
                path.write_bytes(files.get(name, b""))
                if problems := _install(path, name, raw):
                    raise DataError(f"the file that was sent is refused: {problems[0]}")
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
