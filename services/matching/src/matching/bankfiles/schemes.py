"""Structured references: which scheme one belongs to, and how it is compared. Return reasons in a text."""

import re

from shared.references import is_valid

from matching.domain.references import normalised
from matching.domain.statements import Reference

_OGM = re.compile(r"(?:\+{3}|\*{3})\s*([0-9]{3})/([0-9]{4})/([0-9]{5})\s*(?:\+{3}|\*{3})", re.ASCII)
_VARIABLE_SYMBOL = re.compile(r"\bVS: ?0*([1-9][0-9]{0,9})\b", re.ASCII)
"""What a Czech payment is for, up to ten digits (Czech Banking Association, standard of the electronic XML statement)."""
RETURN_REASON = re.compile(
    r"\b(A[CGM][0-9]{2}|BE0[0-9]|CNOR|CURR|CUST|DNOR|DT01|DUPL|ED05|FF0[0-9]|FOCR|M[DS]0[0-9]|NARR|RC01|RR0[0-9]|SL0[0-9]|TM01)\b"
)
"""Return reasons of ISO 20022 (ExternalReturnReason1Code) as banks write them in free text."""
_SWISS = {"QRR", "ISR REFERENCE", "ISR", "ESR"}
_ESR_MIN = 15


def reference(value: str | None, stated: str = "", issuer: str = "") -> Reference | None:
    """The reference in a structured field. `stated` is the type the file names (SCOR, QRR, `ISR Reference`), `issuer` who sets the rule."""
    given = " ".join((value or "").split())
    compared = normalised(given)
    if not compared:
        return None
    kind, by = stated.strip().upper(), issuer.strip().upper()
    if compared.startswith("RF") and is_valid("RF", compared):
        return Reference("RF", compared)
    if symbol := variable_symbol_in(given):
        return symbol
    digits = compared.isascii() and compared.isdecimal()
    if digits and ((kind in _SWISS and len(compared) >= _ESR_MIN) or (is_valid("QRR", compared))):
        return Reference("QRR/ESR", compared)
    if (by == "BBA" or (given[0] in "+*" and _OGM.fullmatch(given))) and is_valid("OGM", compared):
        return Reference("OGM", compared)
    return Reference("KID" if kind == "KID" else "other", compared)


def as_issued(found: Reference) -> Reference:
    """A Finnish reference as an invoice bears it: banks fill a viite up with zeros in front, which are no part of it."""
    bare = found.value.lstrip("0")
    return Reference("VIITE", bare) if is_valid("VIITE", bare) else found


def ogm_in(text: str) -> Reference | None:
    """A Belgian structured communication written as +++090/9337/55493+++ in free text, check digits right."""
    for found in _OGM.finditer(text):
        digits = "".join(found.groups())
        if is_valid("OGM", digits):
            return Reference("OGM", digits)
    return None


def variable_symbol_in(text: str) -> Reference | None:
    """A Czech variable symbol labelled as one (VS:0000123456), without the zeros that banks fill it up with."""
    found = _VARIABLE_SYMBOL.search(text)
    return Reference("VS", found[1]) if found else None
