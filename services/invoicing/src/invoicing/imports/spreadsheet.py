"""XLSX to records, by way of a file of JSON lines: a row's number and its cells, one row a line.

A workbook cannot be read from the middle, so it is turned once into what can, by a process of its own with limits on
memory and time: what a hostile workbook costs is that process. Run as `python -m invoicing.imports.spreadsheet`.

Invariants: what the workbook says of its own size is not believed; a formula is refused or counts as its value last
computed, never as nothing; a number keeps the 15 digits that a spreadsheet has.
"""

import json
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl

from invoicing.imports.mapping import FileForm
from invoicing.imports.records import Fault, FileError, NativeDate, NativeNumber, Record

MAX_UNPACKED_BYTES = 1024 * 1024 * 1024
MAX_SHARED_TEXT_BYTES = 128 * 1024 * 1024
MAX_COLUMNS = 1000
MAX_ROWS = 1_048_576
"""What a worksheet can have."""
MEMORY_BYTES = 1536 * 1024 * 1024
CPU_SECONDS = 900
_BLANK_ROWS_MAX = 10_000
_REFUSED = 3
_MIDNIGHT = time(0)


def convert(path: Path, form: FileForm, target: Path) -> None:
    """Writes the rows of a workbook's sheet to `target`, whole or not at all. Raises FileError saying why not."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_suffix(".part")
    command = [sys.executable, "-m", "invoicing.imports.spreadsheet", str(path), str(aside), form.model_dump_json()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * CPU_SECONDS, check=False)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired:
        raise FileError("xlsx-limits", "the workbook takes too long to read") from None
    if done.returncode == _REFUSED:
        said = json.loads(done.stdout)
        raise FileError(said["rule"], said["detail"])
    if done.returncode != 0:
        raise FileError("xlsx-limits", "the workbook needs more memory or time than it may have, or is broken")
    aside.replace(target)


def records(path: Path, form: FileForm, offset: int = 0, line: int = 1) -> Iterator[Record]:
    """The records of a converted sheet from a byte on, as `csvfile.records`; a record's line is its row in the sheet."""
    with path.open("rb") as file:
        file.seek(offset)
        start = offset
        for raw in file:
            number, cells, wrong = json.loads(raw)
            begun, start = start, start + len(raw)
            if offset == 0 and number <= form.skip_lines:
                continue
            fault = Fault(*wrong) if wrong else None
            yield Record(max(number, line), [_cell(each) for each in cells], begun, start, number + 1, fault)


def _cell(said: Any) -> str:
    if isinstance(said, str):
        return said
    kind, text = said
    return NativeNumber(text) if kind == "n" else NativeDate(text)


# --- in the process of its own ----------------------------------------------------------------------------------------
def _written(value: Any) -> Any:  # noqa: PLR0911 - a table, one line per kind
    """A cell as JSON holds it: a text, or ["n", number] or ["d", day]. Raises ValueError for what no field can be."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return ["n", str(value)]
        case float():
            return ["n", format(Decimal(f"{value:.15g}"), "f")]
        case datetime() if value.time() == _MIDNIGHT:
            return ["d", value.date().isoformat()]
        case datetime():
            raise ValueError("is a moment, not a day")
        case date():
            return ["d", value.isoformat()]
        case _:
            raise ValueError("is neither text, number nor day")


def _rows(workbook: Any, sheet: str, cached: Any) -> Iterator[tuple[int, list[Any], Fault | None]]:
    worksheet = workbook[sheet]
    worksheet.reset_dimensions()
    values: Iterator[Any] | None = None
    if cached is not None:
        cached[sheet].reset_dimensions()
        values = cached[sheet].iter_rows(values_only=True, max_col=MAX_COLUMNS)
    blank, width = 0, 0
    for number, row in enumerate(worksheet.iter_rows(max_col=MAX_COLUMNS), 1):
        if number > MAX_ROWS:
            raise FileError("xlsx-size", f"the sheet has more than {MAX_ROWS} rows")
        computed = next(values, ()) if values is not None else ()
        cells, fault = _row(row, computed)
        while cells and cells[-1] == "":
            cells.pop()
        blank = 0 if cells or fault else blank + 1
        if blank > _BLANK_ROWS_MAX:
            return  # a sheet that is formatted to its last row
        if cells or fault:
            width = width or len(cells)
            yield number, cells + [""] * (width - len(cells)), fault


def _row(row: Any, computed: Any) -> tuple[list[Any], Fault | None]:
    cells: list[Any] = []
    fault = None
    for place, cell in enumerate(row):
        value = cell.value
        column = str(place + 1)
        if cell.data_type == "f":
            if not computed:
                fault = fault or Fault(column, "formula", "is a formula: export values, or let the mapping take values as last computed")
                value = None
            else:
                value = computed[place] if place < len(computed) else None
                if value is None:
                    fault = fault or Fault(column, "formula-without-value", "is a formula whose value was never computed")
        elif cell.data_type == "e":
            fault = fault or Fault(column, "cell-error", "holds an error of the spreadsheet")
        try:
            cells.append(_written(value))
        except ValueError as error:
            cells.append("")
            fault = fault or Fault(column, "cell-form", str(error))
    return cells, fault


def _checked(path: str) -> None:
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    if sum(sizes.values()) > MAX_UNPACKED_BYTES or sizes.get("xl/sharedStrings.xml", 0) > MAX_SHARED_TEXT_BYTES:
        raise FileError(
            "xlsx-size", f"the workbook unpacks to more than {MAX_UNPACKED_BYTES} bytes, or its texts to {MAX_SHARED_TEXT_BYTES}"
        )


def _open(path: str, *, computed: bool) -> Any:
    file = Path(path).open("rb")  # noqa: SIM115 - read from until the process ends; by name the library would judge its extension
    return openpyxl.load_workbook(file, read_only=True, data_only=computed, keep_links=False)


def _convert(path: str, target: str, form: FileForm) -> None:
    _checked(path)
    workbook = _open(path, computed=False)
    names = [sheet.title for sheet in workbook.worksheets]
    if form.sheet is None and len(names) != 1:
        raise FileError("sheet-unnamed", f"the workbook has {len(names)} sheets: the mapping must say which")
    if form.sheet is not None and form.sheet not in names:
        raise FileError("sheet-missing", "the workbook has no sheet of the name that the mapping says")
    cached = _open(path, computed=True) if form.formulas == "cached" else None
    with Path(target).open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps([number, cells, fault], ensure_ascii=True) + "\n"
            for number, cells, fault in _rows(workbook, form.sheet or names[0], cached)
        )


def main(path: str, target: str, form: str) -> int:
    """Converts a workbook; a refusal is told as JSON on standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    try:
        _convert(path, target, FileForm.model_validate_json(form))
    except FileError as error:
        said = {"rule": error.rule, "detail": error.detail}
    except MemoryError:
        return 1
    except Exception as error:  # noqa: BLE001 - whatever the library makes of a broken workbook
        said = {"rule": "xlsx-broken", "detail": f"the workbook cannot be read ({type(error).__name__})"}
    else:
        return 0
    print(json.dumps(said))  # noqa: T201 - a command's answer
    return _REFUSED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
