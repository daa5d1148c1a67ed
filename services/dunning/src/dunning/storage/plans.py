"""Payment plans."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from shared.aliases import GROUP, group_of, members, survivor
from shared.db import arrays, fetch, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

Rows = Sequence[Row[Any]]
COLUMNS = (
    "p.payment_plan_id, p.version, p.customer_id, p.entity_id, p.currency, p.agreed_on, p.grace_days, p.items, p.instalments, p.status, "
    f"p.broken_instalment, p.missing_minor, p.baseline, {survivor('p.tenant_id', 'p.customer_id')} AS debtor_id"
)
"""`debtor_id`: who stands for the customer that agreed."""


async def insert(conn: AsyncConnection, tenant_id: UUID, values: Mapping[str, Any]) -> None:
    """A new plan at version 1."""
    documents = {name: json.dumps(values[name], default=str) for name in ("items", "instalments", "baseline")}
    await fetch(
        conn,
        "INSERT INTO payment_plan (tenant_id, payment_plan_id, version, customer_id, entity_id, currency, agreed_on, grace_days, items, "
        "instalments, baseline, status, recheck, next_on) VALUES (:tenant, :payment_plan_id, 1, :customer_id, :entity_id, :currency, "
        ":agreed_on, :grace_days, CAST(:items AS jsonb), CAST(:instalments AS jsonb), CAST(:baseline AS jsonb), 'active', true, :next_on) "
        "RETURNING 1",
        **{"tenant": tenant_id, **values, **documents},
    )


async def get(conn: AsyncConnection, tenant_id: UUID, plan_id: UUID, *, lock: bool = True) -> Row[Any] | None:
    """One plan, locked unless it is only looked at."""
    rows = await fetch(
        conn,
        f"SELECT {COLUMNS} FROM payment_plan p WHERE tenant_id = :tenant AND payment_plan_id = :plan"  # noqa: S608 - our own column names
        + (" FOR UPDATE OF p" if lock else ""),
        tenant=tenant_id,
        plan=plan_id,
    )
    return rows[0] if rows else None


async def living(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID], entity_id: UUID) -> Rows:
    """The living plans of some customers, and of those merged into them, with a legal entity, and those that may live again; locked."""
    return await fetch(
        conn,
        f"SELECT {COLUMNS} FROM {GROUP} JOIN payment_plan p ON p.tenant_id = :tenant AND p.customer_id = g.member "  # noqa: S608 - as above
        "WHERE (p.status = 'active' OR p.status = 'completed' AND p.recheck) AND p.entity_id = :entity "
        "ORDER BY p.payment_plan_id FOR UPDATE OF p",
        tenant=tenant_id,
        entity=entity_id,
        **group_of(await members(conn, tenant_id, sorted(set(customers)))),
    )


_TO_JUDGE = "(recheck OR status = 'active' AND next_on < :today)"
DUE = f"EXISTS (SELECT 1 FROM payment_plan WHERE tenant_id = t.tenant_id AND {_TO_JUDGE})"  # noqa: S608 - our own text
"""For `Job.due`."""


async def to_judge(conn: AsyncConnection, tenant_id: UUID, today: date, after: UUID | None, limit: int) -> Rows:
    """Plans whose items changed, and living ones with an instalment whose last day has passed, by id; locked: each is judged once."""
    return await fetch(
        conn,
        f"SELECT {COLUMNS} FROM payment_plan p WHERE tenant_id = :tenant AND {_TO_JUDGE} "  # noqa: S608 - as above
        "AND (CAST(:after AS uuid) IS NULL OR payment_plan_id > :after) ORDER BY payment_plan_id LIMIT :limit FOR UPDATE OF p SKIP LOCKED",
        tenant=tenant_id,
        today=today,
        after=after,
        limit=limit,
    )


_CHANGE = {
    "id": "uuid",
    "verdict": "text",
    "new_items": "text",
    "new_instalments": "text",
    "day": "date",
    "broken": "int",
    "missing": "bigint",
    "inputs": "text",
}


async def store(conn: AsyncConnection, tenant_id: UUID, changes: Sequence[tuple[Any, ...]]) -> Rows:
    """What was seen of locked plans, which rest until an item changes or the day of `next_on` has passed; returns those that changed,
    each at its next version.

    `changes`: (id, status, items, instalments, next_on, broken instalment, what was missing, decision) with JSON as text; a decision of
    None leaves the version where it is.
    """
    rows = await fetch(
        conn,
        "UPDATE payment_plan p SET status = verdict, items = CAST(new_items AS jsonb), instalments = CAST(new_instalments AS jsonb), "  # noqa: S608 - our own column names
        "version = version + CAST(inputs IS NOT NULL AS int), recheck = false, next_on = day, broken_instalment = broken, "
        "missing_minor = missing, decision = coalesce(CAST(inputs AS jsonb), decision) "
        f"FROM {unnest(_CHANGE)} WHERE p.tenant_id = :tenant AND p.payment_plan_id = id AND p.status IN ('active', 'completed') "
        f"RETURNING inputs IS NOT NULL AS changed, {COLUMNS}",
        tenant=tenant_id,
        **arrays(changes, list(_CHANGE)),
    )
    return [row for row in rows if row.changed]
