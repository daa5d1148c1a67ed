"""Numbers of papers that prove a settlement beside the bank, as people write them."""

import re
import unicodedata

_WORDS = re.compile(r"[^\W_]+")


def proof_key(reference: str) -> str:
    """A proof's number as it is compared: one paper however it is written, in any script. Migration 0041 has a copy.

    Neither case nor spaces nor signs count, unless they part two numbers: N-1 is n1, and 1-12 is not 11-2.
    """
    found = ""
    for word in _WORDS.findall(unicodedata.normalize("NFKC", reference).casefold()):
        found += f"-{word}" if found[-1:].isdigit() and word[0].isdigit() else word
    return found or reference
