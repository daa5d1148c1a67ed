"""A file lock between processes; the system releases it when its holder dies, however it dies."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Hold `file` (made when missing, with its folder) alone; waits for whoever holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
