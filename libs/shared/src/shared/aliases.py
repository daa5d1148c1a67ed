"""Ids that stand for others: duplicates that their owner has merged, and may separate again.

Each service keeps a row per id that was ever merged, from its owner's state events, and in it the id that stands for it now
(`survivor_id`, the end of the chain; null or its own while it stands for itself). What is said about an id stays stored under
that id, and whoever reads it resolves it here: so late, doubled and reordered events need no care, and a separation restores
exactly what was the id's own.

Invariants: survivors are a function of the newest rows alone, in whatever order they came; writers of one tenant's aliases
take turns; in a circle, which only events still on their way can form, the smallest id stands for all.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import states
from shared.db import arrays, fetch, run, unnest

Key = tuple[UUID, UUID]
"""Tenant and id."""
_KEY = {"tenant_id": "uuid", "id": "uuid"}


def attach_aliases(metadata: MetaData) -> Table:
    """Adds the table `alias` to a service's own metadata."""
    return Table(
        "alias",
        metadata,
        Column("tenant_id", postgresql.UUID, primary_key=True),
        Column("id", postgresql.UUID, primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("into_id", postgresql.UUID),
        Column("survivor_id", postgresql.UUID),
        Index("alias_into", "tenant_id", "into_id"),
        Index("alias_survivor", "tenant_id", "survivor_id"),
    )


_ALIAS = attach_aliases(MetaData())


def survivor(tenant: str, name: str) -> str:
    """SQL: the id that stands for the id in column `name`."""
    return f"coalesce((SELECT s.survivor_id FROM alias s WHERE s.tenant_id = {tenant} AND s.id = {name}), {name})"  # noqa: S608 - names of ours


def survivors(into: Mapping[UUID, UUID | None]) -> dict[UUID, UUID]:
    """Which id stands for each; `into` names the next of each chain (None: it stands for itself)."""
    found: dict[UUID, UUID] = {}
    for start in into:
        path: list[UUID] = []
        seen: set[UUID] = set()
        at = start
        while at not in found and at not in seen and (following := into.get(at)) is not None:
            path.append(at)
            seen.add(at)
            at = following
        end = found.get(at) or (min(path[path.index(at) :]) if at in seen else at)
        found.update(dict.fromkeys([*path, start], end))
    return found


async def keep(conn: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> dict[Key, tuple[UUID, UUID]]:
    """Keeps rows (`tenant_id`, `id`, `version`, `into_id`: None where the id stands for itself) at the highest version.

    Returns the ids for which another id stands from now on: (tenant, id) to the one before and the one now. Four statements.
    """
    await fetch(
        conn,
        "SELECT pg_advisory_xact_lock(hashtextextended('alias ' || t.tenant, 0)) FROM "
        "(SELECT tenant FROM unnest(CAST(:tenants AS text[])) AS u(tenant) ORDER BY tenant) t",
        tenants=sorted({str(row["tenant_id"]) for row in rows}),
    )
    applied = await states.keep(conn, _ALIAS, rows)
    if not applied:
        return {}
    part = await fetch(
        conn,
        f"WITH RECURSIVE part(tenant_id, id) AS (SELECT tenant_id, id FROM {unnest(_KEY)} UNION "  # noqa: S608 - column names are ours
        "SELECT p.tenant_id, n.id FROM part p CROSS JOIN LATERAL ("
        "SELECT a.into_id AS id FROM alias a WHERE a.tenant_id = p.tenant_id AND a.id = p.id AND a.into_id IS NOT NULL "
        "UNION ALL SELECT a.id FROM alias a WHERE a.tenant_id = p.tenant_id AND a.into_id = p.id) n) "
        "SELECT a.tenant_id, a.id, a.into_id, a.survivor_id FROM part JOIN alias a USING (tenant_id, id)",
        **arrays(sorted(applied), list(_KEY)),
    )
    into: dict[UUID, dict[UUID, UUID | None]] = {}
    before: dict[Key, UUID | None] = {}
    for row in part:
        into.setdefault(row.tenant_id, {})[row.id] = row.into_id
        before[row.tenant_id, row.id] = row.survivor_id
    now = {(tenant, one): stands for tenant, chain in into.items() for one, stands in survivors(chain).items() if one in chain}
    written = sorted((*key, stands) for key, stands in now.items() if before[key] != stands)
    columns = {**_KEY, "survivor_id": "uuid"}
    await run(
        conn,
        f"UPDATE alias SET survivor_id = t.survivor_id FROM {unnest(columns)} "  # noqa: S608 - column names are ours
        "WHERE alias.tenant_id = t.tenant_id AND alias.id = t.id",
        **arrays(written, list(columns)),
    )
    return {(tenant, one): (was, stands) for tenant, one, stands in written if (was := before[tenant, one] or one) != stands}


async def resolve(conn: AsyncConnection, keys: Iterable[Key]) -> dict[Key, UUID]:
    """The ids that stand for these; those that stand for themselves are left out. One statement."""
    rows = await fetch(
        conn,
        f"SELECT tenant_id, id, survivor_id FROM alias JOIN {unnest(_KEY)} USING (tenant_id, id) WHERE survivor_id <> id",  # noqa: S608 - as above
        **arrays(sorted(set(keys)), list(_KEY)),
    )
    return {(row.tenant_id, row.id): row.survivor_id for row in rows}


async def stands_for(conn: AsyncConnection, tenant_id: UUID, one: UUID) -> UUID:
    """The id that stands for this one: itself, where it was not merged."""
    return (await resolve(conn, [(tenant_id, one)])).get((tenant_id, one), one)


async def members(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Every id that one of `ids` stands for, itself among them, to that one. An id that another stands for has none."""
    listed = sorted(set(ids))
    rows = await fetch(
        conn,
        "SELECT id, survivor_id FROM alias WHERE tenant_id = :tenant AND "
        "(id = ANY(CAST(:ids AS uuid[])) OR survivor_id = ANY(CAST(:ids AS uuid[])))",
        tenant=tenant_id,
        ids=listed,
    )
    stands = {row.id: row.survivor_id or row.id for row in rows}
    wanted = set(listed)
    found = {one: one for one in listed if stands.get(one, one) == one}
    return found | {one: end for one, end in stands.items() if end in wanted}


GROUP = "unnest(CAST(:members AS uuid[]), CAST(:stands AS uuid[])) AS g(member, survivor)"
"""SQL: each id beside the one that stands for it; its parameters are made by `group_of`."""


def group_of(found: Mapping[UUID, UUID]) -> dict[str, list[UUID]]:
    """The parameters of GROUP for what `members` found."""
    return {"members": list(found), "stands": list(found.values())}
