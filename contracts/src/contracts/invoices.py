"""Events of invoicing about invoices and credit notes. One aggregate, one version, four topics."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from contracts.envelope import StateEvent
from contracts.fields import BasisPoints, Code, Count, Currency, Date, Document, Line, Minor, PositiveMinor, Text, Timestamp

InvoiceKind = Literal["invoice", "credit_note", "deposit"]
Origin = Literal["issued", "opening", "history"]


class Instalment(Struct, frozen=True, kw_only=True, gc=False):
    """A part of the payable amount with its own due date; `number` counts from 1. Each ages on its own."""

    number: Annotated[int, Meta(ge=1)]
    due_date: Date
    amount_minor: PositiveMinor


class DiscountTerm(Struct, frozen=True, kw_only=True, gc=False):
    """An agreed discount for early payment: `percent_bp` of the payable amount when the value date is `until` or before."""

    until: Date
    percent_bp: BasisPoints


class InvoiceState(StateEvent, frozen=True, kw_only=True, gc=False):
    """An invoice or credit note as it stands. All amounts are positive; `kind` gives the direction.

    total = net + tax; payable = total - prepaid, and payable opens the item. The sum of the instalments is payable.
    `origin`: `issued` in the normal course; `opening` taken over on go-live with `opening_open_minor` still open and the
    reminder level reached; `history` for scoring and reporting only (opens nothing; `paid_on` says when it was paid).
    `source_version` is the ERP's own version of its id: the same id with a higher one is a change, not a duplicate.
    `payment_reference` is what the invoice prints (BT-83), or ours where it prints none; `payment_account` likewise (BT-84).
    `replaces_invoice_id` is the invoice that this one corrects and takes the place of: that one is cancelled.
    """

    invoice_id: UUID
    source_system: Code
    source_id: Text
    source_version: Annotated[int, Meta(ge=1)]
    invoice_number: Text
    kind: InvoiceKind
    origin: Origin
    status: Literal["issued", "cancelled"]
    customer_id: UUID
    customer_number: Text
    issue_date: Date
    currency: Currency
    total_minor: PositiveMinor
    tax_minor: Minor
    prepaid_minor: Minor
    payable_minor: PositiveMinor
    instalments: list[Instalment]
    payment_reference: Line | None = None
    payment_account: Line | None = None
    payee_name: Line | None = None
    means_of_payment: Line | None = None
    references: list[Line] = []
    order_numbers: list[Line] = []
    discounts: list[DiscountTerm] = []
    deposit_invoice_ids: list[UUID] = []
    credited_invoice_id: UUID | None = None
    credit_check_id: UUID | None = None
    opening_open_minor: PositiveMinor | None = None
    reminder_level: Count | None = None
    last_reminder_on: Date | None = None
    paid_on: Date | None = None
    documents: list[Document] = []
    replaces_invoice_id: UUID | None = None


class InvoiceIssued(InvoiceState, frozen=True, kw_only=True, gc=False):
    """An invoice exists; it opens an item unless its origin is `history`."""


class InvoiceChanged(InvoiceState, frozen=True, kw_only=True, gc=False):
    """The source sent a higher version of an invoice: due dates, terms, references, payee."""


class InvoiceCancelled(InvoiceState, frozen=True, kw_only=True, gc=False):
    """The source withdrew an invoice; nothing is owed on it any more."""


class CreditNoteIssued(InvoiceState, frozen=True, kw_only=True, gc=False):
    """A credit note exists: tied to an invoice (`credited_invoice_id`) or free."""


LifecycleStatus = Annotated[int, Meta(ge=200, le=213)]
"""A status of the French e-invoicing reform: 200 deposited, 201 issued, 202 received, 203 made available, 204 taken in charge,
205 approved, 206 partly approved, 207 in dispute, 208 suspended, 209 completed, 210 refused, 211 payment sent, 212 collected,
213 rejected."""
LifecycleCode = Annotated[str, Meta(pattern=r"^[A-Z0-9_]{1,40}(?!\n)$")]
"""A code of the life cycle's lists, as its message has it: a reason (TX_TVA_ERR), an action (NIN), an amount (MEN)."""


class StatusReason(Struct, frozen=True, kw_only=True, gc=False):
    """Why a status was set, and what its sender asks for."""

    code: LifecycleCode
    action: LifecycleCode | None = None


class StatusAmount(Struct, frozen=True, kw_only=True, gc=False):
    """An amount that a status states, in the invoice's currency: MEN collected, MPA paid, RAP left to pay, MNATTC not approved.

    MEN is what came in since the last statement; it is negative where money went back.
    """

    kind: LifecycleCode
    amount_minor: Minor
    tax_rate_bp: BasisPoints | None = None


class StatusEntry(Struct, frozen=True, kw_only=True, gc=False):
    """One status with its date (`at`: the sender's), the message that set it, its reasons and amounts."""

    status: LifecycleStatus
    at: Timestamp
    message_id: Text
    reasons: list[StatusReason] = []
    amounts: list[StatusAmount] = []


class InvoiceStatusChanged(StateEvent, frozen=True, kw_only=True, gc=False):
    """Where an invoice stands in its e-invoice life cycle: an aggregate of its own beside the invoice, with its own version.

    `outside` is the last word of the buyer or a platform, `ours` that of this system (our own dispute, the money that is in).
    Neither changes the other: who reacts to one is not reached by his own echo. `status` and `origin` are the newer of the
    two; null where both are silent (our dispute was resolved, and nobody else has spoken).
    """

    invoice_id: UUID
    customer_id: UUID
    source_system: Code
    invoice_number: Text
    currency: Currency
    status: LifecycleStatus | None
    origin: Literal["outside", "ours"] | None
    outside: StatusEntry | None = None
    ours: StatusEntry | None = None
