"""Payments: signed notifications in, what became of them out, and unmatching."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, model_validator
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, CurrencyCode, Date, Id, Lax, PositiveMinor, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from matching.api.accounts import Iban, database_of
from matching.api.commands import command
from matching.api.pages import page
from matching.domain.references import normalised
from matching.domain.statements import Amount, Reference, Transaction
from matching.handlers.ingest import book_notifications
from matching.handlers.payments import unmatch
from matching.settings import MatchingSettings
from matching.storage import bank
from matching.storage.rows import fetch

ROUTER = Router(prefix="/v1", tags=["payments"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("payments:read")]
Status = Literal["received", "matched", "partly_matched", "unapplied", "returned", "refunded"]


class Notification(Command):
    """A bank's word that one instant payment came in. `account_iban` is our account or the virtual IBAN credited.

    `account_number` stands for it where the account has no IBAN. `instructed_*`: what the payer told his bank to pay, where that was
    another currency: with the amount credited it says the bank's rate.
    """

    account_iban: Iban | None = None
    account_number: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9 ./-]{1,42}$")] = None
    amount_minor: PositiveMinor
    currency: CurrencyCode
    booking_date: Date
    value_date: Date
    bank_reference: Text
    end_to_end_id: Text | None = None
    structured_reference: Text | None = None
    remittance: Annotated[list[Annotated[str, Field(max_length=280)]], Field(max_length=100)] = Field(default=[])
    debtor_name: Text | None = None
    debtor_iban: Annotated[str | None, Field(max_length=42)] = None
    virtual_iban: Iban | None = None
    instructed_minor: PositiveMinor | None = None
    instructed_currency: CurrencyCode | None = None

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        if (self.account_iban is None) == (self.account_number is None):
            raise ValueError("the account is named once: by account_iban or by account_number")
        if (self.instructed_minor is None) != (self.instructed_currency is None):
            raise ValueError("what the payer told his bank to pay has an amount and a currency")
        return self

    @property
    def account(self) -> str:
        """The account as we call it."""
        return self.account_iban or "".join((self.account_number or "").split()).upper()


class Notifications(Command):
    """Several payments that the bank tells of at once."""

    payments: Annotated[list[Notification], Field(min_length=1, max_length=1000)]


class NotifiedBatchView(BaseModel):
    """The payments that the notification is about, in its order."""

    payment_ids: list[UUID]


class NotifiedView(BaseModel):
    """The payment that the notification is about."""

    payment_id: UUID


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


def _verified(request: Request, body: bytes) -> None:
    """Raises a 401 Problem unless the body is signed by the Standard Webhooks rules with our secret."""
    settings: MatchingSettings = request.app.state.runtime.settings
    secret = settings.webhook_secret.get_secret_value()
    if not secret:
        raise Problem(403, "notifications-off", "No secret is set for payment notifications")
    try:
        Webhook(secret).verify(body, dict(request.headers), json_parse=False)
    except (WebhookVerificationError, ValueError):  # the second: a malformed header breaks the library's own parsing
        raise Problem(401, "signature-refused", "The notification is not signed as it should be") from None


@ROUTER.post("/payments", status_code=202)
async def notify(request: Request, caller: Writer, command: Notification) -> NotifiedView:
    """Takes in one payment that the bank tells of. The same again is the same payment, and so is its booked entry later."""
    _verified(request, await request.body())
    return NotifiedView(payment_id=(await _take_in(request, caller, [command]))[0])


@ROUTER.post("/payments/batch", status_code=202)
async def notify_batch(request: Request, caller: Writer, command: Notifications) -> NotifiedBatchView:
    """Takes in payments that the bank tells of at once: all of them, or none and why."""
    _verified(request, await request.body())
    return NotifiedBatchView(payment_ids=await _take_in(request, caller, command.payments))


async def _take_in(request: Request, caller: Caller, told: Sequence[Notification]) -> list[UUID]:
    """Books notified payments in one transaction, account by account in the order of their ids; returns ids as told."""
    located: dict[tuple[str, str | None], tuple[bank.BankAccount, UUID | None]] = {}
    by_account: dict[UUID, list[int]] = {}
    ids: dict[int, UUID] = {}
    now = request.app.state.runtime.clock.now()
    async with database_of(request).transaction(caller.tenant_id) as conn:
        for at, one in enumerate(told):
            place = (one.account, one.virtual_iban)
            if place not in located:
                located[place] = await _located(conn, caller, one)
            held = located[place][0]
            _fits(one, held, at if len(told) > 1 else None)
            by_account.setdefault(held.bank_account_id, []).append(at)
        for account_id in sorted(by_account):
            numbers = by_account[account_id]
            places = [located[told[at].account, told[at].virtual_iban] for at in numbers]
            rows = [(_transaction(told[at]), virtual_id) for at, (_, virtual_id) in zip(numbers, places, strict=True)]
            ids |= zip(numbers, await book_notifications(conn, places[0][0], rows, now), strict=True)
    return [ids[at] for at in range(len(told))]


async def _located(conn: AsyncConnection, caller: Caller, told: Notification) -> tuple[bank.BankAccount, UUID | None]:
    """The account that a notification is about and the virtual IBAN credited. Raises a 422 Problem where it is none of ours."""
    virtual_id = None
    held = await bank.account(conn, caller.tenant_id, told.account)
    for iban in (told.virtual_iban, None if held else told.account_iban):
        if iban and (found := await bank.account_of_virtual(conn, caller.tenant_id, iban)):
            if held is not None and held.bank_account_id != found[0].bank_account_id:
                raise Problem(422, "virtual-iban-elsewhere", "The virtual IBAN belongs to another account")
            held, virtual_id = found
    if held is None:
        raise Problem(422, "account-unknown", "The payment is on an account that is none of ours", f"account {told.account}")
    return held, virtual_id


def _fits(told: Notification, held: bank.BankAccount, at: int | None) -> None:
    """Raises a 422 Problem where a payment cannot be one of the account; `at` is its number in a batch."""
    where = "" if at is None else f"/payments/{at}"
    if held.currency != told.currency:
        errors = [FieldError(f"{where}/currency", "currency-differs", "is not the account's", "body")]
        detail = f"account {held.number} is in {held.currency}"
        raise Problem(422, "currency-differs", "The account is kept in another currency", detail, errors=errors)
    if told.booking_date < held.start_date:
        errors = [FieldError(f"{where}/booking_date", "before-start", "is before the account's start", "body")]
        raise Problem(422, "before-start", "The payment is from before the account's start date", errors=errors)


def _transaction(told: Notification) -> Transaction:
    return Transaction(
        kind="payment",
        credit=True,
        amount_minor=told.amount_minor,
        currency=told.currency,
        day=told.booking_date,
        booking_date=told.booking_date,
        value_date=told.value_date,
        bank_reference=told.bank_reference,
        entry_reference=told.bank_reference,
        end_to_end_id=told.end_to_end_id,
        references=[Reference("other", reference)] if (reference := normalised(told.structured_reference or "")) else [],
        remittance=[line.replace("\0", " ") for line in told.remittance],
        counterparty_name=told.debtor_name,
        counterparty_iban="".join((told.debtor_iban or "").split()).upper() or None,
        virtual_iban=told.virtual_iban,
        instructed=Amount(told.instructed_minor, told.instructed_currency)
        if told.instructed_minor is not None and told.instructed_currency is not None
        else None,
    )


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
        "SELECT payment_id AS at, * FROM payment WHERE tenant_id = :tenant AND (CAST(:status AS text) IS NULL OR status = :status) "
        "AND (CAST(:customer_id AS uuid) IS NULL OR payer_customer_id = :customer_id)",
        {"status": status, "customer_id": customer_id},
        limit=limit,
        cursor=cursor,
    )
    return PaymentList(items=[PaymentView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.get("/payments/{payment_id}")
async def get_payment(request: Request, caller: Reader, payment_id: Annotated[Id, Path()]) -> PaymentDetail:
    """A payment with its allocations, and every decision with its rule, evidence and losing candidates."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        rows = await fetch(
            conn, "SELECT * FROM payment WHERE tenant_id = :tenant AND payment_id = :id", tenant=caller.tenant_id, id=payment_id
        )
        if not rows:
            raise Problem(404, "payment-unknown", "There is no such payment")
        allocations = await fetch(
            conn,
            "SELECT a.item_id, i.invoice_number, a.amount_minor, a.rule, i.currency AS item_currency, x.item_amount_minor, "
            "trim_scale(x.rate) AS rate, x.rate_source FROM allocation a JOIN open_item i USING (tenant_id, item_id) "
            "LEFT JOIN allocation_exchange x USING (tenant_id, payment_id, item_id) "
            "WHERE a.tenant_id = :tenant AND a.payment_id = :id ORDER BY i.due_date, a.item_id",
            tenant=caller.tenant_id,
            id=payment_id,
        )
        decisions = await fetch(
            conn,
            "SELECT payment_version, rule, decided_at, CAST(evidence AS text) AS evidence FROM decision "
            "WHERE tenant_id = :tenant AND payment_id = :id ORDER BY payment_version",
            tenant=caller.tenant_id,
            id=payment_id,
        )
    return PaymentDetail(
        **PaymentView.model_validate(rows[0], from_attributes=True).model_dump(),
        allocations=[AllocationView.model_validate(row, from_attributes=True) for row in allocations],
        decisions=[DecisionView(payment_version=row[0], rule=row[1], decided_at=row[2], evidence=json.loads(row[3])) for row in decisions],
    )


@ROUTER.post("/payments/{payment_id}/unmatch", response_model=UnmatchedView, openapi_extra=KEYED)
async def post_unmatch(request: Request, caller: Writer, payment_id: Annotated[Id, Path()], body: UnmatchCommand) -> Response:
    """Undoes allocations: the items owe again, and this pair is not matched automatically again. Idempotency-Key required."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        payment = await unmatch(conn, caller.tenant_id, payment_id, body.item_id, body.reason, now)
        if payment is None:
            raise Problem(404, "allocation-unknown", "There is no such payment, or nothing of it is allocated there")
        detail = {"item_id": str(body.item_id) if body.item_id else None, "version": payment.version}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "payment.unmatch", str(payment_id), detail)])
        return JSONResponse(UnmatchedView.model_validate(payment, from_attributes=True).model_dump(mode="json"))

    return await command(request, caller, produce)
