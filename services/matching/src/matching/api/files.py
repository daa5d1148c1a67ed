"""Bank files of every kind that `matching.bankfiles` reads."""

import hashlib
import io
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Body, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import once
from shared.web.problems import Problem
from shared.web.route import Router

from matching.api.accounts import database_of
from matching.bankfiles import BankFileError, read
from matching.domain.statements import Entry, Statement
from matching.handlers.ingest import Booked, book_statement
from matching.storage import bank

ROUTER = Router(prefix="/v1", tags=["bank"])
Writer = Annotated[Caller, requires("bank:write")]
_MEDIA = {"application/xml", "text/xml", "text/plain", "application/octet-stream"}
MAX_BYTES = 64 * 1024 * 1024


class StatementView(BaseModel):
    """What became of a statement in a file."""

    statement_id: UUID
    iban: str
    verdict: Literal["booked", "rejected", "duplicate"]
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


@ROUTER.post("/bank-files", status_code=201, response_model=FileView, max_body_size=MAX_BYTES)
async def post_file(request: Request, caller: Writer, body: Annotated[bytes, Body(media_type="application/xml")]) -> Response:
    """Books a bank file, whatever its format, all of it or, where a statement does not add up, all but that statement.

    The same file again books nothing. A file with an account that is none of ours is refused, naming it.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media not in _MEDIA:
        raise Problem(415, "media-type-unsupported", "A bank file is application/xml, text/plain or application/octet-stream")
    try:
        statements = await run_in_threadpool(_parse, body)
    except BankFileError as error:
        raise Problem(422, "bank-file-unreadable", "The file cannot be read", str(error)[:300]) from None
    digest = hashlib.sha256(body).hexdigest()
    async with database_of(request).transaction(caller.tenant_id) as conn:

        async def produce() -> Response:
            held = {}
            for account in sorted({statement.account for statement, _ in statements}):
                found = await bank.account(conn, caller.tenant_id, account)
                if found is None:
                    named = account if account.isalnum() and len(account) <= 34 else "without an IBAN"  # noqa: PLR2004 - ISO 13616
                    raise Problem(422, "account-unknown", "The file is about an account that is none of ours", f"account {named}")
                held[account] = found
            booked: list[Booked] = [
                await book_statement(conn, held[statement.account], statement, entries, digest, request.app.state.runtime.clock.now())
                for statement, entries in sorted(statements, key=lambda one: one[0].account)
            ]
            view = FileView(file_sha256=digest, statements=[StatementView.model_validate(one, from_attributes=True) for one in booked])
            await audit.record(conn, caller.tenant_id, [(caller.subject, "bank_file.book", digest, {"statements": len(booked)})])
            return JSONResponse(view.model_dump(mode="json"), 201)

        # the file is its own idempotency key (its statements are known by digest); a client's key is honoured where given
        return await once(request, caller, conn, produce) if "idempotency-key" in request.headers else await produce()


def _parse(body: bytes) -> list[tuple[Statement, list[Entry]]]:
    found: list[tuple[Statement, list[Entry]]] = []
    entries: list[Entry] = []
    for statement, entry in read(io.BytesIO(body)):
        if entry is None:
            found.append((statement, entries))
            entries = []
        else:
            entries.append(entry)
    return found
