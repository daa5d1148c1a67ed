"""The error file of an import: what was wrong with which row, as CSV."""

import csv
import io
from collections.abc import AsyncIterator
from uuid import UUID

from shared.db import Database

from invoicing.storage import imports as storage

_PAGE = 5_000


async def error_file(database: Database, tenant_id: UUID, import_id: UUID) -> AsyncIterator[str]:
    """Its lines, in pieces, in the order of the imported file: line, column, rule, text, severity (error or warning), and the
    file's name in its archive.
    """
    yield "line,column,rule,text,severity,file\r\n"
    after = 0
    while True:
        async with database.transaction(tenant_id) as conn:
            rows = await storage.faults(conn, tenant_id, import_id, after, _PAGE)
        if not rows:
            return
        after = rows[-1].number
        text = io.StringIO()
        writer = csv.writer(text)
        for row in rows:
            cells = (row.column_name, row.rule, row.detail, row.severity, row.member)
            writer.writerow([row.line or "", *map(_inert, cells)])
        yield text.getvalue()


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: what a file's own header says comes back in this file."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
