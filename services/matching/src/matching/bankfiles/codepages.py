"""The code page of an MT940 of a Polish, Czech, Slovak or Hungarian bank, which no such file names.

Banks there write Windows-1250, ISO 8859-2 or DOS's code page 852. The letters say which, as long as each byte is a letter that the
country's language or German (whose names are everywhere) has: one reading has nothing but these, and where several have they are the
same text. Anything else is unsure: the file is read as any other.
"""

import codecs
import re
from typing import BinaryIO

from matching.bankfiles.texts import PIECE

_PAGES = ("cp1250", "iso8859-2", "cp852", "cp1252")
_GERMAN = "\u00e4\u00f6\u00fc\u00df"
_LETTERS = {
    country: frozenset(letters + letters.upper() + _GERMAN + _GERMAN.upper())
    for country, letters in {
        b"PL": "\u0105\u0107\u0119\u0142\u0144\u00f3\u015b\u017a\u017c",
        b"CZ": "\u00e1\u010d\u010f\u00e9\u011b\u00ed\u0148\u00f3\u0159\u0161\u0165\u00fa\u016f\u00fd\u017e",
        b"SK": "\u00e1\u00e4\u010d\u010f\u00e9\u00ed\u013a\u013e\u0148\u00f3\u00f4\u0155\u0161\u0165\u00fa\u00fd\u017e",
        b"HU": "\u00e1\u00e9\u00ed\u00f3\u00f6\u0151\u00fa\u00fc\u0171",
    }.items()
}
"""Letters beside ASCII by the country of the account."""
_ACCOUNT = re.compile(rb":25P?:\s*(?:[A-Z0-9]{8,11})?/?([A-Z]{2})[0-9]{2}[ ]?[0-9A-Z]{4}")
_ACCOUNT_MAX = 64
_ASCII = bytes(range(128))
_FOREIGN = re.compile(r"[^\x00-\x7f]")


def code_page(file: BinaryIO) -> str | None:
    """The code page that is sure; None where none is, or where it is UTF-8."""
    file.seek(0)
    used: set[int] = set()
    said: set[str] | None = set()
    countries: set[bytes] = set()
    decoder, tail = codecs.getincrementaldecoder("utf-8")(), b""
    while piece := file.read(PIECE):
        countries.update(_ACCOUNT.findall(tail + piece))
        if len(countries) != 1 or not countries <= _LETTERS.keys():
            return None
        tail = piece[-_ACCOUNT_MAX:]
        if foreign := piece.translate(None, _ASCII):
            used.update(foreign)
            said = None if said is None else _said(decoder, piece, said)
    if not used:
        return None
    letters = _LETTERS[countries.pop()]
    if said is not None and said <= letters:
        return None
    readings = {bytes(sorted(used)).decode(page, "replace"): page for page in _PAGES}
    sure = [page for text, page in readings.items() if letters.issuperset(text)]
    return sure[0] if len(sure) == 1 else None


def _said(decoder: codecs.IncrementalDecoder, piece: bytes, said: set[str]) -> set[str] | None:
    """What a piece says beside ASCII, as UTF-8, and what was said before; None where it is no UTF-8."""
    try:
        return said.union(_FOREIGN.findall(decoder.decode(piece)))
    except UnicodeDecodeError:
        return None
