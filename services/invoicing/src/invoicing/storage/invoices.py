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
    "warnings": "text",
    "cancel_reason": "text",
}
_JSON = frozenset({"instalments", "details", "warnings"})
_SELECTED = ", ".join(f"i.{name}" for name in _COLUMNS) + (
    ", i.instalments::text AS instalments, i.details::text AS details, i.entity_id, i.reference_made, i.content, i.cancel_reason, "
    "i.warnings::text AS warnings"
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice as it is stored: its public state and what decides about the next version."""

    entity_id: UUID
    state: InvoiceState
    reference_made: bool
    content: bytes
    warnings: tuple[tuple[str, str], ...] = ()
    cancel_reason: str | None = None


def _kept(row: Row[Any]) -> Kept:
    fields = {name: getattr(row, name) for name in _COLUMNS}
    fields |= msgspec.json.decode(row.details)
    fields["instalments"] = msgspec.json.decode(row.instalments)
    state = msgspec.convert(fields, InvoiceState)
    return Kept(
        entity_id=row.entity_id,
        state=state,
        reference_made=row.reference_made,
        content=row.content,
        warnings=tuple((code, detail) for code, detail in msgspec.json.decode(row.warnings)),
        cancel_reason=row.cancel_reason,
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
        encode(kept.warnings).decode(),
        kept.cancel_reason,
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


async def numbered(conn: AsyncConnection, tenant_id: UUID, numbers: Iterable[str]) -> Sequence[Row[Any]]:
    """Which invoices and credit notes bear these numbers, and what they bill. Cancelled ones are left out."""
    return await fetch(
        conn,
        "SELECT entity_id, invoice_number, invoice_id, kind, customer_id, currency, total_minor, issue_date, source_system, source_id "
        "FROM invoice WHERE tenant_id = :tenant AND invoice_number = ANY(CAST(:numbers AS text[])) AND status = 'issued'",
        tenant=tenant_id,
        numbers=sorted(numbers),
    )


async def referred(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID]) -> Sequence[Row[Any]]:
    """What invoices refer to by id: kind, status, amounts, and what matching says is open (None before it has)."""
    return await fetch(
        conn,
        "SELECT i.invoice_id, i.entity_id, i.kind, i.status, i.currency, i.payable_minor, b.open_minor FROM invoice i "
        "LEFT JOIN invoice_balance b ON b.tenant_id = i.tenant_id AND b.invoice_id = i.invoice_id "
        "WHERE i.tenant_id = :tenant AND i.invoice_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=sorted(ids),
    )


async def draw_numbers(conn: AsyncConnection, count: int) -> list[int]:
    """Numbers for references that hold one: drawn once, whoever draws at the same moment and whether it is used or not."""
    rows = await fetch(conn, "SELECT nextval('reference_number') AS number FROM generate_series(1, :count)", count=count)
    return [row.number for row in rows]


async def credited(conn: AsyncConnection, tenant_id: UUID, invoice_id: UUID, *, but: str) -> int:
    """What credit notes that stand credit of an invoice, in minor units; the one of the source id `but` aside."""
    rows = await fetch(
        conn,
        "SELECT coalesce(sum(total_minor), 0)::bigint AS credited FROM invoice WHERE tenant_id = :tenant AND kind = 'credit_note' "
        "AND details ->> 'credited_invoice_id' = :id AND status = 'issued' AND source_id <> :but",
        tenant=tenant_id,
        id=str(invoice_id),
        but=but,
    )
    return int(rows[0].credited)


_SEARCHED = {
    "order_number": "i.details -> 'order_numbers' @> CAST(:order_number AS jsonb)",
    "reference": "(i.payment_reference = :printed OR i.details -> 'references' @> CAST(:reference AS jsonb))",
}
"""Filters that are no column: texts among an invoice's lists."""


async def invoices(
    conn: AsyncConnection, tenant_id: UUID, *, filters: Mapping[str, Any], after: UUID | None, limit: int
) -> list[tuple[Kept, Row[Any]]]:
    """A page of invoices by id, each with what matching says of it (`open_minor` and so on, None before it has).

    `filters`: a column, `order_number` or `reference`, to the wanted value.
    """
    where = "".join(f" AND {_SEARCHED.get(name, f'i.{name} = :{name}')}" for name in filters)
    sought = {name: msgspec.json.encode([value]).decode() if name in _SEARCHED else value for name, value in filters.items()}
    if "reference" in filters:
        sought["printed"] = filters["reference"]
    rows = await fetch(
        conn,
        f"SELECT {_SELECTED}, b.open_minor, b.disputed_minor, b.status AS item_status, b.close_cause, b.value_date "  # noqa: S608 - column names are ours
        "FROM invoice i LEFT JOIN invoice_balance b ON b.tenant_id = i.tenant_id AND b.invoice_id = i.invoice_id "
        f"WHERE i.tenant_id = :tenant AND (CAST(:after AS uuid) IS NULL OR i.invoice_id > CAST(:after AS uuid)){where} "
        "ORDER BY i.invoice_id LIMIT :limit",
        tenant=tenant_id,
        after=after,
        limit=limit,
        **sought,
    )
    return [(_kept(row), row) for row in rows]
