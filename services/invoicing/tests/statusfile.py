"""Makers of small life-cycle messages of our own, with whatever a test wants to be wrong."""

_CDAR = """<?xml version="1.0" encoding="UTF-8"?>
<rsm:CrossDomainAcknowledgementAndResponse xmlns:rsm="urn:un:unece:uncefact:data:standard:CrossDomainAcknowledgementAndResponse:100"
 xmlns:ram="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"
 xmlns:udt="urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100"
 xmlns:qdt="urn:un:unece:uncefact:data:standard:QualifiedDataType:100">
 <rsm:ExchangedDocument><ram:ID>{message_id}</ram:ID></rsm:ExchangedDocument>
 <rsm:AcknowledgementDocument>
  <ram:IssueDateTime><udt:DateTimeString format="204">{at}</udt:DateTimeString></ram:IssueDateTime>
  <ram:ReferenceReferencedDocument>
   <ram:IssuerAssignedID>{number}</ram:IssuerAssignedID>
   <ram:FormattedIssueDateTime><qdt:DateTimeString format="102">{issued}</qdt:DateTimeString></ram:FormattedIssueDateTime>
   <ram:ProcessConditionCode>{status}</ram:ProcessConditionCode>
   <ram:IssuerTradeParty><ram:GlobalID schemeID="0002">{seller}</ram:GlobalID></ram:IssuerTradeParty>
   <ram:SpecifiedDocumentStatus>
    <ram:ReasonCode>PU_ERR</ram:ReasonCode><ram:Reason>unit price</ram:Reason><ram:RequestedActionCode>CNP</ram:RequestedActionCode>
    <ram:SpecifiedDocumentCharacteristic><ram:TypeCode>MNATTC</ram:TypeCode>
     <ram:ValueAmount currencyID="{currency}">{amount}</ram:ValueAmount><ram:ValuePercent>20.00</ram:ValuePercent>
    </ram:SpecifiedDocumentCharacteristic>
   </ram:SpecifiedDocumentStatus>
  </ram:ReferenceReferencedDocument>
 </rsm:AcknowledgementDocument>
</rsm:CrossDomainAcknowledgementAndResponse>"""

_RESPONSE = """<?xml version="1.0" encoding="UTF-8"?>
<ApplicationResponse xmlns="urn:oasis:names:specification:ubl:schema:xsd:ApplicationResponse-2"
 xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
 xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">
 <cbc:ID>{message_id}</cbc:ID><cbc:IssueDate>2026-04-01</cbc:IssueDate>
 <cac:DocumentResponse>
  <cac:Response><cbc:ResponseCode>{code}</cbc:ResponseCode>
   <cac:Status><cbc:StatusReasonCode listID="OPStatusReason">DEL</cbc:StatusReasonCode></cac:Status>
   <cac:Status><cbc:StatusReasonCode listID="OPStatusAction">CNP</cbc:StatusReasonCode></cac:Status>
  </cac:Response>
  <cac:DocumentReference><cbc:ID>{number}</cbc:ID></cac:DocumentReference>
 </cac:DocumentResponse>
</ApplicationResponse>"""


def cdar(**fields: str) -> bytes:
    """A CDAR message about the invoice F-1 of 5 March 2026."""
    usual = {
        "message_id": "F-1_207",
        "at": "20260401120000",
        "number": "F-1",
        "issued": "20260305",
        "status": "207",
        "seller": "303265045",
        "currency": "EUR",
        "amount": "5.00",
    }
    return _CDAR.format(**{**usual, **fields}).encode()


def response(**fields: str) -> bytes:
    """A Peppol Invoice Response about the invoice F-1."""
    return _RESPONSE.format(**{"message_id": "r1", "code": "AP", "number": "F-1", **fields}).encode()
