"""Events of invoicing about customers."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from contracts.envelope import StateEvent
from contracts.fields import Code, CompanyId, Count, Country, Currency, Date, Line, Text


class CustomerChanged(StateEvent, frozen=True, kw_only=True, gc=False):
    """A customer as the ERP and the credit department know it: ids and terms, no names, no contacts.

    `status` is `unconfirmed` while an invoice named a buyer nobody has entered. `payment_terms_days` counts from the
    issue date. `segment` picks policies, `policy` is one set for this customer alone. `requires_order_number`: an invoice
    without a purchase-order number will be refused by them.
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
    policy: Code | None = None
    requires_order_number: bool = False


class CustomerMergeState(StateEvent, frozen=True, kw_only=True, gc=False):
    """Whether a customer stands for itself or is a duplicate of another, `into_customer_id`, which stands for it then.

    Merges chain: whoever reads follows `into_customer_id` to the customer at the end, and applies to it what is or was said of
    the merged one, events that come late included. The state shares the customer's version and has a row of its own.
    """

    customer_id: UUID
    source_system: Code
    customer_number: Text
    into_customer_id: UUID
    status: Literal["merged", "separate"]


class CustomerMerged(CustomerMergeState, frozen=True, kw_only=True, gc=False):
    """The customer is a duplicate (`status` is `merged`): from now on `into_customer_id` stands for it."""


class CustomerUnmerged(CustomerMergeState, frozen=True, kw_only=True, gc=False):
    """The merge was a mistake (`status` is `separate`): what was the customer's own before is its own again."""


class CustomerErased(StateEvent, frozen=True, kw_only=True, gc=False):
    """The customer's personal data are to be erased: names, addresses, contacts, payers' IBANs, free text of payments.

    Whoever kept a copy removes it and keeps this version, so that no late identity event brings it back. Ids, company ids, amounts
    and dates stay: invoices and ledger are kept by law. A record without a value follows on CustomerIdentityChanged's topic.
    """

    customer_id: UUID
    source_system: Code
    customer_number: Text
    erased_on: Date


class Address(Struct, frozen=True, kw_only=True, gc=False):
    """A postal address, lines as they are printed."""

    lines: list[Line] = []
    postcode: Line | None = None
    city: Line | None = None
    country: Country | None = None


class RoleAddress(Address, frozen=True, kw_only=True, gc=False):
    """A further address and what it is for: `delivery`, `billing`, `dunning`, ..."""

    role: Code


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

    `address` is the seat, `addresses` are the others, each with its role. It shares the customer's version; consumers keep it in
    a row of its own.
    """

    customer_id: UUID
    name: Text
    address: Address | None = None
    contacts: list[Contact] = []
    known_ibans: list[Line] = []
    addresses: list[RoleAddress] = []
