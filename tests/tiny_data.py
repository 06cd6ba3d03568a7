"""A tiny FashionMNIST, 40 training and 20 test images in the published format; not a test."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
from torchvision.datasets import FashionMNIST

from fmnist_lib.data.obtain import SHA256

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = SHA256


def idx_file(values: np.ndarray) -> bytes:
    """The idx format: two zeros, 8 for unsigned bytes, the number of dimensions, their sizes."""
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


def tiny_files() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    return {
        TRAIN_IMAGES: idx_file(random.integers(0, 256, (40, 28, 28))),
        TRAIN_LABELS: idx_file(np.tile(np.arange(10), 4)),
        TEST_IMAGES: idx_file(random.integers(0, 256, (20, 28, 28))),
        TEST_LABELS: idx_file(np.tile(np.arange(10), 2)),
    }


class Place:
    """A root without data, and folders for what a system, a mirror and programs would hold."""

    archives = FashionMNIST.resources

    def __init__(self, folder: Path) -> None:
        self.files = tiny_files()
        self.sha256 = {name: hashlib.sha256(file).hexdigest() for name, file in self.files.items()}
        self.root, self.system = folder / "data", folder / "system"
        self.mirror, self.programs = folder / "mirror", folder / "programs"
        self.raw = self.root / "FashionMNIST" / "raw"
        self.programs.mkdir()  # empty: no apt-get

    def fill(self, folder: Path, *, gz: bool = False, **replaced: bytes | None) -> None:
        """Write the files into `folder`; `replaced` (dashes as underscores) differ or lack."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            content = replaced.get(name.replace("-", "_"), content)
            if content is not None:
                path = folder / (f"{name}.gz" if gz else name)
                path.write_bytes(gzip.compress(content) if gz else content)

    def here(self) -> set[str]:
        return {path.name for path in self.raw.iterdir()} - {".lock"}

    def assert_complete(self) -> None:
        assert self.here() == set(self.files)
        for name, content in self.files.items():
            assert (self.raw / name).read_bytes() == content
        assert len(FashionMNIST(self.root, train=True)) == 40
        assert len(FashionMNIST(self.root, train=False)) == 20
