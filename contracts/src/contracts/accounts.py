"""Events of matching about bank accounts, virtual IBANs and how far the bank's word reaches."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from contracts.envelope import StateEvent
from contracts.fields import Currency, Date, Text

Iban = Annotated[str, Meta(pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}(?!\n)$")]
"""An IBAN of our own or a virtual one (ISO 13616), without spaces. Payers' IBANs never travel here."""


class CollectionAccountChanged(StateEvent, frozen=True, kw_only=True, gc=False):
    """A bank account on which a legal entity collects. Entries before `start_date` are not ours to match.

    One without an IBAN has the bank's own `number` and says whose: `bank_id` is a scheme of ISO 20022 and what it names, `BIC:...` or
    a clearing system's code and the bank's number in it (`USABA:121140399`).
    """

    bank_account_id: UUID
    iban: Iban | None
    currency: Currency
    holder_name: Text
    start_date: Date
    status: Literal["active", "closed"]
    number: Text | None = None
    bank_id: Text | None = None


class VirtualIbanState(StateEvent, frozen=True, kw_only=True, gc=False):
    """A virtual IBAN: whose it is. `holder_name` is what Verification of Payee compares."""

    virtual_iban_id: UUID
    virtual_iban: Iban
    bank_account_id: UUID
    assigned_to: Literal["customer", "invoice"]
    customer_id: UUID | None
    invoice_id: UUID | None
    holder_name: Text
    status: Literal["assigned", "released"]


class VirtualIbanAssigned(VirtualIbanState, frozen=True, kw_only=True, gc=False):
    """The virtual IBAN now names a customer or one invoice."""


class VirtualIbanReleased(VirtualIbanState, frozen=True, kw_only=True, gc=False):
    """It names nobody any more; it rests before it is given to somebody else."""


class DateRange(Struct, frozen=True, kw_only=True, gc=False):
    """Days from `first` to `last`, both included."""

    first: Date
    last: Date


class BankReconciliationAdvanced(StateEvent, frozen=True, kw_only=True, gc=False):
    """How far the bank's word about an account reaches: it tells "no payments" from "no file".

    `booked_through`: the last day whose statement is in. `matched_through`: the last day up to which every payment has
    been looked at, without a gap. `gaps`: days before `booked_through` for which no statement came.
    """

    bank_account_id: UUID
    booked_through: Date
    matched_through: Date
    gaps: list[DateRange]
