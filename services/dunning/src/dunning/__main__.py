"""`python -m dunning`."""

import sys

from shared.cli import main as run

from dunning.cli import SERVICE, interest_tool


def main() -> int:
    """The command line."""
    return run(SERVICE, tools=(interest_tool,))


if __name__ == "__main__":
    sys.exit(main())
