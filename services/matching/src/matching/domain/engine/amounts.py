"""Amounts that a payer writes and that come to what was paid: no parts of numbers, and perhaps his word on how much is for which item."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from shared.money import exponent

_AMOUNT = re.compile(
    r"(?<![0-9A-Z.,'/-])(-[ ]?)?((?:0|[1-9][0-9]{0,2}(?:[.,'][0-9]{3})+|[1-9][0-9]{0,12})[.,][0-9]{2})(-?)(?![0-9A-Z]|[.,/-][0-9])",
    re.ASCII,
)
"""An amount with two decimals, however it is grouped; a minus stands on either side. A day has a zero in front, or goes on."""
CENTS = 2
"""Decimals of the currencies in which amounts are looked for."""
_DIGITS = re.compile(r"[0-9]+", re.ASCII)


class Told(NamedTuple):
    """An amount as a payer wrote it, in hundredths, and from which word to which."""

    start: int
    end: int
    minor: int


class Amounts(NamedTuple):
    """What comes to the sum that was paid, and the words of that, and of the sum itself where it stands there too."""

    told: tuple[Told, ...] = ()
    words: frozenset[int] = frozenset()


@cache
def _has_cents(currency: str) -> bool:
    """Whether amounts in a currency have two decimals; of one that ISO 4217 does not list, or not any more, nobody knows."""
    try:
        return exponent(currency) == CENTS
    except ValueError:
        return False


def named_amounts(text: str, places: Sequence[int], paid: int, currency: str) -> Amounts:
    """The amounts of a text that is upper case and whose words begin at these places; none where they do not come to what was paid."""
    found = []
    for amount in _AMOUNT.finditer(text) if _has_cents(currency) else ():
        minor = int("".join(_DIGITS.findall(amount[2])))
        start, end = bisect_left(places, amount.start(2)), bisect_left(places, amount.end(2))
        found.append(Told(start, end, -minor if amount[1] or amount[3] else minor))
    told = [one for one in found if one.minor != paid] or found[:1]
    if not found or sum(one.minor for one in told) != paid:
        return Amounts()
    return Amounts(tuple(told), frozenset(at for one in found for at in range(one.start, one.end)))
