"""Bank files of every kind that `matching.bankfiles` reads, and the statements in them."""

import hashlib
import tempfile
from datetime import date, datetime
from itertools import count
from typing import Annotated, Any, BinaryIO, Literal, cast
from uuid import UUID

from fastapi import Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED, once
from shared.web.models import Command, Id, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.commands import command, tried
from matching.api.pages import page
from matching.bankfiles import BankFileError
from matching.handlers import files
from matching.storage import bank, statements

ROUTER = Router(prefix="/v1", tags=["bank"])
Writer = Annotated[Caller, requires("bank:write")]
Reader = Annotated[Caller, requires("bank:read")]
Verdict = Literal["booked", "importing", "rejected", "duplicate"]
_MEDIA = {"application/xml", "text/xml", "text/plain", "application/octet-stream", "application/zip", "application/gzip"}
MAX_BYTES = 256 * 1024 * 1024
_IN_MEMORY = 4 * 1024 * 1024
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in sorted(_MEDIA)}}
}


class StatementView(BaseModel):
    """What became of a statement in a file. `importing`: it is long, and is booked slice by slice from now on.

    `account` is the account's IBAN, or its bank's own number. All `entries` are proved; fees, other debits, batch totals that wait for
    their details, and what is dated before the account's start date make no payment.
    """

    statement_id: UUID
    account: str
    iban: str | None
    verdict: Verdict
    reason: str | None = None
    detail: str | None = None
    entries: int
    new_payments: int
    confirmed: int
    returns: int


class FileView(BaseModel):
    """What became of a file."""

    file_sha256: str
    statements: list[StatementView]


class KeptStatement(BaseModel):
    """A statement, report or notification that came in."""

    statement_id: UUID
    bank_account_id: UUID
    file_sha256: str
    kind: str
    number: str
    first_day: date | None
    last_day: date | None
    opening_minor: int | None
    closing_minor: int | None
    entries: int
    verdict: Literal["booked", "importing", "rejected"]
    reason: str | None
    detail: str | None
    uploaded_by: str
    accepted_by: str | None
    accepted_reason: str | None
    received_at: datetime


class StatementList(BaseModel):
    """A page of statements."""

    items: list[KeptStatement]
    next_cursor: str | None


class Acceptance(Command):
    """Why a statement that does not add up is booked all the same."""

    reason: Text


class Accepted(BaseModel):
    """The statement after its acceptance."""

    statement_id: UUID
    verdict: Literal["booked", "importing"]


@ROUTER.post("/bank-files", status_code=201, response_model=FileView, max_body_size=MAX_BYTES, openapi_extra=_BODY)
async def post_file(request: Request, caller: Writer) -> Response:
    """Takes in a bank file, whatever its format: all of it or, where a statement does not add up, all but that statement.

    The same file again books nothing. A file with an account that is none of ours is refused, naming it.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media not in _MEDIA:
        raise Problem(415, "media-type-unsupported", f"A bank file is {', '.join(sorted(_MEDIA))}")
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spooled:
        digest = hashlib.sha256()
        async for chunk in request.stream():
            digest.update(chunk)
            spooled.write(chunk)
        sha256 = digest.hexdigest()
        return await _take_in(request, caller, cast("BinaryIO", spooled), sha256)


async def _take_in(request: Request, caller: Caller, file: BinaryIO, sha256: str) -> Response:
    tries = count(1)

    async def produce(conn: AsyncConnection) -> Response:
        now = request.app.state.runtime.clock.now()
        try:
            found = await files.take_file(conn, caller.tenant_id, file, sha256, by=caller.subject, now=now)
        except BankFileError as error:
            detail = " ".join(str(error).split())[:300]
            raise Problem(422, "bank-file-unreadable", "The file cannot be read", detail) from None
        view = FileView(file_sha256=sha256, statements=[StatementView.model_validate(one, from_attributes=True) for one in found])
        await audit.record(conn, caller.tenant_id, [(caller.subject, "bank_file.book", sha256, {"statements": len(found)})])
        return JSONResponse(view.model_dump(mode="json"), 201)

    async def in_turn(conn: AsyncConnection) -> Response:
        if next(tries) > 1:  # two files with statements of the same accounts in another order wait for each other: one after the other
            await bank.hold_account(conn, caller.tenant_id, alone=True)
        # the file is its own idempotency key (its statements are known by digest); a client's key is honoured where given
        if "idempotency-key" in request.headers:
            return await once(request, caller, conn, lambda: produce(conn), body_sha256=bytes.fromhex(sha256))
        return await produce(conn)

    return await tried(request, caller, in_turn)


@ROUTER.get("/statements")
async def list_statements(
    request: Request,
    caller: Reader,
    verdict: Annotated[Literal["booked", "importing", "rejected"] | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> StatementList:
    """Statements by id, of one verdict where asked. Rejected ones wait for a better file or a second person."""
    rows, after = await page(
        request,
        caller,
        statements.LISTED,
        {"verdict": verdict},
        limit=limit,
        cursor=cursor,
    )
    return StatementList(items=[KeptStatement.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.post("/statements/{statement_id}/acceptance", response_model=Accepted, openapi_extra=KEYED)
async def accept_statement(request: Request, caller: Writer, statement_id: Annotated[Id, Path()], acceptance: Acceptance) -> Response:
    """A second person, not the one who brought the file, books a statement that does not add up, with a reason."""

    async def produce(conn: AsyncConnection) -> Response:
        now = request.app.state.runtime.clock.now()
        kept = await files.accept(conn, caller.tenant_id, statement_id, reason=acceptance.reason, by=caller.subject, now=now)
        await audit.record(conn, caller.tenant_id, [(caller.subject, "statement.accept", str(statement_id), {"reason": acceptance.reason})])
        return JSONResponse({"statement_id": str(statement_id), "verdict": kept.verdict})

    return await command(request, caller, produce)
