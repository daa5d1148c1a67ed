"""What writes: in one transaction, tried again when another one was at the same rows; a command once per Idempotency-Key."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Request, Response
from pydantic import Field
from shared.db import Database
from shared.failures import is_unavailable
from shared.web.auth import Caller
from shared.web.idempotency import once
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

ReasonCode = Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$", description="A word of yours that says why; kept in the audit trail")]
TRIES = 6
_T = TypeVar("_T")


async def command(request: Request, caller: Caller, produce: Callable[[AsyncConnection], Awaitable[Response]]) -> Response:
    """The answer of `produce`, which is given the transaction, once per Idempotency-Key; tried and raising as `tried`."""
    return await tried(request, caller, lambda conn: once(request, caller, conn, lambda: produce(conn)))


async def tried(request: Request, caller: Caller, produce: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    """What `produce` returns, which is given the transaction and does all that it does in it. Raises what `produce` raises, and at last
    what is unavailable.
    """
    database: Database = request.app.state.runtime.database
    for again in range(1, TRIES + 1):
        try:
            async with database.transaction(caller.tenant_id) as conn:
                return await produce(conn)
        except OverflowError as error:
            raise Problem(409, "balance-too-large", "A balance would be larger than any that is kept", str(error)) from None
        except Exception as error:
            if not is_unavailable(error) or again == TRIES:
                raise
        await asyncio.sleep(0.01 * 2**again)
    raise AssertionError("unreachable")
