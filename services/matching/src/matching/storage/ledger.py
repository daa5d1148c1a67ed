"""The ledger's entries of an entity and a period, and what its accountant says of them: account numbers, rates of exchange."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Self
from uuid import UUID

from shared.days import BUSINESS_ZONE, day_start
from shared.db import run, sql
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.ledger import EURO, SOURCE, Posting
from matching.storage.rows import fetch

RATE_DAYS = 31
"""How long a rate holds at most: so that one a month is enough."""
_PERIOD = "tenant_id = :tenant AND entity_id = :entity AND at >= :first AND at < :after AND debit <> :source AND credit <> :source"
_DAY = f"CAST(l.at AT TIME ZONE '{BUSINESS_ZONE}' AS date)"
_RATE = (
    "(SELECT rate FROM ledger_rate r WHERE r.tenant_id = l.tenant_id AND r.entity_id = l.entity_id AND r.currency = l.currency "  # noqa: S608 - ours
    f"AND r.first_day BETWEEN {_DAY} - {RATE_DAYS - 1} AND {_DAY} ORDER BY r.first_day DESC LIMIT 1)"
)


def _side(ledgers: str) -> str:
    return f"CASE WHEN debit IN ({ledgers}) THEN amount_minor WHEN credit IN ({ledgers}) THEN -amount_minor ELSE 0 END"


_OWED, _FREE, _BACK = _side("'receivables', 'credit_notes'"), _side("'unapplied'"), _side("'refunds', 'recalled'")
_LETTERED = (
    "SELECT *, CASE WHEN sum(owed) OVER i = 0 THEN min(entry_id) OVER i END AS item_letter, "  # noqa: S608 - ours
    "max(at) FILTER (WHERE owed <> 0) OVER i AS settled, "
    "CASE WHEN sum(free) OVER p = 0 THEN min(entry_id) OVER p END AS payment_letter, max(at) FILTER (WHERE free <> 0) OVER p AS used, "
    "CASE WHEN sum(back) OVER p = 0 THEN min(entry_id) OVER p END AS back_letter, max(at) FILTER (WHERE back <> 0) OVER p AS gone "
    f"FROM (SELECT *, {_OWED} AS owed, {_FREE} AS free, {_BACK} AS back "
    "FROM ledger_entry WHERE tenant_id = :tenant AND entity_id = :entity AND at < :after) until_then "
    "WINDOW i AS (PARTITION BY item_id, currency), p AS (PARTITION BY payment_id, currency)"
)
"""SQL: an entity's entries until the end of a period. An item that is settled by then, a payment of which nothing is unapplied, and what of
one was to go back and has gone, has a letter: the number of its first entry, which no other has and which never changes. By windows: a
join of sums has no key to go by.
"""


def _entries(*, lettered: bool) -> str:
    letters = ", ".join(
        f"l.{letter}, CASE WHEN l.{letter} IS NOT NULL THEN CAST(l.{at} AT TIME ZONE '{BUSINESS_ZONE}' AS date) END"
        for letter, at in (("item_letter", "settled"), ("payment_letter", "used"), ("back_letter", "gone"))
    )
    of, more = (f"({_LETTERED})", f", {letters}") if lettered else ("ledger_entry", "")
    return (
        f"SELECT l.entry_id, {_DAY} AS day, l.debit, l.credit, l.amount_minor, l.currency, c.customer_number, "  # noqa: S608 - ours
        "n.name, coalesce(i.invoice_number, p.bank_reference, CAST(p.payment_id AS text)), coalesce(i.issue_date, p.booking_date), "
        f"CASE WHEN l.currency <> '{EURO}' THEN {_RATE} END, pc.customer_number, pn.name{more} "
        f"FROM (SELECT * FROM {of} l WHERE {_PERIOD}) l "
        "LEFT JOIN open_item i ON i.tenant_id = l.tenant_id AND i.item_id = l.item_id "
        "LEFT JOIN payment p ON p.tenant_id = l.tenant_id AND p.payment_id = l.payment_id "
        "LEFT JOIN customer c ON c.tenant_id = l.tenant_id AND c.customer_id = coalesce(i.customer_id, p.payer_customer_id) "
        "LEFT JOIN customer_identity n ON n.tenant_id = l.tenant_id AND n.customer_id = c.customer_id "
        "LEFT JOIN customer pc ON pc.tenant_id = l.tenant_id AND pc.customer_id = p.payer_customer_id "
        "LEFT JOIN customer_identity pn ON pn.tenant_id = l.tenant_id AND pn.customer_id = pc.customer_id ORDER BY l.at, l.entry_id"
    )


@dataclass(frozen=True, slots=True)
class Rate:
    """What a unit of a currency is worth in euro from a day on, and who says so."""

    currency: str
    first_day: date
    rate: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class Period:
    """An entity's entries from one moment on until another."""

    tenant_id: UUID
    entity_id: UUID
    first: datetime
    after: datetime

    @classmethod
    def of_days(cls, tenant_id: UUID, entity_id: UUID, first: date, last: date) -> Self:
        """Business days, both included."""
        # the calendar's own ends lie beyond a datetime in another zone
        start = datetime.min.replace(tzinfo=UTC) if first == date.min else day_start(first)
        after = datetime.max.replace(tzinfo=UTC) if last == date.max else day_start(last + timedelta(days=1))
        return cls(tenant_id, entity_id, start, after)

    def bound(self) -> dict[str, object]:
        """What `_PERIOD` asks for."""
        return {"tenant": self.tenant_id, "entity": self.entity_id, "first": self.first, "after": self.after, "source": SOURCE}


async def numbers_of(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID) -> dict[str, tuple[str, str]]:
    """Numbers and labels that an entity has given ledger accounts."""
    rows = await fetch(
        conn,
        "SELECT ledger, number, label FROM ledger_account WHERE tenant_id = :tenant AND entity_id = :entity",
        tenant=tenant_id,
        entity=entity_id,
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def set_numbers(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, numbers: Mapping[str, tuple[str, str]]) -> None:
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


async def ledgers_of(conn: AsyncConnection, period: Period) -> set[str]:
    """The ledger accounts of a period's entries."""
    rows = await fetch(conn, f"SELECT DISTINCT debit, credit FROM ledger_entry WHERE {_PERIOD}", **period.bound())  # noqa: S608 - ours
    return {ledger for row in rows for ledger in row}


async def without_rate(conn: AsyncConnection, period: Period) -> list[tuple[str, date]]:
    """The currencies of a period's entries that have no rate in euro for each of their days, and the first such day."""
    rows = await fetch(
        conn,
        f"SELECT d.currency, min(d.day) FROM (SELECT DISTINCT l.tenant_id, l.entity_id, l.currency, {_DAY} AS day FROM ledger_entry l "  # noqa: S608 - ours
        f"WHERE {_PERIOD} AND currency <> '{EURO}') d WHERE NOT EXISTS (SELECT 1 FROM ledger_rate r WHERE r.tenant_id = d.tenant_id "
        f"AND r.entity_id = d.entity_id AND r.currency = d.currency AND r.first_day BETWEEN d.day - {RATE_DAYS - 1} AND d.day) "
        "GROUP BY d.currency ORDER BY d.currency",
        **period.bound(),
    )
    return [(row[0], row[1]) for row in rows]


async def entries(conn: AsyncConnection, period: Period, slice_: int, *, lettered: bool) -> AsyncIterator[list[Posting]]:
    """A period's entries in the order of their booking, some at a time, read by a cursor of the server; with letters where asked."""
    result = await conn.stream(sql(_entries(lettered=lettered)), period.bound())
    async for part in result.partitions(slice_):
        yield [Posting(*row) for row in part]
