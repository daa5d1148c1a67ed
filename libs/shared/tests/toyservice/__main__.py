"""`python -m toyservice`."""

import sys

from shared.cli import main

from toyservice.service import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
