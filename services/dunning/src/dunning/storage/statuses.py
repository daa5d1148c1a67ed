"""SQL about what buyers and platforms said of e-invoices, and the disputes that follow.

Invariant: an item is locked before the disputes about it are read or written.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.storage.disputes import COLUMNS

Key = tuple[UUID, UUID]
"""Tenant and invoice, which is the item's id."""
Rows = Sequence[Row[Any]]
_KEYS = unnest({"tenant": "uuid", "invoice": "uuid"}, "k")
_DISPUTE = {
    "dispute_id": "uuid",
    "item_id": "uuid",
    "customer_id": "uuid",
    "entity_id": "uuid",
    "amount_minor": "bigint",
    "currency": "text",
    "reason": "text",
}


def _keys(keys: Iterable[Key]) -> dict[str, list[Any]]:
    return arrays(sorted(keys), ["tenant", "invoice"])


_WAITING = (
    "FROM invoice_status s JOIN item i ON (i.tenant_id, i.item_id) = (s.tenant_id, s.invoice_id) "
    "WHERE s.tenant_id = {tenant} AND s.settled_version < s.version"
)
DUE = f"EXISTS (SELECT 1 {_WAITING.format(tenant='t.tenant_id')})"
"""For `Job.due`."""


async def waiting(conn: AsyncConnection, tenant_id: UUID, limit: int) -> list[Key]:
    """Statuses that were not acted on when they came, and whose item is known by now."""
    rows = await fetch(
        conn,
        f"SELECT s.tenant_id, s.invoice_id {_WAITING.format(tenant=':tenant')} ORDER BY s.invoice_id LIMIT :limit",
        tenant=tenant_id,
        limit=limit,
    )
    return [(row.tenant_id, row.invoice_id) for row in rows]


async def lock_items(conn: AsyncConnection, keys: Iterable[Key]) -> Rows:
    """The items among the keys that exist and whose status is not acted on, locked in the order of their keys."""
    return await fetch(
        conn,
        "SELECT i.tenant_id, i.item_id, i.entity_id, i.customer_id, i.currency, i.kind, i.open_minor, s.version, "  # noqa: S608 - our own text
        f"s.outside::text AS outside FROM item i JOIN {_KEYS} ON (i.tenant_id, i.item_id) = (k.tenant, k.invoice) "
        "JOIN invoice_status s ON (s.tenant_id, s.invoice_id) = (i.tenant_id, i.item_id) AND s.settled_version < s.version "
        "ORDER BY i.tenant_id, i.item_id FOR UPDATE OF i, s",
        **_keys(keys),
    )


async def open_disputes(conn: AsyncConnection, keys: Iterable[Key]) -> Rows:
    """The open disputes about some items, locked."""
    return await fetch(
        conn,
        f"SELECT d.tenant_id, d.dispute_id, d.item_id, d.amount_minor, d.origin FROM dispute d JOIN {_KEYS} "  # noqa: S608 - our own text
        "ON (d.tenant_id, d.item_id) = (k.tenant, k.invoice) WHERE d.status = 'open' ORDER BY d.tenant_id, d.dispute_id FOR UPDATE OF d",
        **_keys(keys),
    )


async def open_outside(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> Rows:
    """Opens disputes of origin `outside`: (tenant, dispute, item, customer, entity, amount, currency, reason) each."""
    columns = {"tenant_id": "uuid", **_DISPUTE}
    return await fetch(
        conn,
        f"INSERT INTO dispute ({', '.join(columns)}, version, status, credited_before_minor, origin) "  # noqa: S608 - our own column names
        f"SELECT {', '.join(columns)}, 1, 'open', 0, 'outside' FROM {unnest(columns)} "
        f"ON CONFLICT DO NOTHING RETURNING tenant_id, {COLUMNS}",
        **arrays(rows, list(columns)),
    )


async def withdraw(conn: AsyncConnection, keys: Iterable[Key]) -> Rows:
    """Resolves open disputes, (tenant, dispute) each, as withdrawn."""
    return await fetch(
        conn,
        "UPDATE dispute d SET status = 'resolved', resolution = 'withdrawn', version = version + 1 "  # noqa: S608 - our own text
        f"FROM {unnest({'tenant': 'uuid', 'dispute': 'uuid'}, 'k')} WHERE (d.tenant_id, d.dispute_id) = (k.tenant, k.dispute) "
        f"AND d.status = 'open' RETURNING d.tenant_id, {', '.join(f'd.{name}' for name in COLUMNS.split(', '))}",
        **arrays(sorted(keys), ["tenant", "dispute"]),
    )


async def settle(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Notes that versions of statuses were acted on: (tenant, invoice, version) each."""
    columns = {"tenant": "uuid", "invoice": "uuid", "done": "bigint"}
    await run(
        conn,
        f"UPDATE invoice_status SET settled_version = GREATEST(settled_version, done) FROM {unnest(columns)} "  # noqa: S608 - our own text
        "WHERE tenant_id = tenant AND invoice_id = invoice",
        **arrays(rows, list(columns)),
    )
