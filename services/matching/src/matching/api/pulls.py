"""What was fetched from banks, and what of it could not be read."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.accounts import database_of
from matching.api.commands import command
from matching.storage.pulls import forget, newest

ROUTER = Router(prefix="/v1", tags=["bank"])
Reader = Annotated[Caller, requires("bank:read")]
Writer = Annotated[Caller, requires("bank:write")]
ListedName = Annotated[str, Field(min_length=1, max_length=4096)]


class PulledFile(BaseModel):
    """A file that was fetched. One that is `unreadable` waits for a person; `detail` says why, or what of it he has to look at."""

    source: str
    name: str
    file_sha256: str
    outcome: Literal["taken", "unreadable"]
    detail: str | None
    pulled_at: datetime


class AgainCommand(Command):
    """Fetch a file once more that waits for a person, when what hindered it is put right. Source and name as they are listed."""

    source: ListedName
    name: ListedName


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


@ROUTER.post("/pulled-files/again", status_code=202, response_model=PulledFile, openapi_extra=KEYED)
async def pull_again(request: Request, caller: Writer, body: AgainCommand) -> Response:
    """Has a file fetched again at the next round that was not taken: its account is known now, say, or a better one is in its place."""

    async def produce(conn: AsyncConnection) -> Response:
        row = await forget(conn, caller.tenant_id, body.source, body.name)
        if row is None:
            raise Problem(404, "pulled-file-unknown", "No file of that source and name waits for a person")
        held = PulledFile.model_validate(row, from_attributes=True)
        await audit.record(conn, caller.tenant_id, [(caller.subject, "bank_file.pull_again", held.file_sha256, {"source": held.source})])
        return JSONResponse(held.model_dump(mode="json"), 202)

    return await command(request, caller, produce)
