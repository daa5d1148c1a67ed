"""Whether a text was cut off: then it names something that nobody can read."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from matching.domain.engine.words import JOINING, OTHER

PAIR = 2
"""Fewest digits that are the beginning of a number, where no letter stands before them."""


def cut_off(words: Sequence[str], numbers: Iterable[str]) -> bool:
    """Whether a text (its words, upper case) ends in a word that goes before another one, or in the beginning of a number that is known."""
    if not words:
        return False
    last = words[-1]
    if last in JOINING:
        return True
    if not any(map(str.isdecimal, last)) or (len(words) > 1 and words[-2] in OTHER):
        return False
    ends = tuple(one for one in (last, "".join(words[-2:])) if not one.isdecimal() or len(one) >= PAIR)
    known = [number for number in map(_plain, numbers) if number.startswith(ends)]
    return bool(known) and not any(number in ends for number in known)


@lru_cache(maxsize=50_000)
def _plain(number: str) -> str:
    """A number as its words are written together."""
    return "".join(filter(str.isalnum, number.upper()))
