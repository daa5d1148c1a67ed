"""Records of a CSV file from any byte on: nothing before it is read again, nothing of the file is held but the slice.

Invariants: a record's bytes are known exactly (the reader takes whole lines and no more than it needs), so the end of one
is where a later process goes on; a line that cannot be decoded or parsed is one faulty record, and the next is sound again.
"""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from invoicing.imports.mapping import FileForm
from invoicing.imports.records import Fault, FileError, Record

LONGEST_LINE = 1024 * 1024
LONGEST_CELL = 32 * 1024
_MARKS = {"utf-8": codecs.BOM_UTF8}


class _Lines:
    """The lines of a file from `offset` on, decoded one by one; counts the bytes and lines that were taken."""

    def __init__(self, file: BinaryIO, encoding: str, wide: bool, offset: int, line: int) -> None:  # noqa: FBT001 - one caller
        self._file, self._encoding, self._wide = file, encoding, wide
        self.offset, self.line = offset, line
        self.undecodable = False
        file.seek(offset)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(LONGEST_LINE) if not self._wide else self._wide_line()
        if not raw:
            raise StopIteration
        if len(raw) >= LONGEST_LINE:
            raise FileError("line-too-long", f"a line is longer than {LONGEST_LINE} bytes: is this a text file?", line=self.line)
        self.offset += len(raw)
        self.line += 1
        try:
            text = raw.decode(self._encoding)
        except UnicodeDecodeError:
            self.undecodable = True
            text = raw.decode(self._encoding, "replace")
        return text

    def _wide_line(self) -> bytes:
        """A line of UTF-16: a line feed is two bytes, at an even place."""
        line = b""
        feed = "\n".encode(self._encoding)
        while len(line) < LONGEST_LINE:
            part = self._file.readline(LONGEST_LINE)
            if not part:
                return line
            line += part
            if len(line) % 2:
                line += self._file.read(1)
            if line.endswith(feed):
                return line
        return line


def records(path: Path, form: FileForm, offset: int = 0, line: int = 1) -> Iterator[Record]:
    """The records of a file from a byte on, which is at a line. At byte 0 a byte order mark and `skip_lines` are passed over.

    Lines without any cell are not records. Raises FileError for a file that is no text.
    """
    with path.open("rb") as file:
        encoding, wide = form.encoding, form.encoding == "utf-16"
        if wide:
            mark = file.read(2)
            if mark not in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
                raise FileError("encoding", "a UTF-16 file begins with a byte order mark; this one does not", line=1)
            encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"  # type: ignore[assignment] # a codec, not a choice
            offset = offset or 2
        elif offset == 0 and (mark := _MARKS.get(form.encoding, b"")) and file.read(len(mark)) == mark:
            offset = len(mark)
        lines = _Lines(file, encoding, wide, offset, line)
        for _ in range(form.skip_lines if line == 1 else 0):
            next(lines, None)
        yield from _parsed(lines, form)


def _parsed(lines: _Lines, form: FileForm) -> Iterator[Record]:
    csv.field_size_limit(LONGEST_CELL)
    if form.quote:
        reader = csv.reader(lines, delimiter=form.separator, quotechar=form.quote, strict=True)
    else:
        reader = csv.reader(lines, delimiter=form.separator, quotechar=None, quoting=csv.QUOTE_NONE, strict=True)
    while True:
        start, line, fault, cells = lines.offset, lines.line, None, []
        lines.undecodable = False
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            until = f" (up to line {lines.line - 1})" if lines.line - 1 > line else ""
            fault = Fault("", "csv-form", f"is not written as the mapping says: {error}{until}")
        if lines.undecodable:
            fault = Fault("", "encoding", f"holds bytes that are no {form.encoding}")
        if fault is None and "\0" in "".join(cells):
            fault = Fault("", "nul", "holds a NUL character")
        if cells or fault is not None:
            yield Record(line, cells, start, lines.offset, lines.line, fault)
