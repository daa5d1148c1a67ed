"""Structured payment references and their check digits, both ways: made for an invoice, recognised in a payment.

| scheme | form | check | source |
|---|---|---|---|
| `RF` | `RF`, 2 check digits, 1 to 21 letters and digits | MOD 97-10 | ISO 11649, ISO 7064 |
| `OGM` | 10 digits, 2 check digits; printed `+++123/4567/89002+++` | the ten modulo 97, 97 for 0 | Febelfin, OGM-VCS |
| `QRR` | 26 digits, 1 check digit | recursive modulo 10 | SIX, Swiss Implementation Guidelines QR-bill, annex B |
| `VIITE` | 3 to 19 digits, 1 check digit | weights 7-3-1 from the right, up to the next ten | Finance Finland, the reference number |
| `KID10` | 2 to 24 digits, 1 check digit | modulo 10 (Luhn) | Mastercard Payment Services, OCR giro |
| `KID11` | as KID10, `-` for ten | modulo 11, weights 2 to 7 from the right | as KID10 |

Invariants: `is_valid(scheme, with_check(scheme, body))` holds for every body that is taken; nothing here touches anything
but its arguments. Zeros alone are no reference. A check digit proves a form, not an invoice: one number in ten is a right
KID.
"""

import re
from collections.abc import Mapping
from typing import Literal, get_args

Scheme = Literal["RF", "OGM", "QRR", "VIITE", "KID10", "KID11"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
_FORMS: Mapping[Scheme, re.Pattern[str]] = {
    "RF": re.compile(r"RF[0-9]{2}[0-9A-Z]{1,21}"),
    "OGM": re.compile(r"(?!0+$)[0-9]{12}"),
    "QRR": re.compile(r"(?!0+$)[0-9]{27}"),
    "VIITE": re.compile(r"(?!0+$)[0-9]{4,20}"),
    "KID10": re.compile(r"(?!0+$)[0-9]{3,25}"),
    "KID11": re.compile(r"(?!0+$)[0-9]{2,24}[0-9-]"),
}
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_RECURSIVE = (0, 9, 4, 6, 8, 2, 7, 1, 3, 5)
_PUNCTUATION = re.compile(r"[\s+*/.]")


def compact(text: str) -> str:
    """A reference without what it is only printed with: white space, `+`, `*`, `/`, points; in capitals."""
    return _PUNCTUATION.sub("", text).upper()


def printed(scheme: Scheme, reference: str) -> str:
    """A compact reference as people read it: OGM between crosses, RF, VIITE and QRR in groups, KID as it is."""
    match scheme:
        case "OGM":
            return f"+++{reference[:3]}/{reference[3:7]}/{reference[7:]}+++"
        case "RF":
            return " ".join(reference[at : at + 4] for at in range(0, len(reference), 4))
        case "QRR" | "VIITE":
            first = len(reference) % 5
            return " ".join(filter(None, [reference[:first], *(reference[at : at + 5] for at in range(first, len(reference), 5))]))
        case "KID10" | "KID11":
            return reference


def with_check(scheme: Scheme, body: str) -> str:
    """The compact reference that a body makes: its check digits put where the scheme has them.

    Raises ValueError where the body has other characters or another length than the scheme takes.
    """
    made = _checked(scheme, body) if re.fullmatch(r"[0-9A-Z]{1,26}", body) and (scheme == "RF" or body.isdigit()) else ""
    if not _FORMS[scheme].fullmatch(made):
        raise ValueError(f"the scheme {scheme} takes no such number")
    return made


def is_valid(scheme: Scheme, text: str) -> bool:
    """Whether a text, punctuation aside, is a reference of the scheme with right check digits."""
    reference = compact(text)
    if not _FORMS[scheme].fullmatch(reference):
        return False
    if scheme == "RF":
        return _mod97(reference[4:] + reference[:4]) == 1
    body = reference[:-2] if scheme == "OGM" else reference[:-1]
    return _checked(scheme, body) == reference


def schemes_of(text: str) -> tuple[Scheme, ...]:
    """Every scheme whose form and check digits a text has; several may, for the numeric ones overlap."""
    return tuple(scheme for scheme in SCHEMES if is_valid(scheme, text))


def _checked(scheme: Scheme, body: str) -> str:
    match scheme:
        case "RF":
            return f"RF{98 - _mod97(body + 'RF00'):02d}{body}"
        case "OGM":
            return f"{body}{int(body) % 97 or 97:02d}"
        case "QRR":
            carry = 0
            for char in body:
                carry = _RECURSIVE[(carry + int(char)) % 10]
            return f"{body}{-carry % 10}"
        case "VIITE":
            return f"{body}{-sum(int(char) * (7, 3, 1)[at % 3] for at, char in enumerate(reversed(body))) % 10}"
        case "KID10":
            doubled = (int(char) * (2 - at % 2) for at, char in enumerate(reversed(body)))
            return f"{body}{-sum(each // 10 + each % 10 for each in doubled) % 10}"
        case "KID11":
            rest = -sum(int(char) * (2 + at % 6) for at, char in enumerate(reversed(body))) % 11
            return f"{body}{'-' if rest == 10 else rest}"  # noqa: PLR2004 - the one rest that is no digit


def _mod97(text: str) -> int:
    """ISO 7064 MOD 97-10: letters count as 10 to 35."""
    return int("".join(str(_DIGITS.index(char)) for char in text)) % 97
