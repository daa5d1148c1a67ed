"""What a file is cut into: records, each at its line, and slices of them with the place where the next one begins."""

from typing import NamedTuple

MAX_ROWS = 1000
"""Records of a slice: what one transaction takes."""
MAX_BYTES = 4 * 1024 * 1024
"""Bytes of a slice, whatever its rows: what keeps memory flat."""


class NativeNumber(str):
    """A number that the file itself holds as one: written like -1234.5, whatever the mapping's form."""

    __slots__ = ()


class NativeDate(str):
    """A day that the file itself holds as one: written YYYY-MM-DD."""

    __slots__ = ()


class Fault(NamedTuple):
    """Something wrong with a record: its column as the file names it (empty for the whole), a stable rule, a sentence."""

    column: str
    rule: str
    detail: str


class Record(NamedTuple):
    """A row of a table at its line (the first is 1); `fault` where the line itself cannot be read."""

    line: int
    cells: list[str]
    start: int
    end: int
    """Bytes at which this record and the next one begin."""
    next_line: int
    fault: Fault | None = None


class FileError(Exception):
    """A file of which nothing can be imported: no such column, no table, a bomb. Says where, which rule, and why."""

    def __init__(self, rule: str, detail: str, *, line: int = 0, column: str = "") -> None:
        super().__init__(detail)
        self.rule, self.detail, self.line, self.column = rule, detail, line, column
