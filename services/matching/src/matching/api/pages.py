"""Lists by key: one query, one page, a signed cursor."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi import Request
from shared.web.auth import Caller
from shared.web.pagination import Cursors
from sqlalchemy import Row

from matching.storage.rows import fetch


async def page(
    request: Request, caller: Caller, query: str, filters: Mapping[str, object], *, limit: int, cursor: str | None
) -> tuple[Sequence[Row[Any]], str | None]:
    """A page of `query`, whose rows carry their own id as `at`, and the cursor of the next one.

    The query has `:tenant` and one parameter per filter; the filters are bound into the cursor.
    """
    cursors: Cursors = request.app.state.cursors
    route = request.scope["route"].path
    after = None
    if cursor is not None:
        after = UUID(str(cursors.decode(cursor, tenant_id=caller.tenant_id, route=route, filters=filters)[0]))
    async with request.app.state.runtime.database.transaction(caller.tenant_id) as conn:
        rows = await fetch(
            conn,
            f"SELECT * FROM ({query}) AS listed WHERE (CAST(:after AS uuid) IS NULL OR at > :after) ORDER BY at LIMIT :limit",  # noqa: S608 - our own queries
            tenant=caller.tenant_id,
            after=after,
            limit=limit + 1,
            **filters,
        )
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursors.encode([str(rows[limit - 1].at)], tenant_id=caller.tenant_id, route=route, filters=filters)
