"""What is expected: remittance lists (JSON, CSV, XLSX, EDIFACT REMADV) and money that is announced."""

import hashlib
import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Body, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, field_validator
from shared import audit
from shared.days import business_day
from shared.ids import named_id, new_id
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import AmountMinor, Command, CurrencyCode, Date, Id, Lax, PositiveMinor, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching import remittance_files
from matching.api.accounts import database_of
from matching.api.commands import ReasonCode, command
from matching.api.pages import page
from matching.domain.exchange import rate_of
from matching.domain.references import normalised
from matching.domain.remittances import DEDUCTIONS, RemittanceLine, problem
from matching.handlers import announcements, expected
from matching.handlers.allocations import known_customer
from matching.storage.expected import LISTED, Expected, lines_json, load

ROUTER = Router(prefix="/v1", tags=["expected payments"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("payments:read")]
Form = Literal["debtor", "parent", "psp", "card", "cheque_deposit", "factor", "agency", "insurer"]
Deduction = Literal[
    "discount", "bank_charges", "commission", "rounding", "withholding", "retention", "dispute", "return_of_goods", "bonus", "other"
]
Status = Literal["waiting", "partly", "received", "expired", "cancelled", "failed"]
_MEDIA = {"text/csv", remittance_files.XLSX_TYPE, "application/edifact", "application/edi-consent"}
HOLD_DAYS, HOLD_DAYS_MAX = 5, 120
"""Days after the expected one that an announcement holds reminders, where it does not say (banks settle within these), and at most."""
AHEAD_DAYS_MAX = 366
"""Days ahead that money may be announced for: it holds reminders all that time."""


class RemittanceLineCommand(Command):
    """What is paid of a document: gross less deduction is net; all below zero for a credit note that is deducted.

    A deduction is granted by the item's terms (`discount`) and, beyond them, up to the entity's limit for hand work; else it stays open.
    `item_amount_minor` of `item_currency` is what that settles of an item in another currency than the list's.
    """

    document_number: Text | None = None
    item_id: Annotated[Id | None, Lax] = None
    gross_minor: AmountMinor
    deduction_minor: AmountMinor = 0
    deduction_reason: Deduction | None = None
    net_minor: AmountMinor
    item_amount_minor: AmountMinor | None = None
    item_currency: CurrencyCode | None = None


class RemittanceCommand(Command):
    """A remittance list: who pays what by one payment of `total_minor` that carries `reference`.

    It is in the payment's currency; `rate` is how many units of `rate_currency`, which the items are in, one of its own is worth. Or it
    is in the items' currency, and the bank says that its total was sent, whatever it credited.
    """

    entity_id: Id
    form: Form = "debtor"
    payer_customer_id: Annotated[Id | None, Lax] = None
    reference: Text | None = None
    document_number: Text | None = None
    currency: CurrencyCode
    total_minor: PositiveMinor
    rate: Annotated[str | None, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,10})?$")] = None
    rate_currency: CurrencyCode | None = None
    lines: Annotated[list[RemittanceLineCommand], Field(min_length=1, max_length=remittance_files.MOST)]


class AnnouncedLine(Command):
    """What of the money is for an item."""

    item_id: Id
    amount_minor: PositiveMinor


class AnnouncementCommand(Command):
    """Money that is on its way: its items are not reminded of until it comes, or `holds_until` has passed."""

    entity_id: Id
    customer_id: Id
    kind: Literal["direct_debit", "cheque", "card", "transfer"]
    amount_minor: PositiveMinor
    currency: CurrencyCode
    expected_on: Date
    holds_until: Annotated[Date | None, Lax] = None
    reference: Text | None = None
    lines: Annotated[list[AnnouncedLine], Field(max_length=1000)] = Field(default=[])


class EndCommand(Command):
    """Why it will not come: taken back by us, or refused at the bank."""

    status: Literal["cancelled", "failed"]
    reason: ReasonCode


class RemittanceLineView(BaseModel):
    """A line as it was given."""

    document_number: str | None
    item_id: UUID | None
    gross_minor: int
    deduction_minor: int
    deduction_reason: str | None
    net_minor: int
    item_amount_minor: int | None
    item_currency: str | None


class ExpectedView(BaseModel):
    """An expected payment as it stands. `missing`: numbers and ids of items, as they are compared, that are not there yet."""

    expected_id: UUID
    version: int
    entity_id: UUID
    kind: str
    form: str | None
    payer_customer_id: UUID | None
    currency: str
    amount_minor: int
    reference: str | None
    document_number: str | None
    expected_on: date | None
    holds_until: date | None
    status: Status
    payment_id: UUID | None
    missing: list[str]
    created_at: datetime
    rate: str | None
    rate_currency: str | None
    payment_plan_id: UUID | None

    @field_validator("rate", mode="before")
    @classmethod
    def _plain(cls, rate: Decimal | str | None) -> str | None:
        return f"{rate.normalize():f}" if isinstance(rate, Decimal) else rate


class ExpectedDetail(ExpectedView):
    """An expected payment with its lines."""

    lines: list[RemittanceLineView]


class ExpectedList(BaseModel):
    """A page of expected payments."""

    items: list[ExpectedView]
    next_cursor: str | None


def _checked(lines: list[RemittanceLine], total: int) -> None:
    """Raises a 422 Problem that names the line that does not add up."""
    wrong = problem(lines, total)
    if wrong:
        at, why = wrong
        pointer = "/total_minor" if at is None else f"/lines/{at}"
        raise Problem(422, "remittance-differs", "The list does not add up", why, errors=[FieldError(pointer, "remittance-differs", why)])


def _reference(text: str | None) -> str | None:
    """The reference as it is compared. Raises a 422 Problem for one without letters and digits."""
    if text is None:
        return None
    if not (value := normalised(text)):
        raise Problem(422, "reference-empty", "The reference has neither letters nor digits")
    return value


def _rate(body: RemittanceCommand) -> Decimal | None:
    """The list's rate. Raises a 422 Problem for one of zero, without its currency, or of the list's own."""
    if (body.rate is None) != (body.rate_currency is None) or body.rate_currency == body.currency:
        error = FieldError("/rate_currency", "rate-currency", "a rate has the currency of the items, another than the list's")
        raise Problem(422, "rate-currency", "A rate and the items' currency come together", errors=[error])
    try:
        return None if body.rate is None else rate_of(body.rate)
    except ValueError as wrong:
        raise Problem(422, "rate-invalid", "A rate is above zero", errors=[FieldError("/rate", "rate-invalid", str(wrong))]) from None


def _same(held: Expected) -> UUID | None:
    """The id of a list that says its reference: who sends it again, in whatever form and under whatever number, says nothing new."""
    if held.reference is None:
        return None
    said = (held.reference, held.form, held.payer_customer_id, held.currency, held.amount_minor, held.rate, held.rate_currency)
    told = json.dumps([str(one) for one in said]) + lines_json(held.lines)
    return named_id("remittance", held.tenant_id, held.entity_id, hashlib.sha256(told.encode()).hexdigest())


@ROUTER.post("/remittances", status_code=201, response_model=ExpectedDetail, openapi_extra=KEYED)
async def post_remittance(request: Request, caller: Writer, body: RemittanceCommand) -> Response:
    """Takes a remittance list in: the payment that it is about is settled as it says, whichever comes first.

    The same list again, under the same reference, changes nothing.
    """
    lines = [
        RemittanceLine(
            x.document_number,
            x.item_id,
            x.gross_minor,
            x.deduction_minor,
            x.deduction_reason,
            x.net_minor,
            x.item_amount_minor,
            x.item_currency,
        )
        for x in body.lines
    ]
    _checked(lines, body.total_minor)
    held = _remittance(request, caller, new_id(), body.entity_id, body.form, body.payer_customer_id, body.currency, body.total_minor, lines)
    held.reference, held.document_number = _reference(body.reference), body.document_number
    held.rate, held.rate_currency = _rate(body), body.rate_currency
    held.expected_id = _same(held) or held.expected_id
    return await _receive(request, caller, held, body.reference)


@ROUTER.post("/remittances/file", status_code=201, response_model=ExpectedDetail, max_body_size=remittance_files.MAX_BYTES)
async def post_file(
    request: Request,
    caller: Writer,
    body: Annotated[bytes, Body(media_type="text/csv")],
    entity_id: Id,
    currency: CurrencyCode | None = None,
    form: Form = "debtor",
    reference: Annotated[str | None, Query(min_length=1, max_length=255)] = None,
    payer_customer_id: Annotated[UUID | None, Lax] = None,
) -> Response:
    """Takes a list in as text/csv, XLSX or application/edifact (REMADV). The same file again changes nothing."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media not in _MEDIA:
        raise Problem(415, "media-type-unsupported", "A remittance list is text/csv, XLSX or application/edifact")
    try:
        found = await run_in_threadpool(remittance_files.read, body, media, currency)
    except remittance_files.RemittanceError as error:
        raise Problem(422, "remittance-unreadable", "The file is no readable remittance list", str(error)[:300]) from None
    total = sum(line.net_minor for line in found.lines) if found.total_minor is None else found.total_minor
    unknown = next((at for at, line in enumerate(found.lines) if line.deduction_reason not in {None, *DEDUCTIONS}), None)
    if unknown is not None:
        errors = [FieldError(f"/lines/{unknown}", "deduction-reason", "is none of the reasons for a deduction")]
        raise Problem(422, "deduction-reason", "A deduction's reason is not known", errors=errors)
    _checked(found.lines, total)
    if total <= 0:
        raise Problem(422, "remittance-differs", "The list does not add up", "nothing is paid by it")
    digest = hashlib.sha256(body).hexdigest()
    expected_id = named_id("remittance", caller.tenant_id, entity_id, digest)
    held = _remittance(request, caller, expected_id, entity_id, form, payer_customer_id, found.currency, total, found.lines)
    held.reference, held.document_number = _reference(reference or found.reference), (found.document_number or "")[:255] or None
    held.rate, held.rate_currency = found.rate, found.rate_currency
    held.expected_id = _same(held) or expected_id
    async with database_of(request).transaction(caller.tenant_id) as conn:
        return await _take(conn, request, caller, held, reference or found.reference)


def _remittance(  # who, whose, what, how much
    request: Request,
    caller: Caller,
    expected_id: UUID,
    entity_id: UUID,
    form: str,
    payer: UUID | None,
    currency: str,
    total: int,
    lines: list[RemittanceLine],
) -> Expected:
    now = request.app.state.runtime.clock.now()
    return Expected(
        caller.tenant_id,
        expected_id,
        1,
        entity_id,
        "remittance",
        form,
        payer,
        currency,
        total,
        None,
        None,
        None,
        None,
        lines,
        [],
        "waiting",
        None,
        caller.subject,
        now,
    )


@ROUTER.post("/payment-announcements", status_code=201, response_model=ExpectedDetail, openapi_extra=KEYED)
async def post_announcement(request: Request, caller: Writer, body: AnnouncementCommand) -> Response:
    """Announces money: a direct debit handed in, a cheque in hand, a card payment pending, a transfer promised by its bank.

    The same again under the same reference (payer, kind, amount) changes nothing while it waits, nor once it has come for that day.
    """
    lines = [RemittanceLine(None, line.item_id, line.amount_minor, 0, None, line.amount_minor) for line in body.lines]
    _checked(lines, body.amount_minor)
    if body.expected_on > business_day(request.app.state.runtime.clock.now()) + timedelta(days=AHEAD_DAYS_MAX):
        error = FieldError("/expected_on", "expected-ahead", f"is more than {AHEAD_DAYS_MAX} days ahead")
        raise Problem(422, "expected-ahead", f"Money is announced for at most {AHEAD_DAYS_MAX} days ahead", errors=[error])
    until = body.holds_until or body.expected_on + timedelta(days=HOLD_DAYS)
    if until < body.expected_on:
        error = FieldError("/holds_until", "holds-too-short", "is before the day on which the money is expected")
        raise Problem(422, "holds-too-short", "It holds at least until the day on which the money is expected", errors=[error])
    if (until - body.expected_on).days > HOLD_DAYS_MAX:
        error = FieldError("/holds_until", "holds-too-long", f"is more than {HOLD_DAYS_MAX} days after that day")
        title = f"It holds at most {HOLD_DAYS_MAX} days beyond the day on which the money is expected"
        raise Problem(422, "holds-too-long", title, errors=[error])
    held = _remittance(request, caller, new_id(), body.entity_id, "debtor", body.customer_id, body.currency, body.amount_minor, lines)
    held.kind, held.form, held.reference = body.kind, None, _reference(body.reference)
    held.expected_on, held.holds_until = body.expected_on, until
    return await _receive(request, caller, held, body.reference)


async def _receive(request: Request, caller: Caller, held: Expected, said: str | None) -> Response:
    return await command(request, caller, lambda conn: _take(conn, request, caller, held, said))


async def _take(conn: AsyncConnection, request: Request, caller: Caller, held: Expected, said: str | None) -> Response:
    await expected.possible(conn, held)
    await known_customer(
        conn, caller.tenant_id, held.payer_customer_id, "/payer_customer_id" if held.kind == "remittance" else "/customer_id"
    )
    if held.kind != "remittance" and held.reference is not None:
        held.expected_id = await announcements.announcement_id(conn, held)
    taken = await expected.receive(conn, held, said, request.app.state.runtime.clock.now())
    detail = {"kind": held.kind, "amount_minor": held.amount_minor, "status": taken.status}
    await audit.record(conn, caller.tenant_id, [(caller.subject, "expected_payment.receive", str(held.expected_id), detail)])
    return JSONResponse(_detail(taken).model_dump(mode="json"), 201)


def _detail(held: Expected) -> ExpectedDetail:
    view = ExpectedView.model_validate(held, from_attributes=True)
    lines = [RemittanceLineView.model_validate(line, from_attributes=True) for line in held.lines]
    return ExpectedDetail(**view.model_dump(), lines=lines)


@ROUTER.post("/expected-payments/{expected_id}/end", response_model=ExpectedDetail, openapi_extra=KEYED)
async def post_end(request: Request, caller: Writer, expected_id: Annotated[Id, Path()], body: EndCommand) -> Response:
    """Says that a list or an announcement will not come true; what it held back is free again."""

    async def produce(conn: AsyncConnection) -> Response:
        held = await announcements.end(conn, caller.tenant_id, expected_id, body.status)
        detail = {"reason": body.reason}
        await audit.record(conn, caller.tenant_id, [(caller.subject, f"expected_payment.{body.status}", str(expected_id), detail)])
        return JSONResponse(_detail(held).model_dump(mode="json"))

    return await command(request, caller, produce)


@ROUTER.get("/expected-payments")
async def list_expected(
    request: Request,
    caller: Reader,
    status: Status | None = None,
    kind: Literal["remittance", "direct_debit", "cheque", "card", "transfer", "promise", "plan_instalment"] | None = None,
    customer_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> ExpectedList:
    """Expected payments by id, of one status, kind or payer where asked."""
    rows, after = await page(
        request,
        caller,
        LISTED,
        {"status": status, "kind": kind, "customer_id": customer_id},
        limit=limit,
        cursor=cursor,
    )
    return ExpectedList(items=[ExpectedView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.get("/expected-payments/{expected_id}")
async def get_expected(request: Request, caller: Reader, expected_id: Annotated[Id, Path()]) -> ExpectedDetail:
    """An expected payment with its lines."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        found = await load(conn, [(caller.tenant_id, expected_id)], lock=False)
    if not found:
        raise Problem(404, "expected-payment-unknown", "There is no such expected payment")
    return _detail(found[caller.tenant_id, expected_id])
