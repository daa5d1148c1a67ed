"""What a transaction of a camt message is for, in the payer's words: structured references, documents, free lines."""

import re
from collections.abc import Sequence

from matching.bankfiles import schemes
from matching.bankfiles.amounts import minor_of, places_of
from matching.bankfiles.errors import BankFileError
from matching.bankfiles.xmltree import Node
from matching.domain.statements import Reference

_FLAG = re.compile(r"\?(?:REJECT|ERROR)\?[0-9]{1,3}", re.ASCII)
"""Swiss Payment Standards: how a slip was read, beside the payer's text."""
_REMITTED = (("RfrdDocAmt/RmtdAmt", 1), ("RfrdDocAmt/CdtNoteAmt", -1))
"""What is paid for a document, or taken off by a credit note (ISO 20022, StructuredRemittanceInformation)."""
_CENTS = 2


def beside(detail: Node) -> list[str]:
    """What a person looks for beside the payer's text: the number of a check, and what the bank says of a return."""
    cheque = detail.text("Refs/ChqNb") or ""
    return [f"check {cheque}"] * bool(cheque.strip("0")) + [" ".join(text.split()) for text in detail.texts("RtrInf/AddtlInf")]


def remittance(detail: Node, paid: int = 0, currency: str = "") -> tuple[list[Reference], list[str]]:
    """Structured references and free lines. A document number in a structured field counts as a line.

    `paid`: where the amounts that are remitted for each document come to that, each stands behind its document.
    """
    references: list[Reference] = []
    lines = detail.texts("RmtInf/Ustrd")
    if (
        detail.number("RmtInf/Strd") == 1 and detail.number("RmtInf/Strd/CdtrRefInf") <= 1
    ):  # nearly always: the first of each is all there is
        references += _reference(detail, "RmtInf/Strd/CdtrRefInf/")
        lines += detail.texts("RmtInf/Strd/RfrdDocInf/Nb") + _without_flags(detail.texts("RmtInf/Strd/AddtlRmtInf"))
    else:
        parts = detail.all("RmtInf/Strd")
        listed = _listed(parts, paid, currency)
        for at, part in enumerate(parts):
            references += [one for found in part.all("CdtrRefInf") for one in _reference(found, "")]
            lines += [listed[at]] if listed else part.texts("RfrdDocInf/Nb")
            lines += _without_flags(part.texts("AddtlRmtInf"))
    if not references and (belgian := schemes.ogm_in(" ".join(lines))):
        references.append(belgian)
    return list(dict.fromkeys(references)), lines


def _listed(parts: Sequence[Node], paid: int, currency: str) -> list[str]:
    """Each document, or reference, with what is remitted for it; a credit note below zero. None where that is not all that was paid."""
    lines, rest = [], paid
    for part in parts:
        references = [one.value for found in part.all("CdtrRefInf") for one in _reference(found, "")]
        named = part.texts("RfrdDocInf/Nb") or references
        amount = next((sign * minor for path, sign in _REMITTED if (minor := _minor(part, path, currency)) is not None), None)
        if len(named) != 1 or amount is None:
            return []
        lines.append(f"{named[0]} {'-' if amount < 0 else ''}{abs(amount) // 100}.{abs(amount) % 100:02}")
        rest -= amount
    return [] if rest else lines


def _minor(part: Node, path: str, currency: str) -> int | None:
    """An amount in that currency, in hundredths; None where there is none that can be read."""
    if part.text(path + "@") != currency:
        return None
    try:
        return minor_of(part.values[path], currency) if places_of(currency) == _CENTS else None
    except BankFileError:
        return None


def _without_flags(lines: list[str]) -> list[str]:
    return [line for line in lines if not _FLAG.fullmatch(line)]


def _reference(element: Node, at: str) -> list[Reference]:
    """The structured reference below a path, as a list of one or none."""
    get = element.values.get
    kind = get(at + "Tp/CdOrPrtry/Cd") or get(at + "Tp/CdOrPrtry/Prtry") or ""
    known = schemes.reference(get(at + "Ref"), kind, get(at + "Tp/Issr") or "")
    return [known] if known else []
