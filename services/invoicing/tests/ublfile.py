"""A sound UBL invoice or credit note, and ways to spoil it."""

HEAD = (
    'xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2" '
    'xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"'
)


def party(name: str, *, siren: str = "", vat: str = "", number: str = "") -> str:
    identification = f"<cac:PartyIdentification><cbc:ID>{number}</cbc:ID></cac:PartyIdentification>" if number else ""
    tax = (
        f"<cac:PartyTaxScheme><cbc:CompanyID>{vat}</cbc:CompanyID><cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme></cac:PartyTaxScheme>"
        if vat
        else ""
    )
    company = f'<cbc:CompanyID schemeID="0002">{siren}</cbc:CompanyID>' if siren else ""
    return (
        f"<cac:Party>{identification}<cac:PostalAddress><cbc:StreetName>Quai 1</cbc:StreetName><cbc:CityName>Brest</cbc:CityName>"
        "<cbc:PostalZone>29200</cbc:PostalZone><cac:Country><cbc:IdentificationCode>FR</cbc:IdentificationCode></cac:Country>"
        f"</cac:PostalAddress>{tax}<cac:PartyLegalEntity><cbc:RegistrationName>{name}</cbc:RegistrationName>{company}"
        "</cac:PartyLegalEntity></cac:Party>"
    )


def ubl(
    number: str = "U-1",
    *,
    root: str = "Invoice",
    seller: str = party("Ateliers Morvan SAS", vat="FR40303265045"),
    buyer: str = party("Kervella SARL", siren="552100554"),
    billing: str = "",
    due: str = "<cbc:DueDate>2026-04-04</cbc:DueDate>",
    payment: str = "",
    terms: str = "",
    net: str = "100.00",
    gross: str = "120.00",
    payable: str = "120.00",
    more_totals: str = "",
    prolog: str = "",
) -> bytes:
    units, quantity = "CreditedQuantity" if root == "CreditNote" else "InvoicedQuantity", -1 if net.startswith("-") else 1
    code = 381 if root == "CreditNote" else 380
    reference = (
        f"<cac:BillingReference><cac:InvoiceDocumentReference><cbc:ID>{billing}</cbc:ID></cac:InvoiceDocumentReference></cac:BillingReference>"
        if billing
        else ""
    )
    category = "<cbc:ID>S</cbc:ID><cbc:Percent>20</cbc:Percent><cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme>"
    return f"""<?xml version="1.0" encoding="UTF-8"?>{prolog}
<{root} xmlns="urn:oasis:names:specification:ubl:schema:xsd:{root}-2" {HEAD}>
<cbc:CustomizationID>urn:cen.eu:en16931:2017</cbc:CustomizationID><cbc:ID>{number}</cbc:ID><cbc:IssueDate>2026-03-05</cbc:IssueDate>
{due}<cbc:{root}TypeCode>{code}</cbc:{root}TypeCode><cbc:DocumentCurrencyCode>EUR</cbc:DocumentCurrencyCode>{reference}
<cac:AccountingSupplierParty>{seller}</cac:AccountingSupplierParty><cac:AccountingCustomerParty>{buyer}</cac:AccountingCustomerParty>
{payment}{terms}
<cac:TaxTotal><cbc:TaxAmount currencyID="EUR">20.00</cbc:TaxAmount><cac:TaxSubtotal>
<cbc:TaxableAmount currencyID="EUR">{net}</cbc:TaxableAmount>
<cbc:TaxAmount currencyID="EUR">20.00</cbc:TaxAmount>
<cac:TaxCategory>{category}</cac:TaxCategory></cac:TaxSubtotal></cac:TaxTotal>
<cac:LegalMonetaryTotal><cbc:LineExtensionAmount currencyID="EUR">{net}</cbc:LineExtensionAmount>
<cbc:TaxExclusiveAmount currencyID="EUR">{net}</cbc:TaxExclusiveAmount>
<cbc:TaxInclusiveAmount currencyID="EUR">{gross}</cbc:TaxInclusiveAmount>
{more_totals}<cbc:PayableAmount currencyID="EUR">{payable}</cbc:PayableAmount></cac:LegalMonetaryTotal>
<cac:{root}Line><cbc:ID>1</cbc:ID><cbc:{units} unitCode="C62">{quantity}</cbc:{units}>
<cbc:LineExtensionAmount currencyID="EUR">{net}</cbc:LineExtensionAmount>
<cac:Item><cbc:Name>Vis</cbc:Name><cac:ClassifiedTaxCategory>{category}</cac:ClassifiedTaxCategory></cac:Item>
<cac:Price><cbc:PriceAmount currencyID="EUR">{net.removeprefix("-")}</cbc:PriceAmount></cac:Price></cac:{root}Line>
</{root}>""".encode()
