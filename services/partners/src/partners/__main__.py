"""`python -m partners`."""

import sys

from shared.cli import main as run

from partners.cli import SERVICE


def main() -> int:
    """The command line."""
    return run(SERVICE)


if __name__ == "__main__":
    sys.exit(main())
