"""`python -m fmnist_lib.data`: obtain FashionMNIST where it is missing, and verify it."""

import sys

from fmnist_lib.data import obtain
from fmnist_lib.errors import UserError
from fmnist_lib.paths import DATA


def main() -> int:
    """Print what was obtained. Status 0, or 2 with one line where it cannot be had."""
    try:
        obtained = obtain.ensure_data(DATA)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, digest in obtain.SHA256.items():
        print(f"{'obtained' if name in obtained else 'verified'} {name}, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
