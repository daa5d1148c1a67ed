"""Slices of a table: at most so many rows and bytes, never cutting through rows that belong together."""

from collections.abc import Iterator
from typing import NamedTuple

from invoicing.imports.records import MAX_BYTES, MAX_ROWS, Fault, Record
from invoicing.imports.table import Table


class Group(NamedTuple):
    """The rows of one invoice or customer, in order; `fault` where they are too many to be one."""

    records: list[Record]
    fault: Fault | None = None


class Slice(NamedTuple):
    """Groups, and the byte and line where the next slice begins; `finished` at the end of the file. `rows`: of the file."""

    groups: list[Group]
    offset: int
    line: int
    finished: bool
    rows: int


def cut(table: Table, rows: Iterator[Record], offset: int, line: int, *, max_rows: int = MAX_ROWS) -> Slice:
    """The next slice of rows that begin at a byte and line. Rows of empty cells are passed over."""
    if table.mapping.rows == "one":
        return _singles(rows, offset, line, max_rows)
    return _groups(table, rows, offset, line, max_rows)


def _singles(rows: Iterator[Record], offset: int, line: int, max_rows: int) -> Slice:
    groups: list[Group] = []
    begun = offset
    for record in rows:
        offset, line = record.end, record.next_line
        if record.fault is not None or any(record.cells):
            groups.append(Group([record]))
            if len(groups) >= max_rows or offset - begun >= MAX_BYTES:
                return Slice(groups, offset, line, finished=next(rows, None) is None, rows=len(groups))
    return Slice(groups, offset, line, finished=True, rows=len(groups))


def _groups(table: Table, rows: Iterator[Record], offset: int, line: int, max_rows: int) -> Slice:
    """As `_singles`, with rows of one key together. A key that comes again later is another group: the command path judges it."""
    done: list[Group] = []
    now: list[Record] = []
    key: str | None = None
    taken, held, begun = 0, 0, offset
    for record in rows:
        if record.fault is None and not any(record.cells):
            continue
        own = _key(table, record)
        if now and (own is None or own != key):
            done.append(_group(now, held))
            taken, now, held = taken + held, [], 0
            if taken >= max_rows or record.start - begun >= MAX_BYTES:
                return Slice(done, record.start, record.line, finished=False, rows=taken)
        elif done and now and (taken + held >= max_rows or record.start - begun >= MAX_BYTES):
            return Slice(done, now[0].start, now[0].line, finished=False, rows=taken)
        key, held = own, held + 1
        if held <= MAX_ROWS:
            now.append(record)
        offset, line = record.end, record.next_line
    if now:
        done.append(_group(now, held))
    return Slice(done, offset, line, finished=True, rows=taken + held)


def _key(table: Table, record: Record) -> str | None:
    """What rows of one invoice or customer share; None for a row that stands alone because it cannot be read."""
    if table.fault(record) is not None:
        return None
    names = ("source_id", "invoice_number") if table.mapping.kind == "invoices" else ("customer_number",)
    column = next(table.columns[name] for name in names if name in table.columns)
    return column.text(record.cells) or None


def _group(records: list[Record], held: int) -> Group:
    too_many = Fault("", "too-many-rows", f"{held} rows of one number follow one another; {MAX_ROWS} can be one")
    return Group(records, too_many if held > MAX_ROWS else None)
