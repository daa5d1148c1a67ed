"""What an e-invoice says, whatever its syntax, and the rules of EN 16931 that this service recomputes before it believes it.

Rules and their tolerances are those of the standard's published validation artefacts (CEN/TC 434): sums are exact, a tax
amount may be off by less than one unit of the currency (BR-CO-17), and so may the taxable amount of a category that has
rates (BR-S-08, BR-AF-08, BR-AG-08).

Invariants: amounts are exact decimals as printed; a finding names the rule and the XPath, never the content.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

_ONE = Decimal(1)
_CENT = Decimal("0.01")
_ZERO = Decimal(0)
# VAT category -> the rule that adds its lines up
_TAXABLE_RULE = {"S": "S", "Z": "Z", "E": "E", "AE": "AE", "K": "IC", "G": "G", "O": "O", "L": "AF", "M": "AG"}
_WITH_RATES = frozenset({"S", "L", "M"})


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold: its id, the XPath of the place, a sentence that repeats no input."""

    rule: str
    xpath: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """A line, or an allowance or charge on document level: its net amount, VAT category and rate."""

    xpath: str
    amount: Decimal | None
    category: str | None
    rate: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxPortion:
    """One VAT breakdown (BG-23)."""

    xpath: str
    taxable: Decimal | None
    tax: Decimal | None
    category: str | None
    rate: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Seller or buyer. `identifiers` are (scheme, value) as printed, the most telling first; `vat` is a VAT number."""

    name: str | None = None
    identifiers: tuple[tuple[str, str], ...] = ()
    numbers: tuple[str, ...] = ()
    """What the other side may call this party: for a buyer, the seller's customer number."""
    has_address: bool = False
    country: str | None = None
    street: tuple[str, ...] = ()
    postcode: str | None = None
    city: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EInvoice:
    """An e-invoice as it was read; None where it says nothing. Business term numbers (BT) are EN 16931's."""

    root: str
    profile: str | None
    number: str | None
    issue_date: date | None
    due_date: date | None
    type_code: str | None
    is_credit: bool
    currency: str | None
    seller: Party
    buyer: Party
    payee_name: str | None
    means_code: str | None
    payment_reference: str | None
    account: str | None
    has_terms: bool
    notes: tuple[str, ...] = ()
    order_numbers: tuple[str, ...] = ()
    preceding: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    instalments: tuple[tuple[date, Decimal], ...] = ()
    lines: tuple[Portion, ...] = ()
    allowances: tuple[Portion, ...] = ()
    charges: tuple[Portion, ...] = ()
    taxes: tuple[TaxPortion, ...] = ()
    line_total: Decimal | None = None
    allowance_total: Decimal | None = None
    charge_total: Decimal | None = None
    net: Decimal | None = None
    tax: Decimal | None = None
    gross: Decimal | None = None
    prepaid: Decimal | None = None
    rounding: Decimal | None = None
    payable: Decimal | None = None
    malformed: tuple[Finding, ...] = field(default=())
    """What could not be read as an amount or a date."""


def findings(invoice: EInvoice) -> list[Finding]:
    """The rules that do not hold: required fields, sums, tax by category. Empty for an invoice that can be believed."""
    unreadable = {finding.xpath for finding in invoice.malformed}
    found = [*_required(invoice), *_sums(invoice), *_taxes(invoice)]
    return [*invoice.malformed, *(finding for finding in found if finding.xpath not in unreadable)]


def _required(invoice: EInvoice) -> Iterator[Finding]:
    top = f"/{invoice.root}"
    seller, buyer = f"{top}/cac:AccountingSupplierParty/cac:Party", f"{top}/cac:AccountingCustomerParty/cac:Party"
    totals = f"{top}/cac:LegalMonetaryTotal"
    for rule, value, xpath, what in (
        ("BR-01", invoice.profile, f"{top}/cbc:CustomizationID", "specification identifier (BT-24)"),
        ("BR-02", invoice.number, f"{top}/cbc:ID", "invoice number (BT-1)"),
        ("BR-03", invoice.issue_date, f"{top}/cbc:IssueDate", "issue date (BT-2)"),
        ("BR-04", invoice.type_code, f"{top}/cbc:{invoice.root}TypeCode", "type code (BT-3)"),
        ("BR-05", invoice.currency, f"{top}/cbc:DocumentCurrencyCode", "currency code (BT-5)"),
        ("BR-06", invoice.seller.name, f"{seller}/cac:PartyLegalEntity/cbc:RegistrationName", "seller's name (BT-27)"),
        ("BR-07", invoice.buyer.name, f"{buyer}/cac:PartyLegalEntity/cbc:RegistrationName", "buyer's name (BT-44)"),
        ("BR-08", invoice.seller.has_address or None, f"{seller}/cac:PostalAddress", "seller's postal address (BG-5)"),
        ("BR-10", invoice.buyer.has_address or None, f"{buyer}/cac:PostalAddress", "buyer's postal address (BG-8)"),
        ("BR-12", invoice.line_total, f"{totals}/cbc:LineExtensionAmount", "sum of line net amounts (BT-106)"),
        ("BR-13", invoice.net, f"{totals}/cbc:TaxExclusiveAmount", "total without VAT (BT-109)"),
        ("BR-14", invoice.gross, f"{totals}/cbc:TaxInclusiveAmount", "total with VAT (BT-112)"),
        ("BR-15", invoice.payable, f"{totals}/cbc:PayableAmount", "amount due for payment (BT-115)"),
        ("BR-16", invoice.lines or None, f"{top}/cac:{invoice.root}Line", "line (BG-25)"),
        ("BR-CO-18", invoice.taxes or None, f"{top}/cac:TaxTotal/cac:TaxSubtotal", "VAT breakdown (BG-23)"),
    ):
        if value is None:
            yield Finding(rule, xpath, f"the {what} is missing")
    for rule, party, xpath, what in (("BR-09", invoice.seller, seller, "BT-40"), ("BR-11", invoice.buyer, buyer, "BT-55")):
        if party.has_address and party.country is None:
            yield Finding(rule, f"{xpath}/cac:PostalAddress/cac:Country/cbc:IdentificationCode", f"the country code ({what}) is missing")
    for rule, portions, what in (
        ("BR-24", invoice.lines, "line net amount (BT-131)"),
        ("BR-31", invoice.allowances, "allowance amount (BT-92)"),
        ("BR-36", invoice.charges, "charge amount (BT-99)"),
    ):
        for portion in portions:
            if portion.amount is None:
                yield Finding(rule, portion.xpath, f"the {what} is missing")


def _sums(invoice: EInvoice) -> Iterator[Finding]:
    top = f"/{invoice.root}/cac:LegalMonetaryTotal"
    allowances, charges = invoice.allowance_total or _ZERO, invoice.charge_total or _ZERO
    for rule, said, parts, xpath, what in (
        ("BR-CO-10", invoice.line_total, _amounts(invoice.lines), f"{top}/cbc:LineExtensionAmount", "the sum of the lines"),
        (
            "BR-CO-11",
            _said(invoice.allowance_total, invoice.allowances),
            _amounts(invoice.allowances),
            f"{top}/cbc:AllowanceTotalAmount",
            "the sum of the allowances",
        ),
        (
            "BR-CO-12",
            _said(invoice.charge_total, invoice.charges),
            _amounts(invoice.charges),
            f"{top}/cbc:ChargeTotalAmount",
            "the sum of the charges",
        ),
        (
            "BR-CO-13",
            invoice.net,
            None if invoice.line_total is None else invoice.line_total - allowances + charges,
            f"{top}/cbc:TaxExclusiveAmount",
            "lines - allowances + charges",
        ),
        (
            "BR-CO-15",
            invoice.gross,
            None if invoice.net is None else invoice.net + (invoice.tax or _ZERO),
            f"{top}/cbc:TaxInclusiveAmount",
            "the total without VAT plus the VAT",
        ),
        (
            "BR-CO-16",
            invoice.payable,
            None if invoice.gross is None else invoice.gross - (invoice.prepaid or _ZERO) + (invoice.rounding or _ZERO),
            f"{top}/cbc:PayableAmount",
            "the total with VAT - paid amount + rounding amount",
        ),
    ):
        if said is not None and parts is not None and said != parts:
            yield Finding(rule, xpath, f"is not {what}")
    owed = invoice.root == "Invoice" and invoice.payable is not None and invoice.payable > 0
    if owed and invoice.due_date is None and not invoice.has_terms:
        yield Finding("BR-CO-25", f"{top}/cbc:PayableAmount", "an amount is due, but neither a due date (BT-9) nor terms (BT-20)")


def _taxes(invoice: EInvoice) -> Iterator[Finding]:
    if invoice.net is not None and invoice.tax is None and invoice.currency is not None:
        yield Finding("BR-CO-15", f"/{invoice.root}/cac:TaxTotal/cbc:TaxAmount", "the VAT in the invoice's currency is missing")
    for tax in invoice.taxes:
        for rule, value, name, what in (
            ("BR-45", tax.taxable, "cbc:TaxableAmount", "taxable amount (BT-116)"),
            ("BR-46", tax.tax, "cbc:TaxAmount", "tax amount (BT-117)"),
            ("BR-47", tax.category, "cac:TaxCategory/cbc:ID", "VAT category (BT-118)"),
        ):
            if value is None:
                yield Finding(rule, f"{tax.xpath}/{name}", f"the {what} is missing")
        if tax.rate is None and tax.category not in {None, "O"}:
            yield Finding("BR-48", f"{tax.xpath}/cac:TaxCategory/cbc:Percent", "the VAT rate (BT-119) is missing")
        if tax.taxable is not None and tax.tax is not None and not _is_tax(tax.taxable, tax.rate, tax.tax):
            yield Finding("BR-CO-17", f"{tax.xpath}/cbc:TaxAmount", "is not taxable amount x rate, rounded to two decimals")
        if tax.taxable is not None and tax.category in _TAXABLE_RULE and not _is_taxable(invoice, tax, tax.taxable):
            rule = f"BR-{_TAXABLE_RULE[tax.category]}-08"
            yield Finding(rule, f"{tax.xpath}/cbc:TaxableAmount", "is not what the lines, allowances and charges of the category make")
    taxes = [tax.tax for tax in invoice.taxes]
    one_total = all(finding.rule != "BR-CO-15" for finding in invoice.malformed)
    if one_total and invoice.tax is not None and taxes and None not in taxes and invoice.tax != sum(filter(None, taxes)):
        yield Finding("BR-CO-14", f"/{invoice.root}/cac:TaxTotal/cbc:TaxAmount", "is not the sum of the tax by category")


def _amounts(portions: tuple[Portion, ...]) -> Decimal | None:
    amounts = [portion.amount for portion in portions]
    return None if None in amounts else sum(filter(None, amounts), _ZERO)


def _said(total: Decimal | None, portions: tuple[Portion, ...]) -> Decimal | None:
    """A total that may be left out only where there is nothing to add up."""
    return _ZERO if total is None and portions else total


def _is_tax(taxable: Decimal, rate: Decimal | None, tax: Decimal) -> bool:
    if rate is None or _whole(rate) == 0:
        return _whole(tax) == 0
    due = (abs(taxable) * rate / 100).quantize(_CENT, ROUND_HALF_UP)
    return abs(abs(tax) - due) < _ONE


def _is_taxable(invoice: EInvoice, tax: TaxPortion, taxable: Decimal) -> bool:
    rated = tax.category in _WITH_RATES
    if rated and tax.rate is None:
        return True  # BR-48 has said so

    def of(portions: tuple[Portion, ...]) -> Decimal:
        return sum(
            (each.amount or _ZERO for each in portions if each.category == tax.category and (not rated or each.rate == tax.rate)), _ZERO
        )

    difference = taxable - (of(invoice.lines) + of(invoice.charges) - of(invoice.allowances))
    return abs(difference) < _ONE if rated else difference == 0


def _whole(amount: Decimal) -> Decimal:
    return amount.quantize(_ONE, ROUND_HALF_UP)
