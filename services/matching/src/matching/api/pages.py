"""Lists by key: one query, one page, a signed cursor."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi import Request
from shared.web.auth import Caller
from shared.web.pagination import Cursors
from sqlalchemy import Row

from matching.storage.rows import listed


async def page(
    request: Request, caller: Caller, query: str, filters: Mapping[str, object], *, limit: int, cursor: str | None
) -> tuple[Sequence[Row[Any]], str | None]:
    """A page of a query (`storage.rows.listed`), and the cursor of the next one, which the filters are bound into."""
    cursors: Cursors = request.app.state.cursors
    route = request.scope["route"].path
    after = None
    if cursor is not None:
        after = UUID(str(cursors.decode(cursor, tenant_id=caller.tenant_id, route=route, filters=filters)[0]))
    async with request.app.state.runtime.database.transaction(caller.tenant_id) as conn:
        rows = await listed(conn, query, caller.tenant_id, filters, after=after, limit=limit + 1)
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursors.encode([str(rows[limit - 1].at)], tenant_id=caller.tenant_id, route=route, filters=filters)
