"""Reads camt.056 (ISO 20022 FI to FI payment cancellation request): a bank asks for a payment back."""

from dataclasses import dataclass

from lxml import etree
from shared.money import parse_amount

from matching.bankfiles.errors import BankFileError
from matching.bankfiles.xmltree import whole

MAX_BYTES = 4 * 1024 * 1024
MOST = 1_000
"""Payments that one message may ask back."""


@dataclass(frozen=True, slots=True)
class Recall:
    """One payment asked back: who asked (its own id), which payment, how much of it, and why (an ISO code as it came)."""

    cancellation_id: str
    end_to_end_id: str | None
    transaction_ids: list[str]
    """Its TxId and UETR, as far as they are there: a statement may have either."""
    amount_minor: int
    currency: str
    reason: str


def parse(data: bytes) -> list[Recall]:
    """The payments asked back, in the message's order. Raises BankFileError.

    A bank may ask for a whole group of its own (GrpCxl) and name none of the payments: nothing of ours tells which those are, for no
    statement has to say which message between banks a payment was in. So it is refused, also where the message names others.
    """
    if len(data) > MAX_BYTES:
        raise BankFileError(f"the file is larger than {MAX_BYTES} bytes")
    asked = []
    for underlying in whole(data).findall(".//{*}FIToFIPmtCxlReq/{*}Undrlyg"):
        named = underlying.findall("{*}TxInf")
        _check_group(underlying, len(named))
        asked += named
    if not asked:
        raise BankFileError("no payment is asked back in the message (FIToFIPmtCxlReq/Undrlyg/TxInf)")
    if len(asked) > MOST:
        raise BankFileError(f"more than {MOST} payments in one message")
    return [_recall(element, f"TxInf {at}") for at, element in enumerate(asked, 1)]


def _check_group(underlying: etree._Element, named: int) -> None:
    """Raises BankFileError where a whole group is asked back and its payments are not named, or not all."""
    group = "OrgnlGrpInfAndCxl/{*}"
    if (_text(underlying, group + "GrpCxl") or "").lower() not in {"true", "1"}:
        return
    count = _text(underlying, group + "NbOfTxs")
    if not named or (count and count.isdecimal() and int(count) != named):
        name = _text(underlying, group + "OrgnlMsgId") or "without a name"
        raise BankFileError(
            f"all payments of a group ({name}) are asked back (GrpCxl), and {named} of {count or 'them'} named (TxInf): "
            "ask the bank to name each"
        )


def _recall(element: etree._Element, where: str) -> Recall:
    amount = element.find("{*}OrgnlIntrBkSttlmAmt")
    if amount is None:
        raise BankFileError(f"{where}: OrgnlIntrBkSttlmAmt is missing")
    currency = str(amount.get("Ccy") or "")
    try:
        minor = parse_amount((amount.text or "").strip(), currency)
    except ValueError:
        raise BankFileError(f"{where}: the amount or its currency is not readable") from None
    if minor <= 0:
        raise BankFileError(f"{where}: the amount is not above zero")
    ends = _text(element, "OrgnlEndToEndId")
    transactions = [known for name in ("OrgnlTxId", "OrgnlUETR") if (known := _text(element, name))]
    if ends == "NOTPROVIDED":
        ends = None
    if not ends and not transactions:
        raise BankFileError(f"{where}: neither OrgnlEndToEndId nor OrgnlTxId nor OrgnlUETR names the payment")
    reason = _text(element, "CxlRsnInf/{*}Rsn/{*}Cd") or _text(element, "CxlRsnInf/{*}Rsn/{*}Prtry") or "unknown"
    return Recall(_text(element, "CxlId") or next(iter(transactions), ends or ""), ends, transactions, minor, currency, reason)


def _text(element: etree._Element, path: str) -> str | None:
    found = element.findtext("{*}" + path)
    return (found.strip()[:255] or None) if found else None
