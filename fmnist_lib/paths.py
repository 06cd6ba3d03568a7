"""Every folder that is read or written; paths start at the package, not the working directory."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

DATA = Path(os.environ.get("FMNIST_DATA", ROOT / "data"))  # torchvision's `root`
RAW = DATA / "FashionMNIST" / "raw"  # the four idx files
RUNS = Path(os.environ.get("FMNIST_RUNS", ROOT / "runs"))  # local records, weights (untracked)
BUILD = ROOT / "build"  # reports of one's own runs (untracked)
REPORT = ROOT / "report"  # the released report and its records
NOTEBOOKS = ROOT / "notebooks"
CACHE = ROOT / ".cache"  # compiled code and the like; can be deleted at any time
