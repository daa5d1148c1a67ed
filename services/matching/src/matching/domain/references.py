"""References and document numbers in what a payer wrote.

Rules: a value is compared without case, spaces and punctuation; a number in free text counts only when it fills whole
words (INV-1 is not in INV-10); a longer find hides a shorter one inside it; an RF reference counts in free text only when
its check digits are right (ISO 11649, ISO 7064 MOD 97-10).
"""

import re
import unicodedata
from collections.abc import Iterable

NUMBER_MIN = 4
"""A document number shorter than this (without punctuation) is too weak a sign in free text."""
RUN_MAX = 6
"""Most words that one document number is written in."""
_WORDS = re.compile(r"[A-Z0-9]+", re.ASCII)
_RF = re.compile(r"RF[0-9]{2}[A-Z0-9]{1,21}", re.ASCII)


def normalised(value: str) -> str:
    """A reference or number as it is compared: upper case, letters and digits only."""
    if value.isascii() and value.isalnum():
        return value.upper()
    folded = unicodedata.normalize("NFKD", value).upper()
    return "".join(_WORDS.findall(folded))


def is_creditor_reference(value: str) -> bool:
    """Whether a normalised value is an RF creditor reference with right check digits."""
    if not _RF.fullmatch(value):
        return False
    return int("".join(str(int(char, 36)) for char in value[4:] + value[:4])) % 97 == 1


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
                if len(value) >= NUMBER_MIN and any(char.isdigit() for char in value):
                    found.setdefault(value, []).append((number, start, end + 1))
    return found


def outermost(found: dict[str, list[Span]]) -> list[str]:
    """The values not wholly inside a longer one: `INV 1 0` names INV10 where both INV1 and INV10 exist."""
    spans = [(span, value) for value, places in found.items() for span in places]

    def hidden(inner: Span) -> bool:
        return any(outer[0] == inner[0] and outer != inner and outer[1] <= inner[1] and inner[2] <= outer[2] for outer, _ in spans)

    return sorted({value for span, value in spans if not hidden(span)})
