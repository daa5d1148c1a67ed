"""Up to which amount one person may give money or a claim away alone, and what one alone has given."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from shared.db import records, run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.deductions import Room, beyond
from matching.domain.remittances import RULES
from matching.storage.rows import fetch, keys


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


_ROOM = (
    "SELECT k.tenant_id, k.item_id, (SELECT string_agg(to_char(until, 'YYYY-MM-DD:') || percent_bp, ' ') FROM item_discount "  # noqa: S608 - ours
    "WHERE tenant_id = k.tenant_id AND item_id = k.item_id), coalesce((SELECT limit_minor FROM hand_work_limit "
    "WHERE tenant_id = k.tenant_id AND entity_id = i.entity_id AND currency = i.currency), 0), "
    "CAST(coalesce((SELECT sum(amount_minor - reversed_minor) FROM write_off WHERE tenant_id = k.tenant_id AND item_id = k.item_id "
    "AND status = 'booked' AND decided_by = requested_by), 0) + coalesce((SELECT sum(diff_minor) FROM allocation "
    "WHERE tenant_id = k.tenant_id AND item_id = k.item_id AND rule = ANY(CAST(:rules AS text[]))), 0) "
    "+ coalesce((SELECT sum(abs(x.difference_minor)) FROM allocation a JOIN allocation_exchange x USING (tenant_id, payment_id, item_id) "
    "WHERE a.tenant_id = k.tenant_id AND a.item_id = k.item_id AND a.rule = ANY(CAST(:rules AS text[]))), 0) AS bigint), "
    "ARRAY(SELECT ROW(p.value_date, a.diff_reason, a.diff_minor, a.amount_minor + coalesce((SELECT CAST(sum(o.amount_minor) AS bigint) "
    "FROM payment_set_off o WHERE o.tenant_id = a.tenant_id AND o.payment_id = a.payment_id AND o.item_id = a.item_id), 0)) "
    "FROM allocation a JOIN payment p ON p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id WHERE a.tenant_id = k.tenant_id "
    f"AND a.item_id = k.item_id AND a.rule = '{RULES['remittance']}' AND a.diff_minor > 0) "
    "FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant_id, item_id) "
    "CROSS JOIN LATERAL (SELECT * FROM open_item WHERE tenant_id = k.tenant_id AND item_id = k.item_id OFFSET 0) i"
)


async def rooms(conn: AsyncConnection, items: Iterable[Key], by_hand: Collection[str]) -> dict[Key, Room]:
    """What may be forgiven of items, and what one person alone has forgiven already: by write-offs, by differences and exchanges of
    allocations of the rules `by_hand`, and by what lists deducted beyond the item's terms.

    The limit is for all of it, or slices pass it: a part written off, another one as a tolerance of each payment.
    """
    found = {}
    for tenant, item, terms, limit, alone, listed in await records(conn, _ROOM, **keys(items), rules=sorted(by_hand)):
        found[tenant, item] = Room(terms, limit, alone + sum(beyond(terms, why, day, paid, diff) for day, why, diff, paid in listed))
    return found


async def forgiven_alone(conn: AsyncConnection, tenant_id: UUID, items: Sequence[UUID], by_hand: Collection[str]) -> dict[UUID, int]:
    """What of items one person alone has forgiven already (`rooms`)."""
    found = await rooms(conn, [(tenant_id, item) for item in items], by_hand)
    return {item: room.alone_minor for (_, item), room in found.items()}


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
        "AND status IN ('approved', 'sent', 'paid') AND decided_by = requested_by "
        "UNION ALL SELECT coalesce(settled_minor, amount_minor) FROM recall "
        "WHERE tenant_id = :tenant AND payment_id = :payment AND status IN ('accepted', 'settled') AND decided_by = requested_by) AS given",
        tenant=tenant_id,
        payment=payment_id,
    )
    return int(rows[0][0])
