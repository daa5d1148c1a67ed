"""A sound CII invoice, a PDF that embeds one, and ways to spoil them."""

import io

from facturx import generate_from_binary
from pypdf import PdfWriter

CORE = "urn:cen.eu:en16931:2017"
_CII = "urn:un:unece:uncefact:data:standard:"


def party(name: str, *, siren: str = "", vat: str = "", number: str = "") -> str:
    identifier = f"<ram:ID>{number}</ram:ID>" if number else ""
    legal = f'<ram:SpecifiedLegalOrganization><ram:ID schemeID="0002">{siren}</ram:ID></ram:SpecifiedLegalOrganization>' if siren else ""
    tax = f'<ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">{vat}</ram:ID></ram:SpecifiedTaxRegistration>' if vat else ""
    return (
        f"{identifier}<ram:Name>{name}</ram:Name>{legal}<ram:PostalTradeAddress><ram:PostcodeCode>29200</ram:PostcodeCode>"
        "<ram:LineOne>Quai 1</ram:LineOne><ram:CityName>Brest</ram:CityName><ram:CountryID>FR</ram:CountryID></ram:PostalTradeAddress>"
        f"{tax}"
    )


def cii(
    number: str = "C-1",
    *,
    profile: str = CORE,
    code: str = "380",
    payable: str = "120.00",
    due: str = "20260404",
    account: str = "FR7630006000011234567890189",
    prolog: str = "",
) -> bytes:
    tax = "<ram:TypeCode>VAT</ram:TypeCode>"
    rate = "<ram:CategoryCode>S</ram:CategoryCode><ram:RateApplicablePercent>20</ram:RateApplicablePercent>"
    return f"""<?xml version="1.0" encoding="UTF-8"?>{prolog}
<rsm:CrossIndustryInvoice xmlns:rsm="{_CII}CrossIndustryInvoice:100" xmlns:udt="{_CII}UnqualifiedDataType:100"
 xmlns:ram="{_CII}ReusableAggregateBusinessInformationEntity:100">
<rsm:ExchangedDocumentContext><ram:GuidelineSpecifiedDocumentContextParameter><ram:ID>{profile}</ram:ID>
</ram:GuidelineSpecifiedDocumentContextParameter></rsm:ExchangedDocumentContext>
<rsm:ExchangedDocument><ram:ID>{number}</ram:ID><ram:TypeCode>{code}</ram:TypeCode>
<ram:IssueDateTime><udt:DateTimeString format="102">20260305</udt:DateTimeString></ram:IssueDateTime></rsm:ExchangedDocument>
<rsm:SupplyChainTradeTransaction><ram:IncludedSupplyChainTradeLineItem>
<ram:AssociatedDocumentLineDocument><ram:LineID>1</ram:LineID></ram:AssociatedDocumentLineDocument>
<ram:SpecifiedTradeProduct><ram:Name>Vis</ram:Name></ram:SpecifiedTradeProduct>
<ram:SpecifiedLineTradeAgreement><ram:NetPriceProductTradePrice><ram:ChargeAmount>50.00</ram:ChargeAmount></ram:NetPriceProductTradePrice>
</ram:SpecifiedLineTradeAgreement>
<ram:SpecifiedLineTradeDelivery><ram:BilledQuantity unitCode="C62">2</ram:BilledQuantity></ram:SpecifiedLineTradeDelivery>
<ram:SpecifiedLineTradeSettlement><ram:ApplicableTradeTax>{tax}{rate}</ram:ApplicableTradeTax>
<ram:SpecifiedTradeSettlementLineMonetarySummation><ram:LineTotalAmount>100.00</ram:LineTotalAmount>
</ram:SpecifiedTradeSettlementLineMonetarySummation></ram:SpecifiedLineTradeSettlement></ram:IncludedSupplyChainTradeLineItem>
<ram:ApplicableHeaderTradeAgreement><ram:SellerTradeParty>{party("Ateliers Morvan SAS", vat="FR40303265045")}</ram:SellerTradeParty>
<ram:BuyerTradeParty>{party("Kervella SARL", siren="552100554")}</ram:BuyerTradeParty>
<ram:BuyerOrderReferencedDocument><ram:IssuerAssignedID>PO-7</ram:IssuerAssignedID></ram:BuyerOrderReferencedDocument>
</ram:ApplicableHeaderTradeAgreement><ram:ApplicableHeaderTradeDelivery/>
<ram:ApplicableHeaderTradeSettlement><ram:PaymentReference>RF18539007547034</ram:PaymentReference>
<ram:InvoiceCurrencyCode>EUR</ram:InvoiceCurrencyCode>
<ram:SpecifiedTradeSettlementPaymentMeans><ram:TypeCode>58</ram:TypeCode>
<ram:PayeePartyCreditorFinancialAccount><ram:IBANID>{account}</ram:IBANID></ram:PayeePartyCreditorFinancialAccount>
</ram:SpecifiedTradeSettlementPaymentMeans>
<ram:ApplicableTradeTax><ram:CalculatedAmount>20.00</ram:CalculatedAmount>{tax}<ram:BasisAmount>100.00</ram:BasisAmount>{rate}
</ram:ApplicableTradeTax>
<ram:SpecifiedTradePaymentTerms><ram:DueDateDateTime><udt:DateTimeString format="102">{due}</udt:DateTimeString></ram:DueDateDateTime>
</ram:SpecifiedTradePaymentTerms>
<ram:SpecifiedTradeSettlementHeaderMonetarySummation><ram:LineTotalAmount>100.00</ram:LineTotalAmount>
<ram:TaxBasisTotalAmount>100.00</ram:TaxBasisTotalAmount><ram:TaxTotalAmount currencyID="EUR">20.00</ram:TaxTotalAmount>
<ram:GrandTotalAmount>120.00</ram:GrandTotalAmount><ram:DuePayableAmount>{payable}</ram:DuePayableAmount>
</ram:SpecifiedTradeSettlementHeaderMonetarySummation></ram:ApplicableHeaderTradeSettlement></rsm:SupplyChainTradeTransaction>
</rsm:CrossIndustryInvoice>""".encode()


def blank_pdf(**attachments: bytes) -> bytes:
    """A PDF of one empty page with files embedded (`_` in a name stands for a point)."""
    writer = PdfWriter()
    writer.add_blank_page(width=200, height=200)
    for name, content in attachments.items():
        writer.add_attachment(name.replace("_", "."), content)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def facturx(xml: bytes | None = None) -> bytes:
    """A Factur-X file as an ERP makes it."""
    made: bytes = generate_from_binary(
        blank_pdf(), xml or cii(), flavor="factur-x", level="en16931", check_xsd=False, check_schematron=False
    )
    return made
