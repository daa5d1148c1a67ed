"""What the routes of dunning share: who may call, a change that is done once, pages."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel
from shared import audit
from shared.db import Database
from shared.web.auth import Caller, requires
from shared.web.idempotency import once
from shared.web.problems import FieldError, Problem
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.handlers.promises import RefusedError
from dunning.storage import lists

Reader = Annotated[Caller, requires("dunning:read")]
Writer = Annotated[Caller, requires("dunning:write")]
CustomerFilter = Annotated[UUID | None, Query()]


def database_of(request: Request) -> Database:
    database: Database = request.app.state.runtime.database
    return database


def now_of(request: Request) -> datetime:
    moment: datetime = request.app.state.runtime.clock.now()
    return moment


def _json(body: BaseModel, status: int) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")


def _refused(error: RefusedError) -> Problem:
    where = [FieldError(error.pointer, error.code, str(error))] if error.pointer else []
    return Problem(422, error.code, "This cannot be done", str(error), errors=where)


def missing(what: str) -> Problem:
    return Problem(404, f"{what}-unknown", f"There is no such {what}")


async def done_once(
    request: Request,
    caller: Caller,
    change: Callable[[AsyncConnection], Awaitable[tuple[BaseModel, str, str, dict[str, Any]]]],
    *,
    status: int,
) -> Response:
    """A change under an Idempotency-Key, with its audit row: `change` gives the answer, action, subject and detail."""
    async with database_of(request).transaction(caller.tenant_id) as conn:

        async def produce() -> Response:
            try:
                body, action, subject, detail = await change(conn)
            except RefusedError as error:
                raise _refused(error) from None
            await audit.record(conn, caller.tenant_id, [(caller.client, action, subject, detail)])
            return _json(body, status)

        return await once(request, caller, conn, produce)


# --- pages ------------------------------------------------------------------------------------------------------------
def _position(
    request: Request, caller: Caller, route: str, filters: Mapping[str, object], cursor: str | None
) -> tuple[str | int | None, ...] | None:
    if cursor is None:
        return None
    found: tuple[str | int | None, ...] = request.app.state.cursors.decode(cursor, tenant_id=caller.tenant_id, route=route, filters=filters)
    return found


def id_after(request: Request, caller: Caller, route: str, filters: Mapping[str, object], cursor: str | None) -> UUID | None:
    found = _position(request, caller, route, filters, cursor)
    return UUID(str(found[0])) if found else None


def day_after(request: Request, caller: Caller, route: str, filters: Mapping[str, object], cursor: str | None) -> lists.Position:
    found = _position(request, caller, route, filters, cursor)
    return (date.fromisoformat(str(found[0])), UUID(str(found[1]))) if found else None


def day_position(row: Row[Any]) -> list[str]:
    return [row.day.isoformat(), str(row.reminder_id)]


def next_cursor(
    request: Request,
    caller: Caller,
    route: str,
    filters: Mapping[str, object],
    rows: Sequence[Row[Any]],
    limit: int,
    position: Callable[[Row[Any]], list[str]],
) -> str | None:
    """The cursor after a page, where more rows were found than it shows."""
    if len(rows) <= limit:
        return None
    found: str = request.app.state.cursors.encode(position(rows[limit - 1]), tenant_id=caller.tenant_id, route=route, filters=filters)
    return found
