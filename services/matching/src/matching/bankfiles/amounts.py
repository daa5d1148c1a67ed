"""Amounts and days as bank files write them, read exactly or refused."""

import calendar
import re
from datetime import date
from functools import lru_cache

from shared.money import MAX_MINOR, exponent

from matching.bankfiles.errors import BankFileError
from matching.domain.statements import Amount, Transaction

_MONEY = re.compile(r"([A-Z]{3})\s*([0-9]+(?:[.,][0-9]*)?)|([0-9]+,[0-9]*)\s*$", re.ASCII)
_DIGITS = re.compile(r"([0-9]{0,20})(?:[.,]([0-9]{0,20}))?", re.ASCII)
_WITHDRAWN = dict.fromkeys(("ATS", "BGN", "CYP", "DEM", "EEK", "FIM", "FRF", "HRK", "IEP", "LTL", "LVL", "MTL", "NLG", "SIT", "SKK"), 2)
"""Currencies that the euro replaced, with cents, pfennigs and the like: archives still hold them."""


def places_of(currency: str) -> int:
    """Decimal places of a currency, withdrawn ones too. Raises BankFileError for what is no currency."""
    found = _WITHDRAWN.get(currency)
    if found is not None:
        return found
    try:
        return exponent(currency)
    except ValueError as error:
        raise BankFileError(str(error)) from None


def minor_of(text: str, currency: str) -> int:
    """Minor units of an unsigned decimal with a point or a comma: `1234,5`, `0,`, `,50`, `007.500`.

    Raises BankFileError for anything else, and for more decimals than the currency has (zeros aside): nothing is rounded.
    """
    places = places_of(currency)
    found = _DIGITS.fullmatch(text)
    if found is None or text in {"", ".", ","}:
        raise BankFileError(f"{text[:40]!r} is no amount")
    whole, decimals = found[1] or "0", (found[2] or "").rstrip("0")
    if len(decimals) > places:
        raise BankFileError(f"{currency} has {places} decimal places: {text[:40]} has more")
    return _bounded(int(whole + decimals.ljust(places, "0")))


def scaled(digits: str, stated: int, currency: str) -> int:
    """Minor units of a number without a point whose last `stated` digits are decimals: CODA has three, CFONB says how many."""
    if not (digits.isascii() and digits.isdecimal()):
        raise BankFileError(f"{digits[:40]!r} is no amount")
    return minor_of(digits[: len(digits) - stated] + "." + digits[len(digits) - stated :], currency)


def _bounded(minor: int) -> int:
    if minor > MAX_MINOR:
        raise BankFileError("the amount is too large")
    return minor


@lru_cache(maxsize=4_096)
def day_of(digits: str, order: str = "ymd") -> date | None:
    """A day of six digits (two each, in the order given) or eight (a year of four); None where it is blank, zero or no day.

    A day past the end of its month is its last: German banks write 30 February as a value date (30/360 interest), others 31 November.
    """
    text = digits.strip()
    if not (text.isascii() and text.isdecimal() and len(text) in {6, 8}) or not int(text):
        return None
    widths = {"y": len(text) - 4, "m": 2, "d": 2}
    part, at = {}, 0
    for name in order:
        part[name] = int(text[at : at + widths[name]])
        at += widths[name]
    year = part["y"] if len(text) == 8 else part["y"] + (2000 if part["y"] < 80 else 1900)  # noqa: PLR2004 - a year of four digits
    if not 1 <= part["m"] <= 12 or not 1 <= part["d"] <= 31 or year < 1900:  # noqa: PLR2004 - a calendar
        return None
    return date(year, part["m"], min(part["d"], calendar.monthrange(year, part["m"])[1]))


def state(one: Transaction, text: str, *, charge: bool) -> None:
    """Adds what MT940 states beside the amount of an entry: a charge, or the instructed amount, `EUR10,00` or `10,00` of its currency."""
    found = _MONEY.match(text)
    if found is None:
        return
    currency = found[1] or one.currency
    try:
        amount = Amount(minor_of((found[2] or found[3]).rstrip(","), currency), currency)
    except BankFileError:
        return
    if charge:
        one.charges.append(amount)
    elif one.instructed is None:
        one.instructed = amount
