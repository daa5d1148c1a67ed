"""The draft that the handlers take of an accepted e-invoice."""

import re
from uuid import UUID

from contracts.customers import Address
from contracts.fields import Document

from invoicing.domain.einvoice import Party
from invoicing.drafts import Buyer, Draft
from invoicing.einvoices.booking import account, discounts
from invoicing.einvoices.reading import Reading

_CORRECTED_CODE = "384"
_REFERENCE_MAX = 100
_REFERENCES_MAX = 30
_IDENTIFIERS_MAX = 20
_TEXT_MAX = 255


def draft_of(reading: Reading, *, entity_id: UUID, source_system: str, source_version: int) -> Draft:
    """The draft that an accepted file makes. The invoice's own number (BT-1) is the source's id of it."""
    invoice, booked = reading.invoice, reading.booked
    if invoice is None or booked is None or invoice.number is None or invoice.issue_date is None or invoice.currency is None:
        raise TypeError("only an accepted file makes a draft")
    return Draft(
        entity_id=entity_id,
        source_system=source_system,
        source_id=invoice.number,
        source_version=source_version,
        invoice_number=invoice.number,
        kind=booked.kind,
        origin="issued",
        buyer=_buyer(invoice.buyer),
        issue_date=invoice.issue_date,
        currency=invoice.currency,
        total_minor=booked.total,
        tax_minor=booked.tax,
        prepaid_minor=booked.prepaid,
        payable_minor=booked.payable,
        due_date=invoice.due_date,
        instalments=booked.instalments,
        payment_reference=invoice.payment_reference,
        payment_account=account(invoice.account),
        payee_name=invoice.payee_name,
        means_of_payment=invoice.means_code,
        references=_short(invoice.references),
        order_numbers=_short(invoice.order_numbers),
        preceding=_short(invoice.preceding),
        corrects=invoice.type_code == _CORRECTED_CODE and booked.kind == "invoice",
        discounts=discounts(invoice),
        documents=(Document(kind=_kind(reading), sha256=reading.sha256),),
    )


def _kind(reading: Reading) -> str:
    """What the stored original is: `pdf`, `ubl`, `cii` or `zugferd`."""
    return "pdf" if reading.container == "pdf" else reading.format.split("-")[0]


def _buyer(party: Party) -> Buyer:
    postcode, city = (text if text is None or len(text) <= _TEXT_MAX else None for text in (party.postcode, party.city))
    address = Address(lines=list(_short(party.street)), postcode=postcode, city=city, country=_country(party.country))
    return Buyer(
        numbers=_short(party.numbers),
        company_ids=tuple(pair for pair in party.identifiers if len(pair[1]) <= _REFERENCE_MAX)[:_IDENTIFIERS_MAX],
        name=party.name,
        country=_country(party.country),
        address=address if party.has_address else None,
    )


def _country(code: str | None) -> str | None:
    return code if code is not None and re.fullmatch(r"[A-Z]{2}", code) else None


def _short(texts: tuple[str, ...]) -> tuple[str, ...]:
    """References are hints for matching: beyond these bounds (an event has 64 KiB) they are left in the file."""
    return tuple(text for text in texts if len(text) <= _REFERENCE_MAX)[:_REFERENCES_MAX]
