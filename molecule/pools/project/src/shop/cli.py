"""The shop's console script."""

import sys
from importlib.metadata import version


def main() -> None:
    """Print which version of the shop this is, and what it was asked for."""
    print("shop", version("shop"), *sys.argv[1:])
