"""Who paid, by name: upper case, cut off, without spaces, without a legal form, with another one's in front."""

import re
import unicodedata
from functools import lru_cache

from matching.domain.engine.words import plain

_WORDS = re.compile(r"[^\W_]+")
"""Words of any script: without its Cyrillic letters "Балкан 2000" would be called as "София 2000" is."""
_LEGAL = frozenset(
    (
        "SA", "SAS", "SARL", "EURL", "SCI", "SNC", "SASU", "GMBH", "AG", "KG", "UG", "OHG", "CO", "MBH", "HAFTUNGSBESCHRANKT",
        "EV", "LTD", "LIMITED", "PLC", "LLP", "LLC", "INC", "CORP", "BV", "NV", "SRL", "SPA", "SL", "SCA", "SE", "ETS", "STE",
        "OY", "OYJ", "AB", "APS", "AS", "ASA", "SP", "ZOO", "Z", "O", "SRO", "KFT", "DOO", "UAB", "OU", "LDA",
        "SOCIETE", "ETABLISSEMENTS", "FIRMA", "THE", "B", "V", "N", "S", "R", "L", "P", "A", "U",
    )
)  # fmt: skip
_LETTERS = str.maketrans(
    {"ß": "ss", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
)
_TWO = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "AE", "Ö": "OE", "Ü": "UE", "å": "aa", "Å": "AA", "ø": "oe", "Ø": "OE"})
"""Letters that have no plain one under an accent, and those that are also written as two."""
PERSON_MAX = 3
"""Most words of a person's name that may be written in another order."""
PREFIX_MIN = 7
"""A name cut off shorter than this (without spaces) says nothing."""


@lru_cache(maxsize=400_000)
def compact(name: str) -> str:
    """A name as it is compared: letters and digits only, without legal forms."""
    words = _words(name)
    kept = [word for word in words if word not in _LEGAL]
    return "".join(kept or words)


@lru_cache(maxsize=400_000)
def whole(name: str) -> str:
    """All letters and digits of a name."""
    return "".join(_words(name))


def _words(name: str) -> list[str]:
    return _WORDS.findall(plain(name if name.isascii() else unicodedata.normalize("NFC", name).translate(_LETTERS)))


def spellings(name: str) -> tuple[str, ...]:
    """A name, and as it is written where there are no umlauts: Müller, Mueller."""
    if name.isascii():
        return (name,)
    other = unicodedata.normalize("NFC", name).translate(_TWO)
    return (name, other) if other != name else (name,)


def likeness(written: str, known: str) -> float:
    """How far what a payer is called agrees with a customer's name, 0 to 1: 1 the same, 0.9 one is the beginning of the other."""
    return max(_likeness(theirs, ours) for theirs in spellings(written) for ours in spellings(known))


def same_name(written: str, known: str) -> bool:
    """Whether what a payer is called is a customer's name in full, with its legal form: Dupont AG is not Dupont GmbH."""
    theirs = {form for one in spellings(written) for form in (whole(one), whole(one).removeprefix("STE"))}
    return any(whole(one) in theirs for one in spellings(known))


def turned(name: str) -> set[str]:
    """A person's name with the family name put first, or last: Müller Paul. What has a legal form is no person."""
    words = _words(name)
    if not 1 < len(words) <= PERSON_MAX or not _LEGAL.isdisjoint(words):
        return set()
    return {"".join([*words[1:], words[0]]), "".join([words[-1], *words[:-1]])}


def same_person(written: str, known: str) -> bool:
    """Whether what a payer is called is a customer's name but for the order of a person's words."""
    theirs = {one for form in spellings(written) for one in turned(form)}
    return any(whole(one) in theirs for one in spellings(known))


def _likeness(written: str, known: str) -> float:
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
