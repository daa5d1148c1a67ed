"""Messages about the life cycle of invoices: CDAR (French reform) and Peppol Invoice Response, to the statuses they say.

Invariants: a message is read whole or refused with the path that is wrong; what it carries beyond status, reasons, actions and
amounts stays in the message.

- CDAR (UN/CEFACT CrossDomainAcknowledgementAndResponse, norm XP Z12-012): status MDT-105, date MDT-78, number MDT-87, day of
  issue MDT-100, seller MDT-129, reason MDT-113, action MDT-121, amounts MDT-215.
  Its times name no zone: they are read as French legal time.
- Peppol Invoice Response 3 (UBL ApplicationResponse): only codes whose meaning is one of the reform's are taken: IP 204, AP 205,
  UQ 208, RE 210, PD 211. AB and CA have no certain counterpart and are refused.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from contracts.invoices import StatusAmount, StatusReason
from lxml import etree
from shared.money import parse_amount

from invoicing.domain.lifecycle import STATUSES
from invoicing.drafts import identifier
from invoicing.einvoices import xmlfile
from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.handlers.statuses import Said

MAX_BYTES = 1024 * 1024
_MOST = 100
"""Invoices that one message speaks of."""
_UNITS = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossDomainAcknowledgementAndResponse:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
    "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}
_CDAR = f"{{{_UNITS['rsm']}}}CrossDomainAcknowledgementAndResponse"
_RESPONSE = "{urn:oasis:names:specification:ubl:schema:xsd:ApplicationResponse-2}ApplicationResponse"
_PEPPOL = {"IP": 204, "AP": 205, "UQ": 208, "RE": 210, "PD": 211}
_PERCENT = re.compile(r"(100|[0-9]{1,2})(\.[0-9]{1,2})?", re.ASCII)
_PARIS = ZoneInfo("Europe/Paris")
_CODE_MAX, _TEXT_MAX, _NOTE_MAX = 40, 255, 2000


class Meant(NamedTuple):
    """One invoice that a message speaks of, and what it says. `seller`: identifiers as `scheme:value`, most telling first."""

    invoice_number: str
    issue_date: date | None
    seller: tuple[str, ...]
    said: Said


def read(data: bytes) -> list[Meant]:
    """What a message says, invoice by invoice. Raises Refusal with status 422."""
    if len(data) > MAX_BYTES:
        raise Refusal(422, "message-too-large", f"the message is larger than {MAX_BYTES} bytes")
    try:
        root = xmlfile.parse(data).root
    except xmlfile.UnreadableError as error:
        raise Refusal(422, "message-unreadable", str(error)) from None
    match root.tag:
        case tag if tag == _CDAR:
            found = list(_cdar(root))
        case tag if tag == _RESPONSE:
            found = list(_peppol(root))
        case _:
            raise Refusal(422, "message-unknown", "neither a CDAR message nor a Peppol Invoice Response")
    if not found:
        raise Refusal(422, "message-empty", "the message speaks of no invoice")
    if len(found) > _MOST:
        raise Refusal(422, "message-too-large", f"the message speaks of more than {_MOST} invoices")
    return found


def _cdar(root: etree._Element) -> Iterator[Meant]:
    message_id = _required(root, "rsm:ExchangedDocument/ram:ID")
    for acknowledgement in _all(root, "rsm:AcknowledgementDocument"):
        at = _moment(_required(acknowledgement, "ram:IssueDateTime/udt:DateTimeString"))
        for document in _all(acknowledgement, "ram:ReferenceReferencedDocument"):
            code = _required(document, "ram:ProcessConditionCode")
            if not code.isascii() or not code.isdigit() or int(code[:4]) not in STATUSES:
                raise refused_at(
                    _path(document, "ram:ProcessConditionCode"), "status-unknown", "is no status of the life cycle (200 to 213)"
                )
            issued = _text(document, "ram:FormattedIssueDateTime/qdt:DateTimeString")
            details = _all(document, "ram:SpecifiedDocumentStatus")
            currencies = {each.get("currencyID", "") for each in document.iterfind(".//ram:ValueAmount", _UNITS)}
            if len(currencies) > 1:
                raise refused_at(_path(document, "ram:ValueAmount"), "currency-differs", "amounts in several currencies, or without one")
            currency = next(iter(currencies), None)
            yield Meant(
                invoice_number=_required(document, "ram:IssuerAssignedID"),
                issue_date=None if issued is None else _moment(issued).date(),
                seller=tuple(
                    ":".join(identifier(each.get("schemeID", ""), each.text or ""))
                    for each in document.iterfind("ram:IssuerTradeParty/ram:GlobalID", _UNITS)
                ),
                said=Said(
                    source="cdar",
                    message_id=message_id,
                    status=int(code),
                    at=at,
                    reasons=tuple(
                        StatusReason(code=_code(reason), action=_code(action) if action else None)
                        for each in details
                        if (reason := _text(each, "ram:ReasonCode"))
                        for action in [_text(each, "ram:RequestedActionCode")]
                    ),
                    amounts=tuple(
                        _amount(each, currency or "")
                        for each in document.iterfind(".//ram:SpecifiedDocumentCharacteristic", _UNITS)
                        if each.find("ram:ValueAmount", _UNITS) is not None
                    ),
                    note=_note(
                        text for each in details for text in [_text(each, "ram:Reason"), _text(each, "ram:IncludedNote/ram:Content")]
                    ),
                    currency=currency,
                ),
            )


def _amount(element: etree._Element, currency: str) -> StatusAmount:
    try:
        amount = parse_amount(_required(element, "ram:ValueAmount"), currency)
    except ValueError as error:
        raise refused_at(_path(element, "ram:ValueAmount"), "amount-refused", str(error)) from None
    percent = _text(element, "ram:ValuePercent")
    if percent is not None and not _PERCENT.fullmatch(percent):
        raise refused_at(_path(element, "ram:ValuePercent"), "percent-refused", "is no number from 0 to 100 with two decimals at most")
    rate = None if percent is None else int(Decimal(percent) * 100)
    return StatusAmount(kind=_code(_required(element, "ram:TypeCode")), amount_minor=amount, tax_rate_bp=rate)


def _peppol(root: etree._Element) -> Iterator[Meant]:
    message_id = _required(root, "cbc:ID")
    at = _iso(_required(root, "cbc:IssueDate"), _text(root, "cbc:IssueTime"))
    receiver = root.find("cac:ReceiverParty/cbc:EndpointID", _UNITS)
    for response in _all(root, "cac:DocumentResponse"):
        code = _required(response, "cac:Response/cbc:ResponseCode")
        if code not in _PEPPOL:
            where = _path(response, "cac:Response/cbc:ResponseCode")
            raise refused_at(where, "status-unmapped", "this response code has no certain counterpart among the statuses 200 to 213")
        codes = [(each.get("listID", ""), (each.text or "").strip()) for each in response.iterfind(".//cbc:StatusReasonCode", _UNITS)]
        actions = [_code(text) for kind, text in codes if kind == "OPStatusAction"]
        reasons = [_code(text) for kind, text in codes if kind == "OPStatusReason"]
        issued = _text(response, "cac:DocumentReference/cbc:IssueDate")
        yield Meant(
            invoice_number=_required(response, "cac:DocumentReference/cbc:ID"),
            issue_date=None if issued is None else _iso(issued, None).date(),
            seller=() if receiver is None else (":".join(identifier(receiver.get("schemeID", ""), receiver.text or "")),),
            said=Said(
                source="peppol",
                message_id=message_id,
                status=_PEPPOL[code],
                at=at,
                reasons=tuple(
                    StatusReason(code=reason, action=actions[place] if place < len(actions) else None)
                    for place, reason in enumerate(reasons)
                ),
                note=_note(each.text for each in response.iterfind(".//cbc:StatusReason", _UNITS)),
            ),
        )


def _all(element: etree._Element, path: str) -> list[etree._Element]:
    return list(element.iterfind(path, _UNITS))


def _text(element: etree._Element, path: str) -> str | None:
    found = element.find(path, _UNITS)
    text = "" if found is None else " ".join((found.text or "").split())
    return text or None


def _required(element: etree._Element, path: str) -> str:
    text = _text(element, path)
    if text is None:
        raise refused_at(_path(element, path), "field-missing", "is required")
    if len(text) > _TEXT_MAX or not text.isprintable():
        raise refused_at(_path(element, path), "text-refused", f"is longer than {_TEXT_MAX} characters, or holds control characters")
    return text


def _code(text: str) -> str:
    if len(text) > _CODE_MAX or not text.isascii() or not text.replace("_", "").isalnum():
        raise Refusal(422, "code-refused", f"a reason, action or amount code is letters, digits and _, {_CODE_MAX} at most")
    return text.upper()


def _note(texts: Iterator[str | None]) -> str | None:
    lines = dict.fromkeys(" ".join("".join(char if char.isprintable() else " " for char in text).split()) for text in texts if text)
    return "; ".join(filter(None, lines))[:_NOTE_MAX] or None


def _moment(text: str) -> datetime:
    formats = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
    try:
        if not text.isascii() or not text.isdigit():
            raise ValueError(text)  # noqa: TRY301 - strptime is laxer than the format
        return datetime.strptime(text, formats[len(text)]).replace(tzinfo=_PARIS)
    except (KeyError, ValueError):
        raise Refusal(422, "date-malformed", "a date is written YYYYMMDD, with a time YYYYMMDDhhmmss") from None


def _iso(day: str, clock: str | None) -> datetime:
    try:
        found = datetime.combine(date.fromisoformat(day[:10]), time.fromisoformat(clock) if clock else time.min)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        raise Refusal(422, "date-malformed", "a date is written YYYY-MM-DD, a time hh:mm:ss") from None


def _path(element: etree._Element, path: str) -> str:
    steps = [etree.QName(each).localname for each in reversed([element, *element.iterancestors()])]
    return "/" + "/".join([*steps, *(step.rpartition(":")[2] for step in path.split("/"))])
