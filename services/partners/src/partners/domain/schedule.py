"""When a delivery is tried again, and when a subscription is given up.

Source: Standard Webhooks 1.0.0, "Deliverability and reliability": its suggested schedule, with jitter.
"""

from datetime import datetime, timedelta

RETRIES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Waits after the first, second, ... attempt; after the last one the delivery has failed."""
JITTER = 0.1
RETRY_AFTER_MAX = timedelta(hours=24)
DISABLE_AFTER = timedelta(days=5)
"""A subscription that has only failed for so long is disabled."""


def next_attempt(attempts: int, *, now: datetime, spread: float, retry_after: timedelta | None = None) -> datetime | None:
    """When to try again after `attempts` failed ones, or None when that was the last.

    `spread` in [0, 1) spreads the wait by up to JITTER; what the receiver asked for (Retry-After) is honoured up to a day.
    """
    if attempts > len(RETRIES):
        return None
    wait = RETRIES[attempts - 1] * (1 + JITTER * spread)
    if retry_after is not None:
        wait = max(wait, min(retry_after, RETRY_AFTER_MAX))
    return now + wait
