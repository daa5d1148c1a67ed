"""Money: an integer of minor units and an ISO 4217 code. Nothing is ever rounded silently, nothing is ever a float.

Source of the minor units: the ISO 4217 list one as published by SIX, carried by the `iso4217` package.
"""

import re
from decimal import Decimal
from functools import cache

from iso4217 import Currency

MAX_MINOR = 10**18 - 1
"""Minor units of the largest amount that is taken in: eighteen digits, as ISO 20022 has them (ActiveCurrencyAndAmount, totalDigits 18).

Sums, such as what a customer owes, have 64 bits: nine of the largest fit.
"""
_AMOUNT = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,4})?", re.ASCII)


@cache
def exponent(currency: str) -> int:
    """Decimal places of a currency's minor unit: 2 for EUR, 0 for JPY, 3 for KWD.

    Raises ValueError for a code that ISO 4217 does not list or that has no minor unit (gold, test codes).
    """
    try:
        found = Currency(currency).exponent
    except ValueError:
        raise ValueError(f"{currency!r} is no ISO 4217 currency code") from None
    if found is None:
        raise ValueError(f"{currency} has no minor unit")
    return int(found)


def parse_amount(text: str, currency: str) -> int:
    """Minor units of a plain decimal such as `1234.50`: ASCII digits, a point, no grouping, no exponent, no plus sign.

    Zeros beyond the currency's decimal places are allowed (`1.500` EUR is 150); any other digit there is refused.
    Raises ValueError saying what is wrong.
    """
    if not _AMOUNT.fullmatch(text):
        raise ValueError("an amount is written as digits with an optional point and one to four decimals, such as 1234.50")
    places = exponent(currency)
    scaled = Decimal(text).scaleb(places)
    minor = int(scaled)
    if minor != scaled:
        raise ValueError(f"{currency} has {places} decimal places: the amount has more")
    if abs(minor) > MAX_MINOR:
        raise ValueError("the amount is too large")
    return minor


def format_amount(minor: int, currency: str) -> str:
    """`123450` EUR as `1234.50`: the inverse of `parse_amount`."""
    return f"{Decimal(minor).scaleb(-exponent(currency)):f}"
