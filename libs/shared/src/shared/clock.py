"""The two clocks, and the only place that reads either.

The business clock says which day it is for due dates, steps and interest; it is read once per transaction and passed on
as `now`. The machine clock serves leases, tokens, lag, retention and `ce_time`; nothing ever moves it.

Invariant: the business clock is the machine's, unless ENCOURS_CLOCK_FILE names a file whose text is an ISO 8601 moment
with offset (the demo and the tests step it day by day).
"""

import time
from datetime import UTC, datetime
from pathlib import Path


def machine_now() -> datetime:
    """The machine's clock, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place that reads the machine's clock


def monotonic() -> float:
    """Seconds on a clock that never goes back, for durations."""
    return time.monotonic()


class BusinessClock:
    """The business clock of this process."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    def now(self) -> datetime:
        """The business moment. Raises ValueError where the clock file holds no ISO 8601 moment with offset."""
        if self._file is None:
            return machine_now()
        moment = datetime.fromisoformat(self._file.read_text("ascii").strip())
        if moment.tzinfo is None:
            raise ValueError(f"{self._file}: the moment has no offset")
        return moment
