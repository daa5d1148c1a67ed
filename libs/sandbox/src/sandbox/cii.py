"""UN/CEFACT Cross Industry Invoice as an ERP writes it, by EN 16931: what `ubl` says, in the other syntax.

Invariants: elements stand in the order of the CII D16B schema; amounts add up unless a fault is asked for. Source of the
terms: EN 16931-1:2017 and its CII syntax binding.
"""

from datetime import date

from lxml import etree
from shared.money import format_amount

from sandbox.actions import Customer, Document, Fault, Party
from sandbox.xmltree import Maker, to_bytes

_CII = "urn:un:unece:uncefact:data:standard:"
_RSM = f"{_CII}CrossIndustryInvoice:100"
_RAM = f"{_CII}ReusableAggregateBusinessInformationEntity:100"
_UDT = f"{_CII}UnqualifiedDataType:100"
_NAMES: dict[str | None, str] = {"rsm": _RSM, "ram": _RAM, "udt": _UDT}
_CREDIT_TRANSFER = "30"  # UNTDID 4461

rsm, ram, udt = (Maker(namespace, _NAMES) for namespace in (_RSM, _RAM, _UDT))


def write(document: Document, *, seller: Party, buyer: Customer, account: str, fault: Fault | None = None) -> bytes:
    """The XML of a document; arguments and faults as for `ubl.write`."""
    credit = document.kind == "credit_note"
    xml = rsm.CrossIndustryInvoice(
        rsm.ExchangedDocumentContext(ram.GuidelineSpecifiedDocumentContextParameter(ram.ID("urn:cen.eu:en16931:2017"))),
        rsm.ExchangedDocument(
            *([] if fault == "missing_field" else [ram.ID(document.number)]),
            ram.TypeCode("381" if credit else "380"),
            ram.IssueDateTime(_day(document.issue_date)),
        ),
        rsm.SupplyChainTradeTransaction(
            *(_line(document, index) for index in range(len(document.lines))),
            ram.ApplicableHeaderTradeAgreement(
                ram.SellerTradeParty(*_party(seller)),
                ram.BuyerTradeParty(*_party(buyer.party, buyer.number)),
                *([ram.BuyerOrderReferencedDocument(ram.IssuerAssignedID(document.order_number))] if document.order_number else []),
            ),
            ram.ApplicableHeaderTradeDelivery(),
            _settlement(document, account, 1 if fault == "bad_sum" else 0),
        ),
    )
    return to_bytes(xml)


def _day(day: date) -> etree._Element:
    return udt.DateTimeString(f"{day:%Y%m%d}", {"format": "102"})


def _party(party: Party, own_number: str | None = None) -> list[etree._Element]:
    register = [ram.SpecifiedLegalOrganization(ram.ID(value, {"schemeID": scheme})) for scheme, value in party.company_ids[:1]]
    return [
        *([ram.ID(own_number)] if own_number else []),
        ram.Name(party.name),
        *register,
        ram.PostalTradeAddress(
            ram.PostcodeCode(party.postcode), ram.LineOne(party.street), ram.CityName(party.city), ram.CountryID(party.country)
        ),
        ram.SpecifiedTaxRegistration(ram.ID(party.vat_id, {"schemeID": "VA"})),
    ]


def _amount(minor: int, document: Document) -> str:
    return format_amount(minor, document.currency)


def _rate(document: Document) -> str:
    return f"{document.tax_bp // 100}.{document.tax_bp % 100:02d}"


def _line(document: Document, index: int) -> etree._Element:
    line = document.lines[index]
    return ram.IncludedSupplyChainTradeLineItem(
        ram.AssociatedDocumentLineDocument(ram.LineID(str(index + 1))),
        ram.SpecifiedTradeProduct(ram.Name(line.text)),
        ram.SpecifiedLineTradeAgreement(ram.NetPriceProductTradePrice(ram.ChargeAmount(_amount(line.price_minor, document)))),
        ram.SpecifiedLineTradeDelivery(ram.BilledQuantity(str(line.quantity), {"unitCode": "C62"})),
        ram.SpecifiedLineTradeSettlement(
            ram.ApplicableTradeTax(
                ram.TypeCode("VAT"), ram.CategoryCode("AE" if document.tax_bp == 0 else "S"), ram.RateApplicablePercent(_rate(document))
            ),
            ram.SpecifiedTradeSettlementLineMonetarySummation(ram.LineTotalAmount(_amount(line.net_minor, document))),
        ),
    )


def _settlement(document: Document, account: str, error: int) -> etree._Element:
    credit, reverse = document.kind == "credit_note", document.tax_bp == 0
    # A credit note has no due date of its own, neither has one that is paid in parts.
    due = [] if credit or len(document.instalments) > 1 else [ram.DueDateDateTime(_day(document.due_date))]
    credited = document.credited_number
    return ram.ApplicableHeaderTradeSettlement(
        *([ram.PaymentReference(document.payment_reference)] if document.payment_reference else []),
        ram.InvoiceCurrencyCode(document.currency),
        ram.SpecifiedTradeSettlementPaymentMeans(
            ram.TypeCode(_CREDIT_TRANSFER), ram.PayeePartyCreditorFinancialAccount(ram.IBANID(account))
        ),
        ram.ApplicableTradeTax(
            ram.CalculatedAmount(_amount(document.tax_minor, document)),
            ram.TypeCode("VAT"),
            *([ram.ExemptionReason("Reverse charge")] if reverse else []),
            ram.BasisAmount(_amount(document.net_minor, document)),
            ram.CategoryCode("AE" if reverse else "S"),
            *([ram.ExemptionReasonCode("VATEX-EU-AE")] if reverse else []),
            ram.RateApplicablePercent(_rate(document)),
        ),
        *([] if credit else [ram.SpecifiedTradePaymentTerms(ram.Description(_terms(document)), *due)]),
        ram.SpecifiedTradeSettlementHeaderMonetarySummation(
            ram.LineTotalAmount(_amount(document.net_minor, document)),
            ram.TaxBasisTotalAmount(_amount(document.net_minor, document)),
            ram.TaxTotalAmount(_amount(document.tax_minor, document), {"currencyID": document.currency}),
            ram.GrandTotalAmount(_amount(document.total_minor + error, document)),
            *([ram.TotalPrepaidAmount(_amount(document.prepaid_minor, document))] if document.prepaid_minor else []),
            ram.DuePayableAmount(_amount(document.payable_minor, document)),
        ),
        *([ram.InvoiceReferencedDocument(ram.IssuerAssignedID(credited))] if credited else []),
    )


def _terms(document: Document) -> str:
    return "; ".join(f"{_amount(amount, document)} {document.currency} due {due}" for due, amount in document.instalments)
