"""Obtain FashionMNIST where it is missing, and verify it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fmnist_lib.data import obtain
from fmnist_lib.errors import UserError
from fmnist_lib.paths import DATA


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was obtained. Status 0, or 2 with one line on bad input."""
    parser = argparse.ArgumentParser("python -m fmnist_lib.data", description=__doc__)
    parser.add_argument("--root", type=Path, default=DATA, help="(default: %(default)s)")
    root = parser.parse_args(arguments).root
    raw = root / "FashionMNIST" / "raw"
    try:
        for name in obtain.obtain_missing(root):
            print(f"obtained {raw / name}, sha256 {obtain.SHA256[name]}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"FashionMNIST: {len(obtain.SHA256)} files verified in {raw}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
