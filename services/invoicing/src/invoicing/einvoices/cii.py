"""UN/CEFACT Cross Industry Invoice to the neutral e-invoice of `domain.einvoice` (EN 16931's syntax binding, CEN/TS 16931-3-3).

ZUGFeRD 1.0 is its ancestor: the same tree under other names, which `_NAMES` lists.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from lxml import etree

from invoicing.domain.einvoice import EInvoice, Party, Portion, TaxPortion
from invoicing.einvoices.fields import CREDIT_CODES, Reader, clean, identifiers

_CII = "urn:un:unece:uncefact:data:standard:"
_PREFIXES = {
    "CrossIndustryInvoice": {
        "rsm": f"{_CII}CrossIndustryInvoice:100",
        "ram": f"{_CII}ReusableAggregateBusinessInformationEntity:100",
        "udt": f"{_CII}UnqualifiedDataType:100",
    },
    "CrossIndustryDocument": {
        "rsm": "urn:ferd:CrossIndustryDocument:invoice:1p0",
        "ram": f"{_CII}ReusableAggregateBusinessInformationEntity:12",
        "udt": f"{_CII}UnqualifiedDataType:15",
    },
}


class _Names(NamedTuple):
    """Names of elements that differ between CII and ZUGFeRD 1.0."""

    context: str = "rsm:ExchangedDocumentContext"
    document: str = "rsm:ExchangedDocument"
    trade: str = "rsm:SupplyChainTradeTransaction"
    agreement: str = "ram:ApplicableHeaderTradeAgreement"
    delivery: str = "ram:ApplicableHeaderTradeDelivery"
    settlement: str = "ram:ApplicableHeaderTradeSettlement"
    sums: str = "ram:SpecifiedTradeSettlementHeaderMonetarySummation"
    rate: str = "ram:RateApplicablePercent"
    line_agreement: str = "ram:SpecifiedLineTradeAgreement"
    line_delivery: str = "ram:SpecifiedLineTradeDelivery"
    line_settlement: str = "ram:SpecifiedLineTradeSettlement"
    line_sums: str = "ram:SpecifiedTradeSettlementLineMonetarySummation"
    number: str = "ram:IssuerAssignedID"


_NAMES = {
    "CrossIndustryInvoice": _Names(),
    "CrossIndustryDocument": _Names(
        context="rsm:SpecifiedExchangedDocumentContext",
        document="rsm:HeaderExchangedDocument",
        trade="rsm:SpecifiedSupplyChainTradeTransaction",
        agreement="ram:ApplicableSupplyChainTradeAgreement",
        delivery="ram:ApplicableSupplyChainTradeDelivery",
        settlement="ram:ApplicableSupplyChainTradeSettlement",
        sums="ram:SpecifiedTradeSettlementMonetarySummation",
        rate="ram:ApplicablePercent",
        line_agreement="ram:SpecifiedSupplyChainTradeAgreement",
        line_delivery="ram:SpecifiedSupplyChainTradeDelivery",
        line_settlement="ram:SpecifiedSupplyChainTradeSettlement",
        line_sums="ram:SpecifiedTradeSettlementMonetarySummation",
        number="ram:ID",
    ),
}
_GROUP_LINE = frozenset({"GROUP", "INFORMATION"})
"""BT-X-8 of Factur-X EXTENDED: such a line repeats what its sub-lines say (DETAIL is one that counts)."""


def read(root: etree._Element) -> EInvoice:
    """What a CII or ZUGFeRD 1.0 invoice says; whether it holds is for the rules to say."""
    local = etree.QName(root).localname
    reader, names = Reader(root, _PREFIXES[local]), _NAMES[local]
    document, trade = reader.first(root, names.document), reader.first(root, names.trade)
    agreement, settlement = reader.first(trade, names.agreement), reader.first(trade, names.settlement)
    top, header = f"/rsm:{local}", f"/rsm:{local}/{names.trade}/{names.settlement}"
    sums, at = reader.first(settlement, names.sums), f"{header}/{names.sums}"
    currency = reader.text(settlement, "ram:InvoiceCurrencyCode")
    type_code = reader.text(document, "ram:TypeCode")
    means = reader.first(settlement, "ram:SpecifiedTradeSettlementPaymentMeans")
    terms = reader.all(settlement, "ram:SpecifiedTradePaymentTerms")
    days = [
        reader.day_102(each, "ram:DueDateDateTime/udt:DateTimeString", f"{header}/ram:SpecifiedTradePaymentTerms[{place}]")
        for place, each in enumerate(terms, 1)
    ]
    allowances, charges = _adjustments(reader, names, settlement, header)

    def total(name: str) -> Decimal | None:
        return reader.amount(sums, f"ram:{name}", at)

    return EInvoice(
        root=local,
        profile=reader.text(root, f"{names.context}/ram:GuidelineSpecifiedDocumentContextParameter/ram:ID"),
        number=reader.text(document, "ram:ID"),
        issue_date=reader.day_102(document, "ram:IssueDateTime/udt:DateTimeString", f"{top}/{names.document}"),
        due_date=next((day for day in days if day), None),
        type_code=type_code,
        is_credit=type_code in CREDIT_CODES,
        currency=currency,
        seller=_party(reader, reader.first(agreement, "ram:SellerTradeParty")),
        buyer=_party(reader, reader.first(agreement, "ram:BuyerTradeParty")),
        payee_name=reader.text(settlement, "ram:PayeeTradeParty/ram:Name"),
        means_code=reader.text(means, "ram:TypeCode"),
        payment_reference=reader.text(settlement, "ram:PaymentReference"),
        account=_account(reader, settlement),
        bic=reader.text(means, "ram:PayeeSpecifiedCreditorFinancialInstitution/ram:BICID"),
        delivery_date=reader.day_102(
            trade,
            f"{names.delivery}/ram:ActualDeliverySupplyChainEvent/ram:OccurrenceDateTime/udt:DateTimeString",
            f"{top}/{names.trade}",
        ),
        discounts=tuple(_discounts(reader, terms)),
        notes=reader.texts(settlement, "ram:SpecifiedTradePaymentTerms/ram:Description"),
        order_numbers=reader.texts(agreement, f"ram:BuyerOrderReferencedDocument/{names.number}"),
        preceding=reader.texts(settlement, f"ram:InvoiceReferencedDocument/{names.number}"),
        references=(
            *reader.texts(agreement, "ram:BuyerReference"),
            *reader.texts(agreement, f"ram:ContractReferencedDocument/{names.number}"),
        ),
        instalments=tuple(_instalments(reader, terms, days, header)),
        lines=tuple(_lines(reader, names, trade, f"{top}/{names.trade}")),
        allowances=tuple(allowances),
        charges=tuple(charges),
        taxes=tuple(_taxes(reader, names, settlement, header)),
        line_total=total("LineTotalAmount"),
        allowance_total=total("AllowanceTotalAmount"),
        charge_total=total("ChargeTotalAmount"),
        net=total("TaxBasisTotalAmount"),
        tax=_tax_total(reader, sums, at, currency),
        gross=total("GrandTotalAmount"),
        prepaid=total("TotalPrepaidAmount"),
        rounding=total("RoundingAmount"),
        payable=_due(total, local),
        malformed=tuple(reader.malformed),
    )


def _due(total: Callable[[str], Decimal | None], local: str) -> Decimal | None:
    """The amount due (BT-115); ZUGFeRD 1.0 lets its BASIC profile leave it out where nothing was paid."""
    due = total("DuePayableAmount")
    if due is None and local == "CrossIndustryDocument" and total("TotalPrepaidAmount") is None:
        return total("GrandTotalAmount")
    return due


def _party(reader: Reader, party: etree._Element | None) -> Party:
    if party is None:
        return Party()
    address = reader.first(party, "ram:PostalTradeAddress")
    numbers = identifiers(reader.all(party, "ram:ID"))
    registered = identifiers(reader.all(party, "ram:SpecifiedTaxRegistration/ram:ID"))
    found = [
        *identifiers(reader.all(party, "ram:SpecifiedLegalOrganization/ram:ID")),
        *(("vat", value) for scheme, value in registered if scheme == "VA"),
        *(pair for pair in identifiers(reader.all(party, "ram:GlobalID")) if pair[0]),
        *(pair for pair in identifiers(reader.all(party, "ram:URIUniversalCommunication/ram:URIID")) if pair[0] not in {"", "EM"}),
    ]
    lines = (reader.text(address, f"ram:{name}") for name in ("LineOne", "LineTwo", "LineThree"))
    return Party(
        name=reader.text(party, "ram:Name"),
        identifiers=tuple(dict.fromkeys(found)),
        numbers=tuple(dict.fromkeys(value for _, value in numbers)),
        has_address=address is not None,
        country=reader.text(address, "ram:CountryID"),
        street=tuple(filter(None, lines)),
        postcode=reader.text(address, "ram:PostcodeCode"),
        city=reader.text(address, "ram:CityName"),
    )


def _account(reader: Reader, settlement: etree._Element | None) -> str | None:
    """The first account to pay to (BT-84): an IBAN before a number of another kind."""
    for name in ("IBANID", "ProprietaryID"):
        path = f"ram:SpecifiedTradeSettlementPaymentMeans/ram:PayeePartyCreditorFinancialAccount/ram:{name}"
        for text in reader.texts(settlement, path):
            return text
    return None


def _tax_total(reader: Reader, sums: etree._Element | None, at: str, currency: str | None) -> Decimal | None:
    """The VAT in the invoice's currency (BT-110); a second total, in the accounting currency, is BT-111."""
    for place, node in enumerate(reader.all(sums, "ram:TaxTotalAmount"), 1):
        if node.get("currencyID") in {None, currency}:
            return reader.amount(sums, f"ram:TaxTotalAmount[{place}]", at)
    return None


def _taxes(reader: Reader, names: _Names, settlement: etree._Element | None, header: str) -> Iterable[TaxPortion]:
    for place, node in enumerate(reader.all(settlement, "ram:ApplicableTradeTax"), 1):
        at = f"{header}/ram:ApplicableTradeTax[{place}]"
        yield TaxPortion(
            xpath=at,
            taxable=reader.amount(node, "ram:BasisAmount", at),
            tax=reader.amount(node, "ram:CalculatedAmount", at),
            category=reader.text(node, "ram:CategoryCode"),
            rate=reader.number(node, names.rate),
        )


def _adjustments(reader: Reader, names: _Names, settlement: etree._Element | None, header: str) -> tuple[list[Portion], list[Portion]]:
    found: tuple[list[Portion], list[Portion]] = ([], [])
    for place, node in enumerate(reader.all(settlement, "ram:SpecifiedTradeAllowanceCharge"), 1):
        at = f"{header}/ram:SpecifiedTradeAllowanceCharge[{place}]"
        found[_is_charge(reader, node)].append(
            Portion(
                xpath=f"{at}/ram:ActualAmount",
                amount=reader.amount(node, "ram:ActualAmount", at),
                category=reader.text(node, "ram:CategoryTradeTax/ram:CategoryCode"),
                rate=reader.number(node, f"ram:CategoryTradeTax/{names.rate}"),
            )
        )
    return found


def _is_charge(reader: Reader, node: etree._Element) -> bool:
    return (reader.text(node, "ram:ChargeIndicator/udt:Indicator") or reader.text(node, "ram:ChargeIndicator")) in {"true", "1"}


def _lines(reader: Reader, names: _Names, trade: etree._Element | None, at: str) -> Iterable[Portion]:
    for place, line in enumerate(reader.all(trade, "ram:IncludedSupplyChainTradeLineItem"), 1):
        if reader.text(line, "ram:AssociatedDocumentLineDocument/ram:LineStatusReasonCode") in _GROUP_LINE:
            continue
        here = f"{at}/ram:IncludedSupplyChainTradeLineItem[{place}]"
        settlement, price = reader.first(line, names.line_settlement), f"{names.line_agreement}/ram:NetPriceProductTradePrice"
        adjustment = Decimal(0)
        for each in reader.all(settlement, "ram:SpecifiedTradeAllowanceCharge"):
            amount = reader.amount(each, "ram:ActualAmount", here) or Decimal(0)
            adjustment += amount if _is_charge(reader, each) else -amount
        yield Portion(
            xpath=f"{here}/{names.line_settlement}/{names.line_sums}/ram:LineTotalAmount",
            amount=reader.amount(settlement, f"{names.line_sums}/ram:LineTotalAmount", here),
            category=reader.text(settlement, "ram:ApplicableTradeTax/ram:CategoryCode"),
            rate=reader.number(settlement, f"ram:ApplicableTradeTax/{names.rate}"),
            quantity=reader.number(line, f"{names.line_delivery}/ram:BilledQuantity"),
            price=reader.number(line, f"{price}/ram:ChargeAmount"),
            base=reader.number(line, f"{price}/ram:BasisQuantity"),
            adjustment=adjustment,
        )


def _instalments(reader: Reader, terms: list[etree._Element], days: list[date | None], header: str) -> Iterable[tuple[date, Decimal]]:
    """Payment terms that each name an amount and a due date (Factur-X EXTENDED); terms in words alone make no instalments."""
    for node, day in zip(terms, days, strict=True):
        amount = reader.amount(node, "ram:PartialPaymentAmount", f"{header}/ram:SpecifiedTradePaymentTerms")
        if amount is not None and day is not None:
            yield day, amount


def _discounts(reader: Reader, terms: list[etree._Element]) -> Iterable[tuple[int, Decimal]]:
    """Agreed discounts as data (Factur-X EXTENDED, ZUGFeRD): a period in days and a percentage."""
    for node in terms:
        for each in reader.all(node, "ram:ApplicableTradePaymentDiscountTerms"):
            period = reader.first(each, "ram:BasisPeriodMeasure")
            percent = reader.number(each, "ram:CalculationPercent")
            days = clean(period)
            if period is not None and period.get("unitCode") == "DAY" and days and re.fullmatch(r"[0-9]{1,3}", days) and percent:
                yield int(days), percent
