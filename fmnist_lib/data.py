"""FashionMNIST: obtain, verify, load, split, and the order of the batches.

Not for training, figures or augmentation. Nothing here touches a global random generator, and no
byte is used before its SHA-256 was compared with the published content.

`python -m fmnist_lib.data` obtains and verifies the files and prints one line for each.
"""

import argparse
import gzip
import hashlib
import math
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torchvision.datasets import FashionMNIST
from tqdm import tqdm

from fmnist_lib.errors import UserError
from fmnist_lib.paths import DATA

CLASS_NAMES = (  # the position is the label
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

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

# One name for the whole data set: SHA-256 over the lines "name digest\n" in the order above.
DATA_SHA256 = hashlib.sha256(
    "".join(f"{name} {digest}\n" for name, digest in SHA256.items()).encode()
).hexdigest()

# Of the 60,000 training images, pixels in [0, 1], rounded to four decimals; load() checks them.
MEAN = 0.2860
STD = 0.3530

SYSTEM_COPY = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts its files
DEBIAN_PACKAGE = "dataset-fashion-mnist"
NETWORK_TIMEOUT_SECONDS = 10  # of silence, not of the whole download
CHUNK_BYTES = 1 << 18


class DataError(UserError):
    """The data cannot be obtained, or it is not the published FashionMNIST."""


class SourceError(Exception):
    """A source has nothing (more) to offer; the message is the reason, in one line."""


# ---------------------------------------------------------------------------------------------
# Obtaining the files


def ensure_data(root: Path | str = DATA) -> Path:
    """Make sure that the four verified files lie in `root/FashionMNIST/raw`; return `root`.

    Afterwards `torchvision.datasets.FashionMNIST(root)` opens them itself. What is there already
    is verified on every call (55 MB); only what is missing or bad is fetched, from the first of
    `SOURCES` that has it. Files arrive by an atomic rename after verification, so a name in that
    folder never stands for half a file, and a call that was cut short goes on where it stopped.
    A bad file that is there already is removed, with a warning. Safe to call from several
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
            return root
        raw.mkdir(parents=True, exist_ok=True)
        with _only_process(raw / ".lock"):
            for name, fault in _faults(raw).items():
                if (raw / name).exists():
                    (raw / name).unlink()
                    warnings.warn(f"removed and fetched anew: {fault}", stacklevel=2)
            _obtain(raw)
    except OSError as error:
        raise UserError(
            f"cannot use the data folder {root}: {error}; it must be a folder that you may write"
        ) from error
    return root


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
            problems.append(_one_line(str(error)))
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
        if digest.hexdigest() != SHA256[name]:
            return [_mismatch(path, name, digest.hexdigest(), partial.stat().st_size)]
        os.replace(partial, raw / name)
    except (OSError, EOFError, zlib.error) as error:  # the last two: a damaged archive
        return [
            f"{path} cannot be unpacked ({_one_line(str(error))}): expected sha256 {SHA256[name]}, "
            f"found {digest.hexdigest()} up to the fault"
        ]
    return []


# A source gets the names that are missing and a scratch folder, and yields pairs of a name and
# the path of that file, plain or as .gz. It verifies nothing: _install() does, for all of them.
Source = Callable[[Sequence[str], Path], Iterator[tuple[str, Path]]]


def _from_system_copy(names: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
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


def _from_torchvision(names: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
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
            bar.update(len(chunk))


def _from_debian_package(names: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
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
    return _one_line(f"{command[0]} ended with status {process.returncode}: {' '.join(errors)}")


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


def _one_line(text: str, limit: int = 400) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


SOURCES: dict[str, Source] = {
    "a copy installed on this system": _from_system_copy,
    "torchvision's download": _from_torchvision,
    f"Debian's package {DEBIAN_PACKAGE}": _from_debian_package,
}


# ---------------------------------------------------------------------------------------------
# Loading


@dataclass(frozen=True, eq=False)  # eq: tensors do not compare to one truth value
class Dataset:
    """FashionMNIST in memory. Pixels are (value in [0, 1] - mean) / std.

    `mean` and `std` are those of all 60,000 training images, even when only some are held here.
    """

    train_images: Tensor  # (N, 1, 28, 28) float32
    train_labels: Tensor  # (N,) int64
    test_images: Tensor  # (M, 1, 28, 28) float32
    test_labels: Tensor  # (M,) int64
    mean: float
    std: float


def load(
    root: Path | str = DATA, *, train_images: int | None = None, test_images: int | None = None
) -> Dataset:
    """Obtain the data if need be, verify it, and hold it in memory, normalised (about 0.22 GB).

    `train_images` and `test_images` ask for that many images only, for shortened runs. The choice
    depends on nothing but the number: the first of each class in the order of the files, the
    classes as evenly filled as the number allows, so that it is the same for every seed.

    Raises:
        DataError: the data cannot be had, or its mean and deviation are not FashionMNIST's.
        UserError: more images asked for than there are, or less than one.
    """
    images, labels = raw_images(root, "train")
    mean, std = pixel_mean_std(images)
    if (round(mean, 4), round(std, 4)) != (MEAN, STD):
        raise DataError(
            f"the training images in {root} have mean {mean:.4f} and standard deviation {std:.4f}, "
            f"FashionMNIST has {MEAN:.4f} and {STD:.4f}"
        )
    train = _choose(images, labels, train_images, "train_images")
    test = _choose(*raw_images(root, "test"), test_images, "test_images")
    return Dataset(
        train_images=_normalise(train[0], mean, std),
        train_labels=train[1],
        test_images=_normalise(test[0], mean, std),
        test_labels=test[1],
        mean=mean,
        std=std,
    )


def raw_images(root: Path | str = DATA, split: str = "test") -> tuple[Tensor, Tensor]:
    """All images (N, 28, 28) as uint8 and labels (N,) as int64 of "train" or "test", verified."""
    if split not in ("train", "test"):
        raise UserError(f"unknown split {split!r}: allowed are 'train' and 'test'")
    dataset = FashionMNIST(root=ensure_data(root), train=split == "train")
    return dataset.data, dataset.targets.to(torch.int64)


def pixel_mean_std(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation (over all N pixels, divided by N) of uint8 images over 255.

    From the histogram of the 256 values, in whole numbers: exact, and no copy of all pixels.
    """
    # in parts, since bincount() makes eight bytes of each pixel
    parts = [torch.bincount(part.flatten(), minlength=256) for part in images.split(1000)]
    counts = torch.stack(parts).sum(dim=0).tolist()
    num_pixels = sum(counts)
    total = sum(count * value for value, count in enumerate(counts))
    squares = sum(count * value**2 for value, count in enumerate(counts))
    mean = total / num_pixels
    std = math.sqrt(num_pixels * squares - total**2) / num_pixels
    return mean / 255, std / 255


def _normalise(images: Tensor, mean: float, std: float) -> Tensor:
    # (N, 28, 28) uint8 -> (N, 1, 28, 28) float32; in place after the one copy
    return images.unsqueeze(1).to(torch.float32).div_(255).sub_(mean).div_(std)


def _choose(
    images: Tensor, labels: Tensor, count: int | None, option: str
) -> tuple[Tensor, Tensor]:
    """The first images of each class, `count` in all, in the order of the files."""
    if count is None:
        return images, labels
    if not 1 <= count <= len(labels):
        raise UserError(f"{option} is {count}: allowed are 1 to {len(labels)}")
    chosen = torch.cat([i[:n] for i, n in _indices_and_shares(labels, count)]).sort().values
    return images[chosen], labels[chosen]


# ---------------------------------------------------------------------------------------------
# Splitting and ordering


def derive_seed(seed: int, epoch: int, stream: str) -> int:
    """A seed for `torch.manual_seed` (0 to 2^63 - 1), a pure function of its arguments.

    `stream` names what it is for ("batch order", "initialisation", ...), so that two uses in one
    epoch never share their random numbers. Neighbouring seeds and epochs give unrelated results.
    """
    if seed < 0 or epoch < 0:
        raise UserError(f"seed {seed}, epoch {epoch}: allowed are whole numbers from 0")
    sequence = np.random.SeedSequence(seed, spawn_key=(epoch, *stream.encode()))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def batch_order(num_images: int, *, seed: int, epoch: int) -> Tensor:
    """In which order an epoch visits the images: a permutation (num_images,) int64.

    A pure function of its arguments: neither what was drawn before nor the number of workers
    matters, and a run that is resumed at an epoch sees the same batches.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, "batch order"))
    return torch.randperm(num_images, generator=generator)


def stratified_split(labels: Tensor, validation_images: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Set aside a random part of each class: (train_indices, validation_indices), sorted int64.

    The two are disjoint and together cover `labels` (N,). Each class gives its exact share of the
    `validation_images`, to within one image (largest remainders first, then lower labels). A pure
    function of its arguments.

    Raises:
        UserError: `validation_images` leaves nothing to train on, or nothing to validate on.
    """
    if labels.ndim != 1 or labels.is_floating_point():
        raise UserError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}: a split needs whole "
            "numbers in one dimension"
        )
    if not 1 <= validation_images < len(labels):
        raise UserError(
            f"validation_images is {validation_images}: allowed are 1 to {len(labels) - 1}, fewer "
            f"than the {len(labels)} training images"
        )
    generator = torch.Generator().manual_seed(derive_seed(seed, 0, "stratified split"))
    is_validation = torch.zeros(len(labels), dtype=torch.bool)
    for indices, share in _indices_and_shares(labels, validation_images):
        shuffled = indices[torch.randperm(len(indices), generator=generator)]
        is_validation[shuffled[:share]] = True
    return (~is_validation).nonzero().squeeze(1), is_validation.nonzero().squeeze(1)


def _indices_and_shares(labels: Tensor, count: int) -> list[tuple[Tensor, int]]:
    """For each class its indices, in file order, and its share of `count` images.

    Shares add up to `count` exactly: each is rounded down, and what is left goes, one each, to
    the classes that lost most by it (ties: the lower label).
    """
    classes = [(labels == label).nonzero().squeeze(1) for label in labels.unique().tolist()]
    shares, remainders = zip(
        *(divmod(count * len(indices), len(labels)) for indices in classes), strict=True
    )
    shares = list(shares)
    losers_first = sorted(range(len(classes)), key=lambda k: -remainders[k])  # stable
    for k in losers_first[: count - sum(shares)]:
        shares[k] += 1
    return list(zip(classes, shares, strict=True))


# ---------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Obtain and verify; print one line a file. Status 0, or 2 with one line on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m fmnist_lib.data", description="Obtain and verify FashionMNIST."
    )
    parser.add_argument(
        "--root", type=Path, default=DATA, help="torchvision's root folder (default: %(default)s)"
    )
    root = parser.parse_args(arguments).root
    try:
        ensure_data(root)
    except UserError as error:
        _say(f"error: {error}")
        return 2
    for name, digest in SHA256.items():
        print(f"verified {root / 'FashionMNIST' / 'raw' / name}, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
