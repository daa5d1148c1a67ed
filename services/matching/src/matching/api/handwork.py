"""Hand work on payments and items: allocate, move, write off; who may do how much alone."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, field_validator
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, CurrencyCode, Id, Lax, NotNegativeMinor, PositiveMinor, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.accounts import database_of
from matching.api.commands import ReasonCode, command, tried
from matching.api.pages import page
from matching.api.payments import Status
from matching.domain.books import Payment
from matching.domain.exchange import BANK_RATE
from matching.domain.proposing import USUAL_RATE
from matching.handlers import allocations, no_receivables, write_offs
from matching.handlers.payments import CONFIRMED
from matching.storage import limits
from matching.storage.write_offs import LISTED, WriteOff

ROUTER = Router(prefix="/v1", tags=["hand work"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("payments:read")]
OURS = frozenset({BANK_RATE, USUAL_RATE, CONFIRMED})
"""Sources of rates that no person gave."""
Reason = Literal["discount", "bank_charges", "rounding", "tolerance", "withheld"]
WriteOffReason = Literal["uncollectible", "insolvency", "limitation", "small_balance", "goodwill", "duplicate"]


class ExchangeCommand(Command):
    """What of an item in another currency is settled, in that currency.

    `rate`: units of the item's currency for one of the payment's, as a decimal, with where it is from (`ecb`, `contract`, ...). Without
    a rate it is the bank's own: what the payer told his bank to pay, against what was credited.
    """

    item_amount_minor: PositiveMinor
    rate: Annotated[str | None, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,10})?$")] = None
    rate_source: Annotated[str | None, Field(pattern=r"^[a-z0-9_.-]{1,64}$")] = None


class AllocationLine(Command):
    """What of the payment goes to an item. `difference_minor` leaves the item with it, unpaid, for a reason.

    `amount_minor` is in the payment's currency; `exchange` is for an item in another one.
    """

    item_id: Id
    amount_minor: PositiveMinor
    difference_minor: NotNegativeMinor = 0
    reason: Reason | None = None
    exchange: ExchangeCommand | None = None


class AllocateCommand(Command):
    """Allocate a payment to items, all lines or none; `customer_id` says who paid, where that is not known yet."""

    lines: Annotated[list[AllocationLine], Field(min_length=1, max_length=1000)]
    customer_id: Annotated[Id | None, Lax] = None


class ExchangeView(BaseModel):
    """An allocation across currencies: what of the item is settled, at which rate, and what we gain or, below zero, lose by it."""

    item_amount_minor: int
    rate: str
    source: str
    difference_minor: int

    @field_validator("rate", mode="before")
    @classmethod
    def _plain(cls, rate: Decimal) -> str:
        return f"{rate.normalize():f}"


class HeldAllocation(BaseModel):
    """What of the payment is at an item, and what left the item beside it."""

    item_id: UUID
    invoice_number: str
    amount_minor: int
    rule: str
    diff_minor: int
    diff_reason: str | None
    exchange: ExchangeView | None


class PaymentAfter(BaseModel):
    """The payment after the command."""

    payment_id: UUID
    version: int
    status: Status
    amount_minor: int
    allocated_minor: int
    unapplied_minor: int
    returned_minor: int
    refunded_minor: int
    payer_customer_id: UUID | None
    unapplied_reason: str | None
    allocations: list[HeldAllocation]


class MoveCommand(Command):
    """Whose payment it is."""

    customer_id: Id
    reason: ReasonCode


class SetApartCommand(Command):
    """Why a payment is no receivable."""

    reason: ReasonCode


class LimitCommand(Command):
    """Up to which amount one person may write off, forgive or refund alone, in an entity's currency."""

    limit_minor: NotNegativeMinor


class LimitView(BaseModel):
    """A limit as it stands."""

    entity_id: UUID
    currency: str
    limit_minor: int


class LimitList(BaseModel):
    """All limits of the tenant; where none is set, everything needs a second person."""

    items: list[LimitView]


class WriteOffCommand(Command):
    """Give up an amount of an item, or all that is open."""

    item_id: Id
    reason: WriteOffReason
    amount_minor: PositiveMinor | None = None
    note: Text | None = None


class ReverseWriteOffCommand(Command):
    """Take back an amount of a write-off, or all that is left of it."""

    reason: ReasonCode
    amount_minor: PositiveMinor | None = None


class DecideCommand(Command):
    """What a second person says."""

    approve: bool
    reason: ReasonCode | None = None


class WriteOffView(BaseModel):
    """A write-off as it stands."""

    write_off_id: UUID
    version: int
    entity_id: UUID
    item_id: UUID
    currency: str
    amount_minor: int
    reversed_minor: int
    reason: str
    note: str | None
    status: Literal["requested", "booked", "refused", "reversed"]
    requested_by: str
    decided_by: str | None
    requested_at: datetime
    decided_at: datetime | None


class WriteOffList(BaseModel):
    """A page of write-offs."""

    items: list[WriteOffView]
    next_cursor: str | None


def payment_after(payment: Payment) -> Response:
    """The answer of a command on a payment."""
    fields = {name: getattr(payment, name) for name in PaymentAfter.model_fields if name != "allocations"}
    held = [HeldAllocation.model_validate(one, from_attributes=True) for one in payment.allocations.values()]
    return JSONResponse(PaymentAfter(**fields, allocations=held).model_dump(mode="json"))


def _lines(body: AllocateCommand) -> list[allocations.Line]:
    """The lines of a command. Raises a 422 Problem for an item named twice, and for a difference and reason that lack each other."""
    seen = set()
    for at, line in enumerate(body.lines):
        if line.item_id in seen:
            raise Problem(
                422, "item-twice", "An item is named twice", errors=[FieldError(f"/lines/{at}/item_id", "item-twice", "is named twice")]
            )
        seen.add(line.item_id)
        if bool(line.difference_minor) != bool(line.reason):
            error = FieldError(f"/lines/{at}/reason", "difference-reason", "a difference has a reason, and a reason a difference")
            raise Problem(422, "difference-reason", "A difference and its reason come together", errors=[error])
        if line.exchange is not None:
            _check_exchange(line.exchange, line.difference_minor, at)
    return [allocations.Line(one.item_id, one.amount_minor, one.difference_minor, one.reason, _across(one.exchange)) for one in body.lines]


def _check_exchange(exchange: ExchangeCommand, difference_minor: int, at: int) -> None:
    """Raises a 422 Problem for a rate without a source, a source without a rate or of ours, a rate of zero, and a difference beside it."""
    place = f"/lines/{at}/exchange"
    if bool(exchange.rate) != bool(exchange.rate_source):
        error = FieldError(f"{place}/rate_source", "rate-source", "a rate says where it is from, and a source has a rate")
        raise Problem(422, "rate-source", "A rate and its source come together", errors=[error])
    if exchange.rate_source in OURS:
        error = FieldError(f"{place}/rate_source", "rate-source-ours", f"{exchange.rate_source} says how we found a rate ourselves")
        raise Problem(422, "rate-source-ours", "A person's rate has a source of its own", errors=[error])
    if exchange.rate is not None and not Decimal(exchange.rate):
        raise Problem(422, "rate-invalid", "A rate is above zero", errors=[FieldError(f"{place}/rate", "rate-invalid", "is zero")])
    if difference_minor:
        error = FieldError(f"/lines/{at}/difference_minor", "exchange-difference", "an exchange has no difference of another kind")
        raise Problem(422, "exchange-difference", "What is exchanged has no other difference: give one line for each", errors=[error])


def _across(exchange: ExchangeCommand | None) -> allocations.Across | None:
    if exchange is None:
        return None
    if exchange.rate is None or exchange.rate_source is None:
        return allocations.Across(exchange.item_amount_minor)
    return allocations.Across(exchange.item_amount_minor, Decimal(exchange.rate), exchange.rate_source)


@ROUTER.post("/payments/{payment_id}/allocations", response_model=PaymentAfter, openapi_extra=KEYED)
async def post_allocations(request: Request, caller: Writer, payment_id: Annotated[Id, Path()], body: AllocateCommand) -> Response:
    """Allocates a payment to items as a person says. A written-off item owes again as far as money comes for it."""
    lines = _lines(body)
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        payment = await allocations.allocate(
            conn, caller.tenant_id, payment_id, lines, customer_id=body.customer_id, by=caller.subject, now=now
        )
        detail = {"version": payment.version, "items": [str(line.item_id) for line in lines], "amounts": [x.amount_minor for x in lines]}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "payment.allocate", str(payment_id), detail)])
        return payment_after(payment)

    return await command(request, caller, produce)


@ROUTER.post("/payments/{payment_id}/set-apart", response_model=PaymentAfter, openapi_extra=KEYED)
async def post_set_apart(request: Request, caller: Writer, payment_id: Annotated[Id, Path()], body: SetApartCommand) -> Response:
    """Says that a payment is no receivable (a tax refund, interest, a transfer of one's own): it leaves the sub-ledger, and others from the
    same account or under the same name follow by themselves once that was said often enough, and never otherwise. Unmatching undoes it.
    """
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        payment = await no_receivables.set_apart(conn, caller.tenant_id, payment_id, by=caller.subject, now=now)
        detail = {"version": payment.version, "reason": body.reason}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "payment.set_apart", str(payment_id), detail)])
        return payment_after(payment)

    return await command(request, caller, produce)


@ROUTER.post("/payments/{payment_id}/move", response_model=PaymentAfter, openapi_extra=KEYED)
async def post_move(request: Request, caller: Writer, payment_id: Annotated[Id, Path()], body: MoveCommand) -> Response:
    """Says that the payment is another customer's: its unapplied part counts there and is looked at again."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        payment = await allocations.move(conn, caller.tenant_id, payment_id, body.customer_id, by=caller.subject, now=now)
        detail = {"version": payment.version, "customer_id": str(body.customer_id), "reason": body.reason}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "payment.move", str(payment_id), detail)])
        return payment_after(payment)

    return await command(request, caller, produce)


@ROUTER.put("/hand-work-limits/{entity_id}/{currency}")
async def put_limit(
    request: Request,
    caller: Annotated[Caller, requires("bank:write")],
    entity_id: Annotated[Id, Path()],
    currency: CurrencyCode,
    body: LimitCommand,
) -> LimitView:
    """Sets up to which amount one person may give away alone in an entity. Whoever sets limits needs `bank:write`."""

    async def produce(conn: AsyncConnection) -> None:
        await limits.set_limit(conn, caller.tenant_id, entity_id, currency, body.limit_minor)
        detail = {"currency": currency, "limit_minor": body.limit_minor}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "hand_work_limit.put", str(entity_id), detail)])

    await tried(request, caller, produce)
    return LimitView(entity_id=entity_id, currency=currency, limit_minor=body.limit_minor)


@ROUTER.get("/hand-work-limits")
async def list_limits(request: Request, caller: Reader) -> LimitList:
    """The limits of all entities and currencies."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        rows = await limits.all_limits(conn, caller.tenant_id)
    return LimitList(items=[LimitView.model_validate(row, from_attributes=True) for row in rows])


@ROUTER.post("/write-offs", status_code=201, response_model=WriteOffView, openapi_extra=KEYED)
async def post_write_off(request: Request, caller: Writer, body: WriteOffCommand) -> Response:
    """Writes off, alone up to the entity's limit (`booked`), else until another person approves (`requested`)."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        given = await write_offs.request(
            conn, caller.tenant_id, body.item_id, body.amount_minor, reason=body.reason, note=body.note, by=caller.subject, now=now
        )
        return await _told(conn, caller, "write_off.request", given, reason=body.reason, status=201)

    return await command(request, caller, produce)


@ROUTER.post("/write-offs/{write_off_id}/decision", response_model=WriteOffView, openapi_extra=KEYED)
async def decide_write_off(request: Request, caller: Writer, write_off_id: Annotated[Id, Path()], body: DecideCommand) -> Response:
    """Books a requested write-off (another person than who asked for it) or refuses it."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        given = await write_offs.decide(conn, caller.tenant_id, write_off_id, approve=body.approve, by=caller.subject, now=now)
        return await _told(conn, caller, "write_off.approve" if body.approve else "write_off.refuse", given, reason=body.reason)

    return await command(request, caller, produce)


@ROUTER.post("/write-offs/{write_off_id}/reverse", response_model=WriteOffView, openapi_extra=KEYED)
async def reverse_write_off(
    request: Request, caller: Writer, write_off_id: Annotated[Id, Path()], body: ReverseWriteOffCommand
) -> Response:
    """The item owes again what was written off, or an amount of it."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        given = await write_offs.reverse(conn, caller.tenant_id, write_off_id, body.amount_minor, now=now)
        return await _told(conn, caller, "write_off.reverse", given, reason=body.reason)

    return await command(request, caller, produce)


@ROUTER.get("/write-offs")
async def list_write_offs(
    request: Request,
    caller: Reader,
    status: Literal["requested", "booked", "refused", "reversed"] | None = None,
    item_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> WriteOffList:
    """Write-offs by id, of one status or item where asked."""
    rows, after = await page(
        request,
        caller,
        LISTED,
        {"status": status, "item_id": item_id},
        limit=limit,
        cursor=cursor,
    )
    return WriteOffList(items=[WriteOffView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


async def _told(conn: AsyncConnection, caller: Caller, action: str, given: WriteOff, *, reason: str | None, status: int = 200) -> Response:
    detail = {"item_id": str(given.item_id), "amount_minor": given.amount_minor, "status": given.status, "reason": reason}
    await audit.record(conn, caller.tenant_id, [(caller.subject, action, str(given.write_off_id), detail)])
    return JSONResponse(WriteOffView.model_validate(given, from_attributes=True).model_dump(mode="json"), status)
