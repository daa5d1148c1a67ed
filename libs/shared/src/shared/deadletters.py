"""Dead letters: messages that can never work, kept whole with the reason, until a person replays or drops them.

Invariants: a row goes in within the transaction that takes the message off the consumer's hands, once per record of the
topic; replaying runs the same handler on the same bytes, so versions and the inbox hold as ever.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import machine_now
from shared.db import fetch, run


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of a topic, as it was, and why it was put aside (`parked`: for its tenant's sake, not its own)."""

    event: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    reason: str
    parked: bool = False
    tenant_id: UUID | None = None
    id: int = 0


async def put(conn: AsyncConnection, consumer: str, letters: Sequence[DeadLetter]) -> None:
    """Stores dead letters; a record that is there already stays as it is."""
    await run(
        conn,
        'INSERT INTO dead_letter (consumer, event, partition, "offset", tenant_id, key, headers, value, parked, reason, created_at) '
        "SELECT :consumer, event, part, off, tenant, key, CAST(headers AS jsonb), value, parked, reason, :now "
        "FROM unnest(CAST(:events AS text[]), CAST(:parts AS int[]), CAST(:offs AS bigint[]), CAST(:tenants AS uuid[]), "
        "CAST(:keys AS bytea[]), CAST(:headers AS text[]), CAST(:values AS bytea[]), CAST(:parked AS bool[]), CAST(:reasons AS text[])) "
        "AS t(event, part, off, tenant, key, headers, value, parked, reason) ON CONFLICT DO NOTHING",
        consumer=consumer,
        now=machine_now(),
        events=[letter.event for letter in letters],
        parts=[letter.partition for letter in letters],
        offs=[letter.offset for letter in letters],
        tenants=[letter.tenant_id for letter in letters],
        keys=[letter.key for letter in letters],
        headers=[json.dumps([[name.encode().hex(), (value or b"").hex()] for name, value in letter.headers]) for letter in letters],
        values=[letter.value for letter in letters],
        parked=[letter.parked for letter in letters],
        reasons=[_text(letter.reason) for letter in letters],
    )


async def waiting(conn: AsyncConnection, *, tenant_id: UUID | None = None, after: int = 0, limit: int = 1000) -> list[DeadLetter]:
    """What nobody has replayed yet, oldest first; after an id, for the next piece."""
    rows = await fetch(
        conn,
        'SELECT id, event, partition, "offset", tenant_id, key, headers::text AS headers, value, parked, reason FROM dead_letter '
        "WHERE replayed_at IS NULL AND id > :after AND (CAST(:tenant AS uuid) IS NULL OR tenant_id = :tenant) ORDER BY id LIMIT :limit",
        tenant=tenant_id,
        after=after,
        limit=limit,
    )
    return [_letter(row) for row in rows]


async def replayed(conn: AsyncConnection, ids: Sequence[int]) -> None:
    """Notes that these were handled after all."""
    await run(conn, "UPDATE dead_letter SET replayed_at = :now WHERE id = ANY(CAST(:ids AS bigint[]))", now=machine_now(), ids=list(ids))


async def erase(conn: AsyncConnection, event: str, aggregates: Sequence[tuple[UUID, UUID]]) -> None:
    """Removes the dead letters of an event about aggregates (tenant, id) that were erased."""
    await run(
        conn,
        "DELETE FROM dead_letter WHERE event = :event AND key = ANY(CAST(:keys AS bytea[]))",
        event=event,
        keys=[f"{tenant}:{aggregate}".encode() for tenant, aggregate in aggregates],
    )


def _text(reason: str) -> str:
    """A reason as Postgres can store it, whatever a handler quoted in it: what is refused here would stop the topic."""
    return reason[:2000].replace("\x00", "\\x00").encode(errors="backslashreplace").decode()


def _letter(row: Any) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        event=row.event,
        partition=row.partition,
        offset=row.offset,
        tenant_id=row.tenant_id,
        key=row.key,
        value=row.value,
        headers=[(bytes.fromhex(name).decode(), bytes.fromhex(value)) for name, value in json.loads(row.headers)],
        parked=row.parked,
        reason=row.reason,
    )
