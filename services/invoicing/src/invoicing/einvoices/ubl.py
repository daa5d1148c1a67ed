"""UBL 2.1 Invoice and CreditNote to the neutral e-invoice of `domain.einvoice` (EN 16931's syntax binding, CEN/TS 16931-3-2).

Invariants: amounts and dates are read strictly (xsd:decimal, xsd:date); what cannot be read is a finding, never a guess.
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from lxml import etree

from invoicing.domain.einvoice import EInvoice, Finding, Party, Portion, TaxPortion
from invoicing.einvoices.fields import CREDIT_CODES, Reader, identifiers

_NS = {
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}
_QUANTITY = {"Invoice": "InvoicedQuantity", "CreditNote": "CreditedQuantity"}


def read(root: etree._Element) -> EInvoice:
    """What a UBL invoice or credit note says; whether it holds is for the rules to say."""
    reader = Reader(root, _NS)
    top = f"/{reader.name}"
    currency = reader.text(root, "cbc:DocumentCurrencyCode")
    type_code = reader.text(root, f"cbc:{reader.name}TypeCode")
    means = root.find("cac:PaymentMeans", _NS)
    totals = root.find("cac:LegalMonetaryTotal", _NS)
    at = f"{top}/cac:LegalMonetaryTotal"
    allowances, charges = _adjustments(reader, top)
    tax, taxes = _taxes(reader, top, currency)
    due = reader.day(root, "cbc:DueDate", top) or reader.day(means, "cbc:PaymentDueDate", f"{top}/cac:PaymentMeans")

    def total(name: str) -> Decimal | None:
        return reader.amount(totals, f"cbc:{name}", at)

    return EInvoice(
        root=reader.name,
        profile=reader.text(root, "cbc:CustomizationID"),
        number=reader.text(root, "cbc:ID"),
        issue_date=reader.day(root, "cbc:IssueDate", top),
        due_date=due,
        type_code=type_code,
        is_credit=reader.name == "CreditNote" or type_code in CREDIT_CODES,
        currency=currency,
        seller=_party(reader, "cac:AccountingSupplierParty"),
        buyer=_party(reader, "cac:AccountingCustomerParty"),
        payee_name=reader.text(root, "cac:PayeeParty/cac:PartyName/cbc:Name"),
        means_code=reader.text(means, "cbc:PaymentMeansCode"),
        payment_reference=next(iter(reader.texts(root, "cac:PaymentMeans/cbc:PaymentID")), None),
        account=next(iter(reader.texts(root, "cac:PaymentMeans/cac:PayeeFinancialAccount/cbc:ID")), None),
        bic=reader.text(means, "cac:PayeeFinancialAccount/cac:FinancialInstitutionBranch/cbc:ID"),
        delivery_date=reader.day(root, "cac:Delivery/cbc:ActualDeliveryDate", top),
        notes=reader.texts(root, "cac:PaymentTerms/cbc:Note"),
        order_numbers=reader.texts(root, "cac:OrderReference/cbc:ID"),
        preceding=reader.texts(root, "cac:BillingReference/cac:InvoiceDocumentReference/cbc:ID"),
        references=(*reader.texts(root, "cbc:BuyerReference"), *reader.texts(root, "cac:ContractDocumentReference/cbc:ID")),
        instalments=_instalments(reader, top),
        lines=tuple(_lines(reader, top)),
        allowances=tuple(allowances),
        charges=tuple(charges),
        taxes=tuple(taxes),
        line_total=total("LineExtensionAmount"),
        allowance_total=total("AllowanceTotalAmount"),
        charge_total=total("ChargeTotalAmount"),
        net=total("TaxExclusiveAmount"),
        tax=tax,
        gross=total("TaxInclusiveAmount"),
        prepaid=total("PrepaidAmount"),
        rounding=total("PayableRoundingAmount"),
        payable=total("PayableAmount"),
        malformed=tuple(reader.malformed),
    )


def _party(reader: Reader, path: str) -> Party:
    outer = reader.root.find(path, _NS)
    party = outer.find("cac:Party", _NS) if outer is not None else None
    if outer is None or party is None:
        return Party()
    address = party.find("cac:PostalAddress", _NS)
    found = [
        *identifiers(party.iterfind("cac:PartyLegalEntity/cbc:CompanyID", _NS)),
        *(
            ("vat", text)
            for scheme in party.iterfind("cac:PartyTaxScheme", _NS)
            if (reader.text(scheme, "cac:TaxScheme/cbc:ID") or "").upper() == "VAT" and (text := reader.text(scheme, "cbc:CompanyID"))
        ),
        # without its scheme a party identification is any name that somebody has for the party
        *(pair for pair in identifiers(party.iterfind("cac:PartyIdentification/cbc:ID", _NS)) if pair[0] not in {"", "SEPA"}),
        *(pair for pair in identifiers(party.iterfind("cbc:EndpointID", _NS)) if pair[0] not in {"", "EM"}),
    ]
    numbers = (
        reader.text(outer, "cbc:SupplierAssignedAccountID"),
        *(value for _, value in identifiers(party.iterfind("cac:PartyIdentification/cbc:ID", _NS))),
    )
    lines = (reader.text(address, f"cbc:{name}") for name in ("StreetName", "AdditionalStreetName"))
    country = reader.text(address, "cac:Country/cbc:IdentificationCode")
    return Party(
        name=reader.text(party, "cac:PartyLegalEntity/cbc:RegistrationName") or None,
        identifiers=tuple(dict.fromkeys(found)),
        numbers=tuple(dict.fromkeys(filter(None, numbers))),
        has_address=address is not None,
        country=country,
        street=tuple(filter(None, lines)),
        postcode=reader.text(address, "cbc:PostalZone"),
        city=reader.text(address, "cbc:CityName"),
    )


def _lines(reader: Reader, top: str) -> Iterable[Portion]:
    for position, line in enumerate(reader.root.iterfind(f"cac:{reader.name}Line", _NS), 1):
        at = f"{top}/cac:{reader.name}Line[{position}]"
        category = line.find("cac:Item/cac:ClassifiedTaxCategory", _NS)
        yield Portion(
            xpath=f"{at}/cbc:LineExtensionAmount",
            amount=reader.amount(line, "cbc:LineExtensionAmount", at),
            category=reader.text(category, "cbc:ID"),
            rate=reader.number(category, "cbc:Percent"),
            quantity=reader.number(line, f"cbc:{_QUANTITY[reader.name]}"),
            price=reader.number(line, "cac:Price/cbc:PriceAmount"),
            base=reader.number(line, "cac:Price/cbc:BaseQuantity"),
            adjustment=sum((_signed(reader, each, at) for each in line.iterfind("cac:AllowanceCharge", _NS)), Decimal(0)),
        )


def _signed(reader: Reader, node: etree._Element, at: str) -> Decimal:
    amount = reader.amount(node, "cbc:Amount", f"{at}/cac:AllowanceCharge") or Decimal(0)
    return amount if _is_charge(reader, node) else -amount


def _is_charge(reader: Reader, node: etree._Element) -> bool:
    return reader.text(node, "cbc:ChargeIndicator") in {"true", "1"}


def _adjustments(reader: Reader, top: str) -> tuple[list[Portion], list[Portion]]:
    found: tuple[list[Portion], list[Portion]] = ([], [])
    for position, each in enumerate(reader.root.iterfind("cac:AllowanceCharge", _NS), 1):
        at = f"{top}/cac:AllowanceCharge[{position}]"
        found[_is_charge(reader, each)].append(
            Portion(
                xpath=f"{at}/cbc:Amount",
                amount=reader.amount(each, "cbc:Amount", at),
                category=reader.text(each, "cac:TaxCategory/cbc:ID"),
                rate=reader.number(each, "cac:TaxCategory/cbc:Percent"),
            )
        )
    return found


def _taxes(reader: Reader, top: str, currency: str | None) -> tuple[Decimal | None, list[TaxPortion]]:
    """The VAT in the invoice's currency (BT-110; a second total, in the accounting currency, is BT-111) and its breakdown."""
    tax, taxes = None, []
    for group, node in enumerate(reader.root.iterfind("cac:TaxTotal", _NS), 1):
        at = f"{top}/cac:TaxTotal[{group}]"
        amount = node.find("cbc:TaxAmount", _NS)
        if amount is not None and amount.get("currencyID") == currency:
            if tax is not None:
                reader.malformed.append(
                    Finding("ENC-TAX-TOTAL", f"{at}/cbc:TaxAmount", "a second VAT total in the currency of the invoice", "warning")
                )
            tax = reader.amount(node, "cbc:TaxAmount", at)
        for position, each in enumerate(node.iterfind("cac:TaxSubtotal", _NS), 1):
            path = f"{at}/cac:TaxSubtotal[{position}]"
            taxes.append(
                TaxPortion(
                    xpath=path,
                    taxable=reader.amount(each, "cbc:TaxableAmount", path),
                    tax=reader.amount(each, "cbc:TaxAmount", path),
                    category=reader.text(each, "cac:TaxCategory/cbc:ID"),
                    rate=reader.number(each, "cac:TaxCategory/cbc:Percent"),
                )
            )
    return tax, taxes


def _instalments(reader: Reader, top: str) -> tuple[tuple[date, Decimal], ...]:
    """Payment terms that each name an amount and a due date; terms in words alone make no instalments."""
    found = []
    for position, terms in enumerate(reader.root.iterfind("cac:PaymentTerms", _NS), 1):
        at = f"{top}/cac:PaymentTerms[{position}]"
        amount = reader.amount(terms, "cbc:Amount", at)
        day = reader.day(terms, "cbc:InstallmentDueDate", at) or reader.day(terms, "cbc:PaymentDueDate", at)
        if amount is not None and day is not None:
            found.append((day, amount))
    return tuple(found)
