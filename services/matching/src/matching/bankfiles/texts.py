"""Lines of a text file, whatever its encoding, line ends and width: never more of it in memory than one line."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from matching.bankfiles.errors import BankFileError

_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127), " ")
PIECE = 61_440
"""Bytes read at once where no line ends: a multiple of 120 and 128, the widths of records that come without line ends."""
_SIGNATURES = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def lines(file: BinaryIO) -> Iterator[str]:
    """The lines from the start of the file, without their ends. Each line is UTF-8 where it can be, else Windows-1252.

    A line of more than 60 kB comes in pieces.
    """
    file.seek(0)
    head = file.read(4)
    for signature, encoding in _SIGNATURES:
        if head.startswith(signature):
            file.seek(len(signature))
            yield from _wide(file, encoding) if encoding != "utf-8" else _narrow(file)
            return
    file.seek(0)
    yield from _narrow(file)


def _narrow(file: BinaryIO) -> Iterator[str]:
    while piece := file.readline(PIECE):
        text = decoded(piece).removesuffix("\n").removesuffix("\r")
        if "\r" in text:
            yield from text.split("\r")
        else:
            yield text


def _wide(file: BinaryIO, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    left = ""
    while piece := file.read(PIECE):
        *whole, left = (left + decoder.decode(piece)).translate(_CONTROLS).replace("\r\n", "\n").split("\n")
        yield from whole
        if len(left) > PIECE:
            raise BankFileError("a line of the file never ends")
    yield left + decoder.decode(b"", final=True)


def decoded(piece: bytes) -> str:
    """Bytes as text, control characters as spaces; what Windows-1252 does not know either is read as ISO 8859-1, which knows every byte."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return piece.decode(encoding).translate(_CONTROLS)
        except UnicodeDecodeError:
            continue
    return piece.decode("latin-1").translate(_CONTROLS)


def records(file: BinaryIO, width: int) -> Iterator[tuple[int, str]]:
    """Records of a fixed width with their number, from lines or from one line that holds them all; blank ones are left out."""
    number = 0
    for line in lines(file):
        for start in range(0, max(len(line), 1), width):
            record = line[start : start + width]
            if record.strip(" \x00\x1a\ufeff"):
                number += 1
                yield number, record.ljust(width)
