"""What is owed, as matching alone says it: open items and account balances."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from contracts.envelope import StateEvent
from contracts.fields import Code, Currency, Date, Minor, PositiveMinor, Text

ItemKind = Literal["invoice", "credit_note", "deposit", "late_charge"]


class ItemInstalment(Struct, frozen=True, kw_only=True, gc=False):
    """A part of an item with its own due date and what is still open of it."""

    number: Annotated[int, Meta(ge=1)]
    due_date: Date
    amount_minor: PositiveMinor
    open_minor: PositiveMinor


class Settled(Struct, frozen=True, kw_only=True, gc=False):
    """How the part of an item that is no longer open was settled. `charges_minor` holds bank charges and tolerance."""

    cash_minor: Minor = 0
    discount_minor: Minor = 0
    credit_minor: Minor = 0
    charges_minor: Minor = 0
    withheld_minor: Minor = 0
    set_off_minor: Minor = 0
    written_off_minor: Minor = 0


class OpenItemState(StateEvent, frozen=True, kw_only=True, gc=False):
    """An open item: original = open + the sum of `settled`, in the item's currency, always.

    Amounts are positive; an item of kind `credit_note` is owed to the customer. `item_id` is the invoice's id.
    `original_minor` is payable (for an opening balance: what was open on take-over). `value_date` is that of the latest
    settlement. `disputed_minor` never exceeds what is open.
    """

    item_id: UUID
    kind: ItemKind
    customer_id: UUID
    source_system: Code
    invoice_number: Text
    currency: Currency
    issue_date: Date
    original_minor: PositiveMinor
    open_minor: PositiveMinor
    disputed_minor: PositiveMinor
    settled: Settled
    instalments: list[ItemInstalment]
    status: Literal["open", "paid", "closed"]
    close_cause: Code | None = None
    value_date: Date | None = None


class OpenItemChanged(OpenItemState, frozen=True, kw_only=True, gc=False):
    """The item as it is now, from its opening on. Services decide on this one."""


class InvoicePaid(OpenItemState, frozen=True, kw_only=True, gc=False):
    """Nothing is open any more, by money (agreed discount and tolerance included)."""


class InvoiceClosed(OpenItemState, frozen=True, kw_only=True, gc=False):
    """Nothing is open any more, by anything but money: `close_cause` says which (credit, cancelled, written_off, ...)."""


class InvoiceReopened(OpenItemState, frozen=True, kw_only=True, gc=False):
    """A paid or closed item owes again: a payment was returned or unmatched. Or it is paid no longer and closed at once by something else
    (its status says so): cancelled, or written off as it was before late money that went back.
    """


class AccountBalanceChanged(StateEvent, frozen=True, kw_only=True, gc=False):
    """What one customer owes one legal entity in one currency. What is overdue follows from the items' dates.

    `open_minor` is the sum of open debit items, `unapplied_minor` what payments of this customer have no item for,
    `unused_credits_minor` the sum of open credit notes. All positive.
    """

    account_id: UUID
    customer_id: UUID
    currency: Currency
    open_minor: PositiveMinor
    unapplied_minor: PositiveMinor
    unused_credits_minor: PositiveMinor


class WriteOffState(StateEvent, frozen=True, kw_only=True, gc=False):
    """What of an item was given up as a loss, and how much of that came to be owed again.

    The item's own state says what is open; this one says why, and is its own aggregate: an item may be written off in parts.
    """

    write_off_id: UUID
    item_id: UUID
    customer_id: UUID
    source_system: Code
    invoice_number: Text
    currency: Currency
    amount_minor: PositiveMinor
    reversed_minor: PositiveMinor
    reason: Code


class ReceivableWrittenOff(WriteOffState, frozen=True, kw_only=True, gc=False):
    """An amount of an item is no longer expected: bad debt. Told again where money that had reversed it went back: it stands as it was."""


class WriteOffReversed(WriteOffState, frozen=True, kw_only=True, gc=False):
    """Some or all of a write-off was taken back: money came after all, or it was a mistake."""
