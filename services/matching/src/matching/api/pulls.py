"""What was fetched from banks, and what of it could not be read."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import BaseModel
from shared.web.auth import Caller, requires
from shared.web.route import Router

from matching.api.accounts import database_of
from matching.storage.pulls import newest

ROUTER = Router(prefix="/v1", tags=["bank"])
Reader = Annotated[Caller, requires("bank:read")]


class PulledFile(BaseModel):
    """A file that was fetched; `detail` says why it could not be read."""

    source: str
    name: str
    file_sha256: str
    outcome: Literal["taken", "unreadable"]
    detail: str | None
    pulled_at: datetime


class PulledFiles(BaseModel):
    """The newest ones first."""

    items: list[PulledFile]


@ROUTER.get("/pulled-files")
async def list_pulled(
    request: Request,
    caller: Reader,
    outcome: Literal["taken", "unreadable"] | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> PulledFiles:
    """Files that were fetched from banks, the newest first, of one outcome where asked."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        rows = await newest(conn, caller.tenant_id, outcome, limit)
    return PulledFiles(items=[PulledFile.model_validate(row, from_attributes=True) for row in rows])
