"""Events of matching about payments. One aggregate, one version; names, texts and IBANs of payers stay in matching."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from contracts.envelope import FactEvent, StateEvent
from contracts.fields import Code, Currency, Date, Line, PositiveMinor, Sha256, Text


class Allocation(Struct, frozen=True, kw_only=True, gc=False):
    """What of a payment went to an item. `debtor_id` is the customer who owed it, `rule` what found it.

    `amount_minor` is in the payment's currency; what else left the item (discount, charges) is in the item's own event.
    """

    item_id: UUID
    debtor_id: UUID
    invoice_number: Text
    amount_minor: PositiveMinor
    rule: Code


class PaymentState(StateEvent, frozen=True, kw_only=True, gc=False):
    """A payment: amount = allocated + unapplied + returned + refunded, always.

    `confirmation` is `notified` until the booked entry confirms it. `payer_customer_id` is known once a rule or a person
    says who paid. `unapplied_reason` and `candidate_customer_ids` tell why some of it has no item.
    """

    payment_id: UUID
    bank_account_id: UUID
    amount_minor: PositiveMinor
    currency: Currency
    booking_date: Date
    value_date: Date
    confirmation: Literal["notified", "booked"]
    source: Code
    allocations: list[Allocation]
    unapplied_minor: PositiveMinor
    returned_minor: PositiveMinor
    refunded_minor: PositiveMinor
    virtual_iban_id: UUID | None = None
    payer_customer_id: UUID | None = None
    unapplied_reason: Code | None = None
    candidate_customer_ids: list[UUID] = []
    return_reason: Code | None = None


class PaymentReceived(PaymentState, frozen=True, kw_only=True, gc=False):
    """Money has come in and is not looked at yet."""


class PaymentMatched(PaymentState, frozen=True, kw_only=True, gc=False):
    """Some or all of it was allocated."""


class PaymentUnapplied(PaymentState, frozen=True, kw_only=True, gc=False):
    """Some of it has no item: how much and why."""


class PaymentUnmatched(PaymentState, frozen=True, kw_only=True, gc=False):
    """An allocation was undone."""


class PaymentReturned(PaymentState, frozen=True, kw_only=True, gc=False):
    """The bank took it back; every allocation is undone."""


class StatementRejected(FactEvent, frozen=True, kw_only=True, gc=False):
    """A statement does not add up (or is of an account not ours) and nothing of it was booked."""

    statement_id: UUID
    bank_account_id: UUID | None
    file_sha256: Sha256
    statement_number: Line
    reason: Code
    detail: Text
