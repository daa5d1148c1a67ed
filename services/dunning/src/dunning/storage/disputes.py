"""Disputes."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from shared.db import fetch
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

COLUMNS = "dispute_id, version, item_id, customer_id, entity_id, amount_minor, currency, reason, status, resolution, origin"


async def item(conn: AsyncConnection, tenant_id: UUID, item_id: UUID) -> Row[Any] | None:
    """An item, locked, with what of it is disputed already."""
    rows = await fetch(
        conn,
        "SELECT item_id, customer_id, entity_id, currency, kind, open_minor, credited_minor, GREATEST(disputed_minor, (SELECT "
        "coalesce(sum(amount_minor), 0) FROM dispute d WHERE d.tenant_id = i.tenant_id AND d.item_id = i.item_id AND d.status = 'open')) "
        "AS disputed_minor FROM item i WHERE tenant_id = :tenant AND item_id = :item FOR UPDATE",
        tenant=tenant_id,
        item=item_id,
    )
    return rows[0] if rows else None


async def insert(conn: AsyncConnection, tenant_id: UUID, values: Mapping[str, Any]) -> Row[Any]:
    """A new dispute at version 1."""
    [row] = await fetch(
        conn,
        "INSERT INTO dispute (tenant_id, dispute_id, version, item_id, customer_id, entity_id, amount_minor, currency, reason, status, "  # noqa: S608 - our own column names
        "credited_before_minor) VALUES (:tenant, :dispute_id, 1, :item_id, :customer_id, :entity_id, :amount_minor, :currency, :reason, "
        f"'open', 0) RETURNING {COLUMNS}",
        **{"tenant": tenant_id, **values},
    )
    return row


async def get(conn: AsyncConnection, tenant_id: UUID, dispute_id: UUID) -> Row[Any] | None:
    """One dispute, locked."""
    rows = await fetch(
        conn,
        f"SELECT {COLUMNS} FROM dispute WHERE tenant_id = :tenant AND dispute_id = :dispute FOR UPDATE",  # noqa: S608 - our own column names
        tenant=tenant_id,
        dispute=dispute_id,
    )
    return rows[0] if rows else None


async def resolve(conn: AsyncConnection, tenant_id: UUID, dispute_id: UUID, resolution: str) -> Row[Any]:
    """Resolves an open dispute at its next version, noting what was credited on its item so far."""
    [row] = await fetch(
        conn,
        "UPDATE dispute SET status = 'resolved', resolution = :resolution, version = version + 1, credited_before_minor = coalesce("  # noqa: S608 - our own column names
        "(SELECT credited_minor FROM item i WHERE (i.tenant_id, i.item_id) = (dispute.tenant_id, dispute.item_id)), 0) "
        f"WHERE tenant_id = :tenant AND dispute_id = :dispute RETURNING {COLUMNS}",
        tenant=tenant_id,
        dispute=dispute_id,
        resolution=resolution,
    )
    return row


async def standing(conn: AsyncConnection, tenant_id: UUID, items: Sequence[UUID], *, lock: bool = True) -> Sequence[Row[Any]]:
    """Disputes that keep something of some items from being asked for: open, or conceded."""
    return await fetch(
        conn,
        "SELECT dispute_id, version, item_id, amount_minor, status, credited_before_minor FROM dispute "  # noqa: S608 - our own text
        "WHERE tenant_id = :tenant AND item_id = ANY(CAST(:items AS uuid[])) "
        "AND (status = 'open' OR resolution = 'justified') ORDER BY dispute_id" + (" FOR UPDATE" if lock else ""),
        tenant=tenant_id,
        items=list(items),
    )
