"""Files that were fetched from banks, by source and name."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.storage.rows import fetch


async def outcomes(conn: AsyncConnection, tenant_id: UUID, source: str, names: Sequence[str]) -> dict[str, str]:
    """What became of those of the files that were fetched before, by name."""
    rows = await fetch(
        conn,
        "SELECT name, outcome FROM pulled_file WHERE tenant_id = :tenant AND source = :source AND name = ANY(CAST(:names AS text[]))",
        tenant=tenant_id,
        source=source,
        names=list(names),
    )
    return {row[0]: row[1] for row in rows}


async def note(
    conn: AsyncConnection, tenant_id: UUID, source: str, name: str, *, sha256: str, outcome: str, detail: str | None, at: datetime
) -> None:
    """Notes that a file was fetched, and what became of it. `at`: the machine's clock."""
    await run(
        conn,
        "INSERT INTO pulled_file (tenant_id, source, name, file_sha256, outcome, detail, pulled_at) "
        "VALUES (:tenant, :source, :name, :sha256, :outcome, :detail, :at) ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        source=source,
        name=name,
        sha256=sha256,
        outcome=outcome,
        detail=detail,
        at=at,
    )


async def newest(conn: AsyncConnection, tenant_id: UUID, outcome: str | None, limit: int) -> Sequence[Row[Any]]:
    """The files fetched last, of one outcome where asked."""
    return await fetch(
        conn,
        "SELECT source, name, file_sha256, outcome, detail, pulled_at FROM pulled_file WHERE tenant_id = :tenant "
        "AND (CAST(:outcome AS text) IS NULL OR outcome = :outcome) ORDER BY pulled_at DESC, source, name LIMIT :limit",
        tenant=tenant_id,
        outcome=outcome,
        limit=limit,
    )


async def forget(conn: AsyncConnection, tenant_id: UUID, source: str, name: str) -> Row[Any] | None:
    """A file that waits for a person is to be fetched again; returns what was noted of it, None where none waits."""
    rows = await fetch(
        conn,
        "DELETE FROM pulled_file WHERE tenant_id = :tenant AND source = :source AND name = :name AND outcome = 'unreadable' "
        "RETURNING source, name, file_sha256, outcome, detail, pulled_at",
        tenant=tenant_id,
        source=source,
        name=name,
    )
    return rows[0] if rows else None
