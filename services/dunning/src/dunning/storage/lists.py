"""What the API lists: pages in a stable order, newest day first, after a position.

A customer's list holds what is about him and about whomever he was merged with.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from shared.aliases import members, stands_for
from shared.db import fetch
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.storage.plans import COLUMNS as PLAN

Rows = Sequence[Row[Any]]
Position = tuple[date, UUID] | None

_AFTER = (
    " AND (CAST(:day AS date) IS NULL OR (d.day, d.reminder_id) < (:day, CAST(:id AS uuid))) "
    "ORDER BY d.day DESC, d.reminder_id DESC LIMIT :limit"
)
_DECISION = (
    "d.reminder_id, d.day, d.entity_id, d.customer_id, d.currency, d.outcome, d.reason, d.step, d.level, d.asked, d.gate_through, d.as_of"
)


def _after(position: Position) -> dict[str, Any]:
    return {"day": position[0] if position else None, "id": position[1] if position else None}


async def _group(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID | None) -> list[UUID] | None:
    """A customer, whoever stands for him, and all others that one stands for; None for everybody."""
    if customer_id is None:
        return None
    return list(await members(conn, tenant_id, [await stands_for(conn, tenant_id, customer_id)]))


async def reminders(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID | None, state: str | None, position: Position, limit: int
) -> Rows:
    """Mails with their decisions, of one customer or state or all."""
    return await fetch(
        conn,
        f"SELECT {_DECISION}, p.state, p.message_id, p.interest_minor, p.compensation_minor, p.attempts, p.sent_at, p.detail "  # noqa: S608 - our own text
        "FROM dispatch p JOIN decision d USING (tenant_id, reminder_id) WHERE p.tenant_id = :tenant "
        "AND coalesce(d.customer_id = ANY(CAST(:customers AS uuid[])), true) AND (CAST(:state AS text) IS NULL OR p.state = :state)"
        + _AFTER,
        tenant=tenant_id,
        customers=await _group(conn, tenant_id, customer_id),
        state=state,
        limit=limit,
        **_after(position),
    )


async def held(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID | None, reason: str | None, on: date | None, position: Position, limit: int
) -> Rows:
    """Reminders that were decided against, or withdrawn before they left."""
    return await fetch(
        conn,
        f"SELECT {_DECISION}, d.inputs FROM decision d WHERE d.tenant_id = :tenant AND d.outcome <> 'send' "  # noqa: S608 - our own text
        "AND coalesce(d.customer_id = ANY(CAST(:customers AS uuid[])), true) AND (CAST(:reason AS text) IS NULL OR d.reason = :reason) "
        "AND (CAST(:on AS date) IS NULL OR d.day = :on)" + _AFTER,
        tenant=tenant_id,
        customers=await _group(conn, tenant_id, customer_id),
        reason=reason,
        on=on,
        limit=limit,
        **_after(position),
    )


async def promises(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID | None, status: str | None, after: UUID | None, limit: int
) -> Rows:
    """Promises by id."""
    columns = "promise_id, version, customer_id, item_ids, amount_minor, currency, made_on, due_on, status"
    return await _by_id(conn, "promise", columns, tenant_id, customer_id, status, after, limit)


async def payment_plans(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID | None, status: str | None, after: UUID | None, limit: int
) -> Rows:
    """Payment plans by id."""
    return await _by_id(conn, "payment_plan", PLAN, tenant_id, customer_id, status, after, limit)


async def disputes(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID | None, status: str | None, after: UUID | None, limit: int
) -> Rows:
    """Disputes by id."""
    columns = "dispute_id, version, item_id, customer_id, amount_minor, currency, reason, status, resolution"
    return await _by_id(conn, "dispute", columns, tenant_id, customer_id, status, after, limit)


async def _by_id(
    conn: AsyncConnection,
    table: str,
    columns: str,
    tenant_id: UUID,
    customer_id: UUID | None,
    status: str | None,
    after: UUID | None,
    limit: int,
) -> Rows:
    """Rows of a table by its id, after one; of one customer or status or all."""
    return await fetch(
        conn,
        f"SELECT {columns} FROM {table} p WHERE tenant_id = :tenant "  # noqa: S608 - our own names
        "AND coalesce(customer_id = ANY(CAST(:customers AS uuid[])), true) AND (CAST(:status AS text) IS NULL OR status = :status) "
        f"AND (CAST(:after AS uuid) IS NULL OR {table}_id > :after) ORDER BY {table}_id LIMIT :limit",
        tenant=tenant_id,
        customers=await _group(conn, tenant_id, customer_id),
        status=status,
        after=after,
        limit=limit,
    )
