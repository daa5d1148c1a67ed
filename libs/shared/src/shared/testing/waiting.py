"""Waiting for what must come true."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.clock import monotonic


async def eventually(condition: Callable[[], Awaitable[object]], *, seconds: float = 30.0, what: str = "the condition") -> None:
    """Returns once the condition gives a true value. Raises AssertionError when it does not within `seconds`."""
    end = monotonic() + seconds
    wait = 0.02
    while not await condition():
        if monotonic() > end:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        await asyncio.sleep(wait)
        wait = min(wait * 1.5, 0.5)
