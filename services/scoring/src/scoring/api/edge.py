"""What the routes of scoring share: who calls, the database and the business clock behind a request, the audit trail."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import Field
from shared import audit
from shared.db import Database
from shared.web.auth import Caller, requires
from sqlalchemy.ext.asyncio import AsyncConnection

Reader = Annotated[Caller, requires("credit:read")]
Writer = Annotated[Caller, requires("credit:write")]
Band = Literal["A", "B", "C", "D", "E"]
Amount = Annotated[int, Field(ge=0, le=2**63 - 1, description="Minor units of the currency")]
BasisPoints = Annotated[int, Field(ge=0, le=10_000, description="Hundredths of a percent")]
Days = Annotated[int, Field(ge=0, le=365)]


def database_of(request: Request) -> Database:
    """The service's database."""
    database: Database = request.app.state.runtime.database
    return database


def now_of(request: Request) -> datetime:
    """The business moment."""
    now: datetime = request.app.state.runtime.clock.now()
    return now


async def audited(conn: AsyncConnection, caller: Caller, action: str, subject: object, detail: dict[str, Any]) -> None:
    """Adds to the audit trail what a caller changed: ids and codes only."""
    await audit.record(conn, caller.tenant_id, [(caller.subject, action, str(subject), detail)])
