"""References as they are compared, and where one stands in what a payer wrote.

Rules: a value is compared without case, spaces and punctuation; in free text it counts only when it fills whole words (INV-1 is
not in INV-10). Document numbers as payers garble them are read by the engine (`engine.text`).
"""

import re
import unicodedata
from collections.abc import Iterable

NUMBER_MIN = 4
"""A document number shorter than this (without punctuation) is too weak a sign in free text."""
RUN_MAX = 6
"""Most words that one document number is written in."""
_WORDS = re.compile(r"[A-Z0-9]+", re.ASCII)


def normalised(value: str) -> str:
    """A reference or number as it is compared: upper case, letters and digits only."""
    if value.isascii() and value.isalnum():
        return value.upper()
    folded = unicodedata.normalize("NFKD", value).upper()
    return "".join(_WORDS.findall(folded))


Span = tuple[int, int, int]
"""Where a run of words lies: line, first word, word after the last."""


def runs(lines: Iterable[str]) -> dict[str, list[Span]]:
    """Every run of one to RUN_MAX whole words in the lines, normalised, with where it lies.

    Only runs of NUMBER_MIN to 40 characters with a digit in them: nothing else is a document number.
    """
    found: dict[str, list[Span]] = {}
    for number, line in enumerate(lines):
        words = _WORDS.findall(unicodedata.normalize("NFKD", line).upper())
        for start in range(len(words)):
            value = ""
            for end in range(start, min(start + RUN_MAX, len(words))):
                value += words[end]
                if len(value) > 40:  # noqa: PLR2004 - longer than any document number
                    break
                if len(value) >= NUMBER_MIN and any(char.isdecimal() for char in value):
                    found.setdefault(value, []).append((number, start, end + 1))
    return found


def fills(lines: Iterable[str], value: str) -> bool:
    """Whether a normalised value of NUMBER_MIN characters or more is a run of whole words of a line, with a digit in it or not."""
    if len(value) < NUMBER_MIN:
        return False
    for line in lines:
        words = _WORDS.findall(unicodedata.normalize("NFKD", line).upper())
        for start in range(len(words)):
            run = ""
            for word in words[start:]:
                run += word
                if len(run) >= len(value):
                    break
            if run == value:
                return True
    return False
