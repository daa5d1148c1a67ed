"""Settlements beside the bank, with proof."""

import json
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from shared import audit
from shared.money import MAX_MINOR
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, CurrencyCode, Date, Id, Lax, PositiveMinor, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.commands import ReasonCode, command
from matching.api.handwork import DecideCommand
from matching.api.pages import page
from matching.domain.statements import FIRST_DAY
from matching.handlers import settlements
from matching.handlers.allocations import known_customer
from matching.storage.settlements import LISTED, Settlement

ROUTER = Router(prefix="/v1", tags=["settlements"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("payments:read")]
Status = Literal["requested", "booked", "refused", "reversed"]


class SettlementLine(Command):
    """What of the settlement is for an item."""

    item_id: Id
    amount_minor: PositiveMinor


class Proof(Command):
    """What proves it: the number of the netting agreement's statement or of the receipt, and the document's SHA-256 where it is kept."""

    reference: Text
    document_sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None


class SettlementCommand(Command):
    """Items settled beside the bank: netted with what we owe the customer, or paid in cash."""

    kind: Literal["netting", "cash"]
    entity_id: Id
    customer_id: Id
    currency: CurrencyCode
    value_date: Date
    proof: Proof
    lines: Annotated[list[SettlementLine], Field(min_length=1, max_length=1000)]


class ReverseSettlementCommand(Command):
    """Why it is taken back."""

    reason: ReasonCode


class SettlementLineView(BaseModel):
    """What of the settlement is for an item."""

    item_id: UUID
    amount_minor: int


class SettlementView(BaseModel):
    """A settlement as it stands."""

    settlement_id: UUID
    entity_id: UUID
    customer_id: UUID
    kind: Literal["netting", "cash"]
    currency: str
    amount_minor: int
    lines: list[SettlementLineView]
    proof_reference: str
    proof_sha256: str | None
    value_date: date
    status: Status
    payment_id: UUID | None
    requested_by: str
    decided_by: str | None
    requested_at: datetime
    decided_at: datetime | None


class SettlementList(BaseModel):
    """A page of settlements."""

    items: list[SettlementView]
    next_cursor: str | None


@ROUTER.post("/settlements", status_code=201, response_model=SettlementView, openapi_extra=KEYED)
async def post_settlement(request: Request, caller: Writer, body: SettlementCommand) -> Response:
    """Settles items beside the bank: booked at once up to the entity's limit, else when another person approves.

    The value date is any past day that a bank could book on: it says when the debtor paid, while the ledger's entries are of the day on
    which it is booked, so that no period that was exported changes.
    """
    now = request.app.state.runtime.clock.now()
    lines = [(line.item_id, line.amount_minor) for line in body.lines]
    if len({item for item, _ in lines}) < len(lines):
        raise Problem(422, "item-twice", "An item is named twice", errors=[FieldError("/lines", "item-twice", "an item is named twice")])
    amount = sum(line.amount_minor for line in body.lines)
    if amount > MAX_MINOR:
        error = FieldError("/lines", "amount-too-large", "their sum is larger than any amount")
        raise Problem(422, "amount-too-large", "The sum of the lines is larger than any amount", errors=[error])
    if body.value_date > now.date() + timedelta(days=1):  # it may be tomorrow already where the entity is
        error = FieldError("/value_date", "value-date-ahead", "is a day that has not come")
        raise Problem(422, "value-date-ahead", "What is settled was settled: its value date is not ahead", errors=[error])
    if body.value_date < FIRST_DAY:
        error = FieldError("/value_date", "value-date-too-early", f"is before {FIRST_DAY}")
        raise Problem(422, "value-date-too-early", f"Nothing is settled on a day before {FIRST_DAY}", errors=[error])
    given = Settlement(
        body.entity_id,  # replaced by the settlement's own
        body.entity_id,
        body.customer_id,
        body.kind,
        body.currency,
        amount,
        lines,
        body.proof.reference,
        body.proof.document_sha256,
        body.value_date,
        "requested",
        None,
        caller.subject,
        None,
        now,
        None,
    )

    async def produce(conn: AsyncConnection) -> Response:
        await known_customer(conn, caller.tenant_id, body.customer_id)
        taken = await settlements.request(conn, caller.tenant_id, given, now=now)
        return await _told(conn, caller, "settlement.request", taken, status=201)

    return await command(request, caller, produce)


@ROUTER.post("/settlements/{settlement_id}/decision", response_model=SettlementView, openapi_extra=KEYED)
async def decide_settlement(request: Request, caller: Writer, settlement_id: Annotated[Id, Path()], body: DecideCommand) -> Response:
    """Books a requested settlement (another person than who asked for it) or refuses it."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        given = await settlements.decide(conn, caller.tenant_id, settlement_id, approve=body.approve, by=caller.subject, now=now)
        return await _told(conn, caller, "settlement.approve" if body.approve else "settlement.refuse", given, reason=body.reason)

    return await command(request, caller, produce)


@ROUTER.post("/settlements/{settlement_id}/reverse", response_model=SettlementView, openapi_extra=KEYED)
async def reverse_settlement(
    request: Request, caller: Writer, settlement_id: Annotated[Id, Path()], body: ReverseSettlementCommand
) -> Response:
    """Takes a booked settlement back: its items owe again."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        given = await settlements.reverse(conn, caller.tenant_id, settlement_id, by=caller.subject, now=now)
        return await _told(conn, caller, "settlement.reverse", given, reason=body.reason)

    return await command(request, caller, produce)


@ROUTER.get("/settlements")
async def list_settlements(
    request: Request,
    caller: Reader,
    status: Status | None = None,
    customer_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> SettlementList:
    """Settlements by id, of one status or customer where asked."""
    rows, after = await page(
        request,
        caller,
        LISTED,
        {"status": status, "customer_id": customer_id},
        limit=limit,
        cursor=cursor,
    )
    return SettlementList(items=[_listed(row) for row in rows], next_cursor=after)


def _listed(row: Any) -> SettlementView:
    names = set(SettlementView.model_fields) - {"lines"}
    lines = [SettlementLineView(item_id=UUID(line["item_id"]), amount_minor=line["amount_minor"]) for line in _lines(row.lines)]
    return SettlementView(**{name: getattr(row, name) for name in names}, lines=lines)


def _lines(value: Any) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else list(json.loads(value))


async def _told(
    conn: AsyncConnection, caller: Caller, action: str, given: Settlement, *, reason: str | None = None, status: int = 200
) -> Response:
    detail = {
        "kind": given.kind,
        "amount_minor": given.amount_minor,
        "status": given.status,
        "proof_sha256": given.proof_sha256,
        "reason": reason,
    }
    await audit.record(conn, caller.tenant_id, [(caller.subject, action, str(given.settlement_id), detail)])
    names = set(SettlementView.model_fields) - {"lines"}
    lines = [SettlementLineView(item_id=item, amount_minor=amount) for item, amount in given.lines]
    view = SettlementView(**{name: getattr(given, name) for name in names}, lines=lines)
    return JSONResponse(view.model_dump(mode="json"), status)
