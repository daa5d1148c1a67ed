"""Reads camt.056 (ISO 20022 FI to FI payment cancellation request): a bank asks for a payment back."""

from dataclasses import dataclass

from lxml import etree
from shared.money import parse_amount

MAX_BYTES = 4 * 1024 * 1024
MOST = 1_000
"""Payments that one message may ask back."""


class RecallError(ValueError):
    """A file that is no readable camt.056. The text says what and where."""


@dataclass(frozen=True, slots=True)
class Recall:
    """One payment asked back: who asked (its own id), which payment, how much of it, and why (an ISO code as it came)."""

    cancellation_id: str
    end_to_end_id: str | None
    transaction_id: str | None
    amount_minor: int
    currency: str
    reason: str


def parse(data: bytes) -> list[Recall]:
    """The payments asked back, in the message's order. Raises RecallError."""
    if len(data) > MAX_BYTES:
        raise RecallError(f"the file is larger than {MAX_BYTES} bytes")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise RecallError("a bank file has no DOCTYPE")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise RecallError(f"not well-formed XML, line {error.lineno}") from None
    asked = root.findall(".//{*}FIToFIPmtCxlReq/{*}Undrlyg/{*}TxInf")
    if not asked:
        raise RecallError("no payment is asked back in the message (FIToFIPmtCxlReq/Undrlyg/TxInf)")
    if len(asked) > MOST:
        raise RecallError(f"more than {MOST} payments in one message")
    return [_recall(element, f"TxInf {at}") for at, element in enumerate(asked, 1)]


def _recall(element: etree._Element, where: str) -> Recall:
    amount = element.find("{*}OrgnlIntrBkSttlmAmt")
    if amount is None:
        raise RecallError(f"{where}: OrgnlIntrBkSttlmAmt is missing")
    currency = str(amount.get("Ccy") or "")
    try:
        minor = parse_amount((amount.text or "").strip(), currency)
    except ValueError:
        raise RecallError(f"{where}: the amount or its currency is not readable") from None
    if minor <= 0:
        raise RecallError(f"{where}: the amount is not above zero")
    ends, transaction = _text(element, "OrgnlEndToEndId"), _text(element, "OrgnlTxId") or _text(element, "OrgnlUETR")
    if ends == "NOTPROVIDED":
        ends = None
    if not ends and not transaction:
        raise RecallError(f"{where}: neither OrgnlEndToEndId nor OrgnlTxId names the payment")
    reason = _text(element, "CxlRsnInf/{*}Rsn/{*}Cd") or _text(element, "CxlRsnInf/{*}Rsn/{*}Prtry") or "unknown"
    return Recall(_text(element, "CxlId") or transaction or ends or "", ends, transaction, minor, currency, reason)


def _text(element: etree._Element, path: str) -> str | None:
    found = element.findtext("{*}" + path)
    return (found.strip()[:255] or None) if found else None
