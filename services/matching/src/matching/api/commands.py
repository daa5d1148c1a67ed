"""A command that changes money: once per Idempotency-Key, in one transaction, tried again when another one was at the same rows."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from shared.failures import is_unavailable
from shared.web.auth import Caller
from shared.web.idempotency import once
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.accounts import database_of

TRIES = 6


async def command(request: Request, caller: Caller, produce: Callable[[AsyncConnection], Awaitable[Response]]) -> Response:
    """The answer of `produce`, which is given the transaction. Raises what `produce` raises, and at last what is unavailable."""
    for tried in range(TRIES):
        try:
            async with database_of(request).transaction(caller.tenant_id) as conn:
                return await once(request, caller, conn, lambda: produce(conn))
        except Exception as error:
            if not is_unavailable(error) or tried == TRIES - 1:
                raise
        await asyncio.sleep(0.02 * 2**tried)
    raise AssertionError("unreachable")
