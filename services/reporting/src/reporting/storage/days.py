"""Days that are measured, with their ageing and key figures.

Invariant: a day of an entity is measured once, under its row's lock; what was measured is never changed.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.db import fetch, run
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reporting.storage.reports import ageing_now
from reporting.tables.measured import MEASURED_DAY

WAITING_MAX = 1_000


_TO_NOTE = (
    "FROM (SELECT a.entity_id, min(r.matched_through) AS day FROM collection_account a LEFT JOIN reconciliation r "
    "ON r.tenant_id = a.tenant_id AND r.bank_account_id = a.bank_account_id WHERE a.tenant_id = {tenant} AND a.status = 'active' "
    "GROUP BY a.entity_id HAVING bool_and(r.matched_through IS NOT NULL)) AS word WHERE NOT EXISTS (SELECT 1 FROM measured_day m "
    "WHERE m.tenant_id = {tenant} AND m.entity_id = word.entity_id AND m.day >= word.day)"
)
DUE = (
    "EXISTS (SELECT 1 FROM measured_day WHERE tenant_id = t.tenant_id AND taken_at IS NULL) "  # noqa: S608 - our own text
    f"OR EXISTS (SELECT 1 {_TO_NOTE.format(tenant='t.tenant_id')})"
)
"""For `Job.due`: a day is to be noted, or measured."""


async def days_to_note(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Row[Any]]:
    """(entity_id, day) up to which the bank's word about every active account of an entity is in, where no such day is noted."""
    return await fetch(
        conn,
        f"SELECT entity_id, day {_TO_NOTE.format(tenant=':tenant')} ORDER BY entity_id",
        tenant=tenant_id,
    )


async def note_days(
    conn: AsyncConnection, tenant_id: UUID, days: Sequence[tuple[UUID, date]], *, ends: Mapping[str, int], now: datetime
) -> None:
    """Notes days (entity, day) to be measured once this service has read the topics up to `ends`."""
    await run(
        conn,
        "INSERT INTO measured_day (tenant_id, entity_id, day, ends, noted_at) SELECT :tenant, entity, day, CAST(:ends AS jsonb), :now "
        "FROM unnest(CAST(:entities AS uuid[]), CAST(:days AS date[])) AS t(entity, day) ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        ends=json.dumps(ends),
        now=now,
        entities=[entity for entity, _ in days],
        days=[day for _, day in days],
    )


async def waiting_days(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Row[Any]]:
    """Days noted and not yet measured, oldest first: (entity_id, day, ends)."""
    table = MEASURED_DAY.c
    query = select(MEASURED_DAY).where(table.tenant_id == tenant_id, table.taken_at.is_(None))
    return (await conn.execute(query.order_by(table.day, table.entity_id).limit(WAITING_MAX))).fetchall()


async def take_ageing(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, day: date, *, now: datetime) -> bool:
    """Stores the ageing of a noted day from what is kept now; False where it was measured before.

    Items and payments dated after the day are left out: the bank's word for the day comes later than the day.
    """
    locked = await fetch(
        conn,
        "SELECT 1 FROM measured_day WHERE tenant_id = :tenant AND entity_id = :entity AND day = :as_of AND taken_at IS NULL FOR UPDATE",
        tenant=tenant_id,
        entity=entity_id,
        as_of=day,
    )
    if not locked:
        return False
    source = ageing_now(entity=True, dated_through=True)
    values = source.values(tenant_id, as_of=day, entity_id=entity_id)
    count = await run(
        conn,
        "INSERT INTO ageing_day "  # noqa: S608 - our own query
        "(tenant_id, entity_id, day, currency, customer_id, not_due_minor, days_1_30_minor, days_31_60_minor, "
        "days_61_90_minor, days_91_plus_minor, disputed_minor, late_charges_minor, credit_notes_minor, unapplied_minor) "
        "SELECT :tenant, entity_id, :as_of, currency, customer_id, not_due_minor, days_1_30_minor, days_31_60_minor, days_61_90_minor, "
        f"days_91_plus_minor, disputed_minor, late_charges_minor, credit_notes_minor, unapplied_minor FROM ({source.sql}) AS a",
        **values,
    )
    await run(
        conn,
        "UPDATE measured_day SET taken_at = :now, rows = :count WHERE tenant_id = :tenant AND entity_id = :entity AND day = :day",
        tenant=tenant_id,
        entity=entity_id,
        day=day,
        now=now,
        count=count,
    )
    return True


async def add_kpis(
    conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, day: date, figures: Sequence[tuple[str, str, int, int]]
) -> None:
    """Stores a day's figures (currency, kpi, numerator, denominator)."""
    await run(
        conn,
        "INSERT INTO kpi (tenant_id, entity_id, kpi, currency, as_of, numerator, denominator) "
        "SELECT :tenant, :entity, kpi, currency, :day, numerator, denominator FROM unnest(CAST(:kpis AS text[]), "
        "CAST(:currencies AS text[]), CAST(:numerators AS numeric[]), CAST(:denominators AS numeric[])) "
        "AS t(kpi, currency, numerator, denominator)",
        tenant=tenant_id,
        entity=entity_id,
        day=day,
        currencies=[figure[0] for figure in figures],
        kpis=[figure[1] for figure in figures],
        numerators=[figure[2] for figure in figures],
        denominators=[figure[3] for figure in figures],
    )
