"""The payment reference of an invoice that prints none: of the scheme that its seller's country pays by.

Rules:
- the scheme is the entity's setting, else its country's (`BY_COUNTRY`), else ISO 11649 RF;
- a QRR stands on Swiss bills with a QR-IBAN alone: without one, and without the setting, a Swiss invoice gets an RF;
- an RF is a function of the invoice's number and id, so making it twice gives the same, and numbers that read alike differ
  (eight characters come from the id); a numeric reference holds a number that is drawn once and never again.

Sources of the schemes: `shared.references`. QR-IBAN: SIX, Swiss Implementation Guidelines QR-bill, institution id 30000 to 31999.
"""

import re
from collections.abc import Mapping
from uuid import UUID

from shared.references import SCHEMES, Scheme, compact, is_valid, printed, with_check

BY_COUNTRY: Mapping[str, Scheme] = {"BE": "OGM", "CH": "QRR", "LI": "QRR", "FI": "VIITE", "NO": "KID10"}
NUMBERS = 10**10
"""How many numbers a numeric reference can hold: ten digits."""
PREFIX_MAX: Mapping[Scheme, int] = {"RF": 0, "OGM": 0, "QRR": 16, "VIITE": 9, "KID10": 14, "KID11": 14}
"""Digits that an entity may put before them: what the bank agreed with it."""
_SPREAD = 3_141_592_653
"""Has no factor in common with NUMBERS: each number gives another one, and neighbours differ in most digits."""
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TAIL = 8
_BODY_MAX = 21
_OTHER = re.compile(r"[^0-9A-Z]+")
_QR_IBAN = re.compile(r"(CH|LI)[0-9]{2}3[01][0-9]{3}[0-9A-Z]{12}")
_LOOKS_LIKE: Mapping[Scheme, re.Pattern[str]] = {"RF": re.compile(r"RF[0-9]{2}[0-9A-Z ]+"), "OGM": re.compile(r"[+*]{3}[0-9/ ]+[+*]{3}")}


def scheme_of(setting: str | None, country: str, account: str | None) -> Scheme:
    """The scheme of an invoice's reference: the entity's setting or country, and the account the invoice prints."""
    for scheme in SCHEMES:
        if scheme == setting:
            return scheme
    scheme = BY_COUNTRY.get(country, "RF")
    return "RF" if scheme == "QRR" and not _QR_IBAN.fullmatch(account or "") else scheme


def numbered_reference(scheme: Scheme, prefix: str, number: int) -> str:
    """The reference that holds a drawn number, 0 up to `NUMBERS`; an OGM as it is printed, the others compact.

    Raises ValueError where the prefix is not one that the scheme has room for.
    """
    if len(prefix) > PREFIX_MAX[scheme] or not 0 <= number < NUMBERS:
        raise ValueError(f"the scheme {scheme} has no room for this prefix or number")
    digits = f"{number * _SPREAD % NUMBERS:010d}"
    match scheme:
        case "RF":
            raise ValueError("an RF holds the invoice's number, not a drawn one")
        case "OGM":
            return printed("OGM", with_check("OGM", digits))
        case "QRR":
            return with_check("QRR", prefix + digits.rjust(26 - len(prefix), "0"))
        case "VIITE" | "KID10" | "KID11":
            # zeros in front say nothing in Finland and are lost on the way elsewhere
            return with_check(scheme, (prefix or "1") + digits)


def creditor_reference(invoice_number: str, invoice_id: UUID) -> str:
    """The RF of an invoice: the end of its number in capitals and digits, then eight characters of its id.

    Eight characters of base 36 are 41 bits: what tells apart invoices whose numbers read alike.
    """
    number = _OTHER.sub("", invoice_number.upper())[-(_BODY_MAX - _TAIL) :]
    rest, tail = invoice_id.int, ""
    for _ in range(_TAIL):
        rest, digit = divmod(rest, len(_DIGITS))
        tail += _DIGITS[digit]
    return with_check("RF", number + tail)


def reference_fault(text: str, setting: str | None) -> str | None:
    """What is wrong with a printed reference: it looks like a scheme's, or should be of the entity's, and its check digits fail."""
    for scheme in SCHEMES:
        looks = _LOOKS_LIKE.get(scheme)
        if (scheme == setting or (looks and looks.fullmatch(text.upper()))) and not is_valid(scheme, text):
            return f"is no {scheme} reference with right check digits"
    return None


def is_creditor_reference(text: str) -> bool:
    """Whether a text, spaces aside, is an ISO 11649 reference with right check digits."""
    return is_valid("RF", compact(text))
