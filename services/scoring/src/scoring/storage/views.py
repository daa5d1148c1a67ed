"""What the API shows: nothing is locked, nothing is written."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import fetch
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def known(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> bool:
    """Whether anything was ever heard of a customer."""
    return bool(
        await fetch(
            conn, "SELECT 1 FROM standing WHERE tenant_id = :tenant AND customer_id = :customer", tenant=tenant_id, customer=customer_id
        )
    )


async def hold(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> Row[Any] | None:
    """A customer's active hold."""
    rows = await fetch(
        conn, "SELECT * FROM hold WHERE tenant_id = :tenant AND customer_id = :customer AND active", tenant=tenant_id, customer=customer_id
    )
    return rows[0] if rows else None


async def decisions(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, *, before: tuple[str, str] | None, limit: int
) -> Sequence[Row[Any]]:
    """A customer's decisions, newest first; `before`: moment and id of the last one shown."""
    after = "AND (decided_at, decision_id) < (CAST(:at AS timestamptz), CAST(:id AS uuid)) " if before else ""
    return await fetch(
        conn,
        "SELECT * FROM decision WHERE tenant_id = :tenant AND customer_id = :customer "  # noqa: S608 - our own text
        f"{after}ORDER BY decided_at DESC, decision_id DESC LIMIT :limit",
        tenant=tenant_id,
        customer=customer_id,
        limit=limit,
        **({"at": datetime.fromisoformat(before[0]), "id": UUID(before[1])} if before else {}),
    )


async def decision(conn: AsyncConnection, tenant_id: UUID, decision_id: UUID) -> Row[Any] | None:
    """One decision."""
    rows = await fetch(conn, "SELECT * FROM decision WHERE tenant_id = :tenant AND decision_id = :id", tenant=tenant_id, id=decision_id)
    return rows[0] if rows else None
