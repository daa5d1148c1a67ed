"""An e-invoice as it enters the books: its amounts in minor units.

What a file may print and the books do not have is settled here, once:
- amounts in the books are positive: a negative invoice is a credit note, a negative credit note an invoice (deposit codes
  aside), every sign turned;
- what is owed is what the file says is due (BT-115); the total is that plus what is prepaid, so that payable = total - prepaid
  holds to the cent. It is BT-112 with the rounding amount (BT-114), and with what a third party charges where XRechnung's
  extension allows it (BR-DEX-09).
"""

import re
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from contracts.invoices import DiscountTerm, Instalment, InvoiceKind
from shared.money import exponent
from stdnum import iban

from invoicing.domain.einvoice import EInvoice, Finding
from invoicing.domain.totals import minor
from invoicing.drafts import is_plausible

_DEPOSIT_CODE = "386"
_REFERENCE_MAX = 100
_REFERENCES_MAX = 30
_INSTALMENTS_MAX = 120
_IDENTIFIERS_MAX = 20
_TEXT_MAX = 255
_DAYS_MAX = 999
# XRechnung 3.0, BR-DE-18: agreed discounts stand in the payment terms in this form
_SKONTO = re.compile(r"#SKONTO#TAGE=([0-9]{1,3})#PROZENT=([0-9]{1,2}\.[0-9]{2})#(?!BASISBETRAG)")
_PERCENT_MAX = Decimal(100)


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


def units(amount: Decimal | None, currency: str | None) -> int | None:
    """An amount as printed in minor units; None where it has more decimals than its currency, or that is no currency."""
    if amount is None or currency is None:
        return None
    try:
        return minor(amount, currency)
    except ValueError:
        return None


def book(invoice: EInvoice) -> tuple[Booked | None, list[Finding]]:
    """The amounts in minor units, or why there are none. Meant for an invoice that its rules accept."""
    top = f"/{invoice.root}"
    found = [*_missing(invoice, top), *_bounds(invoice, top)]
    if found:
        return None, found
    named = {
        "the total with VAT": invoice.gross,
        "the VAT": invoice.tax,
        "the paid amount": invoice.prepaid,
        "the amount due": invoice.payable,
        **{f"instalment {number}": amount for number, (_, amount) in enumerate(invoice.instalments, 1)},
    }
    places = exponent(invoice.currency or "")
    exact = {name: units(amount if amount is not None else Decimal(0), invoice.currency) for name, amount in named.items()}
    inexact = [name for name, amount in exact.items() if amount is None]
    if inexact:
        what = f"{', '.join(inexact)}: the currency has {places} decimal places, or the amount is too large"
        return None, [Finding("ENC-MINOR-UNITS", top, what)]
    due, paid, tax = exact["the amount due"] or 0, exact["the paid amount"] or 0, exact["the VAT"] or 0
    if invoice.prepaid is None and invoice.rounding is None and invoice.gross is not None:
        paid = (exact["the total with VAT"] or 0) - due  # MINIMUM and BASIC WL need not say what was paid
    return _booked(invoice, total=due + paid, tax=tax, prepaid=paid, payable=due)


def _booked(invoice: EInvoice, *, total: int, tax: int, prepaid: int, payable: int) -> tuple[Booked | None, list[Finding]]:
    top = f"/{invoice.root}"
    parts = [(day, units(amount, invoice.currency) or 0) for day, amount in invoice.instalments]
    turned = payable < 0 or (payable == 0 and total < 0)
    sign = -1 if turned else 1
    if parts and (sum(amount for _, amount in parts) != payable or any(amount * sign <= 0 for _, amount in parts)):
        return None, [Finding("ENC-INSTALMENTS", top, "the instalments do not add up to the amount due")]
    kind: InvoiceKind = "credit_note" if invoice.is_credit != turned else "deposit" if invoice.type_code == _DEPOSIT_CODE else "invoice"
    if total * sign < 0:
        overpaid = Finding("ENC-OVERPAID", top, "more is prepaid than the total: the seller owes the buyer")
        return Booked("credit_note" if invoice.is_credit else "invoice", total, tax, prepaid, payable, (), overpaid), []
    if tax * sign > total * sign:
        return None, [Finding("ENC-TAX-ABOVE-TOTAL", top, "the VAT is more than the total that contains it")]
    instalments = tuple(
        Instalment(number=number, due_date=day, amount_minor=amount * sign) for number, (day, amount) in enumerate(sorted(parts), 1)
    )
    return Booked(kind, total * sign, tax * sign, prepaid * sign, payable * sign, instalments), []


def _missing(invoice: EInvoice, top: str) -> list[Finding]:
    """Without these nothing can be booked, whatever a profile demands."""
    found = [
        Finding("ENC-MISSING", top, f"the {what} is missing")
        for what, value in (
            ("invoice number", invoice.number),
            ("issue date", invoice.issue_date),
            ("amount due", invoice.payable),
            ("currency", invoice.currency),
        )
        if value is None
    ]
    if invoice.currency is not None:
        try:
            exponent(invoice.currency)
        except ValueError:
            found.append(Finding("ENC-CURRENCY", top, "is no ISO 4217 currency code with minor units"))
    return found


def _bounds(invoice: EInvoice, top: str) -> list[Finding]:
    found = []
    texts = (invoice.number, invoice.payment_reference, invoice.account, invoice.payee_name, invoice.means_code)
    if any(len(text or "") > _TEXT_MAX for text in (*texts, invoice.seller.name, invoice.buyer.name)):
        found.append(Finding("ENC-TEXT-LENGTH", top, f"a number, reference or name is longer than {_TEXT_MAX} characters"))
    if len(invoice.instalments) > _INSTALMENTS_MAX:
        found.append(Finding("ENC-INSTALMENTS", top, f"more than {_INSTALMENTS_MAX} instalments"))
    days = [day for day in (invoice.issue_date, invoice.due_date, *(day for day, _ in invoice.instalments)) if day]
    if not all(is_plausible(day) for day in days):
        found.append(Finding("ENC-DATE", top, "a date of issue or payment is not between 1900 and 2200"))
    return found


def account(printed: str | None) -> str | None:
    """An account as printed; an IBAN without its spaces, so that it compares."""
    if printed is None:
        return None
    compact = iban.compact(printed)
    return compact if iban.is_valid(compact) else printed


def discounts(invoice: EInvoice) -> tuple[DiscountTerm, ...]:
    """Agreed discounts: those given as data, and those in XRechnung's form in the payment terms."""
    issued = invoice.issue_date
    if issued is None or not is_plausible(issued):
        return ()
    said = [
        *invoice.discounts,
        *((int(days), Decimal(percent)) for note in invoice.notes for days, percent in _SKONTO.findall(note)),
    ]
    return tuple(
        DiscountTerm(until=issued + timedelta(days=days), percent_bp=int(percent * 100))
        for days, percent in dict.fromkeys(said)
        if days <= _DAYS_MAX and 0 < percent < _PERCENT_MAX and percent * 100 == int(percent * 100)
    )
