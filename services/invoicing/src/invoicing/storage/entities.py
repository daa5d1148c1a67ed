"""SQL about legal entities: a handful per tenant."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from shared.db import fetch, run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_COLUMNS = (
    "entity_id, name, country, currency, vat_id, company_ids, unknown_buyer, on_hold, payment_terms_days, "
    "on_duplicate, on_missing_order, reference_scheme, reference_prefix, retention_years"
)
_RULES = (
    "entity_id, country, unknown_buyer, on_hold, payment_terms_days, on_duplicate, on_missing_order, reference_scheme, reference_prefix"
)


async def put_entity(conn: AsyncConnection, tenant_id: UUID, values: dict[str, Any]) -> None:
    """Writes an entity as it is now. `values` has every column but the tenant; `company_ids` is JSON text."""
    names = list(values)
    holders = ", ".join("CAST(:company_ids AS jsonb)" if name == "company_ids" else f":{name}" for name in names)
    updates = ", ".join(f"{name} = excluded.{name}" for name in names if name != "entity_id")
    await run(
        conn,
        f"INSERT INTO legal_entity (tenant_id, {', '.join(names)}) VALUES (:tenant, {holders}) "  # noqa: S608 - column names are ours
        f"ON CONFLICT (tenant_id, entity_id) DO UPDATE SET {updates}",
        tenant=tenant_id,
        **values,
    )


async def entities(conn: AsyncConnection, tenant_id: UUID, after: UUID | None, limit: int) -> Sequence[Row[Any]]:
    """A page of the tenant's entities by id."""
    return await fetch(
        conn,
        f"SELECT {_COLUMNS} FROM legal_entity WHERE tenant_id = :tenant "  # noqa: S608 - column names are ours
        "AND (CAST(:after AS uuid) IS NULL OR entity_id > CAST(:after AS uuid)) ORDER BY entity_id LIMIT :limit",
        tenant=tenant_id,
        after=after,
        limit=limit,
    )


async def entities_by_id(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID]) -> dict[UUID, Row[Any]]:
    """Those of the entities that exist."""
    rows = await fetch(
        conn,
        f"SELECT {_RULES} FROM legal_entity "  # noqa: S608 - column names are ours
        "WHERE tenant_id = :tenant AND entity_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=sorted(ids),
    )
    return {row.entity_id: row for row in rows}


async def entities_with(conn: AsyncConnection, tenant_id: UUID, identifiers: Sequence[str]) -> Sequence[Row[Any]]:
    """Entities that bear any of the identifiers (`scheme:value`, or `:value` where the scheme is not known)."""
    return await fetch(
        conn,
        f"SELECT {_RULES}, identifiers FROM legal_entity "  # noqa: S608 - column names are ours
        "WHERE tenant_id = :tenant AND identifiers && CAST(:wanted AS text[])",
        tenant=tenant_id,
        wanted=list(identifiers),
    )
