"""`invoicing` and `python -m invoicing`."""

import sys


def main() -> int:
    """Runs the command line; returns the exit status."""
    # imported here: the worker processes that read files import this module, and need nothing of the service
    from shared import cli  # noqa: PLC0415 - see above

    from invoicing.cli import SERVICE, parse_tool  # noqa: PLC0415 - see above

    return cli.main(SERVICE, tools=(parse_tool,))


if __name__ == "__main__":
    sys.exit(main())
