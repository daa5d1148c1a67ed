"""The review queue over HTTP: what waits for a person, with what may have been meant; confirm and dismiss."""

import json
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, Id, Lax, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.accounts import database_of
from matching.api.commands import command
from matching.api.handwork import PaymentAfter, payment_after
from matching.api.pages import page
from matching.handlers import review
from matching.storage.review import LISTED

ROUTER = Router(prefix="/v1", tags=["hand work"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("payments:read")]


class CandidateLineView(BaseModel):
    """What a candidate settles of an item. `open_minor` is in `currency`, the item's; where that is another than the payment's,
    `item_amount_minor` of it is settled by `amount_minor`. `written_off_minor` of it was given up: confirming reverses that as far as the
    money goes.
    """

    item_id: UUID
    customer_id: UUID
    invoice_number: str
    due_date: date
    open_minor: int
    written_off_minor: int
    amount_minor: int
    currency: str
    difference_minor: int
    reason: str | None
    item_amount_minor: int | None


class SetOffView(BaseModel):
    """A credit note that the payer deducts from an item."""

    credit_item_id: UUID
    item_id: UUID
    amount_minor: int


class CandidateView(BaseModel):
    """One reading of the payment, best first, with the credit notes that it deducts; `evidence` says how sure it is and what
    speaks for it.
    """

    rank: int
    lines: list[CandidateLineView]
    set_offs: list[SetOffView]
    evidence: dict[str, Any]


class ReviewView(BaseModel):
    """A payment that waits, why, and what may have been meant."""

    payment_id: UUID
    version: int
    entity_id: UUID
    booking_date: date
    currency: str
    amount_minor: int
    unapplied_minor: int
    payer_customer_id: UUID | None
    debtor_name: str | None
    ultimate_debtor_name: str | None
    remittance: list[str]
    reason: str | None
    rule: str | None
    decided_at: datetime | None
    evidence: dict[str, Any]
    candidates: list[CandidateView]


class ReviewList(BaseModel):
    """A page of the queue."""

    items: list[ReviewView]
    next_cursor: str | None


class ConfirmCommand(Command):
    """The candidate that was meant; `version` is the payment's when it was looked at."""

    candidate: Annotated[int, Field(ge=1, le=1000)]
    version: Annotated[int, Field(ge=1, le=2**63 - 1)]


class DismissCommand(Command):
    """Items that the payment is not for."""

    item_ids: Annotated[list[Id], Field(min_length=1, max_length=100)]
    reason: Text


class DismissedView(BaseModel):
    """How many pairs were dismissed that were not before."""

    payment_id: UUID
    dismissed: int


@ROUTER.get("/review-queue")
async def list_queue(
    request: Request,
    caller: Reader,
    entity_id: Annotated[UUID | None, Lax] = None,
    reason: str | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> ReviewList:
    """Payments that wait for a person, by id, of one entity or reason where asked; advances, which wait for nobody, only by reason."""
    rows, after = await page(
        request,
        caller,
        LISTED,
        {"entity_id": entity_id, "reason": reason},
        limit=limit,
        cursor=cursor,
    )
    async with database_of(request).transaction(caller.tenant_id) as conn:
        found = await review.candidates(conn, caller.tenant_id, [row.payment_id for row in rows])
    return ReviewList(items=[_view(row, found.get(row.payment_id, [])) for row in rows], next_cursor=after)


def _view(row: Any, found: list[review.Candidate]) -> ReviewView:
    names = set(ReviewView.model_fields) - {"reason", "rule", "evidence", "candidates"}
    evidence = json.loads(row.evidence) if row.evidence else {}
    evidence.pop("candidates", None)
    return ReviewView(
        **{name: getattr(row, name) for name in names},
        reason=row.unapplied_reason,
        rule=row.decided_rule,
        evidence=evidence,
        candidates=[CandidateView.model_validate(one, from_attributes=True) for one in found],
    )


@ROUTER.post("/payments/{payment_id}/confirm", response_model=PaymentAfter, openapi_extra=KEYED)
async def post_confirm(request: Request, caller: Writer, payment_id: Annotated[Id, Path()], body: ConfirmCommand) -> Response:
    """Allocates a candidate as it is shown in the queue, and learns who pays from this IBAN and under this name."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        payment = await review.confirm(conn, caller.tenant_id, payment_id, body.candidate, version=body.version, by=caller.subject, now=now)
        detail = {"version": payment.version, "candidate": body.candidate}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "payment.confirm", str(payment_id), detail)])
        return payment_after(payment)

    return await command(request, caller, produce)


@ROUTER.post("/payments/{payment_id}/dismiss", response_model=DismissedView, openapi_extra=KEYED)
async def post_dismiss(request: Request, caller: Writer, payment_id: Annotated[Id, Path()], body: DismissCommand) -> Response:
    """These items are never proposed for this payment again."""

    async def produce(conn: AsyncConnection) -> Response:
        dismissed = await review.dismiss(conn, caller.tenant_id, payment_id, body.item_ids, body.reason)
        detail = {"items": [str(item) for item in body.item_ids]}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "payment.dismiss", str(payment_id), detail)])
        return JSONResponse(DismissedView(payment_id=payment_id, dismissed=dismissed).model_dump(mode="json"))

    return await command(request, caller, produce)
