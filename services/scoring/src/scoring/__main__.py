"""`python -m scoring`."""

import sys

import shared.cli

from scoring.cli import SERVICE


def main() -> int:
    """The command line; returns the exit status."""
    return shared.cli.main(SERVICE)


if __name__ == "__main__":
    sys.exit(main())
