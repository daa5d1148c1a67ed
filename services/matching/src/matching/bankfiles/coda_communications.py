"""Structured communications of CODA: the type, then what it holds (Febelfin, "Standard CODA" 2.6)."""

from contextlib import suppress

from shared.references import is_valid

from matching.bankfiles import schemes
from matching.bankfiles.amounts import scaled
from matching.bankfiles.errors import BankFileError
from matching.domain.statements import Amount, Reference, Transaction

DECIMALS = 3
"""Of an amount, whatever its currency."""
R_TYPES = {"1": "reject", "2": "return", "3": "refund", "4": "reversal", "5": "cancellation"}
_STRUCTURED = frozenset({"100", "101", "102", "103"})
"""Structured communications that are a payer's reference: 100 ISO 11649, 101 and 102 Belgian, 103 a number."""


def communicated(one: Transaction, kind: str, text: str) -> None:
    """A structured communication: the type, then what it holds."""
    if kind in _STRUCTURED:
        width = 12 if kind in {"101", "102"} else 25 if kind == "100" else 20
        value, more = text[:width], " ".join(text[width:].split())
        known = schemes.reference(value)
        if more:
            one.remittance.append(more)
        if known:
            scheme = "OGM" if kind in {"101", "102"} and is_valid("OGM", known.value) else known.scheme
            one.references.append(Reference(f"CODA type {kind}" if scheme == "other" else scheme, known.value))
        return
    if kind == "127":  # SEPA direct debit: date, type, scheme, paid or why not, creditor, mandate, communication, r-type, reason
        one.mandate_id = text[44:79].strip() or None
        said = " ".join(text[79:141].split())
        if said:
            one.remittance.append(said)
        if text[8:9].strip() not in {"", "0"}:
            one.return_reason = text[142:146].strip() or R_TYPES.get(text[141:142], "unknown")
        return
    if kind == "107":  # direct debit DOM'80, until CODA 2.4: its number, date, what it is for, paid or why not, creditor
        one.mandate_id = text[:12].strip() or None
        said = " ".join(text[18:48].split())
        if said:
            one.remittance.append(said)
        if text[48:49].strip() not in {"", "0"}:
            one.return_reason = "unknown"
        return
    if (
        kind == "105"
    ):  # original amount: in the account's currency, in its own, rate, its currency, structured communication, country, in euro
        digits, currency, text = text[15:30], text[42:45].strip(), text[45:57]
        if digits.isdecimal() and currency.isalpha():
            with suppress(BankFileError):
                one.instructed = Amount(scaled(digits, DECIMALS, currency), currency)
        if is_valid("OGM", text):
            one.references.append(Reference("OGM", text))
            return
    said = " ".join(text.split())
    if said:
        one.remittance.append(said)
