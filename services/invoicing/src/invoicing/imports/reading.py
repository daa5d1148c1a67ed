"""The next slice of an import, whatever its file is: rows of a table, e-invoices, or members of an archive one after the other.

Invariant: a slice is a function of the file, the mapping and the place where it begins, so that a slice whose transaction
was lost is read again the same.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import UUID

from contracts.invoices import Origin
from shared.clock import monotonic

from invoicing.einvoices.pool import kept_pool
from invoicing.einvoices.reading import Reading as EInvoiceReading
from invoicing.einvoices.xmlfile import MAX_BYTES
from invoicing.imports import archive, csvfile, spreadsheet
from invoicing.imports.customers import TakenCustomer
from invoicing.imports.customers import take as take_customer
from invoicing.imports.invoices import Reading, Taken
from invoicing.imports.mapping import Mapping
from invoicing.imports.records import MAX_ROWS, FileError
from invoicing.imports.slices import cut
from invoicing.imports.table import open_table

Format = Literal["csv", "xlsx", "xml", "pdf", "zip"]
Place = tuple[int, int, int]
"""Where a slice begins: member of the archive, byte and line in it."""
_FILES_MAX = 200
_FILES_SECONDS = 3.0
_TABLES = frozenset({"csv", "xlsx"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is being imported. `scratch` is a folder for what is unpacked and converted on the way."""

    path: Path
    format: Format
    tenant_id: UUID
    mapping: Mapping | None
    mode: Origin
    as_of: date | None
    scratch: Path


class FileTaken(NamedTuple):
    """An e-invoice of an archive, or the file itself (`member` empty)."""

    member: str
    reading: EInvoiceReading
    data: bytes


class Broken(NamedTuple):
    """A member of which nothing can be imported."""

    member: str
    error: FileError


class Batch(NamedTuple):
    """A slice, and the place where the next one begins; `finished` when there is none. `rows`: of tables, or files."""

    place: Place
    finished: bool
    rows: int
    member: str = ""
    invoices: tuple[Taken, ...] = ()
    customers: tuple[TakenCustomer, ...] = ()
    files: tuple[FileTaken, ...] = ()
    broken: tuple[Broken, ...] = ()
    label: Callable[[str], str] = str
    """How the file names a field."""


def detect(path: Path) -> Format:
    """What a file is, by its content. Raises FileError for an empty file or a broken archive."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise FileError("file-empty", "the file is empty")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        try:
            with zipfile.ZipFile(path) as packed:
                names = set(packed.namelist())
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError):
            raise FileError("zip-broken", "the archive cannot be read") from None
        return "xlsx" if {"[Content_Types].xml", "xl/workbook.xml"} <= names else "zip"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"%PDF-"):
        return "pdf"
    return "xml" if text.startswith((b"<", b"\xff\xfe<\0", b"\xfe\xff\0<")) else "csv"


def next_batch(work: Work, place: Place, max_rows: int = MAX_ROWS) -> Batch:
    """The slice that begins at a place. Blocks. Raises FileError where nothing of the whole file can be imported."""
    if work.format in _TABLES:
        return _of_table(work, work.path, work.format, place, max_rows)
    if work.format != "zip":
        return Batch(place=place, finished=True, rows=1, files=_read_files([("", _bytes(work.path))]))
    members = archive.members(work.path)
    batch = _of_members(work, members, place, max_rows)
    return batch._replace(finished=batch.place[0] >= len(members))


def _of_members(work: Work, members: list[archive.Member], place: Place, max_rows: int) -> Batch:
    """Rows of the table at the place, or e-invoices from there on until a table comes."""
    until = monotonic() + _FILES_SECONDS
    found: list[tuple[str, bytes]] = []
    broken: list[Broken] = []
    number, size = place[0], 0
    for member in islice(members, place[0], place[0] + min(_FILES_MAX, max_rows)):
        try:
            path, form = _unpacked(work, member)
            if form in _TABLES:
                if found or broken:
                    break
                batch = _of_table(work, path, form, place, max_rows)
                return batch._replace(member=member.name, place=(number + 1, 0, 1) if batch.finished else batch.place)
            found.append((member.name, _bytes(path)))
        except FileError as error:
            broken.append(Broken(member.name, error))
        number, size = number + 1, size + member.size
        if monotonic() > until or size > MAX_BYTES:
            break
    taken = _read_files(found)
    return Batch(place=(number, 0, 1), finished=False, rows=len(taken) + len(broken), files=taken, broken=tuple(broken))


def _unpacked(work: Work, member: archive.Member) -> tuple[Path, Format]:
    path = archive.unpack(work.path, member, work.scratch)
    found = detect(path)
    if found == "zip":
        raise FileError("zip-nested", "an archive in an archive is not looked into")
    if found not in _TABLES and work.mapping is not None and work.mapping.kind == "customers":
        raise FileError("format", "an e-invoice holds no customers to import")
    return path, found


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise FileError("file-too-large", f"an e-invoice is larger than {MAX_BYTES} bytes")
    return path.read_bytes()


def _read_files(found: list[tuple[str, bytes]]) -> tuple[FileTaken, ...]:
    """E-invoices read and judged, side by side."""
    readings = kept_pool().read_all(data for _, data in found) if found else ()
    return tuple(FileTaken(name, reading, data) for (name, data), reading in zip(found, readings, strict=True))


def _of_table(work: Work, path: Path, form: Format, place: Place, max_rows: int) -> Batch:
    mapping = work.mapping
    if mapping is None:
        raise FileError("mapping-missing", "a table is imported with a mapping that says how it is written")
    read = csvfile.records
    if form == "xlsx":
        rows = work.scratch / f"{path.name[:64]}.rows"
        spreadsheet.convert(path, mapping.file, rows)
        path, read = rows, spreadsheet.records
    table, first, line = open_table(path, mapping, read)
    offset, line = place[1:] if place[1] else (first, line)
    part = cut(table, read(path, mapping.file, offset, line), offset, line, max_rows=max_rows)
    after = (place[0], part.offset, part.line)
    if mapping.kind == "customers":
        customers = tuple(take_customer(table, work.tenant_id, group) for group in part.groups)
        return Batch(after, part.finished, part.rows, customers=customers, label=table.label)
    reading = Reading(table, work.mode, work.as_of)
    invoices = tuple(reading.take(group) for group in part.groups)
    return Batch(after, part.finished, part.rows, invoices=invoices, label=table.label)
