"""From the bytes of an e-invoice to a draft: what `POST /v1/invoices/ubl` and `invoicing parse` share.

What a file may print and the books do not have is settled here, once:
- amounts in the books are positive: a negative invoice is a credit note, a negative credit note an invoice (deposit codes
  aside), every sign turned;
- a rounding amount (BT-114) is part of what is owed, so the total that enters the books is BT-112 + BT-114, and
  payable = total - prepaid holds to the cent.
"""

import hashlib
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from contracts.customers import Address
from contracts.fields import Document
from contracts.invoices import DiscountTerm, Instalment, InvoiceKind
from stdnum import iban

from invoicing import ubl, xmlfile
from invoicing.domain.einvoice import EInvoice, Finding, Party, findings
from invoicing.domain.totals import minor
from invoicing.drafts import Buyer, Draft, is_plausible

_UBL = frozenset({"ubl-invoice", "ubl-credit-note"})
_DEPOSIT_CODE = "386"
_REFERENCE_MAX = 100
_REFERENCES_MAX = 30
_INSTALMENTS_MAX = 120
_IDENTIFIERS_MAX = 20
_TEXT_MAX = 255
# XRechnung 3.0, BR-DE-18: agreed discounts stand in the payment terms in this form
_SKONTO = re.compile(r"#SKONTO#TAGE=([0-9]{1,3})#PROZENT=([0-9]{1,2}\.[0-9]{2})#(?!BASISBETRAG)")


class Booked(NamedTuple):
    """An e-invoice's amounts as they enter the books, in minor units and positive.

    `obstacle` says why a sound file cannot be booked all the same: then the amounts are as printed, signs and all.
    """

    kind: InvoiceKind
    total: int
    tax: int
    prepaid: int
    payable: int
    instalments: tuple[Instalment, ...] = ()
    obstacle: Finding | None = None


class Reading(NamedTuple):
    """A file as it was read: `verdict` is `accepted`, `rejected` (by `findings`) or `unreadable` (because of `reason`)."""

    format: str
    verdict: str
    sha256: str
    invoice: EInvoice | None = None
    booked: Booked | None = None
    findings: tuple[Finding, ...] = ()
    reason: str | None = None


def read(data: bytes) -> Reading:
    """Reads a file of any format; only UBL 2.1 invoices and credit notes are understood. Never raises for what is in it."""
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        tree = xmlfile.parse(data)
    except xmlfile.UnreadableError as error:
        return Reading(error.format, "unreadable", sha256, reason=str(error))
    if tree.format not in _UBL:
        return Reading(tree.format, "unreadable", sha256, reason=f"the format {tree.format} is recognised, and not read here")
    invoice = ubl.read(tree.root)
    found = findings(invoice)
    booked = None
    if not found:
        booked, more = _book(invoice)
        found += more
    return Reading(tree.format, "rejected" if found else "accepted", sha256, invoice, booked, tuple(found))


def _book(invoice: EInvoice) -> tuple[Booked | None, list[Finding]]:
    """The amounts in minor units, or why there are none. The rules of EN 16931 hold already."""
    totals = f"/{invoice.root}/cac:LegalMonetaryTotal"
    found: list[Finding] = []
    texts = (invoice.number, invoice.payment_reference, invoice.account, invoice.payee_name, invoice.means_code)
    if any(len(text or "") > _TEXT_MAX for text in (*texts, invoice.seller.name, invoice.buyer.name)):
        found.append(Finding("text-too-long", f"/{invoice.root}", f"a number, reference or name is longer than {_TEXT_MAX} characters"))

    if len(invoice.instalments) > _INSTALMENTS_MAX:
        found.append(Finding("too-many-instalments", f"/{invoice.root}/cac:PaymentTerms", f"more than {_INSTALMENTS_MAX} instalments"))
    if invoice.issue_date is not None and not is_plausible(invoice.issue_date):
        found.append(Finding("date-range", f"/{invoice.root}/cbc:IssueDate", "is not between 1900 and 2200"))

    def units(amount: Decimal | None, rule: str, xpath: str) -> int:
        try:
            return minor(amount or Decimal(0), invoice.currency or "")
        except ValueError as error:
            known = invoice.currency is not None and "ISO 4217" not in str(error)
            at = (rule, xpath) if known else ("BR-CL-04", f"/{invoice.root}/cbc:DocumentCurrencyCode")
            found.append(Finding(*at, str(error) if known else "is no ISO 4217 currency code"))
            return 0

    total = units((invoice.gross or Decimal(0)) + (invoice.rounding or Decimal(0)), "BR-DEC-14", f"{totals}/cbc:TaxInclusiveAmount")
    tax = units(invoice.tax, "BR-DEC-13", f"/{invoice.root}/cac:TaxTotal/cbc:TaxAmount")
    prepaid = units(invoice.prepaid, "BR-DEC-16", f"{totals}/cbc:PrepaidAmount")
    payable = units(invoice.payable, "BR-DEC-18", f"{totals}/cbc:PayableAmount")
    parts = [(day, units(amount, "BR-DEC-18", f"/{invoice.root}/cac:PaymentTerms/cbc:Amount")) for day, amount in invoice.instalments]
    if found:
        return None, list(dict.fromkeys(found))
    turned = payable < 0 or (payable == 0 and total < 0)
    sign = -1 if turned else 1
    if parts and (sum(amount for _, amount in parts) != payable or any(amount * sign <= 0 for _, amount in parts)):
        return None, [Finding("instalments-sum", f"/{invoice.root}/cac:PaymentTerms", "the instalments do not add up to the amount due")]
    kind: InvoiceKind = "credit_note" if invoice.is_credit != turned else "deposit" if invoice.type_code == _DEPOSIT_CODE else "invoice"
    if total * sign < 0:
        overpaid = Finding("payable-sign", f"{totals}/cbc:PayableAmount", "more is prepaid than the total: the seller owes the buyer")
        return Booked("credit_note" if invoice.is_credit else "invoice", total, tax, prepaid, payable, (), overpaid), []
    instalments = tuple(
        Instalment(number=number, due_date=day, amount_minor=amount * sign) for number, (day, amount) in enumerate(sorted(parts), 1)
    )
    return Booked(kind, total * sign, tax * sign, prepaid * sign, payable * sign, instalments), []


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
        discounts=_discounts(invoice),
        documents=(Document(kind="ubl", sha256=reading.sha256),),
    )


def account(printed: str | None) -> str | None:
    """An account as printed; an IBAN without its spaces, so that it compares."""
    if printed is None:
        return None
    compact = iban.compact(printed)
    return compact if iban.is_valid(compact) else printed


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


def _discounts(invoice: EInvoice) -> tuple[DiscountTerm, ...]:
    issued = invoice.issue_date
    if issued is None:
        return ()
    return tuple(
        DiscountTerm(until=issued + timedelta(days=int(days)), percent_bp=int(Decimal(percent) * 100))
        for note in invoice.notes
        for days, percent in _SKONTO.findall(note)
    )


def summary(reading: Reading) -> dict[str, Any]:
    """The answer of `invoicing parse`: JSON-ready, amounts in minor units, keys as in the API."""
    invoice, booked = reading.invoice, reading.booked
    answer: dict[str, Any] = {
        "format": reading.format,
        "profile": invoice.profile if invoice else None,
        "verdict": reading.verdict,
        "rules": list(dict.fromkeys(finding.rule for finding in reading.findings)),
        "findings": [{"rule": each.rule, "xpath": each.xpath, "detail": each.detail} for each in reading.findings],
        "reason": reading.reason or (booked.obstacle.detail if booked and booked.obstacle else None),
        "sha256": reading.sha256,
        "invoice": None,
    }
    if invoice is None:
        return answer
    said: dict[str, Any] = {
        "invoice_number": invoice.number,
        "kind": booked.kind if booked else "credit_note" if invoice.is_credit else "invoice",
        "type_code": invoice.type_code,
        "issue_date": invoice.issue_date,
        "due_date": invoice.due_date,
        "currency": invoice.currency,
        "total_minor": booked.total if booked else None,
        "tax_minor": booked.tax if booked else None,
        "prepaid_minor": booked.prepaid if booked else None,
        "payable_minor": booked.payable if booked else None,
        "instalments": booked.instalments if booked else (),
        "payment_reference": invoice.payment_reference,
        "payment_account": account(invoice.account),
        "payee_name": invoice.payee_name,
        "means_of_payment": invoice.means_code,
        "order_numbers": invoice.order_numbers,
        "references": invoice.references,
        "preceding_invoices": invoice.preceding,
        "discounts": _discounts(invoice),
        "seller": _said(invoice.seller),
        "buyer": _said(invoice.buyer),
        "lines": len(invoice.lines),
    }
    answer["invoice"] = msgspec.to_builtins(said)
    return answer


def _said(party: Party) -> dict[str, Any]:
    identifiers = [{"scheme": scheme, "value": value} for scheme, value in party.identifiers]
    return {"name": party.name, "identifiers": identifiers, "numbers": list(party.numbers), "country": party.country}
