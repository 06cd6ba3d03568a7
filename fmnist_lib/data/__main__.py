"""Obtain FashionMNIST where it is missing, and verify it."""

import argparse
import sys
from pathlib import Path

from fmnist_lib.data import obtain
from fmnist_lib.errors import UserError
from fmnist_lib.paths import DATA


def main(arguments: list[str] | None = None) -> int:
    """Print what was obtained. Status 0, or 2 with one line on bad input."""
    parser = argparse.ArgumentParser("python -m fmnist_lib.data", description=__doc__)
    parser.add_argument("--root", type=Path, default=DATA, help="(default: %(default)s)")
    root = parser.parse_args(arguments).root
    try:
        obtained = obtain.ensure_data(root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, digest in obtain.SHA256.items():
        print(f"{'obtained' if name in obtained else 'verified'} {name}, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
