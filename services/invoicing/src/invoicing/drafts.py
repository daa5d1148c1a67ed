"""An invoice as a source sends it, before anything of it is looked up: what the JSON API and the file readers both make.

Invariant: `content` is a digest of all a draft says, so two drafts of one source version are the same exactly when it is.
"""

import hashlib
from datetime import date, timedelta
from uuid import UUID

import msgspec
from contracts.customers import Address
from contracts.fields import Document
from contracts.invoices import DiscountTerm, Instalment, InvoiceKind, Origin

_FIRST, _LAST = date(1900, 1, 1), date(2200, 1, 1)
_ENCODE = msgspec.json.Encoder(order="deterministic").encode


class Buyer(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an invoice bills: our id, or the source's own customer number, or what a file says of a company.

    A file may hold several `numbers` that could be the source's customer number, the most telling first.
    `company_ids` are (scheme, value) as printed; a scheme that the file leaves out is empty, `vat` is a VAT number.
    """

    customer_id: UUID | None = None
    numbers: tuple[str, ...] = ()
    company_ids: tuple[tuple[str, str], ...] = ()
    name: str | None = None
    country: str | None = None
    address: Address | None = None


class Draft(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One invoice or credit note. Amounts are positive; `kind` gives the direction.

    Without `instalments` the whole is due on `due_date`, and without that after the customer's or the entity's terms.
    `preceding` are numbers of invoices that it refers to (BG-3): what a credit note credits, what a final invoice follows.
    An invoice that `replaces_invoice_id`, or that `corrects` (UNTDID 1001 code 384) the one it names, takes that one's place.
    """

    entity_id: UUID
    source_system: str
    source_id: str
    source_version: int
    invoice_number: str
    kind: InvoiceKind
    origin: Origin
    buyer: Buyer
    issue_date: date
    currency: str
    total_minor: int
    tax_minor: int
    prepaid_minor: int
    payable_minor: int
    due_date: date | None = None
    instalments: tuple[Instalment, ...] = ()
    payment_reference: str | None = None
    payment_account: str | None = None
    payee_name: str | None = None
    means_of_payment: str | None = None
    references: tuple[str, ...] = ()
    order_numbers: tuple[str, ...] = ()
    discounts: tuple[DiscountTerm, ...] = ()
    preceding: tuple[str, ...] = ()
    deposit_invoice_ids: tuple[UUID, ...] = ()
    credited_invoice_id: UUID | None = None
    replaces_invoice_id: UUID | None = None
    corrects: bool = False
    credit_check_id: UUID | None = None
    opening_open_minor: int | None = None
    reminder_level: int | None = None
    last_reminder_on: date | None = None
    paid_on: date | None = None
    documents: tuple[Document, ...] = ()

    def content(self) -> bytes:
        """SHA-256 of what the draft says, its source version and the bytes of its file aside.

        What a draft leaves at its default is left out, so that a field added later changes no digest that is stored.
        """
        return hashlib.sha256(_ENCODE(msgspec.structs.replace(self, source_version=0, documents=()))).digest()

    def schedule(self, terms_days: int) -> list[Instalment]:
        """The instalments; a whole amount without a due date falls due `terms_days` after issue, nothing payable never."""
        if self.instalments or self.payable_minor == 0:
            return list(self.instalments)
        days = 0 if self.kind == "credit_note" else terms_days
        due = self.due_date or self.issue_date + timedelta(days=days)
        return [Instalment(number=1, due_date=due, amount_minor=self.payable_minor)]


def is_plausible(day: date) -> bool:
    """Whether a day of issue can be one: dates of far years are mistakes, and days cannot be counted from the last of them."""
    return _FIRST <= day < _LAST


def identifier(scheme: str, value: str) -> tuple[str, str]:
    """(scheme, value) as register numbers are compared: letters and digits alone, in capitals, the scheme in small."""
    return scheme.lower(), "".join(char for char in value.upper() if char.isalnum())
