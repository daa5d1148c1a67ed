"""Who paid, by name: upper case, cut off, without spaces, without a legal form, with another one's in front."""

import re
import unicodedata
from functools import lru_cache

_WORDS = re.compile(r"[A-Z0-9]+", re.ASCII)
_LEGAL = frozenset(
    (
        "SA", "SAS", "SARL", "EURL", "SCI", "SNC", "SASU", "GMBH", "AG", "KG", "UG", "OHG", "CO", "MBH", "HAFTUNGSBESCHRANKT",
        "EV", "LTD", "LIMITED", "PLC", "LLP", "LLC", "INC", "CORP", "BV", "NV", "SRL", "SPA", "SL", "SCA", "SE", "ETS", "STE",
        "SOCIETE", "ETABLISSEMENTS", "FIRMA", "THE", "B", "V", "N", "S", "R", "L", "P", "A", "U",
    )
)  # fmt: skip
PREFIX_MIN = 7
"""A name cut off shorter than this (without spaces) says nothing."""


@lru_cache(maxsize=400_000)
def compact(name: str) -> str:
    """A name as it is compared: letters and digits only, without legal forms."""
    value = name if name.isascii() else unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    words = _WORDS.findall(value.upper())
    kept = [word for word in words if word not in _LEGAL]
    return "".join(kept or words)


@lru_cache(maxsize=400_000)
def whole(name: str) -> str:
    """All letters and digits of a name."""
    value = name if name.isascii() else unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    return "".join(_WORDS.findall(value.upper()))


def likeness(written: str, known: str) -> float:
    """How far what a payer is called agrees with a customer's name, 0 to 1: 1 the same, 0.9 one is the beginning of the other."""
    ours, full = compact(known), whole(known)
    best = 0.0
    for theirs in (compact(written), whole(written), whole(written).removeprefix("STE")):  # the best of all, whatever their order
        if theirs in (ours, full):
            return 1.0
        if len(theirs) >= PREFIX_MIN and full.startswith(theirs):
            best = max(best, 0.95)
        elif len(ours) >= PREFIX_MIN and theirs.startswith(ours):
            best = max(best, 0.9)
        elif len(theirs) >= PREFIX_MIN and ours.startswith(theirs):
            best = max(best, 0.85)
    if best:
        return best
    theirs = compact(written)
    common = 0
    for mine, their in zip(ours, theirs, strict=False):
        if mine != their:
            break
        common += 1
    return 0.6 * common / max(len(ours), len(theirs), 1) if common >= PREFIX_MIN else 0.0
