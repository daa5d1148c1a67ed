"""Write-offs as they stand, and which payments reversed what of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.db import arrays, run, unnest
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.storage.rows import fetch, found


@dataclass(slots=True)
class WriteOff:
    """A write-off as it stands. `status`: requested, booked, refused, or reversed (the whole of it)."""

    write_off_id: UUID
    version: int
    entity_id: UUID
    item_id: UUID
    currency: str
    amount_minor: int
    reversed_minor: int
    reason: str
    note: str | None
    status: str
    requested_by: str
    decided_by: str | None
    requested_at: datetime
    decided_at: datetime | None


class Reversal(NamedTuple):
    """What of a write-off is reversed because a payment settles its item."""

    tenant_id: UUID
    payment_id: UUID
    item_id: UUID
    write_off_id: UUID
    amount_minor: int


LISTED = (
    "SELECT write_off_id AS at, * FROM write_off WHERE tenant_id = :tenant AND (CAST(:status AS text) IS NULL OR status = :status) "
    "AND (CAST(:item_id AS uuid) IS NULL OR item_id = :item_id)"
)
_COLUMNS = (
    "write_off_id, version, entity_id, item_id, currency, amount_minor, reversed_minor, reason, note, status, requested_by, decided_by, "
    "requested_at, decided_at"
)


async def find(conn: AsyncConnection, tenant_id: UUID, write_off_id: UUID, *, lock: bool = False) -> WriteOff | None:
    """A write-off, locked where it is about to change; None where there is none."""
    query = f"SELECT {_COLUMNS} FROM write_off WHERE tenant_id = :tenant AND write_off_id = :id"  # noqa: S608 - ours
    row = await found(conn, query, lock=lock, tenant=tenant_id, id=write_off_id)
    return WriteOff(*row) if row else None


async def booked_of(conn: AsyncConnection, tenant_id: UUID, item_id: UUID) -> list[WriteOff]:
    """An item's booked write-offs, locked, the latest first."""
    rows = await fetch(
        conn,
        f"SELECT {_COLUMNS} FROM write_off WHERE tenant_id = :tenant AND item_id = :item AND status = 'booked' "  # noqa: S608 - ours
        "ORDER BY decided_at DESC, write_off_id DESC FOR UPDATE",
        tenant=tenant_id,
        item=item_id,
    )
    return [WriteOff(*row) for row in rows]


async def insert(conn: AsyncConnection, tenant_id: UUID, given: WriteOff) -> None:
    """Stores a write-off that is asked for."""
    await run(
        conn,
        f"INSERT INTO write_off (tenant_id, {_COLUMNS}) VALUES (:tenant, :id, 1, :entity, :item, :currency, :amount, 0, :reason, :note, "  # noqa: S608 - ours
        ":status, :by, NULL, :now, NULL)",
        tenant=tenant_id,
        id=given.write_off_id,
        entity=given.entity_id,
        item=given.item_id,
        currency=given.currency,
        amount=given.amount_minor,
        reason=given.reason,
        note=given.note,
        status=given.status,
        by=given.requested_by,
        now=given.requested_at,
    )


async def save(conn: AsyncConnection, tenant_id: UUID, given: WriteOff) -> None:
    """Writes what has changed of a write-off, as its next version."""
    given.version += 1
    await run(
        conn,
        "UPDATE write_off SET version = :version, status = :status, reversed_minor = :reversed, decided_by = :by, decided_at = :at "
        "WHERE tenant_id = :tenant AND write_off_id = :id",
        tenant=tenant_id,
        id=given.write_off_id,
        version=given.version,
        status=given.status,
        reversed=given.reversed_minor,
        by=given.decided_by,
        at=given.decided_at,
    )


_PAIR = {"tenant": "uuid", "payment": "uuid", "item": "uuid"}
_REVERSAL = {**_PAIR, "write_off": "uuid", "amount": "bigint"}


async def reversed_by(conn: AsyncConnection, allocations: Sequence[tuple[UUID, UUID, UUID]]) -> list[Reversal]:
    """What allocations (tenant, payment, item), whose payments are locked, have reversed; of each what was written off first."""
    rows = await fetch(
        conn,
        "SELECT r.tenant_id, r.payment_id, r.item_id, r.write_off_id, r.amount_minor FROM write_off_reversal r "  # noqa: S608 - our own names
        f"JOIN write_off w USING (tenant_id, write_off_id) WHERE (r.tenant_id, r.payment_id, r.item_id) IN (SELECT * FROM {unnest(_PAIR)}) "
        "ORDER BY r.tenant_id, r.payment_id, r.item_id, w.decided_at, r.write_off_id",
        **arrays(allocations, list(_PAIR)),
    )
    return [Reversal(*row) for row in rows]


async def settling(conn: AsyncConnection, tenant_id: UUID, item_id: UUID) -> list[tuple[UUID, int]]:
    """The payments that settle an item, which is locked, the latest first, each with what of that has not reversed a write-off."""
    rows = await fetch(
        conn,
        "SELECT a.payment_id, coalesce(x.item_amount_minor, a.amount_minor) + a.diff_minor - coalesce((SELECT "
        "CAST(sum(r.amount_minor) AS bigint) FROM write_off_reversal r WHERE (r.tenant_id, r.payment_id, r.item_id) = "
        "(a.tenant_id, a.payment_id, a.item_id)), 0) AS room FROM allocation a JOIN payment p USING (tenant_id, payment_id) "
        "LEFT JOIN allocation_exchange x USING (tenant_id, payment_id, item_id) "
        "WHERE a.tenant_id = :tenant AND a.item_id = :item ORDER BY p.value_date DESC, a.payment_id DESC",
        tenant=tenant_id,
        item=item_id,
    )
    return [(row[0], row[1]) for row in rows]


async def note_reversals(conn: AsyncConnection, reversals: Sequence[Reversal]) -> None:
    """Adds to what payments have reversed of write-offs, or, of an amount below zero, takes that away."""
    rows = sorted(reversals, key=str)
    await run(
        conn,
        "MERGE INTO write_off_reversal r USING (SELECT * FROM "  # noqa: S608 - our own names
        f"{unnest(_REVERSAL)}) t ON r.tenant_id = t.tenant AND r.payment_id = t.payment AND r.item_id = t.item "
        "AND r.write_off_id = t.write_off WHEN MATCHED AND r.amount_minor + t.amount = 0 THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET amount_minor = r.amount_minor + t.amount "
        "WHEN NOT MATCHED THEN INSERT (tenant_id, payment_id, item_id, write_off_id, amount_minor) "
        "VALUES (t.tenant, t.payment, t.item, t.write_off, t.amount)",
        **arrays(rows, list(_REVERSAL)),
    )


async def forget_reversals(conn: AsyncConnection, tenant_id: UUID, write_off_id: UUID) -> None:
    """Whatever reversed it, nothing of the write-off stands again."""
    await run(conn, "DELETE FROM write_off_reversal WHERE tenant_id = :tenant AND write_off_id = :id", tenant=tenant_id, id=write_off_id)
