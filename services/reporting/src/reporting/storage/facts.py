"""Facts, and which events were seen."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from shared.db import run
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

SLICE = 2_000
"""Rows per statement: the driver takes 32,767 parameters, and the widest fact has 14 columns."""


async def add_facts(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Stores facts under their own ids; what is there stays."""
    for start in range(0, len(rows), SLICE):
        values = [dict(row) for row in rows[start : start + SLICE]]
        await conn.execute(insert(table).values(values).on_conflict_do_nothing())


async def note_seen(conn: AsyncConnection, event: str, events: Sequence[tuple[UUID, UUID]]) -> None:
    """Notes events (tenant, event id) of one name, each once."""
    ordered = sorted(set(events))
    await run(
        conn,
        "INSERT INTO event_seen (tenant_id, event, event_id) SELECT tenant, :event, id "
        "FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant, id) ON CONFLICT DO NOTHING",
        event=event,
        tenants=[tenant for tenant, _ in ordered],
        ids=[identity for _, identity in ordered],
    )
