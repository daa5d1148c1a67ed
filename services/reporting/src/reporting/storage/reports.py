"""What reporting reads: ageing, sales, money by state, events seen.

Invariants: every report of receivables reads one source of rows, `ageing_now` or `ageing_of_day`, whose columns are the
same; sums are made by the database in exact numerics; nothing here writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from shared.db import fetch
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from reporting.domain.ageing import BOUNDS, BUCKETS, OTHERS

UNKNOWN_PAYER = UUID(int=0)
"""Stands for the customer of payments whose payer nobody knows."""
_AMOUNTS = tuple(f"{name}_minor" for name in (*BUCKETS, *OTHERS))


@dataclass(frozen=True, slots=True)
class Source:
    """Rows (entity_id, currency, customer_id, amounts) as a query, and the parameters it takes."""

    sql: str
    parameters: frozenset[str]

    def values(self, tenant_id: UUID, *, as_of: date, entity_id: UUID | None = None, customers: Sequence[UUID] = ()) -> dict[str, Any]:
        """The query's parameters. `customers`: one with all that were merged into it."""
        known = {"tenant": tenant_id, "as_of": as_of, "entity": entity_id, "customers": list(customers), "bounds": list(BOUNDS)}
        return {name: known[name] for name in self.parameters}


def ageing_now(*, entity: bool = False, customer: bool = False, dated_through: bool = False) -> Source:
    """What is open now, aged as of `as_of`; of one entity or customer; of items and payments dated up to `as_of` alone.

    What a merged customer owes stands under the one that stands for it.
    """
    scope = "tenant_id = :tenant" + (" AND entity_id = :entity" if entity else "")
    items = scope + " AND open_minor > 0" + (" AND customer_id = ANY(CAST(:customers AS uuid[]))" if customer else "")
    items += " AND issue_date <= :as_of" if dated_through else ""
    money = scope + " AND unapplied_minor > 0" + (" AND payer_customer_id = ANY(CAST(:customers AS uuid[]))" if customer else "")
    money += " AND booking_date <= :as_of" if dated_through else ""
    sums = ", ".join(f"coalesce(sum(amount) FILTER (WHERE part = '{name}'), 0) AS {name}_minor" for name in OTHERS)
    aged = ", ".join(
        f"coalesce(sum(amount) FILTER (WHERE part = 'aged' AND bucket = {number}), 0) AS {name}_minor"
        for number, name in enumerate(BUCKETS)
    )
    lines = (
        "SELECT entity_id, currency, customer_id, 'aged' AS part, "  # noqa: S608 - names of ours
        "width_bucket(CAST(:as_of AS date) - p.due_date, CAST(:bounds AS int[])) AS bucket, p.open_minor AS amount "
        "FROM open_item CROSS JOIN LATERAL jsonb_to_recordset(instalments) AS p(due_date date, open_minor bigint) "
        f"WHERE {items.replace('open_minor', 'open_item.open_minor')} AND kind <> 'credit_note' AND p.open_minor > 0 "
        "UNION ALL SELECT entity_id, currency, customer_id, "
        "CASE kind WHEN 'credit_note' THEN 'credit_notes' ELSE 'late_charges' END, NULL, "
        f"CASE kind WHEN 'credit_note' THEN -open_minor ELSE open_minor END FROM open_item WHERE {items} "
        "AND kind IN ('credit_note', 'late_charge') "
        "UNION ALL SELECT entity_id, currency, customer_id, 'disputed', NULL, disputed_minor FROM open_item "
        f"WHERE {items} AND kind <> 'credit_note' AND disputed_minor > 0 "
        f"UNION ALL SELECT entity_id, currency, coalesce(payer_customer_id, '{UNKNOWN_PAYER}'), 'unapplied', NULL, -unapplied_minor "
        f"FROM payment WHERE {money}"
    )
    sql = (
        f"SELECT entity_id, currency, coalesce(survivor_id, customer_id) AS customer_id, {aged}, {sums} FROM ({lines}) AS lines "  # noqa: S608 - names of ours
        "LEFT JOIN alias ON alias.tenant_id = :tenant AND alias.id = lines.customer_id "
        "GROUP BY entity_id, currency, coalesce(survivor_id, customer_id)"
    )
    names = {"tenant", "as_of", "bounds"} | ({"entity"} if entity else set()) | ({"customers"} if customer else set())
    return Source(sql, frozenset(names))


def ageing_of_day(*, entity: bool = False) -> Source:
    """What was measured on a day."""
    sql = f"SELECT entity_id, currency, customer_id, {', '.join(_AMOUNTS)} FROM ageing_day WHERE tenant_id = :tenant AND day = :as_of"  # noqa: S608 - names of ours
    return Source(sql + (" AND entity_id = :entity" if entity else ""), frozenset({"tenant", "as_of"} | ({"entity"} if entity else set())))


async def ageing_page(
    conn: AsyncConnection, source: Source, values: dict[str, Any], *, after: tuple[UUID, str, UUID] | None, limit: int
) -> Sequence[Row[Any]]:
    """Rows of a source in the order of (entity, currency, customer), with the customers' own numbers and names."""
    position = "WHERE (a.entity_id, a.currency, a.customer_id) > (:after_entity, :after_currency, :after_customer) " if after else ""
    start = dict(zip(("after_entity", "after_currency", "after_customer"), after, strict=True)) if after else {}
    return await fetch(
        conn,
        "SELECT a.*, c.source_system, c.customer_number, nullif(n.name, '') AS name "  # noqa: S608 - our own queries
        f"FROM (SELECT * FROM ({source.sql}) AS a {position}ORDER BY entity_id, currency, customer_id LIMIT :limit) AS a "
        "LEFT JOIN customer c ON c.tenant_id = :tenant AND c.customer_id = a.customer_id "
        "LEFT JOIN customer_identity n ON n.tenant_id = :tenant AND n.customer_id = a.customer_id "
        "ORDER BY a.entity_id, a.currency, a.customer_id",
        **values,
        **start,
        limit=limit,
    )


async def ageing_totals(conn: AsyncConnection, source: Source, values: dict[str, Any]) -> Sequence[Row[Any]]:
    """A source summed by entity and currency."""
    sums = ", ".join(f"sum({name}) AS {name}" for name in _AMOUNTS)
    return await fetch(
        conn,
        f"SELECT entity_id, currency, {sums} FROM ({source.sql}) AS a GROUP BY entity_id, currency ORDER BY entity_id, currency",  # noqa: S608 - our own queries
        **values,
    )


async def sales(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID | None, *, first: date, last: date) -> Sequence[Row[Any]]:
    """Credit sales by (entity_id, currency, day) of issue, from `first` to `last`: payable with tax, less credit notes, not cancelled."""
    return await fetch(
        conn,
        "SELECT entity_id, currency, issue_date AS day, "  # noqa: S608 - names of ours
        "sum(CASE kind WHEN 'credit_note' THEN -payable_minor ELSE payable_minor END) AS minor FROM invoice "
        "WHERE tenant_id = :tenant AND issue_date BETWEEN :first AND :last AND status = 'issued'"
        + (" AND entity_id = :entity" if entity_id else "")
        + " GROUP BY entity_id, currency, issue_date",
        tenant=tenant_id,
        first=first,
        last=last,
        **({"entity": entity_id} if entity_id else {}),
    )


async def measured_day(conn: AsyncConnection, tenant_id: UUID, day: date, entity_id: UUID | None) -> Sequence[Row[Any]]:
    """Entities whose day was measured: (entity_id, taken_at)."""
    return await fetch(
        conn,
        "SELECT entity_id, taken_at FROM measured_day "  # noqa: S608 - names of ours
        "WHERE tenant_id = :tenant AND day = :day AND taken_at IS NOT NULL"
        + (" AND entity_id = :entity" if entity_id else "")
        + " ORDER BY entity_id",
        tenant=tenant_id,
        day=day,
        **({"entity": entity_id} if entity_id else {}),
    )


async def kpis(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID | None, *, first: date, last: date) -> Sequence[Row[Any]]:
    """Figures measured from `first` to `last`, by entity, currency, day and name."""
    return await fetch(
        conn,
        "SELECT entity_id, currency, as_of, kpi, numerator, denominator FROM kpi "  # noqa: S608 - names of ours
        "WHERE tenant_id = :tenant AND as_of BETWEEN :first AND :last"
        + (" AND entity_id = :entity" if entity_id else "")
        + " ORDER BY entity_id, currency, as_of, kpi",
        tenant=tenant_id,
        first=first,
        last=last,
        **({"entity": entity_id} if entity_id else {}),
    )


async def bank_word(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Row[Any]]:
    """Per entity, how far the bank's word reaches over all its active accounts (null where one has none yet)."""
    return await fetch(
        conn,
        "SELECT a.entity_id, CASE WHEN bool_and(r.bank_account_id IS NOT NULL) THEN min(r.booked_through) END AS booked_through, "
        "CASE WHEN bool_and(r.bank_account_id IS NOT NULL) THEN min(r.matched_through) END AS matched_through "
        "FROM collection_account a LEFT JOIN reconciliation r ON r.tenant_id = a.tenant_id AND r.bank_account_id = a.bank_account_id "
        "WHERE a.tenant_id = :tenant AND a.status = 'active' GROUP BY a.entity_id ORDER BY a.entity_id",
        tenant=tenant_id,
    )


async def unapplied(
    conn: AsyncConnection, tenant_id: UUID, *, after: tuple[date, UUID] | None, limit: int
) -> tuple[Sequence[Row[Any]], Sequence[Row[Any]]]:
    """(payments with money that has no item, oldest first; totals by entity, currency and reason)."""
    position = " AND (booking_date, payment_id) > (:after_day, :after_payment)" if after else ""
    rows = await fetch(
        conn,
        "SELECT payment_id, entity_id, currency, amount_minor, unapplied_minor, unapplied_reason, booking_date, "  # noqa: S608 - ours
        "confirmation, payer_customer_id, candidate_customer_ids FROM payment "
        f"WHERE tenant_id = :tenant AND unapplied_minor > 0{position} ORDER BY booking_date, payment_id LIMIT :limit",
        tenant=tenant_id,
        limit=limit,
        **({"after_day": after[0], "after_payment": after[1]} if after else {}),
    )
    totals = await fetch(
        conn,
        "SELECT entity_id, currency, unapplied_reason AS reason, count(*) AS payments, sum(unapplied_minor) AS unapplied_minor, "
        "min(booking_date) AS oldest FROM payment WHERE tenant_id = :tenant AND unapplied_minor > 0 "
        "GROUP BY entity_id, currency, unapplied_reason ORDER BY entity_id, currency, unapplied_reason",
        tenant=tenant_id,
    )
    return rows, totals


async def money(conn: AsyncConnection, tenant_id: UUID) -> tuple[Sequence[Row[Any]], Sequence[Row[Any]]]:
    """(payments, items) summed by state, per entity and currency; items by kind too."""
    payments = await fetch(
        conn,
        "SELECT entity_id, currency, count(*) AS count, sum(amount_minor) AS received_minor, "
        "sum(amount_minor) FILTER (WHERE confirmation = 'notified') AS notified_minor, "
        "sum(amount_minor - unapplied_minor - returned_minor - refunded_minor) AS allocated_minor, "
        "sum(unapplied_minor) AS unapplied_minor, sum(returned_minor) AS returned_minor, sum(refunded_minor) AS refunded_minor "
        "FROM payment WHERE tenant_id = :tenant GROUP BY entity_id, currency ORDER BY entity_id, currency",
        tenant=tenant_id,
    )
    names = ("cash", "discount", "credit", "charges", "withheld", "set_off", "written_off")
    settled = ", ".join(f"sum(CAST(settled->>'{name}_minor' AS bigint)) AS {name}_minor" for name in names)
    items = await fetch(
        conn,
        "SELECT entity_id, currency, kind, count(*) AS count, count(*) FILTER (WHERE open_minor > 0) AS open_count, "  # noqa: S608 - names of ours
        f"sum(original_minor) AS original_minor, sum(open_minor) AS open_minor, sum(disputed_minor) AS disputed_minor, {settled} "
        "FROM open_item WHERE tenant_id = :tenant GROUP BY entity_id, currency, kind ORDER BY entity_id, currency, kind",
        tenant=tenant_id,
    )
    return payments, items


async def events_seen(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Row[Any]]:
    """(event, count): different events that arrived, each counted once however often it came."""
    return await fetch(
        conn, "SELECT event, count(*) AS count FROM event_seen WHERE tenant_id = :tenant GROUP BY event ORDER BY event", tenant=tenant_id
    )
