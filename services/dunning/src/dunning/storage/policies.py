"""The policy's rows: one per version, the highest counts."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.db import fetch, run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

ACTIVE = (
    "coalesce((SELECT enabled AND enabled_from <= :today FROM policy WHERE tenant_id = t.tenant_id ORDER BY version DESC LIMIT 1), false)"
)
"""A condition of `Job.due`: reminders are sent today."""


async def current(conn: AsyncConnection, tenant_id: UUID) -> Row[Any] | None:
    """The newest version of a tenant's policy, None where nobody ever set one."""
    rows = await fetch(
        conn,
        "SELECT version, document, enabled, enabled_from FROM policy WHERE tenant_id = :tenant ORDER BY version DESC LIMIT 1",
        tenant=tenant_id,
    )
    return rows[0] if rows else None


async def lock(conn: AsyncConnection, tenant_id: UUID) -> None:
    """One change of a tenant's policy at a time."""
    await fetch(conn, "SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))", key=f"policy {tenant_id}")


async def add(
    conn: AsyncConnection,
    tenant_id: UUID,
    version: int,
    document: Mapping[str, Any],
    *,
    enabled: bool,
    enabled_from: date | None,
    by: str,
    now: datetime,
) -> None:
    """Adds a version."""
    await run(
        conn,
        "INSERT INTO policy (tenant_id, version, document, enabled, enabled_from, changed_by, changed_at) "
        "VALUES (:tenant, :version, CAST(:document AS jsonb), :enabled, :enabled_from, :by, :now)",
        tenant=tenant_id,
        version=version,
        document=json.dumps(document),
        enabled=enabled,
        enabled_from=enabled_from,
        by=by,
        now=now,
    )
