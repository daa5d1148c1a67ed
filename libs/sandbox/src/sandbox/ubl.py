"""UBL 2.1 Invoice and CreditNote as an ERP writes them, by EN 16931.

Invariants: elements stand in the order of the UBL 2.1 schemas; amounts add up (BR-CO-10 to BR-CO-17) unless a fault is
asked for. The buyer's ERP number is BT-46 (PartyIdentification), the reference to pay with BT-83 (PaymentID), the account
BT-84. Source of the terms: EN 16931-1:2017 and its UBL syntax binding.
"""

from lxml import etree
from shared.money import format_amount

from sandbox.actions import Customer, Document, Fault, Party
from sandbox.xmltree import Maker, to_bytes

_INVOICE = "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
_CREDIT_NOTE = "urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2"
_CAC = "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
_CBC = "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
_NAMES: dict[str | None, str] = {"cac": _CAC, "cbc": _CBC}
_CREDIT_TRANSFER = "30"  # UNTDID 4461

cac = Maker(_CAC, _NAMES)
cbc = Maker(_CBC, _NAMES)


def write(document: Document, *, seller: Party, buyer: Customer, account: str, fault: Fault | None = None) -> bytes:
    """The XML of a document. `seller` is who it says it is from, `account` the IBAN it prints.

    A `fault` spoils it: `bad_sum` makes the total one unit too high, `missing_field` leaves the number out; for
    `unknown_seller` the caller passes a stranger as `seller`.
    """
    credit = document.kind == "credit_note"
    namespace = _CREDIT_NOTE if credit else _INVOICE
    root = Maker(namespace, {None: namespace, **_NAMES})
    # A credit note has no due date of its own, neither has one that is paid in parts.
    due = [] if credit or len(document.instalments) > 1 else [cbc.DueDate(document.due_date.isoformat())]
    xml = root(
        "CreditNote" if credit else "Invoice",
        cbc.CustomizationID("urn:cen.eu:en16931:2017"),
        *([] if fault == "missing_field" else [cbc.ID(document.number)]),
        cbc.IssueDate(document.issue_date.isoformat()),
        *due,
        cbc.CreditNoteTypeCode("381") if credit else cbc.InvoiceTypeCode("380"),
        cbc.DocumentCurrencyCode(document.currency),
        *([cac.OrderReference(cbc.ID(document.order_number))] if document.order_number else []),
        *_credited(document),
        cac.AccountingSupplierParty(_party(seller)),
        cac.AccountingCustomerParty(_party(buyer.party, buyer.number)),
        _payment_means(document, account),
        *([cac.PaymentTerms(cbc.Note(_terms(document)))] if not credit else []),
        _tax_total(document),
        _totals(document, 1 if fault == "bad_sum" else 0),
        *(_line(document, index) for index in range(len(document.lines))),
    )
    return to_bytes(xml)


def _amount(minor: int, document: Document) -> tuple[str, dict[str, str]]:
    return format_amount(minor, document.currency), {"currencyID": document.currency}


def _credited(document: Document) -> list[etree._Element]:
    if document.credited_number is None:
        return []
    return [cac.BillingReference(cac.InvoiceDocumentReference(cbc.ID(document.credited_number)))]


def _party(party: Party, own_number: str | None = None) -> etree._Element:
    scheme, value = party.company_ids[0] if party.company_ids else (None, None)
    register = [cbc.CompanyID(value, {"schemeID": scheme} if scheme else {})] if value else []
    return cac.Party(
        *([cac.PartyIdentification(cbc.ID(own_number))] if own_number else []),
        cac.PartyName(cbc.Name(party.name)),
        cac.PostalAddress(
            cbc.StreetName(party.street),
            cbc.CityName(party.city),
            cbc.PostalZone(party.postcode),
            cac.Country(cbc.IdentificationCode(party.country)),
        ),
        cac.PartyTaxScheme(cbc.CompanyID(party.vat_id), cac.TaxScheme(cbc.ID("VAT"))),
        cac.PartyLegalEntity(cbc.RegistrationName(party.name), *register),
    )


def _payment_means(document: Document, account: str) -> etree._Element:
    reference = [cbc.PaymentID(document.payment_reference)] if document.payment_reference else []
    return cac.PaymentMeans(cbc.PaymentMeansCode(_CREDIT_TRANSFER), *reference, cac.PayeeFinancialAccount(cbc.ID(account)))


def _terms(document: Document) -> str:
    return "; ".join(f"{format_amount(amount, document.currency)} {document.currency} due {due}" for due, amount in document.instalments)


def _category(document: Document, *, with_reason: bool) -> etree._Element:
    """S with its rate for a French buyer, else AE: reverse charge."""
    rate = f"{document.tax_bp // 100}.{document.tax_bp % 100:02d}"
    reverse = document.tax_bp == 0
    reason = [cbc.TaxExemptionReasonCode("VATEX-EU-AE"), cbc.TaxExemptionReason("Reverse charge")] if reverse and with_reason else []
    children = (cbc.ID("AE" if reverse else "S"), cbc.Percent(rate), *reason, cac.TaxScheme(cbc.ID("VAT")))
    return cac.TaxCategory(*children) if with_reason else cac.ClassifiedTaxCategory(*children)


def _tax_total(document: Document) -> etree._Element:
    return cac.TaxTotal(
        cbc.TaxAmount(*_amount(document.tax_minor, document)),
        cac.TaxSubtotal(
            cbc.TaxableAmount(*_amount(document.net_minor, document)),
            cbc.TaxAmount(*_amount(document.tax_minor, document)),
            _category(document, with_reason=True),
        ),
    )


def _totals(document: Document, error: int) -> etree._Element:
    prepaid = [cbc.PrepaidAmount(*_amount(document.prepaid_minor, document))] if document.prepaid_minor else []
    return cac.LegalMonetaryTotal(
        cbc.LineExtensionAmount(*_amount(document.net_minor, document)),
        cbc.TaxExclusiveAmount(*_amount(document.net_minor, document)),
        cbc.TaxInclusiveAmount(*_amount(document.total_minor + error, document)),
        *prepaid,
        cbc.PayableAmount(*_amount(document.payable_minor, document)),
    )


def _line(document: Document, index: int) -> etree._Element:
    line = document.lines[index]
    credit = document.kind == "credit_note"
    quantity = (cbc.CreditedQuantity if credit else cbc.InvoicedQuantity)(str(line.quantity), {"unitCode": "C62"})
    return (cac.CreditNoteLine if credit else cac.InvoiceLine)(
        cbc.ID(str(index + 1)),
        quantity,
        cbc.LineExtensionAmount(*_amount(line.net_minor, document)),
        cac.Item(cbc.Name(line.text), _category(document, with_reason=False)),
        cac.Price(cbc.PriceAmount(*_amount(line.price_minor, document))),
    )
