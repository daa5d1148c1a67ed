"""The sub-ledger's export: entries of an entity and a period as FEC (France) or CSV, streamed.

FEC: the 18 columns of article A. 47 A-1, VII of the Livre des procédures fiscales, tab-separated, dates AAAAMMJJ, decimal
comma, in euro; EcritureNum counts from 1 without a gap in chronological order, so a fiscal year is exported whole. An entry in
another currency is valued at the accountant's rate of its day, once for both of its lines, and its own amount and currency stand in
Montantdevise and Idevise. A rate holds from its day until the next one, for RATE_DAYS at most
(`storage.ledger`): nothing is valued at one that is older.

EcritureDate is the day on which an entry was made in these books ("date de comptabilisation": the day on which it was put to the
account's debit or credit, as the administration reads it; told by lemondeduchiffre.fr, "FEC : du format informatique au contenu
comptable"), whenever the bank booked the money; that day, or the invoice's, is PieceDate.
Lettering (EcritureLet, DateLet) is as of the period's end, so that a file stays as it was: the lines of an item that is settled share
a letter, and the lines of a payment of which nothing is unapplied, and of what was to go back and has gone.
"""

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID

from shared.db import Database
from shared.money import format_amount
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.ledger import CHART, EURO, Posting, journal, lines, text
from matching.storage import ledger as stored
from matching.storage.ledger import Period

FEC = (
    "JournalCode",
    "JournalLib",
    "EcritureNum",
    "EcritureDate",
    "CompteNum",
    "CompteLib",
    "CompAuxNum",
    "CompAuxLib",
    "PieceRef",
    "PieceDate",
    "EcritureLib",
    "Debit",
    "Credit",
    "EcritureLet",
    "DateLet",
    "ValidDate",
    "Montantdevise",
    "Idevise",
)
CSV = (
    "entry_id",
    "date",
    "journal",
    "account",
    "account_label",
    "ledger",
    "customer_number",
    "document",
    "document_date",
    "text",
    "debit",
    "credit",
    "currency",
)
SLICE = 1_000
"""Entries encoded at once."""


async def chart_of(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID) -> dict[str, tuple[str, str]]:
    """Numbers and labels of an entity's ledger accounts: its own, else those of the French general chart."""
    return {**CHART, **await stored.numbers_of(conn, tenant_id, entity_id)}


async def without_number(conn: AsyncConnection, period: Period) -> list[str]:
    """The ledger accounts of a period's entries that have no number in the entity's chart."""
    chart = await chart_of(conn, period.tenant_id, period.entity_id)
    return sorted(await stored.ledgers_of(conn, period) - chart.keys())


async def export(database: Database, period: Period, *, fec: bool) -> AsyncIterator[bytes]:
    """The file, piece by piece: one sorted pass over the period."""
    async with database.transaction(period.tenant_id) as conn:
        chart = await chart_of(conn, period.tenant_id, period.entity_id)
        yield _encoded([FEC if fec else CSV], fec=fec)
        number = 0
        async for part in stored.entries(conn, period, SLICE, lettered=fec):
            rows: list[tuple[object, ...]] = []
            for posting in part:
                number += 1
                rows += _fec(posting, number, chart) if fec else _csv(posting, chart)
            yield _encoded(rows, fec=fec)


def _fec(posting: Posting, number: int, chart: Mapping[str, tuple[str, str]]) -> list[tuple[object, ...]]:
    code, name = journal(posting)
    day = f"{posting.day:%Y%m%d}"
    document = posting.document or f"E{posting.entry_id}"
    dated = f"{posting.document_date or posting.day:%Y%m%d}"
    own = ("", "") if posting.currency == EURO else (_decimal(posting.amount_minor, posting.currency), posting.currency)
    return [
        (
            code,
            name,
            number,
            day,
            line.number,
            line.label,
            line.customer_number,
            line.customer_name,
            document,
            dated,
            text(posting),
            _decimal(line.debit_minor, EURO),
            _decimal(line.credit_minor, EURO),
            line.letter,
            f"{line.lettered:%Y%m%d}" if line.lettered else "",
            day,
            *own,
        )
        for line in lines(posting, chart, posting.in_euro)
    ]


def _decimal(minor: int, currency: str) -> str:
    return format_amount(minor, currency).replace(".", ",")


def _csv(posting: Posting, chart: Mapping[str, tuple[str, str]]) -> list[tuple[object, ...]]:
    return [
        (
            posting.entry_id,
            posting.day.isoformat(),
            journal(posting)[0],
            line.number,
            line.label,
            line.ledger,
            _inert(line.customer_number),
            _inert(posting.document or ""),
            posting.document_date or "",
            text(posting),
            format_amount(line.debit_minor, posting.currency),
            format_amount(line.credit_minor, posting.currency),
            posting.currency,
        )
        for line in lines(posting, chart, posting.amount_minor)
    ]


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: numbers of documents and customers are other people's."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


def _encoded(rows: Sequence[Sequence[object]], *, fec: bool) -> bytes:
    """Rows as text: FEC by tabs, without quotes (a field has no separator in it); CSV by RFC 4180."""
    if fec:
        return "".join("\t".join(" ".join(str(field).split()) for field in row) + "\r\n" for row in rows).encode()
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\r\n").writerows(rows)
    return stream.getvalue().encode()
