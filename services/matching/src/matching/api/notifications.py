"""Notifications: payments that a bank tells of at once, signed."""

from collections.abc import Sequence
from typing import Annotated, Self
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, Field, model_validator
from shared.web.auth import Caller, requires
from shared.web.models import Command, CurrencyCode, Date, PositiveMinor, Text
from shared.web.problems import Problem
from shared.web.route import Router
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from matching.api.accounts import Iban
from matching.domain.references import normalised
from matching.domain.statements import Amount, Reference, Transaction
from matching.handlers.notifications import Desk, Told
from matching.settings import MatchingSettings

ROUTER = Router(prefix="/v1", tags=["payments"])
Writer = Annotated[Caller, requires("payments:write")]


class Notification(Command):
    """A bank's word that one instant payment came in. `account_iban` is our account or the virtual IBAN credited.

    `account_number` stands for it where the account has no IBAN. `instructed_*`: what the payer told his bank to pay, where that was
    another currency (with the amount credited it says the bank's rate), or more than was credited (banks took charges on the way).
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
    ultimate_debtor_name: Text | None = None
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
    """Takes in one payment that the bank tells of. The same again is the same payment, and so is its booked entry later.

    One that names what it pays by virtual IBAN or structured reference is matched with it unless the service is busy, others soon after.
    """
    _verified(request, await request.body())
    return NotifiedView(payment_id=(await _take_in(request, caller, [command]))[0])


@ROUTER.post("/payments/batch", status_code=202)
async def notify_batch(request: Request, caller: Writer, command: Notifications) -> NotifiedBatchView:
    """Takes in payments that the bank tells of at once: all of them, or none and why."""
    _verified(request, await request.body())
    return NotifiedBatchView(payment_ids=await _take_in(request, caller, command.payments))


async def _take_in(request: Request, caller: Caller, told: Sequence[Notification]) -> list[UUID]:
    state = request.app.state
    if not hasattr(state, "desk"):
        state.desk = Desk(state.runtime.database, state.runtime.clock)
    desk: Desk = state.desk
    return await desk.take_in(caller.tenant_id, [Told(one.account, one.account_iban is not None, _transaction(one)) for one in told])


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
        ultimate_name=told.ultimate_debtor_name,
        virtual_iban=told.virtual_iban,
        instructed=Amount(told.instructed_minor, told.instructed_currency)
        if told.instructed_minor is not None and told.instructed_currency is not None
        else None,
    )
