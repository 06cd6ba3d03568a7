"""The four files of FashionMNIST: obtained from whichever source has them, and verified.

No byte is used before its SHA-256 was compared with the published content's.
"""

import gzip
import hashlib
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from fmnist_lib.errors import UserError
from fmnist_lib.paths import DATA

# Of the decompressed files: archives of the same content differ from packager to packager.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
BYTES = dict(zip(SHA256, (47_040_016, 60_008, 7_840_016, 10_008), strict=True))
SILENCE_SECONDS = 10  # that a server may be silent, however long the whole takes
SYSTEM_COPY = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts its files

# For any user: apt-get keeps its lists and cache in the working folder; its own user, to whom it
# would switch as root, may not enter there. That some other source's list is missing is no matter.
FETCH_DEBIAN_PACKAGE = f"""
apt() {{
    LC_ALL=C apt-get -o Dir::State::Lists=./lists -o Dir::Cache=./cache -o APT::Sandbox::User=root \
        -o Acquire::http::Timeout={SILENCE_SECONDS} -o Acquire::https::Timeout={SILENCE_SECONDS} \
        -o Acquire::Languages=none -o Acquire::Retries=1 "$@"
}}
mkdir -p lists/partial cache/archives/partial
apt update
apt download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist_*.deb .
"""


def from_torchvision(name: str, scratch: Path) -> Path:
    """Download what torchvision would, from where it would."""
    import pooch
    from torchvision.datasets import FashionMNIST

    archive = scratch / f"{name}.gz"
    get = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=SILENCE_SECONDS)
    get(f"{FashionMNIST.mirrors[0]}{archive.name}", archive, None)
    return archive


def from_debian(name: str, scratch: Path) -> Path:
    """Fetch Debian's package, once for all its files, without installing it."""
    unpacked = scratch / SYSTEM_COPY.relative_to("/")
    if not unpacked.exists():
        script = ["/bin/sh", "-c", FETCH_DEBIAN_PACKAGE]
        progress = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
        done = subprocess.run(script, cwd=scratch, stdout=progress, stderr=subprocess.PIPE)
        if done.returncode:
            raise OSError(done.stderr.decode(errors="replace"))
    return unpacked / name


# From a file's name and a scratch folder to where it lies, itself or with .gz added. A source need
# not be trusted, and may fail with OSError, ValueError or ImportError.
SOURCES: dict[str, Callable[[str, Path], Path]] = {
    "a copy installed on this system": lambda name, scratch: SYSTEM_COPY / name,
    "torchvision's download": from_torchvision,
    "Debian's package dataset-fashion-mnist": from_debian,
}


def ensure_data(root: Path | str = DATA) -> list[str]:
    """Verify the files in `root/FashionMNIST/raw`; fetch what is missing or bad, return its names.

    A call that was cut short goes on where it stopped, and several processes may call at once.
    Raises `UserError` with why no source delivers or the folder is unusable.
    """
    raw = Path(root) / "FashionMNIST" / "raw"
    faults: dict[str, str] = {}
    try:
        if faults := _faults(raw):  # needs no lock, so a read-only copy of the data will do
            raw.mkdir(parents=True, exist_ok=True)
            with FileLock(raw / ".lock"):
                for left in raw.glob(".incoming*"):  # by a process that was killed
                    shutil.rmtree(left, ignore_errors=True)
                faults = _faults(raw)  # another process may have mended them meanwhile
                _fetch(faults, raw)
    except OSError as error:
        what = [f"cannot use the data folder {root}: {error}", *faults.values()]
        raise UserError("; ".join(what)) from error
    return list(faults)


def _fetch(faults: dict[str, str], raw: Path) -> None:
    """Ask the sources in turn for what is missing; none is asked again after it failed."""
    missing, reasons = list(faults), []
    # The scratch folder lies on the same disk, which makes the rename atomic.
    with TemporaryDirectory(prefix=".incoming", dir=raw, ignore_cleanup_errors=True) as folder:
        scratch, partial = Path(folder), Path(folder) / "partial"
        for title, source in SOURCES.items():
            try:
                for name in list(missing):
                    print(f"FashionMNIST: {faults[name]}; trying {title}", file=sys.stderr)
                    path = source(name, scratch)
                    path = path if path.exists() else path.with_name(f"{path.name}.gz")
                    partial.write_bytes(_read(path, name))
                    partial.replace(raw / name)
                    missing.remove(name)
            except (ImportError, OSError, ValueError) as error:
                reasons.append(f"{title}: {' '.join(str(error).split())[:600]}")
    if missing:
        what = ["FashionMNIST cannot be obtained", *(faults[name] for name in missing)]
        hint = f"by hand: put the decompressed files into {raw}, or retry with a network"
        raise UserError(" | ".join([*what, *reasons, hint]))


def _faults(raw: Path) -> dict[str, str]:
    """The files that are missing or bad, and how; empty when all are there and good."""
    faults = {}
    for name in SHA256:
        try:
            _read(raw / name, name)
        except FileNotFoundError:
            faults[name] = f"{name} is missing"
        except ValueError as error:
            faults[name] = str(error)
    return faults


def _read(path: Path, name: str) -> bytes:
    """The content of the file `name`, decompressed; ValueError says how `path` differs from it."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read(BYTES[name] + 1)  # no more: a small archive can unpack to terabytes
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged archive ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise ValueError(f"{path} is not FashionMNIST's {name}: sha256 {found}, not {SHA256[name]}")
    return content
