"""The freshness gate's rows: how far the bank's word reaches, and what has been read of ours since it was given."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.db import fetch, run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

GUARDED = ("OpenItemChanged", "AccountBalanceChanged")
"""What is owed, as matching says it: the topics that must be read before the absence of money means anything."""

# An active account's gate: what the newest opened word reached, or less where a later word fell back behind it.
_REACH = (
    "SELECT a.tenant_id, a.entity_id, a.bank_account_id, a.iban, r.booked_through, r.matched_through, r.gaps, "
    "(SELECT min(m.matched_through) FROM gate_mark m WHERE (m.tenant_id, m.bank_account_id) = (a.tenant_id, a.bank_account_id) "
    "AND m.version >= (SELECT max(o.version) FROM gate_mark o WHERE (o.tenant_id, o.bank_account_id) = (a.tenant_id, a.bank_account_id) "
    "AND o.opened_at IS NOT NULL)) AS open_through "
    "FROM bank_account a LEFT JOIN reconciliation r USING (tenant_id, bank_account_id) WHERE a.tenant_id = :tenant AND a.status = 'active'"
)


async def mark(conn: AsyncConnection, rows: Iterable[tuple[UUID, UUID, int, date]], ends: Mapping[tuple[str, int], int]) -> None:
    """Notes where the guarded topics end for (tenant, bank account, version, matched through) just read; once per version."""
    found = sorted(rows)
    await run(
        conn,
        "INSERT INTO gate_mark (tenant_id, bank_account_id, version, matched_through, ends) "
        "SELECT tenant, account, version, through, CAST(:ends AS jsonb) FROM unnest(CAST(:tenants AS uuid[]), CAST(:accounts AS uuid[]), "
        "CAST(:versions AS bigint[]), CAST(:throughs AS date[])) AS t(tenant, account, version, through) ON CONFLICT DO NOTHING",
        ends=json.dumps({f"{topic}:{partition}": offset for (topic, partition), offset in ends.items()}),
        tenants=[row[0] for row in found],
        accounts=[row[1] for row in found],
        versions=[row[2] for row in found],
        throughs=[row[3] for row in found],
    )


_SHUT = "opened_at IS NULL"
DUE = f"EXISTS (SELECT 1 FROM gate_mark WHERE tenant_id = t.tenant_id AND {_SHUT})"  # noqa: S608 - our own text
"""For `Job.due`."""


async def shut_marks(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Row[Any]]:
    """Marks of a tenant that have not opened, oldest first, locked."""
    return await fetch(
        conn,
        f"SELECT bank_account_id, version, ends FROM gate_mark WHERE tenant_id = :tenant AND {_SHUT} "  # noqa: S608 - our own text
        "ORDER BY bank_account_id, version LIMIT 1000 FOR UPDATE SKIP LOCKED",
        tenant=tenant_id,
    )


async def open_marks(conn: AsyncConnection, tenant_id: UUID, marks: Sequence[tuple[UUID, int]], now: datetime) -> None:
    """Opens marks of (bank account, version)."""
    await run(
        conn,
        "UPDATE gate_mark SET opened_at = :now FROM unnest(CAST(:accounts AS uuid[]), CAST(:versions AS bigint[])) AS t(account, number) "
        "WHERE tenant_id = :tenant AND bank_account_id = account AND version = number",
        now=now,
        tenant=tenant_id,
        accounts=[account for account, _ in marks],
        versions=[version for _, version in marks],
    )


async def tainted(conn: AsyncConnection, tenant_id: UUID) -> bool:
    """Whether events about what a tenant owes lie in our dead letters: our positions have passed them, our tables have not."""
    rows = await fetch(
        conn,
        "SELECT 1 FROM dead_letter WHERE (tenant_id = :tenant OR tenant_id IS NULL) AND replayed_at IS NULL "
        "AND event = ANY(CAST(:events AS text[])) LIMIT 1",
        tenant=tenant_id,
        events=list(GUARDED),
    )
    return bool(rows)


async def accounts(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Row[Any]]:
    """Every active collection account of a tenant, and the day through which its gate is open (None: shut)."""
    return await fetch(
        conn,
        f"SELECT reach.*, (SELECT s.reason FROM statement_rejected s WHERE (s.tenant_id, s.bank_account_id) = "  # noqa: S608 - our own text
        "(reach.tenant_id, reach.bank_account_id) ORDER BY rejected_at DESC LIMIT 1) AS last_rejection "
        f"FROM ({_REACH}) AS reach ORDER BY bank_account_id",
        tenant=tenant_id,
    )


async def gates(conn: AsyncConnection, tenant_id: UUID) -> dict[UUID, date]:
    """The gate day of each entity: the least over its active accounts. An entity with a shut account, or none, is absent;
    all are while what is owed lies in our dead letters.
    """
    if await tainted(conn, tenant_id):
        return {}
    rows = await fetch(
        conn,
        f"SELECT entity_id, min(open_through) AS through FROM ({_REACH}) AS reach "  # noqa: S608 - our own text
        "GROUP BY entity_id HAVING bool_and(open_through IS NOT NULL)",
        tenant=tenant_id,
    )
    return {row.entity_id: row.through for row in rows}
