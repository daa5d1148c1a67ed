"""Lines of a text file, whatever its encoding, line ends and width: never more of it in memory than one line."""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from matching.bankfiles.errors import BankFileError

_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127), " ")
PIECE = 61_440
"""Bytes read at once where no line ends: a multiple of 120 and 128, the widths of records that come without line ends."""
_HEAD = 512
_ENCODING = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)")
_BETWEEN = 256
"""Bytes that stand between two documents, at the most."""
_DECLARED = b"<?xml"
_NEXT = re.compile(rb"(>(?:\s|\x00|\x1a|\xef\xbb\xbf){0,%d})<\?xml\s" % (_BETWEEN - 8))
MAX_DOCUMENTS = 10_000
"""In one file."""
_ENDED = b"Document>"
_UNDECLARED = re.compile(
    rb"</(?:[\w.-]{1,40}:)?Document(>(?:\s|\x00|\x1a|\xef\xbb\xbf){0,%d})<(?:[\w.-]{1,40}:)?Document[\s>]" % (_BETWEEN - 110)
)
_ROOT = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)")
_SIGNATURES = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def lines(file: BinaryIO, page: str | None = None) -> Iterator[str]:
    """The lines from the start of the file, without their ends. Each line is UTF-8 where it can be, else Windows-1252; or all of `page`.

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
    if len(head) > 1 and (head[0] == 0) != (head[1] == 0):  # UTF-16 without a mark
        yield from _wide(file, "utf-16-be" if head[0] == 0 else "utf-16-le")
        return
    yield from _narrow(file, page)


def _narrow(file: BinaryIO, page: str | None = None) -> Iterator[str]:
    left = b""
    while piece := file.readline(PIECE):
        whole, left = left + piece, b""
        if not whole.endswith(b"\n") and b"\r" in whole:  # a piece of a file with the line ends of old Macs: its last line goes on
            whole, _, left = whole.rpartition(b"\r")
            if len(left) > PIECE:
                raise BankFileError("a line of the file never ends")
        yield from decoded(whole, page).removesuffix("\n").removesuffix("\r").split("\r")
    if left:
        yield decoded(left, page)


def _wide(file: BinaryIO, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    left = ""
    while piece := file.read(PIECE):
        *whole, left = (left + decoder.decode(piece)).translate(_CONTROLS).replace("\r\n", "\n").split("\n")
        yield from whole
        if len(left) > PIECE:
            raise BankFileError("a line of the file never ends")
    yield left + decoder.decode(b"", final=True)


def decoded(piece: bytes, page: str | None = None) -> str:
    """Bytes as text, control characters as spaces; what Windows-1252 does not know either is read as ISO 8859-1, which knows every byte.

    `page`: the code page, where that is sure.
    """
    for encoding in (page,) if page else ("utf-8", "cp1252"):
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


def documents(file: BinaryIO) -> list[tuple[int, int]]:
    """Where the XML documents in a file begin and end: some banks put several into one, with declarations or without.

    A document within another element than its own is a part of that one. Raises BankFileError where there are too many.
    """
    file.seek(0)
    root = _ROOT.search(file.read(_HEAD))
    alone = root is not None and root[1] == b"Document"
    file.seek(0)
    found, start, tail, at = [], 0, b"", 0
    while piece := file.read(PIECE):
        text, before = tail + piece, at - len(tail)
        nexts = [*(_NEXT.finditer(text) if _DECLARED in text else ()), *(_UNDECLARED.finditer(text) if alone and _ENDED in text else ())]
        for one in sorted(nexts, key=re.Match.start):
            if one.end() > len(tail):
                found.append((start, before + one.start(1) + 1))
                start = before + one.end(1)
        if len(found) >= MAX_DOCUMENTS:
            raise BankFileError(f"more than {MAX_DOCUMENTS} XML documents in the file")
        tail, at = text[-_BETWEEN:], at + len(piece)
    return [*found, (start, at)]


class Trimmed:
    """One XML document of a file without what stands before its first `<` and without the zeros and ends of file of DOS behind it."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file, self._end = file, end
        file.seek(start)
        head = file.read(_HEAD)
        wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or head[:2] in {b"<\x00", b"\x00<"}
        self._ends = b"" if wide else b"\x00\x1a"
        file.seek(start if wide else start + max(head.find(b"<"), 0))

    def read(self, size: int = -1) -> bytes:
        """The next bytes, as a file gives them."""
        left = self._end - self._file.tell()
        piece = self._file.read(min(size, left) if size >= 0 else left)
        return piece.rstrip(self._ends) or (self.read(size) if piece and self._ends else b"")


def encoding_of(file: BinaryIO) -> str | None:
    """The encoding of an XML file where that can be told; None where it is what the file declares, for all one knows.

    Banks write Windows-1252 under a declaration of UTF-8, or under none, and programs UTF-8 under one of UTF-16.
    """
    file.seek(0)
    head = file.read(_HEAD)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\x00" in head[:4]:
        return None
    found = _ENCODING.search(head)
    declared = found[1].lower() if found else b"utf-8"
    if declared not in {b"utf-8", b"utf8", b"utf-16", b"utf16"}:
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while piece := file.read(PIECE):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"
