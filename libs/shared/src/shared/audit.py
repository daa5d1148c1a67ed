"""The audit trail: who did what to what. Rows go in with the change, unchained; a sealer chains them after commit.

Invariants: the application's role can add rows and never change or remove one; seal n of a tenant is
SHA-256(seal n-1 || each of its rows in canonical JSON, by id), so a changed, added or removed row breaks the chain;
a row is sealed once. Rows hold ids and codes, never names or texts of people.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import machine_now
from shared.db import Database, fetch, run

SEAL_BATCH = 1_000


async def record(conn: AsyncConnection, tenant_id: UUID, entries: Sequence[tuple[str, str, str, dict[str, Any]]]) -> None:
    """Adds entries of (actor, action, subject, detail) in the caller's transaction, one statement."""
    if not entries:
        return
    await run(
        conn,
        "INSERT INTO audit (tenant_id, at, actor, action, subject, detail) "
        "SELECT :tenant, :now, actor, action, subject, CAST(detail AS jsonb) FROM unnest(CAST(:actors AS text[]), "
        "CAST(:actions AS text[]), CAST(:subjects AS text[]), CAST(:details AS text[])) AS t(actor, action, subject, detail)",
        tenant=tenant_id,
        now=machine_now(),
        actors=[entry[0] for entry in entries],
        actions=[entry[1] for entry in entries],
        subjects=[entry[2] for entry in entries],
        details=[json.dumps(entry[3], default=str, sort_keys=True) for entry in entries],
    )


async def seal(database: Database, tenant_id: UUID) -> int:
    """Chains up to SEAL_BATCH unsealed rows of a tenant; returns how many. One sealer at a time per tenant."""
    async with database.transaction(tenant_id) as conn:
        await fetch(conn, "SELECT pg_advisory_xact_lock(hashtextextended(:tenant, 1))", tenant=str(tenant_id))
        rows = await fetch(
            conn,
            "SELECT id, at, actor, action, subject, detail::text AS detail FROM audit "
            "WHERE tenant_id = :tenant AND sealed_by IS NULL ORDER BY id LIMIT :limit",
            tenant=tenant_id,
            limit=SEAL_BATCH,
        )
        if not rows:
            return 0
        last = await fetch(
            conn, "SELECT number, hash FROM audit_seal WHERE tenant_id = :tenant ORDER BY number DESC LIMIT 1", tenant=tenant_id
        )
        number, previous = (last[0].number, last[0].hash) if last else (0, b"")
        await run(
            conn,
            "INSERT INTO audit_seal (tenant_id, number, rows, hash, sealed_at) VALUES (:tenant, :number, :rows, :hash, :now)",
            tenant=tenant_id,
            number=number + 1,
            rows=len(rows),
            hash=_digest(previous, rows),
            now=machine_now(),
        )
        await run(
            conn,
            "UPDATE audit SET sealed_by = :number WHERE tenant_id = :tenant AND id = ANY(CAST(:ids AS bigint[]))",
            tenant=tenant_id,
            number=number + 1,
            ids=[row.id for row in rows],
        )
        return len(rows)


async def broken_seals(conn: AsyncConnection) -> list[str]:
    """The seals that do not verify, each in words; empty when the chain of every visible tenant is whole."""
    seals = await fetch(conn, "SELECT tenant_id, number, rows, hash FROM audit_seal ORDER BY tenant_id, number")
    wrong = []
    previous: dict[UUID, tuple[int, bytes]] = {}
    for entry in seals:
        number, before = previous.get(entry.tenant_id, (0, b""))
        rows = await fetch(
            conn,
            "SELECT id, at, actor, action, subject, detail::text AS detail FROM audit "
            "WHERE tenant_id = :tenant AND sealed_by = :number ORDER BY id",
            tenant=entry.tenant_id,
            number=entry.number,
        )
        if entry.number != number + 1 or len(rows) != entry.rows or _digest(before, rows) != entry.hash:
            wrong.append(f"tenant {entry.tenant_id} seal {entry.number}")
        previous[entry.tenant_id] = (entry.number, entry.hash)
    return wrong


def _digest(previous: bytes, rows: Sequence[Any]) -> bytes:
    digest = hashlib.sha256(previous)
    for row in rows:
        line = [row.id, row.at.isoformat(), row.actor, row.action, row.subject, json.loads(row.detail)]
        digest.update(json.dumps(line, sort_keys=True, separators=(",", ":")).encode())
    return digest.digest()
