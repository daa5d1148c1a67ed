"""Batch totals whose details have not come: what waits, and booking one by hand."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, Id, Lax, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.commands import command
from matching.api.pages import page
from matching.handlers import totals
from matching.storage import movements

ROUTER = Router(prefix="/v1", tags=["bank"])
Writer = Annotated[Caller, requires("bank:write")]
Reader = Annotated[Caller, requires("bank:read")]


class BatchTotalView(BaseModel):
    """A batch total that waits. `reference` is what its details have in common with it: the bank's for the entry, else the batch's.

    Without one no details can be told to be its own. `account` is the account's IBAN, or its bank's own number. `received_at`: when
    its statement came in; null for the oldest.
    """

    batch_total_id: UUID
    bank_account_id: UUID
    account: str
    iban: str | None
    amount_minor: int
    currency: str
    booking_date: date
    reference: str | None
    end_to_end_id: str | None
    received_at: datetime | None


class BatchTotalList(BaseModel):
    """A page of batch totals that wait."""

    items: list[BatchTotalView]
    next_cursor: str | None


class BatchTotalBooking(Command):
    """Why a batch total is booked without its details."""

    reason: Text


class BookedTotalView(BaseModel):
    """A batch total that was booked, and the payment that it is now."""

    batch_total_id: UUID
    bank_account_id: UUID
    amount_minor: int
    currency: str
    booking_date: date
    reference: str | None
    payment_id: UUID


@ROUTER.get("/batch-totals")
async def list_batch_totals(
    request: Request,
    caller: Reader,
    bank_account_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> BatchTotalList:
    """Batch totals that wait for their details, by id, of one account where asked. Until then its reconciliation stands still."""
    rows, after = await page(
        request,
        caller,
        movements.TOTALS,
        {"bank_account_id": bank_account_id},
        limit=limit,
        cursor=cursor,
    )
    return BatchTotalList(items=[BatchTotalView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.post("/batch-totals/{batch_total_id}/booking", response_model=BookedTotalView, openapi_extra=KEYED)
async def book_batch_total(request: Request, caller: Writer, batch_total_id: Annotated[Id, Path()], booking: BatchTotalBooking) -> Response:
    """Books a batch total whose details do not come as one payment. Details that come after all take its place."""

    async def produce(conn: AsyncConnection) -> Response:
        now = request.app.state.runtime.clock.now()
        booked = await totals.book_total(conn, caller.tenant_id, batch_total_id, now)
        view = BookedTotalView.model_validate(booked, from_attributes=True).model_dump(mode="json")
        detail = {"payment_id": view["payment_id"], "amount_minor": booked.amount_minor, "reason": booking.reason}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "batch_total.book", str(batch_total_id), detail)])
        return JSONResponse(view)

    return await command(request, caller, produce)
