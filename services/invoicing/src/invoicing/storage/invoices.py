"""SQL about invoices and credit notes, and what matching says is open of them.

Invariant: a row's columns and `details` together are the whole public state, `InvoiceState`, at the row's version.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from contracts.invoices import InvoiceState
from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_COLUMNS = {
    "invoice_id": "uuid",
    "version": "bigint",
    "source_system": "text",
    "source_id": "text",
    "source_version": "int",
    "invoice_number": "text",
    "kind": "text",
    "origin": "text",
    "status": "text",
    "customer_id": "uuid",
    "customer_number": "text",
    "issue_date": "date",
    "currency": "text",
    "total_minor": "bigint",
    "tax_minor": "bigint",
    "prepaid_minor": "bigint",
    "payable_minor": "bigint",
    "payment_reference": "text",
}
_DETAILS = tuple(name for name in InvoiceState.__struct_fields__ if name not in _COLUMNS and name != "instalments")
_WRITTEN = {
    **_COLUMNS,
    "instalments": "text",
    "details": "text",
    "entity_id": "uuid",
    "reference_made": "bool",
    "content": "bytea",
}
_JSON = frozenset({"instalments", "details"})
_SELECTED = ", ".join(f"i.{name}" for name in _COLUMNS) + (
    ", i.instalments::text AS instalments, i.details::text AS details, i.entity_id, i.reference_made, i.content, i.cancel_reason"
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice as it is stored: its public state and what decides about the next version."""

    entity_id: UUID
    state: InvoiceState
    reference_made: bool
    content: bytes
    cancel_reason: str | None = None


def _kept(row: Row[Any]) -> Kept:
    fields = {name: getattr(row, name) for name in _COLUMNS}
    fields |= msgspec.json.decode(row.details)
    fields["instalments"] = msgspec.json.decode(row.instalments)
    state = msgspec.convert(fields, InvoiceState)
    return Kept(
        entity_id=row.entity_id, state=state, reference_made=row.reference_made, content=row.content, cancel_reason=row.cancel_reason
    )


def _values(kept: Kept) -> list[Any]:
    state = kept.state
    encode = msgspec.json.encode
    return [
        *(getattr(state, name) for name in _COLUMNS),
        encode(state.instalments).decode(),
        encode({name: value for name in _DETAILS if (value := getattr(state, name)) not in (None, [])}).decode(),
        kept.entity_id,
        kept.reference_made,
        kept.content,
    ]


def _ordered(invoices: Sequence[Kept]) -> dict[str, list[Any]]:
    rows = [_values(kept) for kept in sorted(invoices, key=lambda kept: kept.state.invoice_id)]
    return arrays(rows, list(_WRITTEN))


async def lock_invoices(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID]) -> dict[UUID, Kept]:
    """The invoices among `ids` that exist, locked in the order of their ids. One statement."""
    rows = await fetch(
        conn,
        f"SELECT {_SELECTED} FROM invoice i WHERE i.tenant_id = :tenant AND i.invoice_id = ANY(CAST(:ids AS uuid[])) "  # noqa: S608 - column names are ours
        "ORDER BY i.tenant_id, i.invoice_id FOR UPDATE",
        tenant=tenant_id,
        ids=sorted(ids),
    )
    return {row.invoice_id: _kept(row) for row in rows}


async def insert_invoices(conn: AsyncConnection, tenant_id: UUID, invoices: Sequence[Kept], now: datetime) -> set[UUID]:
    """Inserts new invoices; returns the ids of those that this call made (another sender may have been first). One statement."""
    names = ", ".join(_WRITTEN)
    values = ", ".join(f"CAST({name} AS jsonb)" if name in _JSON else name for name in _WRITTEN)
    rows = await fetch(
        conn,
        f"INSERT INTO invoice (tenant_id, received_at, changed_at, {names}) SELECT :tenant, :now, :now, {values} "  # noqa: S608 - column names are ours
        f"FROM {unnest(_WRITTEN)} ON CONFLICT (tenant_id, invoice_id) DO NOTHING RETURNING invoice_id",
        tenant=tenant_id,
        now=now,
        **_ordered(invoices),
    )
    return {row.invoice_id for row in rows}


async def update_invoices(conn: AsyncConnection, tenant_id: UUID, invoices: Sequence[Kept], now: datetime) -> None:
    """Writes invoices whose rows the caller has locked. One statement."""
    updates = ", ".join(
        f"{name} = CAST(t.{name} AS jsonb)" if name in _JSON else f"{name} = t.{name}" for name in _WRITTEN if name != "invoice_id"
    )
    await run(
        conn,
        f"UPDATE invoice SET changed_at = :now, {updates} FROM {unnest(_WRITTEN)} "  # noqa: S608 - column names are ours
        "WHERE invoice.tenant_id = :tenant AND invoice.invoice_id = t.invoice_id",
        tenant=tenant_id,
        now=now,
        **_ordered(invoices),
    )


async def note_reason(conn: AsyncConnection, tenant_id: UUID, invoice_id: UUID, reason: str) -> None:
    """Keeps why an invoice was cancelled, in its own words."""
    await run(
        conn,
        "UPDATE invoice SET cancel_reason = :reason WHERE tenant_id = :tenant AND invoice_id = :id",
        tenant=tenant_id,
        id=invoice_id,
        reason=reason,
    )


async def numbered(conn: AsyncConnection, tenant_id: UUID, numbers: Iterable[str]) -> Sequence[Row[Any]]:
    """Which invoices bear these numbers: entity, number, id, kind. Cancelled ones and credit notes are left out."""
    return await fetch(
        conn,
        "SELECT entity_id, invoice_number, invoice_id, kind FROM invoice WHERE tenant_id = :tenant "
        "AND invoice_number = ANY(CAST(:numbers AS text[])) AND status = 'issued' AND kind <> 'credit_note'",
        tenant=tenant_id,
        numbers=sorted(numbers),
    )


async def invoices(
    conn: AsyncConnection, tenant_id: UUID, *, filters: Mapping[str, Any], after: UUID | None, limit: int
) -> list[tuple[Kept, Row[Any]]]:
    """A page of invoices by id, each with what matching says of it (`open_minor` and so on, None before it has)."""
    where = "".join(f" AND i.{name} = :{name}" for name in filters)
    rows = await fetch(
        conn,
        f"SELECT {_SELECTED}, b.open_minor, b.disputed_minor, b.status AS item_status, b.close_cause, b.value_date "  # noqa: S608 - column names are ours
        "FROM invoice i LEFT JOIN invoice_balance b ON b.tenant_id = i.tenant_id AND b.invoice_id = i.invoice_id "
        f"WHERE i.tenant_id = :tenant AND (CAST(:after AS uuid) IS NULL OR i.invoice_id > CAST(:after AS uuid)){where} "
        "ORDER BY i.invoice_id LIMIT :limit",
        tenant=tenant_id,
        after=after,
        limit=limit,
        **filters,
    )
    return [(_kept(row), row) for row in rows]
