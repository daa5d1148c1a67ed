"""SQL about customers and who they are.

Invariant: a customer's version is drawn under its row's lock, by the insert that makes it or the update that changes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from contracts.customers import CustomerChanged, CustomerIdentityChanged
from shared.aliases import survivor
from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.drafts import identifier

_CUSTOMER = {
    "customer_id": "uuid",
    "version": "bigint",
    "source_system": "text",
    "customer_number": "text",
    "status": "text",
    "company_ids": "text",
    "country": "text",
    "language": "text",
    "currency": "text",
    "payment_terms_days": "int",
    "segment": "text",
    "parent_customer_id": "uuid",
    "policy": "text",
    "requires_order_number": "bool",
}
_IDENTITY = {"customer_id": "uuid", "name": "text", "address": "text", "contacts": "text", "known_ibans": "text", "addresses": "text"}
_JSON = frozenset({"company_ids", "address", "contacts", "known_ibans", "addresses"})


def _cast(name: str) -> str:
    return f"CAST({name} AS jsonb)" if name in _JSON else name


def _selected(prefix: str, columns: Iterable[str]) -> str:
    return ", ".join(f"{prefix}.{name}::text AS {name}" if name in _JSON else f"{prefix}.{name}" for name in columns)


def _row(data: msgspec.Struct, columns: Iterable[str]) -> list[Any]:
    encode = msgspec.json.encode
    return [None if (value := getattr(data, name)) is None else encode(value).decode() if name in _JSON else value for name in columns]


async def insert_customers(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[CustomerChanged]) -> set[UUID]:
    """Inserts customers that do not exist yet; returns the ids of those that this call made. One statement."""
    ordered = sorted(customers, key=lambda each: each.customer_id)
    rows = await fetch(
        conn,
        f"INSERT INTO customer (tenant_id, {', '.join(_CUSTOMER)}) SELECT :tenant, {', '.join(map(_cast, _CUSTOMER))} "  # noqa: S608 - column names are ours
        f"FROM {unnest(_CUSTOMER)} ON CONFLICT DO NOTHING RETURNING customer_id",
        tenant=tenant_id,
        **arrays([_row(each, _CUSTOMER) for each in ordered], list(_CUSTOMER)),
    )
    return {row.customer_id for row in rows}


async def update_customer(conn: AsyncConnection, tenant_id: UUID, customer: CustomerChanged) -> None:
    """Writes a customer whose row the caller has locked."""
    updates = ", ".join(f"{name} = {_cast(':' + name)}" for name in _CUSTOMER if name != "customer_id")
    await run(
        conn,
        f"UPDATE customer SET {updates} WHERE tenant_id = :tenant AND customer_id = :customer_id",  # noqa: S608 - column names are ours
        tenant=tenant_id,
        **dict(zip(_CUSTOMER, _row(customer, _CUSTOMER), strict=True)),
    )


async def write_identities(conn: AsyncConnection, tenant_id: UUID, identities: Sequence[CustomerIdentityChanged]) -> None:
    """Writes who customers are, under the lock of their customer's row. One statement."""
    updates = ", ".join(f"{name} = excluded.{name}" for name in _IDENTITY if name != "customer_id")
    await run(
        conn,
        f"INSERT INTO customer_identity (tenant_id, {', '.join(_IDENTITY)}) SELECT :tenant, {', '.join(map(_cast, _IDENTITY))} "  # noqa: S608 - column names are ours
        f"FROM {unnest(_IDENTITY)} ON CONFLICT (tenant_id, customer_id) DO UPDATE SET {updates}",
        tenant=tenant_id,
        **arrays([_row(each, _IDENTITY) for each in sorted(identities, key=lambda each: each.customer_id)], list(_IDENTITY)),
    )


async def write_identifiers(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[CustomerChanged]) -> None:
    """Replaces the register numbers by which files find these customers. Two statements."""
    rows = sorted({(customer.customer_id, *identifier(each.scheme, each.value)) for customer in customers for each in customer.company_ids})
    await run(
        conn,
        "DELETE FROM customer_identifier WHERE tenant_id = :tenant AND customer_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=[customer.customer_id for customer in customers],
    )
    await run(
        conn,
        "INSERT INTO customer_identifier (tenant_id, customer_id, scheme, value) SELECT :tenant, customer_id, scheme, value "  # noqa: S608 - column names are ours
        f"FROM {unnest({'customer_id': 'uuid', 'scheme': 'text', 'value': 'text'})}",
        tenant=tenant_id,
        **arrays(rows, ["customer_id", "scheme", "value"]),
    )


async def lock_customer(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> Row[Any] | None:
    """A customer's row, locked, with `company_ids` as JSON text, `erased_on`, and whom it was merged into (`into_id`)."""
    rows = await fetch(
        conn,
        f"SELECT {_selected('c', _CUSTOMER)}, c.erased_on, "  # noqa: S608 - column names are ours
        "(SELECT a.into_id FROM alias a WHERE a.tenant_id = c.tenant_id AND a.id = c.customer_id) AS into_id FROM customer c "
        "WHERE c.tenant_id = :tenant AND c.customer_id = :id FOR UPDATE OF c",
        tenant=tenant_id,
        id=customer_id,
    )
    return rows[0] if rows else None


async def identity(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> Row[Any] | None:
    """Who a customer is, JSON columns as text."""
    rows = await fetch(
        conn,
        f"SELECT {_selected('i', _IDENTITY)} FROM customer_identity i WHERE i.tenant_id = :tenant AND i.customer_id = :id",  # noqa: S608 - column names are ours
        tenant=tenant_id,
        id=customer_id,
    )
    return rows[0] if rows else None


_FILTERS = {
    "name": "EXISTS (SELECT 1 FROM customer_identity n WHERE n.tenant_id = c.tenant_id AND n.customer_id = c.customer_id "
    "AND n.name ILIKE :name)",
    "company_id": "EXISTS (SELECT 1 FROM customer_identifier n WHERE n.tenant_id = c.tenant_id AND n.customer_id = c.customer_id "
    "AND n.value = :company_id)",
}


async def customers(
    conn: AsyncConnection, tenant_id: UUID, *, filters: Mapping[str, Any], after: UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """A page of customers with who they are and what credit says of them, by id.

    `filters`: column to wanted value; `name` a pattern (ILIKE), `company_id` a register number's letters and digits.
    """
    where = "".join(f" AND {_FILTERS.get(name, f'c.{name} = :{name}')}" for name in filters)
    return await fetch(
        conn,
        f"SELECT {_selected('c', _CUSTOMER)}, {_selected('i', (n for n in _IDENTITY if n != 'customer_id'))}, "  # noqa: S608 - column names are ours
        "c.erased_on, a.into_id AS merged_into, coalesce(a.survivor_id, c.customer_id) AS survivor_id, "
        "coalesce(h.active, false) AS on_hold, h.reason AS hold_reason, t.limit_minor, t.currency AS limit_currency FROM customer c "
        "LEFT JOIN customer_identity i ON i.tenant_id = c.tenant_id AND i.customer_id = c.customer_id "
        "LEFT JOIN alias a ON a.tenant_id = c.tenant_id AND a.id = c.customer_id "
        "LEFT JOIN credit_hold h ON h.tenant_id = c.tenant_id AND h.customer_id = coalesce(a.survivor_id, c.customer_id) "
        "LEFT JOIN credit_terms t ON t.tenant_id = c.tenant_id AND t.customer_id = coalesce(a.survivor_id, c.customer_id) "
        f"WHERE c.tenant_id = :tenant AND (CAST(:after AS uuid) IS NULL OR c.customer_id > CAST(:after AS uuid)){where} "
        "ORDER BY c.customer_id LIMIT :limit",
        tenant=tenant_id,
        after=after,
        limit=limit,
        **filters,
    )


_BILLED = (
    "f.customer_id AS named_id, c.customer_id, f.customer_number, f.source_system, f.status, c.requires_order_number, "
    "f.erased_on IS NOT NULL OR c.erased_on IS NOT NULL AS erased, "
    "coalesce(c.payment_terms_days, t.payment_terms_days) AS terms_days, h.reason AS hold_reason FROM customer f "
    "LEFT JOIN alias a ON a.tenant_id = f.tenant_id AND a.id = f.customer_id "
    "JOIN customer c ON c.tenant_id = f.tenant_id AND c.customer_id = coalesce(a.survivor_id, f.customer_id) "
    "LEFT JOIN credit_hold h ON h.tenant_id = c.tenant_id AND h.customer_id = c.customer_id AND h.active "
    "LEFT JOIN credit_terms t ON t.tenant_id = c.tenant_id AND t.customer_id = c.customer_id "
)
"""The customer that a file or command names (`f`), and the one that stands for it and is billed (`c`)."""


async def customers_billed(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID]) -> dict[UUID, Row[Any]]:
    """The customers among `ids` that exist, by the id named: who is billed, with terms and the reason of a hold. One statement.

    `customer_id` is the one that stands for `named_id`; number, source and status are those of the one named.
    """
    rows = await fetch(
        conn,
        f"SELECT {_BILLED} WHERE f.tenant_id = :tenant AND f.customer_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=sorted(ids),
    )
    return {row.named_id: row for row in rows}


async def customers_bearing(conn: AsyncConnection, tenant_id: UUID, values: Iterable[str]) -> Sequence[Row[Any]]:
    """Customers by register number: their rows as `customers_billed`, with the `scheme` and `value` that was found."""
    return await fetch(
        conn,
        f"SELECT n.scheme, n.value, {_BILLED} JOIN customer_identifier n ON n.tenant_id = f.tenant_id AND n.customer_id = f.customer_id "
        "WHERE n.tenant_id = :tenant AND n.value = ANY(CAST(:values AS text[]))",
        tenant=tenant_id,
        values=sorted(values),
    )


async def note_history(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID], *, now: datetime, actor: str, action: str) -> None:
    """Keeps what customers are now, at their version. One statement."""
    await run(
        conn,
        "INSERT INTO customer_history (tenant_id, customer_id, version, at, actor, action, into_customer_id, customer, identity) "
        "SELECT c.tenant_id, c.customer_id, c.version, :now, :actor, :action, a.into_id, to_jsonb(c) - 'tenant_id', "
        "(SELECT to_jsonb(i) - 'tenant_id' - 'customer_id' FROM customer_identity i "
        "WHERE i.tenant_id = c.tenant_id AND i.customer_id = c.customer_id) FROM customer c "
        "LEFT JOIN alias a ON a.tenant_id = c.tenant_id AND a.id = c.customer_id "
        "WHERE c.tenant_id = :tenant AND c.customer_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=sorted(ids),
        now=now,
        actor=actor,
        action=action,
    )


async def history(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, *, at: datetime | None, before: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Versions of a customer, newest first, JSON columns as text: those up to a moment, those before a version."""
    return await fetch(
        conn,
        "SELECT version, at, actor, action, into_customer_id, customer::text AS customer, identity::text AS identity "
        "FROM customer_history WHERE tenant_id = :tenant AND customer_id = :id AND (CAST(:at AS timestamptz) IS NULL OR at <= :at) "
        "AND (CAST(:before AS bigint) IS NULL OR version < :before) ORDER BY version DESC LIMIT :limit",
        tenant=tenant_id,
        id=customer_id,
        at=at,
        before=before,
        limit=limit,
    )


async def bump(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> int:
    """Draws the next version of a customer whose row the caller has locked."""
    rows = await fetch(
        conn,
        "UPDATE customer SET version = version + 1 WHERE tenant_id = :tenant AND customer_id = :id RETURNING version",
        tenant=tenant_id,
        id=customer_id,
    )
    return int(rows[0].version)


async def is_own_ancestor(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> bool:
    """Whether following group parents from a customer leads back to it, merged ones taken for whoever stands for them."""
    rows = await fetch(
        conn,
        f"WITH RECURSIVE parent(id, parent) AS (SELECT {survivor('c.tenant_id', 'c.customer_id')}, "  # noqa: S608 - our own text
        f"{survivor('c.tenant_id', 'c.parent_customer_id')} FROM customer c WHERE c.tenant_id = :tenant "
        "AND c.parent_customer_id IS NOT NULL), up(id) AS (SELECT p.parent FROM parent p WHERE p.id = :id "
        "UNION SELECT p.parent FROM up JOIN parent p USING (id)) SELECT 1 FROM up WHERE id = :id",
        tenant=tenant_id,
        id=customer_id,
    )
    return bool(rows)


async def lock_customers(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID]) -> dict[UUID, Row[Any]]:
    """As `lock_customer` for many, in the order of their ids, without whom they were merged into. One statement."""
    rows = await fetch(
        conn,
        f"SELECT {_selected('c', _CUSTOMER)}, c.erased_on FROM customer c WHERE c.tenant_id = :tenant "  # noqa: S608 - column names are ours
        "AND c.customer_id = ANY(CAST(:ids AS uuid[])) ORDER BY c.tenant_id, c.customer_id FOR UPDATE",
        tenant=tenant_id,
        ids=sorted(ids),
    )
    return {row.customer_id: row for row in rows}


async def identities(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID]) -> dict[UUID, Row[Any]]:
    """As `identity` for many. One statement."""
    rows = await fetch(
        conn,
        f"SELECT {_selected('i', _IDENTITY)} FROM customer_identity i "  # noqa: S608 - column names are ours
        "WHERE i.tenant_id = :tenant AND i.customer_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=sorted(ids),
    )
    return {row.customer_id: row for row in rows}


async def update_customers(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[CustomerChanged]) -> None:
    """Writes customers whose rows the caller has locked. One statement."""
    updates = ", ".join(
        f"{name} = CAST(t.{name} AS jsonb)" if name in _JSON else f"{name} = t.{name}" for name in _CUSTOMER if name != "customer_id"
    )
    await run(
        conn,
        f"UPDATE customer SET {updates} FROM {unnest(_CUSTOMER)} "  # noqa: S608 - column names are ours
        "WHERE customer.tenant_id = :tenant AND customer.customer_id = t.customer_id",
        tenant=tenant_id,
        **arrays([_row(each, _CUSTOMER) for each in customers], list(_CUSTOMER)),
    )


async def own_ancestors(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID]) -> set[UUID]:
    """Those of the customers for whom following group parents leads back to themselves (see `is_own_ancestor`). One statement."""
    rows = await fetch(
        conn,
        f"WITH RECURSIVE parent(id, parent) AS (SELECT {survivor('c.tenant_id', 'c.customer_id')}, "  # noqa: S608 - our own text
        f"{survivor('c.tenant_id', 'c.parent_customer_id')} FROM customer c WHERE c.tenant_id = :tenant "
        "AND c.parent_customer_id IS NOT NULL), "
        "up(root, id) AS (SELECT p.id, p.parent FROM parent p WHERE p.id = ANY(CAST(:ids AS uuid[])) UNION "
        "SELECT up.root, p.parent FROM up JOIN parent p USING (id)) SELECT DISTINCT root FROM up WHERE id = root",
        tenant=tenant_id,
        ids=sorted(ids),
    )
    return {row.root for row in rows}


async def hold_relations(conn: AsyncConnection, tenant_id: UUID) -> None:
    """Lets whoever else merges customers or sets group parents of the tenant wait: neither may close a circle."""
    await fetch(conn, "SELECT pg_advisory_xact_lock(hashtextextended('relations ' || :tenant, 0))", tenant=str(tenant_id))
