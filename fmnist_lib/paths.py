"""Every folder that is read or written.

Paths start at the project, not at the working directory: workers and notebooks have others.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

DATA = ROOT / (os.environ.get("FMNIST_DATA") or "data")  # torchvision's `root`
RUNS = ROOT / (os.environ.get("FMNIST_RUNS") or "runs")  # local records, weights (untracked)
BUILD = ROOT / "build"  # reports of one's own runs (untracked)
REPORT = ROOT / "report"  # the released report and its records
STUDY = ROOT / "study"  # finished records of the study that are not released yet
NOTEBOOKS = ROOT / "notebooks"
