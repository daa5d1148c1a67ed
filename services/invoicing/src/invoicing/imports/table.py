"""A table's columns, looked up by a mapping: which place of a row fills which field."""

from collections.abc import Callable, Iterator
from pathlib import Path

from invoicing.imports.csvfile import records
from invoicing.imports.mapping import FieldSource, FileForm, Mapping
from invoicing.imports.records import Fault, FileError, Record

Cell = Callable[[list[str]], str]


class Column:
    """A field's source in a given file: `label` is how errors name it, `text` what a row's cell says after translation."""

    __slots__ = ("_default", "_place", "_values", "constant", "label")

    def __init__(self, source: FieldSource, place: int | None, label: str) -> None:
        self._place, self._default, self._values = place, source.default or "", source.values
        self.constant, self.label = source.constant, label

    def text(self, cells: list[str]) -> str | None:
        """The cell, outer white space cut; None where it says something that the mapping does not translate."""
        if self._place is None:
            return self.constant
        raw = cells[self._place]
        text = raw if not raw or (raw[0] > " " and raw[-1] > " ") else type(raw)(raw.strip())
        if not text:
            text = self._default
        if self._values is not None and text:
            return self._values.get(text)
        return text


class Table:
    """A file's columns. Raises FileError where the mapping names a column that the file has not, or has twice."""

    def __init__(self, mapping: Mapping, header: list[str] | None, line: int = 1) -> None:
        self.mapping = mapping
        self.columns: dict[str, Column] = {}
        self._width = len(header) if header is not None else 0
        names = [name.strip() for name in header or ()]
        furthest = 0
        for field, source in mapping.fields.items():
            place: int | None = None
            label = field
            if isinstance(source.column, str):
                if (found := names.count(source.column.strip())) != 1:
                    said = "is not in the header" if found == 0 else "is in the header more than once"
                    raise FileError("column-missing" if found == 0 else "column-twice", said, line=line, column=source.column)
                place, label = names.index(source.column.strip()), source.column
            elif source.column is not None:
                place = source.column - 1
                label = names[place] if place < len(names) and names[place] else str(source.column)
                furthest = max(furthest, source.column)
            self.columns[field] = Column(source, place, label)
        self._needed = self._width or furthest
        if header is not None and furthest > len(header):
            raise FileError("column-missing", f"the header has {len(header)} columns", line=line, column=str(furthest))

    def fault(self, record: Record) -> Fault | None:
        """What is wrong with a row as a whole: too few cells, or more than the header has (empty ones at the end aside)."""
        if record.fault is not None:
            return record.fault
        cells = record.cells
        if len(cells) < self._needed:
            return Fault("", "row-width", f"has {len(cells)} cells where {self._needed} are needed")
        if self._width and len(cells) > self._width and any(cells[self._width :]):
            return Fault("", "row-width", f"has {len(cells)} cells where the header has {self._width}")
        return None

    def label(self, field: str) -> str:
        """How an error names a field: by the file's own column."""
        return self.columns[field].label if field in self.columns else field


Reader = Callable[[Path, FileForm, int, int], Iterator[Record]]


def open_table(path: Path, mapping: Mapping, read: Reader = records) -> tuple[Table, int, int]:
    """The columns of a file, and the byte and line at which its rows begin. Raises FileError."""
    first = next(read(path, mapping.file, 0, 1), None)
    if first is None:
        raise FileError("file-empty", "the file holds no row", line=1)
    if not mapping.file.header:
        return Table(mapping, None), 0, 1
    if first.fault is not None:
        raise FileError(first.fault.rule, f"the header {first.fault.detail}", line=first.line)
    return Table(mapping, first.cells, first.line), first.end, first.next_line
