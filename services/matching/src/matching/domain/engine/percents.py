"""The percentages that a payer names: what it keeps back of an item (a retention, a commission, a claim), or pays of it (a part)."""

import re

PERCENT = re.compile(
    r"(?<![0-9.,])([0-9]{1,2})(?:[.,]([0-9]{1,3}))? ?"
    r"(?:%|(?:PCT|PERCENT|PER CENT|PROZENT|POURCENT|POUR CENT|PER CENTO|POR CIENTO|POR CENTO|PROCENT|PROSENT|PROSENTTIA)(?![A-Z]))"
)
"""A number of percent, upper case: 5 %, 2,5%, 5PCT, 10 PROZENT."""
WHOLE = 100_000
"""A hundred percent, in thousandths."""


def named_percents(text: str) -> frozenset[int]:
    """The percentages in a text that is upper case, in thousandths of a percent; 0 is none."""
    found = {int(one) * 1000 + int(rest.ljust(3, "0")) for one, rest in PERCENT.findall(text)} if "%" in text or "P" in text else set()
    return frozenset(found - {0})


def is_share(part: int, whole: int, percents: frozenset[int]) -> bool:
    """Whether one of the percentages of the whole is the part to the cent, whichever way it was rounded."""
    return any(abs(part * WHOLE - whole * percent) < WHOLE for percent in percents)
