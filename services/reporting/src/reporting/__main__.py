"""`python -m reporting`."""

import sys

from shared.cli import main as run

from reporting.cli import SERVICE, add_rebuild


def main() -> int:
    """The command line."""
    return run(SERVICE, tools=[add_rebuild])


if __name__ == "__main__":
    sys.exit(main())
