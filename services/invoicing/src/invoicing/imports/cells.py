"""Cells that are texts, counts or yes and no, by the bounds of the API's own fields."""

import unicodedata

from shared.web.models import clean_line

from invoicing.domain.cells import CellError, shown

NUMBER, TEXT, CODE = 100, 255, 64
_YES, _NO = frozenset({"1", "true", "yes", "y", "x"}), frozenset({"0", "false", "no", "n"})


def clean(text: str, longest: int) -> str:
    """A line of text, NFC. Raises CellError for control and direction characters, and beyond `longest` characters."""
    if text.isascii() and text.isprintable():
        found = str(text)  # a plain one: what is stored and published is no cell any more
    else:
        try:
            found = str(clean_line(unicodedata.normalize("NFC", text)))
        except ValueError:
            raise CellError("text-form", "holds a control or direction character") from None
    if len(found) > longest:
        raise CellError("text-too-long", f"is longer than {longest} characters")
    return found


def integer(text: str, low: int, high: int) -> int:
    """A whole number in digits alone. Raises CellError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):  # noqa: PLR2004 - 64 bits
        raise CellError("integer", f"is no whole number from {low} to {high}: {shown(text)}")
    return int(text)


def flag(text: str) -> bool:
    """Yes or no: 1, true, yes, y, x or 0, false, no, n. Raises CellError."""
    said = text.lower()
    if said not in _YES | _NO:
        raise CellError("flag", f"is neither yes nor no (1, true, yes, y, x; 0, false, no, n): {shown(text)}")
    return said in _YES
