"""SQL about the e-invoice life cycle: the log of statuses, and what stands of each invoice.

Invariant: `invoice_status` is a function of the invoice's rows in `status_entry`; both are written under the lock of the first.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from contracts.invoices import StatusAmount, StatusReason
from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

Key = tuple[UUID, UUID]
"""Tenant and invoice."""
_ENTRY = {
    "tenant_id": "uuid",
    "entry_id": "uuid",
    "invoice_id": "uuid",
    "origin": "text",
    "source": "text",
    "message_id": "text",
    "status": "int",
    "lifts": "text",
    "at": "timestamptz",
    "reasons": "text",
    "amounts": "text",
    "note": "text",
    "received_at": "timestamptz",
}
_JSON = frozenset({"reasons", "amounts", "outside", "ours"})
_SELECTED = ", ".join(f"e.{name}::text AS {name}" if name in _JSON else f'e."{name}"' for name in (*_ENTRY, "acknowledged_at"))
_KEYS = unnest({"tenant": "uuid", "invoice": "uuid"}, "k")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the log. `source` says what wrote it: api, cdar, peppol, dispute, payment."""

    tenant_id: UUID
    entry_id: UUID
    invoice_id: UUID
    origin: str
    source: str
    message_id: str
    status: int | None
    at: datetime
    received_at: datetime
    lifts: str | None = None
    reasons: tuple[StatusReason, ...] = ()
    amounts: tuple[StatusAmount, ...] = ()
    note: str | None = None
    acknowledged_at: datetime | None = None


def _keys(keys: Iterable[Key]) -> dict[str, list[Any]]:
    return arrays(sorted(keys), ["tenant", "invoice"])


def _cast(name: str) -> str:
    return f"CAST({name} AS jsonb)" if name in _JSON else f'"{name}"'


def _entry(row: Row[Any]) -> Entry:
    fields = {name: getattr(row, name) for name in (*_ENTRY, "acknowledged_at")}
    fields["reasons"] = tuple(msgspec.json.decode(row.reasons, type=list[StatusReason]))
    fields["amounts"] = tuple(msgspec.json.decode(row.amounts, type=list[StatusAmount]))
    return Entry(**fields)


async def invoices(conn: AsyncConnection, keys: Iterable[Key]) -> dict[Key, Row[Any]]:
    """What is said of an invoice beside its status; invoices that do not exist are left out."""
    rows = await fetch(
        conn,
        "SELECT i.tenant_id, i.invoice_id, i.entity_id, i.customer_id, i.source_system, i.invoice_number, i.currency, i.kind "  # noqa: S608 - our own text
        f"FROM invoice i JOIN {_KEYS} ON i.tenant_id = k.tenant AND i.invoice_id = k.invoice",
        **_keys(keys),
    )
    return {(row.tenant_id, row.invoice_id): row for row in rows}


async def lock(conn: AsyncConnection, keys: Iterable[Key]) -> dict[Key, Row[Any]]:
    """What stands of some invoices, locked in the order of their keys; rows are made where there are none. Two statements."""
    await run(
        conn,
        "INSERT INTO invoice_status (tenant_id, invoice_id, version, reported_minor, item_version) "  # noqa: S608 - our own text
        f"SELECT tenant, invoice, 0, 0, 0 FROM {_KEYS} ON CONFLICT DO NOTHING",
        **_keys(keys),
    )
    rows = await fetch(
        conn,
        "SELECT s.tenant_id, s.invoice_id, s.version, s.status, s.origin, s.outside::text AS outside, s.ours::text AS ours, "  # noqa: S608 - our own text
        f"s.reported_minor, s.item_version FROM invoice_status s JOIN {_KEYS} ON s.tenant_id = k.tenant AND s.invoice_id = k.invoice "
        "ORDER BY s.tenant_id, s.invoice_id FOR UPDATE OF s",
        **_keys(keys),
    )
    return {(row.tenant_id, row.invoice_id): row for row in rows}


async def insert(conn: AsyncConnection, entries: Sequence[Entry]) -> set[UUID]:
    """Adds lines to the log; returns the ids of those that were not there. One statement."""
    encode = msgspec.json.encode
    rows = [
        [encode(value).decode() if name in _JSON else value for name in _ENTRY for value in [getattr(entry, name)]]
        for entry in sorted({entry.entry_id: entry for entry in entries}.values(), key=lambda entry: (entry.tenant_id, entry.entry_id))
    ]
    names = ", ".join(f'"{name}"' for name in _ENTRY)
    found = await fetch(
        conn,
        f"INSERT INTO status_entry ({names}) SELECT {', '.join(map(_cast, _ENTRY))} FROM "  # noqa: S608 - column names are ours
        f"unnest({', '.join(f'CAST(:{name} AS {kind}[])' for name, kind in _ENTRY.items())}) AS t({names}) "
        "ON CONFLICT DO NOTHING RETURNING entry_id",
        **arrays(rows, list(_ENTRY)),
    )
    return {row.entry_id for row in found}


async def logs(conn: AsyncConnection, keys: Iterable[Key]) -> dict[Key, list[Entry]]:
    """The whole log of some invoices."""
    rows = await fetch(
        conn,
        f"SELECT {_SELECTED} FROM status_entry e JOIN {_KEYS} ON e.tenant_id = k.tenant AND e.invoice_id = k.invoice",  # noqa: S608 - our own text
        **_keys(keys),
    )
    found: dict[Key, list[Entry]] = {}
    for row in rows:
        found.setdefault((row.tenant_id, row.invoice_id), []).append(_entry(row))
    return found


async def write(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Writes what stands, under the lock of `lock`: (tenant, invoice, version, status, origin, outside, ours) each."""
    columns = {
        "tenant": "uuid",
        "invoice": "uuid",
        "new_version": "bigint",
        "new_status": "int",
        "new_origin": "text",
        "new_outside": "text",
        "new_ours": "text",
    }
    await run(
        conn,
        "UPDATE invoice_status SET version = new_version, status = new_status, origin = new_origin, "  # noqa: S608 - our own text
        "outside = CAST(new_outside AS jsonb), ours = CAST(new_ours AS jsonb) "
        f"FROM {unnest(columns)} WHERE tenant_id = tenant AND invoice_id = invoice",
        **arrays(rows, list(columns)),
    )


async def note_reported(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Notes what was reported as collected: (tenant, invoice, reported, version of the open item) each."""
    columns = {"tenant": "uuid", "invoice": "uuid", "reported": "bigint", "seen": "bigint"}
    await run(
        conn,
        f"UPDATE invoice_status SET reported_minor = reported, item_version = seen FROM {unnest(columns)} "  # noqa: S608 - our own text
        "WHERE tenant_id = tenant AND invoice_id = invoice",
        **arrays(rows, list(columns)),
    )


async def entry(conn: AsyncConnection, tenant_id: UUID, entry_id: UUID) -> Entry | None:
    """One line of the log."""
    rows = await fetch(
        conn,
        f"SELECT {_SELECTED} FROM status_entry e WHERE e.tenant_id = :tenant AND e.entry_id = :entry",  # noqa: S608 - column names are ours
        tenant=tenant_id,
        entry=entry_id,
    )
    return _entry(rows[0]) if rows else None


async def page(conn: AsyncConnection, tenant_id: UUID, invoice_id: UUID, *, after: tuple[datetime, UUID] | None, limit: int) -> list[Entry]:
    """A page of an invoice's log, by the statuses' own dates."""
    rows = await fetch(
        conn,
        f"SELECT {_SELECTED} FROM status_entry e WHERE e.tenant_id = :tenant AND e.invoice_id = :invoice "  # noqa: S608 - column names are ours
        "AND (CAST(:at AS timestamptz) IS NULL OR (e.at, e.entry_id) > (CAST(:at AS timestamptz), CAST(:id AS uuid))) "
        "ORDER BY e.at, e.entry_id LIMIT :limit",
        tenant=tenant_id,
        invoice=invoice_id,
        at=after[0] if after else None,
        id=after[1] if after else None,
        limit=limit,
    )
    return [_entry(row) for row in rows]


async def outgoing(conn: AsyncConnection, tenant_id: UUID, after: UUID | None, limit: int) -> list[Entry]:
    """A page of our own statuses that nobody has acknowledged yet, by id."""
    rows = await fetch(
        conn,
        f"SELECT {_SELECTED} FROM status_entry e WHERE e.tenant_id = :tenant AND e.origin = 'ours' "  # noqa: S608 - column names are ours
        "AND e.status IS NOT NULL AND e.acknowledged_at IS NULL AND (CAST(:after AS uuid) IS NULL OR e.entry_id > CAST(:after AS uuid)) "
        "ORDER BY e.entry_id LIMIT :limit",
        tenant=tenant_id,
        after=after,
        limit=limit,
    )
    return [_entry(row) for row in rows]


async def acknowledge(conn: AsyncConnection, tenant_id: UUID, entry_id: UUID, now: datetime) -> bool:
    """Notes that one of our statuses was passed on; the first time counts. False where there is no such status of ours."""
    touched = await run(
        conn,
        "UPDATE status_entry SET acknowledged_at = coalesce(acknowledged_at, :now) "
        "WHERE tenant_id = :tenant AND entry_id = :entry AND origin = 'ours' AND status IS NOT NULL",
        tenant=tenant_id,
        entry=entry_id,
        now=now,
    )
    return touched > 0


async def named(
    conn: AsyncConnection, tenant_id: UUID, *, invoice_number: str, issue_date: date | None, entities: Sequence[UUID] | None
) -> Sequence[Row[Any]]:
    """Invoices that a message may mean: by number, and by day of issue and seller where it names them. At most two."""
    return await fetch(
        conn,
        "SELECT invoice_id, currency FROM invoice WHERE tenant_id = :tenant AND invoice_number = :number "
        "AND (CAST(:day AS date) IS NULL OR issue_date = CAST(:day AS date)) "
        "AND (CAST(:entities AS uuid[]) IS NULL OR entity_id = ANY(CAST(:entities AS uuid[]))) LIMIT 2",
        tenant=tenant_id,
        number=invoice_number,
        day=issue_date,
        entities=entities,
    )
