"""`python -m matching`, and the command `matching`."""

import sys

import shared.cli

from matching.cli import SERVICE, TOOLS


def main() -> int:
    """Runs a role or a tool; returns the exit status."""
    return shared.cli.main(SERVICE, tools=TOOLS)


if __name__ == "__main__":
    sys.exit(main())
