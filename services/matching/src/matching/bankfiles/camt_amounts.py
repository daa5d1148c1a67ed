"""Amounts of camt messages: of entries, their details and balances, and what stands beside them."""

from functools import lru_cache

from matching.bankfiles.amounts import minor_of
from matching.bankfiles.errors import BankFileError
from matching.bankfiles.xmltree import Node
from matching.domain.statements import Amount

OWN, ELSEWHERE = ("Amt", "AmtDtls/TxAmt/Amt"), ("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/CntrValAmt/Amt", "AmtDtls/InstdAmt/Amt")
"""Where a detail's amount stands; elsewhere only where all of them make up the entry's."""
_OTHER = ("AmtDtls/TxAmt/Amt", "Amt")


def charges_of(element: Node) -> list[Amount]:
    """What the bank charges, record by record; the total that it states, where there are no records or they do not make it up (taxes).

    A credit among debits is given back, and below zero; where all are credits they are meant as charges (SIX's samples of camt.054).
    Source: ISO 20022, message definition report of camt.053, ChargesRecord/CreditDebitIndicator and TotalChargesAndTaxAmount.
    """
    parts = element.all("Chrgs")
    stated = [one for charges in parts if (one := amount_at(charges, "TtlChrgsAndTaxAmt"))]
    records = [one for charges in parts for one in charges.all("Rcrd") or [charges]]
    found = [(one, record.text("CdtDbtInd") == "CRDT") for record in records if (one := amount_at(record, "Amt"))]
    mixed = len({credited for _, credited in found}) > 1
    charged = [Amount(-one.minor, one.currency) if mixed and credited else one for one, credited in found]
    if found and len(stated) == 1 and all(one.currency == stated[0].currency for one in charged):
        plain = [one for one, _ in found]
        sums = {sum(one.minor for one in of): of for of in (plain, charged)}
        return sums.get(stated[0].minor, stated)
    return charged or stated


def amount_at(element: Node, path: str) -> Amount | None:
    """An amount beside the transaction's own; None where there is none that can be read."""
    currency = element.text(path + "@")
    if currency is None:
        return None
    try:
        return Amount(_decimal(element.values[path], currency), currency)
    except BankFileError:
        return None


def instructed_amount(element: Node, currency: str) -> Amount | None:
    """The instructed amount; where only that of the underlying transaction is there, in another currency than the entry's, that one."""
    if found := amount_at(element, "AmtDtls/InstdAmt/Amt"):
        return found
    other = next((path for path in _OTHER if element.text(path + "@") not in {None, currency}), None)
    return amount_at(element, other) if other else None


def detail_amount(detail: Node, currency: str, *, credit: bool, paths: tuple[str, ...] = OWN) -> int | None:
    """A detail's signed amount in the entry's currency; None where it has none."""
    for path in paths:
        if detail.text(path + "@") == currency:
            minor = _minor(detail, path, currency)
            indicator = detail.text("CdtDbtInd")
            return minor if (indicator == "CRDT" if indicator else credit) else -minor
    return None


def signed_amount(element: Node, missing: str | None = None) -> tuple[int, str]:
    """The amount of an entry or balance, negative where it is a debit, and its currency. Raises BankFileError."""
    if "Amt" not in element.values:
        raise BankFileError(f"{element.place()}: no amount")
    currency = element.values.get("Amt@", "")
    minor = _minor(element, "Amt", currency)
    indicator = element.text("CdtDbtInd") or missing
    if indicator not in {"CRDT", "DBIT"}:
        raise BankFileError(f"{element.place()}/CdtDbtInd: neither CRDT nor DBIT")
    return (minor if indicator == "CRDT" else -minor), currency


def _minor(element: Node, path: str, currency: str) -> int:
    try:
        return _decimal(element.values[path], currency)
    except BankFileError as error:
        raise BankFileError(f"{element.place()}/{path}: {error}") from None


@lru_cache(maxsize=4_096)
def _decimal(text: str, currency: str) -> int:
    """Minor units of an xs:decimal: a point, never a comma; a plus sign is allowed. Raises BankFileError."""
    if "," in text:
        raise BankFileError(f"{text[:30]!r} is no amount: XML has a decimal point")
    return minor_of(text.removeprefix("+"), currency)
