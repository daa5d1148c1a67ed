"""Events of matching about payments. One aggregate, one version; names, texts and IBANs of payers stay in matching."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from contracts.envelope import FactEvent, StateEvent
from contracts.fields import Code, Count, Currency, Date, Line, PositiveMinor, Sha256, Text

Rate = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,10})?(?!\n)$")]
"""An exchange rate: a decimal above zero with up to ten decimals."""
ReturnClass = Literal["hard", "soft", "refund", "duplicate", "cancellation", "regulatory"]
"""What a return reason means for the debtor: `hard` (the account will not pay: closed, blocked, no mandate), `soft` (it may
pay later: insufficient funds, unspecified), `refund` (the debtor asked it back), the rest are the banks' or the law's."""


class Exchange(Struct, frozen=True, kw_only=True, gc=False):
    """What an amount of a payment settles of an item in another currency: in minor units of that one.

    `rate`: units of the item's currency for one of the payment's, an exact decimal; `source` says whose (`bank`, `ecb`, ...).
    """

    item_amount_minor: PositiveMinor
    rate: Rate
    source: Code


class Allocation(Struct, frozen=True, kw_only=True, gc=False):
    """What of a payment went to an item. `debtor_id` is the customer who owed it, `rule` what found it.

    `amount_minor` is in the payment's currency; `exchange` says what it settles of an item in another one. What else left the
    item (discount, charges) is in the item's own event.
    """

    item_id: UUID
    debtor_id: UUID
    invoice_number: Text
    amount_minor: PositiveMinor
    rule: Code
    exchange: Exchange | None = None


class PaymentState(StateEvent, frozen=True, kw_only=True, gc=False):
    """A payment: amount = allocated + unapplied + returned + refunded, always.

    `confirmation` is `notified` until the booked entry confirms it. `payer_customer_id` is known once a rule or a person
    says who paid. `unapplied_reason` and `candidate_customer_ids` tell why some of it has no item. `refund_pending_minor` is
    the part of `refunded_minor` that the bank has not booked yet. `return_class` says what `return_reason` (an ISO 20022
    code in lower case) means. A payment that settles more items than an event has room for (a payout, a factor's list) names some
    of them here, and `further_allocations` says how many more there are: `GET /v1/payments/{payment_id}` of matching names all, and
    what is owed of each item is in the item's own events.
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
    refund_pending_minor: PositiveMinor = 0
    return_class: ReturnClass | None = None
    further_allocations: Count = 0


class PaymentReceived(PaymentState, frozen=True, kw_only=True, gc=False):
    """Money has come in and is not looked at yet."""


class PaymentMatched(PaymentState, frozen=True, kw_only=True, gc=False):
    """Some or all of it was allocated."""


class PaymentUnapplied(PaymentState, frozen=True, kw_only=True, gc=False):
    """Some of it has no item: how much and why."""


class PaymentUnmatched(PaymentState, frozen=True, kw_only=True, gc=False):
    """An allocation was undone."""


class PaymentReturned(PaymentState, frozen=True, kw_only=True, gc=False):
    """The bank took it back, whole or in part (`returned_minor`); every allocation is undone.

    Or it is none to count on: it has not come (`withdrawn`), its details took its place (`replaced_by_details`), or nobody owed it
    (`no_receivable`).
    """


class PaymentRefunded(PaymentState, frozen=True, kw_only=True, gc=False):
    """Some of it goes back to the payer by our own transfer: ordered while `refund_pending_minor` is above zero, else booked."""


class AnnouncedItem(Struct, frozen=True, kw_only=True, gc=False):
    """What of an announced payment is for an item."""

    item_id: UUID
    amount_minor: PositiveMinor


class PaymentAnnouncementChanged(StateEvent, frozen=True, kw_only=True, gc=False):
    """Money that is on its way: a direct debit handed in, a cheque in hand, a card payment pending, a transfer announced.

    While `status` is `announced`, its items are being collected: nobody is reminded of these amounts until `holds_until`
    has passed (it is `expired` then). `items` empty: anything that the customer owes. `received` names the payment, and so does
    `failed` where it had come and the bank took it back.
    """

    announcement_id: UUID
    customer_id: UUID
    kind: Literal["direct_debit", "cheque", "card", "transfer"]
    amount_minor: PositiveMinor
    currency: Currency
    expected_on: Date
    holds_until: Date
    items: list[AnnouncedItem]
    status: Literal["announced", "received", "expired", "cancelled", "failed"]
    payment_id: UUID | None = None


class StatementRejected(FactEvent, frozen=True, kw_only=True, gc=False):
    """A statement does not add up (or is of an account not ours) and nothing of it was booked."""

    statement_id: UUID
    bank_account_id: UUID | None
    file_sha256: Sha256
    statement_number: Line
    reason: Code
    detail: Text
