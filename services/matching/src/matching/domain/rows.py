"""What the sub-ledger holds: accounts, items, payments, allocations and ledger entries, as the rows of one transaction.

Amounts are minor units of the row's own currency.
"""

from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from matching.domain.exchange import Exchange

Key = tuple[UUID, UUID]
"""A tenant and an id of its own."""


@dataclass(slots=True)
class Account:
    """A customer's account with an entity in a currency, and what this transaction adds to it.

    What the account holds is nobody's to decide on, so many transactions may add to it side by side.
    """

    tenant_id: UUID
    account_id: UUID
    entity_id: UUID
    customer_id: UUID
    currency: str
    open_minor: int = 0
    unapplied_minor: int = 0
    unused_credits_minor: int = 0


@dataclass(slots=True)
class Item:
    """An open item. Instalments are in the order of their numbers, which count from 1."""

    tenant_id: UUID
    item_id: UUID
    version: int
    invoice_version: int
    entity_id: UUID
    account_id: UUID
    customer_id: UUID
    kind: str
    currency: str
    source_system: str
    invoice_number: str
    issue_date: date
    due_date: date
    instalment_dues: list[date]
    instalment_amounts: list[int]
    credited_item_id: UUID | None
    original_minor: int
    open_minor: int
    cash_minor: int
    discount_minor: int
    credit_minor: int
    charges_minor: int
    withheld_minor: int
    set_off_minor: int
    written_off_minor: int
    contested_minor: int
    status: str
    close_cause: str | None
    value_date: date | None

    @property
    def side(self) -> str:
        """The ledger account that holds it."""
        return "credit_notes" if self.kind == "credit_note" else "receivables"


DIFFERENCES = {
    "discount": ("discount_minor", "discount"),
    "bank_charges": ("charges_minor", "charges"),
    "rounding": ("charges_minor", "charges"),
    "tolerance": ("charges_minor", "charges"),
    "withheld": ("withheld_minor", "withheld"),
}
"""Why more leaves an item than was received: reason code to the item's column and the ledger account that bears it."""


@dataclass(slots=True)
class Allocation:
    """What of a payment went to an item: `amount_minor` was received; `diff_minor` left the item with it, for `diff_reason`.

    `amount_minor` is in the payment's currency. Where the item is in another one, `exchange` says what that settled of it.
    """

    item_id: UUID
    debtor_id: UUID
    invoice_number: str
    amount_minor: int
    rule: str
    diff_minor: int = 0
    diff_reason: str | None = None
    exchange: Exchange | None = None

    @property
    def settled_minor(self) -> int:
        """What the item counts as received, in its own currency."""
        return self.amount_minor if self.exchange is None else self.exchange.item_amount_minor


WITHDRAWN = "withdrawn"
NO_RECEIVABLE = "no_receivable"
"""Why a payment that was notified counts for nothing: it has not come, or it is counted as part of another one."""


@dataclass(slots=True)
class Payment:
    """A payment as the sub-ledger sees it. `account_id` is where its unapplied part counts, once a payer is known.

    `returned_minor` is all that is not ours to count on any more; `withdrawn_minor` is the part of it that has not come (yet): it
    was notified, and no statement has it.
    """

    tenant_id: UUID
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
    status: str
    virtual_iban_id: UUID | None
    payer_customer_id: UUID | None
    account_id: UUID | None
    rule: str | None
    unapplied_reason: str | None
    candidate_customer_ids: list[UUID] | None
    return_reason: str | None
    looks: int
    refund_pending_minor: int = 0
    withdrawn_minor: int = 0
    allocations: dict[UUID, Allocation] = field(default_factory=dict)


def received(
    tenant_id: UUID,
    payment_id: UUID,
    *,
    bank_account_id: UUID,
    entity_id: UUID,
    currency: str,
    amount_minor: int,
    booking_date: date,
    value_date: date,
    confirmation: str,
    source: str,
    virtual_iban_id: UUID | None = None,
) -> Payment:
    """A payment that has come in and that nobody has looked at: all of it is unapplied, and whose it is is not known."""
    return Payment(
        tenant_id, payment_id, 1, bank_account_id, entity_id, currency, amount_minor,
        allocated_minor=0, unapplied_minor=amount_minor, returned_minor=0, refunded_minor=0,
        booking_date=booking_date, value_date=value_date, confirmation=confirmation, source=source, status="received",
        virtual_iban_id=virtual_iban_id, payer_customer_id=None, account_id=None, rule=None, unapplied_reason=None,
        candidate_customer_ids=None, return_reason=None, looks=0,
    )  # fmt: skip


@dataclass(slots=True)
class Entry:
    """A double entry: both sides in one record, so it is balanced by construction. `amount_minor` is above zero."""

    tenant_id: UUID
    entity_id: UUID
    currency: str
    debit: str
    credit: str
    amount_minor: int
    payment_id: UUID | None
    item_id: UUID | None
