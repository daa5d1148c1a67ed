"""Payments: what became of them, and unmatching."""

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, Id, Lax, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.accounts import database_of
from matching.api.commands import command
from matching.api.pages import page
from matching.handlers.no_receivables import take_in
from matching.handlers.payments import unmatch
from matching.storage import decisions, payments

ROUTER = Router(prefix="/v1", tags=["payments"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("payments:read")]
Status = Literal["received", "matched", "partly_matched", "unapplied", "returned", "refunded"]


class AllocationView(BaseModel):
    """What of a payment went to an item; `item_amount_minor` and `rate` where that is in another currency, `item_currency`."""

    item_id: UUID
    invoice_number: str
    amount_minor: int
    rule: str
    item_currency: str
    item_amount_minor: int | None
    rate: Decimal | None
    rate_source: str | None


class DecisionView(BaseModel):
    """What was decided at a version of the payment, by which rule, on which evidence."""

    payment_version: int
    rule: str
    decided_at: datetime
    evidence: dict[str, Any]


class PaymentView(BaseModel):
    """A payment as it stands."""

    payment_id: UUID
    version: int
    bank_account_id: UUID
    entity_id: UUID
    currency: str
    amount_minor: int
    allocated_minor: int
    unapplied_minor: int
    returned_minor: int
    refunded_minor: int
    booking_date: date
    value_date: date
    confirmation: str
    source: str
    status: Status
    virtual_iban_id: UUID | None
    bank_reference: str | None
    end_to_end_id: str | None
    structured_reference: str | None
    remittance: list[str]
    debtor_name: str | None
    debtor_iban: str | None
    ultimate_debtor_name: str | None
    payer_customer_id: UUID | None
    rule: str | None
    unapplied_reason: str | None
    candidate_customer_ids: list[UUID] | None
    return_reason: str | None


class PaymentDetail(PaymentView):
    """A payment with where it went and why."""

    allocations: list[AllocationView]
    decisions: list[DecisionView]


class PaymentList(BaseModel):
    """A page of payments."""

    items: list[PaymentView]
    next_cursor: str | None


class UnmatchCommand(Command):
    """Undo the allocation to one item, or all of them."""

    reason: Text
    item_id: Annotated[Id | None, Lax] = None


class UnmatchedView(BaseModel):
    """What the payment has left to give."""

    payment_id: UUID
    status: Status
    unapplied_minor: int


@ROUTER.get("/payments")
async def list_payments(
    request: Request,
    caller: Reader,
    status: Status | None = None,
    customer_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> PaymentList:
    """Payments by id, of one status or customer where asked. Unapplied ones are the work list."""
    rows, after = await page(
        request,
        caller,
        payments.LISTED,
        {"status": status, "customer_id": customer_id},
        limit=limit,
        cursor=cursor,
    )
    return PaymentList(items=[PaymentView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.get("/payments/{payment_id}")
async def get_payment(request: Request, caller: Reader, payment_id: Annotated[Id, Path()]) -> PaymentDetail:
    """A payment with its allocations, and every decision with its rule, evidence and losing candidates."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        held = await payments.detail(conn, caller.tenant_id, payment_id)
        if held is None:
            raise Problem(404, "payment-unknown", "There is no such payment")
        allocations = await payments.allocations_of(conn, caller.tenant_id, payment_id)
        taken = await decisions.of_payment(conn, caller.tenant_id, payment_id)
    return PaymentDetail(
        **PaymentView.model_validate(held, from_attributes=True).model_dump(),
        allocations=[AllocationView.model_validate(row, from_attributes=True) for row in allocations],
        decisions=[
            DecisionView(payment_version=one.payment_version, rule=one.rule, decided_at=one.decided_at, evidence=json.loads(one.evidence))
            for one in taken
        ],
    )


@ROUTER.post("/payments/{payment_id}/unmatch", response_model=UnmatchedView, openapi_extra=KEYED)
async def post_unmatch(request: Request, caller: Writer, payment_id: Annotated[Id, Path()], body: UnmatchCommand) -> Response:
    """Undoes allocations: the items owe again, and this pair is not matched automatically again. Or that the payment was set apart as no
    receivable: it is unapplied again, and others like it are set apart no more. Idempotency-Key required.
    """
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        payment = await unmatch(conn, caller.tenant_id, payment_id, body.item_id, body.reason, now)
        if payment is None and body.item_id is None:
            payment = await take_in(conn, caller.tenant_id, payment_id, now)
        if payment is None:
            raise Problem(404, "allocation-unknown", "There is no such payment, or nothing of it is allocated there")
        detail = {"item_id": str(body.item_id) if body.item_id else None, "version": payment.version}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "payment.unmatch", str(payment_id), detail)])
        return JSONResponse(UnmatchedView.model_validate(payment, from_attributes=True).model_dump(mode="json"))

    return await command(request, caller, produce)
