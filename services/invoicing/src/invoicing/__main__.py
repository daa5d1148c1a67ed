"""`invoicing` and `python -m invoicing`."""

import sys

from shared import cli

from invoicing.cli import SERVICE, parse_tool


def main() -> int:
    """Runs the command line; returns the exit status."""
    return cli.main(SERVICE, tools=(parse_tool,))


if __name__ == "__main__":
    sys.exit(main())
