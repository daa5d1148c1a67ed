"""Up to which amount one person may give money or a claim away alone, and what one alone has given."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.storage.rows import fetch


async def limit_of(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, currency: str) -> int:
    """The limit in minor units; 0 where none is set."""
    rows = await fetch(
        conn,
        "SELECT limit_minor FROM hand_work_limit WHERE tenant_id = :tenant AND entity_id = :entity AND currency = :currency",
        tenant=tenant_id,
        entity=entity_id,
        currency=currency,
    )
    return int(rows[0][0]) if rows else 0


async def all_limits(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Any]:
    """Every limit of a tenant: entity, currency, amount."""
    return await fetch(
        conn, "SELECT entity_id, currency, limit_minor FROM hand_work_limit WHERE tenant_id = :tenant ORDER BY 1, 2", tenant=tenant_id
    )


async def set_limit(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, currency: str, limit_minor: int) -> None:
    """Sets the limit of an entity in a currency."""
    await run(
        conn,
        "INSERT INTO hand_work_limit (tenant_id, entity_id, currency, limit_minor) VALUES (:tenant, :entity, :currency, :limit) "
        "ON CONFLICT (tenant_id, entity_id, currency) DO UPDATE SET limit_minor = EXCLUDED.limit_minor",
        tenant=tenant_id,
        entity=entity_id,
        currency=currency,
        limit=limit_minor,
    )


async def forgiven_alone(conn: AsyncConnection, tenant_id: UUID, items: Sequence[UUID], by_hand: Collection[str]) -> dict[UUID, int]:
    """What of items one person alone has forgiven already: by write-offs, and by differences of allocations of the rules `by_hand`.

    The limit is for all of it, or slices pass it: a part written off, another one as a tolerance of each payment.
    """
    rows = await fetch(
        conn,
        "SELECT item_id, sum(amount_minor) FROM (SELECT item_id, amount_minor - reversed_minor AS amount_minor FROM write_off "
        "WHERE tenant_id = :tenant AND item_id = ANY(CAST(:items AS uuid[])) AND status = 'booked' AND decided_by = requested_by "
        "UNION ALL SELECT item_id, diff_minor FROM allocation WHERE tenant_id = :tenant AND item_id = ANY(CAST(:items AS uuid[])) "
        "AND rule = ANY(CAST(:rules AS text[]))) AS given GROUP BY item_id",
        tenant=tenant_id,
        items=list(items),
        rules=sorted(by_hand),
    )
    return {row[0]: int(row[1]) for row in rows}


async def settled_alone(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, items: Sequence[UUID]) -> int:
    """What of items one person alone has settled beside the bank already: the limit is for all of it, or slices with a proof each pass."""
    rows = await fetch(
        conn,
        "SELECT coalesce(sum(l.amount_minor), 0) FROM settlement s CROSS JOIN LATERAL jsonb_to_recordset(s.lines) "
        "AS l(item_id uuid, amount_minor bigint) WHERE s.tenant_id = :tenant AND s.entity_id = :entity AND s.status = 'booked' "
        "AND s.decided_by = s.requested_by AND l.item_id = ANY(CAST(:items AS uuid[]))",
        tenant=tenant_id,
        entity=entity_id,
        items=list(items),
    )
    return int(rows[0][0])


async def given_back_alone(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID) -> int:
    """What of a payment one person alone has given back already, by refunds and recalls: the limit is for all of it, or slices pass it."""
    rows = await fetch(
        conn,
        "SELECT coalesce(sum(amount_minor), 0) FROM (SELECT amount_minor FROM refund WHERE tenant_id = :tenant AND payment_id = :payment "
        "AND status IN ('approved', 'sent', 'paid') AND decided_by = requested_by UNION ALL SELECT amount_minor FROM recall "
        "WHERE tenant_id = :tenant AND payment_id = :payment AND status IN ('accepted', 'settled') AND decided_by = requested_by) AS given",
        tenant=tenant_id,
        payment=payment_id,
    )
    return int(rows[0][0])
