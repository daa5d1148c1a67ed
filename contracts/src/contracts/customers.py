"""Events of invoicing about customers."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from contracts.envelope import StateEvent
from contracts.fields import Code, CompanyId, Count, Country, Currency, Line, Text


class CustomerChanged(StateEvent, frozen=True, kw_only=True, gc=False):
    """A customer as the ERP and the credit department know it: ids and terms, no names, no contacts.

    `status` is `unconfirmed` while an invoice named a buyer nobody has entered. `payment_terms_days` counts from the
    issue date. `segment` picks policies.
    """

    customer_id: UUID
    source_system: Code
    customer_number: Text
    status: Literal["confirmed", "unconfirmed"]
    company_ids: list[CompanyId] = []
    country: Country | None = None
    language: Line | None = None
    currency: Currency | None = None
    payment_terms_days: Count | None = None
    segment: Code | None = None
    parent_customer_id: UUID | None = None


class Address(Struct, frozen=True, kw_only=True, gc=False):
    """A postal address, lines as they are printed."""

    lines: list[Line] = []
    postcode: Line | None = None
    city: Line | None = None
    country: Country | None = None


class Contact(Struct, frozen=True, kw_only=True, gc=False):
    """A person or mailbox at the customer. `role` is `billing`, `dunning`, ...; `consent` allows electronic mail."""

    role: Code
    name: Line | None = None
    email: Line | None = None
    phone: Line | None = None
    language: Line | None = None
    consent: bool = True


class CustomerIdentityChanged(StateEvent, frozen=True, kw_only=True, gc=False):
    """Names, addresses and contacts of a customer: the only event that carries them (compacted, never in the public log).

    It shares the customer's version; consumers keep it in a row of its own.
    """

    customer_id: UUID
    name: Text
    address: Address | None = None
    contacts: list[Contact] = []
    known_ibans: list[Line] = []
