"""The sub-ledger's export: entries of an entity and a period as FEC (France) or CSV, streamed.

FEC: the 18 columns of article A. 47 A-1, VII of the Livre des procédures fiscales, tab-separated, dates AAAAMMJJ, decimal
comma, in euro; EcritureNum counts from 1 without a gap in chronological order, so a fiscal year is exported whole. An entry in
another currency is valued at the accountant's rate of its day, once for both of its lines, and its own amount and currency stand in
Montantdevise and Idevise. A rate holds from its day until the next one, for RATE_DAYS at most: nothing is valued at one that is older.
"""

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from shared.days import BUSINESS_ZONE, day_start
from shared.db import Database, run, sql
from shared.money import format_amount
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.ledger import CHART, EURO, SOURCE, Posting, journal, lines, text
from matching.storage.rows import fetch

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
RATE_DAYS = 31
"""So that a rate a month is enough."""
_PERIOD = "tenant_id = :tenant AND entity_id = :entity AND at >= :first AND at < :after AND debit <> :source AND credit <> :source"
_DAY = f"CAST(l.at AT TIME ZONE '{BUSINESS_ZONE}' AS date)"
_RATE = (
    "(SELECT rate FROM ledger_rate r WHERE r.tenant_id = l.tenant_id AND r.entity_id = l.entity_id AND r.currency = l.currency "  # noqa: S608 - ours
    f"AND r.first_day BETWEEN {_DAY} - {RATE_DAYS - 1} AND {_DAY} ORDER BY r.first_day DESC LIMIT 1)"
)
_QUERY = (
    f"SELECT l.entry_id, {_DAY} AS day, l.debit, l.credit, l.amount_minor, l.currency, c.customer_number, "  # noqa: S608 - ours
    "n.name, coalesce(i.invoice_number, p.bank_reference, CAST(p.payment_id AS text)), coalesce(i.issue_date, p.booking_date), "
    f"CASE WHEN l.currency <> '{EURO}' THEN {_RATE} END "
    f"FROM (SELECT * FROM ledger_entry WHERE {_PERIOD}) l "
    "LEFT JOIN open_item i ON i.tenant_id = l.tenant_id AND i.item_id = l.item_id "
    "LEFT JOIN payment p ON p.tenant_id = l.tenant_id AND p.payment_id = l.payment_id "
    "LEFT JOIN customer c ON c.tenant_id = l.tenant_id AND c.customer_id = coalesce(i.customer_id, p.payer_customer_id) "
    "LEFT JOIN customer_identity n ON n.tenant_id = l.tenant_id AND n.customer_id = c.customer_id ORDER BY l.at, l.entry_id"
)


async def chart_of(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID) -> dict[str, tuple[str, str]]:
    """Numbers and labels of an entity's ledger accounts: its own, else those of the French general chart."""
    rows = await fetch(
        conn,
        "SELECT ledger, number, label FROM ledger_account WHERE tenant_id = :tenant AND entity_id = :entity",
        tenant=tenant_id,
        entity=entity_id,
    )
    return {**CHART, **{row[0]: (row[1], row[2]) for row in rows}}


async def set_chart(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, numbers: Mapping[str, tuple[str, str]]) -> None:
    """Gives ledger accounts of an entity numbers of its own."""
    await run(
        conn,
        "INSERT INTO ledger_account (tenant_id, entity_id, ledger, number, label) SELECT :tenant, :entity, * FROM "
        "unnest(CAST(:ledgers AS text[]), CAST(:numbers AS text[]), CAST(:labels AS text[])) "
        "ON CONFLICT (tenant_id, entity_id, ledger) DO UPDATE SET number = EXCLUDED.number, label = EXCLUDED.label",
        tenant=tenant_id,
        entity=entity_id,
        ledgers=list(numbers),
        numbers=[one[0] for one in numbers.values()],
        labels=[one[1] for one in numbers.values()],
    )


@dataclass(frozen=True, slots=True)
class Rate:
    """What a unit of a currency is worth in euro from a day on, and who says so."""

    currency: str
    first_day: date
    rate: Decimal
    source: str


async def rates_of(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, first: date, last: date) -> list[Rate]:
    """The rates at which an entity values other currencies, of a period's days, the oldest first."""
    rows = await fetch(
        conn,
        "SELECT currency, first_day, rate, source FROM ledger_rate WHERE tenant_id = :tenant AND entity_id = :entity "
        "AND first_day BETWEEN :first AND :last ORDER BY first_day, currency",
        tenant=tenant_id,
        entity=entity_id,
        first=first,
        last=last,
    )
    return [Rate(*row) for row in rows]


async def set_rates(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, rates: Sequence[Rate]) -> None:
    """Says what currencies are worth in euro; a rate of a currency and day that is there is replaced."""
    await run(
        conn,
        "INSERT INTO ledger_rate (tenant_id, entity_id, currency, first_day, rate, source) SELECT :tenant, :entity, * FROM "
        "unnest(CAST(:currencies AS text[]), CAST(:days AS date[]), CAST(:rates AS numeric[]), CAST(:sources AS text[])) "
        "ON CONFLICT (tenant_id, entity_id, currency, first_day) DO UPDATE SET rate = EXCLUDED.rate, source = EXCLUDED.source",
        tenant=tenant_id,
        entity=entity_id,
        currencies=[one.currency for one in rates],
        days=[one.first_day for one in rates],
        rates=[one.rate for one in rates],
        sources=[one.source for one in rates],
    )


async def without_number(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, first: date, last: date) -> list[str]:
    """The ledger accounts of a period's entries that have no number in the entity's chart."""
    rows = await fetch(
        conn,
        f"SELECT DISTINCT debit, credit FROM ledger_entry WHERE {_PERIOD}",  # noqa: S608 - ours
        **_period(tenant_id, entity_id, first, last),
    )
    chart = await chart_of(conn, tenant_id, entity_id)
    return sorted({ledger for row in rows for ledger in row if ledger not in chart})


async def without_rate(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, first: date, last: date) -> list[tuple[str, date]]:
    """The currencies of a period's entries that have no rate in euro for each of their days, and the first such day."""
    rows = await fetch(
        conn,
        f"SELECT d.currency, min(d.day) FROM (SELECT DISTINCT l.tenant_id, l.entity_id, l.currency, {_DAY} AS day FROM ledger_entry l "  # noqa: S608 - ours
        f"WHERE {_PERIOD} AND currency <> '{EURO}') d WHERE NOT EXISTS (SELECT 1 FROM ledger_rate r WHERE r.tenant_id = d.tenant_id "
        f"AND r.entity_id = d.entity_id AND r.currency = d.currency AND r.first_day BETWEEN d.day - {RATE_DAYS - 1} AND d.day) "
        "GROUP BY d.currency ORDER BY d.currency",
        **_period(tenant_id, entity_id, first, last),
    )
    return [(row[0], row[1]) for row in rows]


def _period(tenant_id: UUID, entity_id: UUID, first: date, last: date) -> dict[str, object]:
    # the calendar's own ends lie beyond a datetime in another zone
    start = datetime.min.replace(tzinfo=UTC) if first == date.min else day_start(first)
    after = datetime.max.replace(tzinfo=UTC) if last == date.max else day_start(last + timedelta(days=1))
    return {"tenant": tenant_id, "entity": entity_id, "first": start, "after": after, "source": SOURCE}


async def export(database: Database, tenant_id: UUID, entity_id: UUID, first: date, last: date, *, fec: bool) -> AsyncIterator[bytes]:
    """The file, piece by piece: one sorted pass over the period, read by a cursor of the server."""
    async with database.transaction(tenant_id) as conn:
        chart = await chart_of(conn, tenant_id, entity_id)
        yield _encoded([FEC if fec else CSV], fec=fec)
        result = await conn.stream(sql(_QUERY), _period(tenant_id, entity_id, first, last))
        number = 0
        async for part in result.partitions(SLICE):
            rows: list[tuple[object, ...]] = []
            for row in part:
                number += 1
                posting = Posting(*row)
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
            "",
            "",
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
