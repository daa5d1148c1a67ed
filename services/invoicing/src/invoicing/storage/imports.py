"""SQL about imports: mappings, runs with their progress, and what was wrong with which row.

Invariant: a run's progress is written by the transaction that carries the slice's effects, under the run's row lock.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_RUN = (
    "import_id, state, kind, mode, as_of, dry_run, format, file_name, sha256, size_bytes, mapping, mapping_version, source_system, "
    'source, once, created_by, created_at, started_at, finished_at, member, "offset", line, busy_ms, "rows", received, accepted, rejected, '
    "duplicate, unvalued, faults, sums::text AS sums, failure::text AS failure"
)
_GIVEN = (
    "import_id, kind, mode, as_of, dry_run, format, file_name, sha256, size_bytes, mapping, mapping_version, source_system, source, once, "
    "created_by"
)
_COUNTED = ("rows", "received", "accepted", "rejected", "duplicate", "unvalued", "faults", "busy_ms")
_FAULT = {"member": "text", "line": "bigint", "column_name": "text", "severity": "text", "rule": "text", "detail": "text"}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the error file."""

    member: str
    line: int
    column_name: str
    severity: str
    rule: str
    detail: str


# --- mappings ---------------------------------------------------------------------------------------------------------
async def lock_mapping(conn: AsyncConnection, tenant_id: UUID, name: str) -> Row[Any] | None:
    """The newest version of a mapping; whoever else would write the name waits. Two statements."""
    await fetch(conn, "SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))", key=f"import_mapping:{tenant_id}:{name}")
    return await mapping(conn, tenant_id, name, None)


async def insert_mapping(
    conn: AsyncConnection, tenant_id: UUID, *, name: str, version: int, document: Mapping[str, Any], now: datetime, actor: str
) -> None:
    """Writes a version that does not exist yet."""
    await run(
        conn,
        "INSERT INTO import_mapping (tenant_id, name, version, document, created_at, created_by) "
        "VALUES (:tenant, :name, :version, CAST(:document AS jsonb), :now, :actor)",
        tenant=tenant_id,
        name=name,
        version=version,
        document=msgspec.json.encode(document).decode(),
        now=now,
        actor=actor,
    )


async def mapping(conn: AsyncConnection, tenant_id: UUID, name: str, version: int | None) -> Row[Any] | None:
    """A version of a mapping, the newest where none is named."""
    rows = await fetch(
        conn,
        "SELECT name, version, document::text AS document, created_at, created_by FROM import_mapping "
        "WHERE tenant_id = :tenant AND name = :name "
        "AND (CAST(:version AS int) IS NULL OR version = CAST(:version AS int)) ORDER BY version DESC LIMIT 1",
        tenant=tenant_id,
        name=name,
        version=version,
    )
    return rows[0] if rows else None


async def mappings(conn: AsyncConnection, tenant_id: UUID, after: str | None, limit: int) -> Sequence[Row[Any]]:
    """A page of mappings by name, the newest version of each."""
    return await fetch(
        conn,
        "SELECT DISTINCT ON (name) name, version, document::text AS document, created_at, created_by FROM import_mapping "
        "WHERE tenant_id = :tenant "
        "AND (CAST(:after AS text) IS NULL OR name > CAST(:after AS text)) ORDER BY name, version DESC LIMIT :limit",
        tenant=tenant_id,
        after=after,
        limit=limit,
    )


# --- runs -------------------------------------------------------------------------------------------------------------
async def insert_run(conn: AsyncConnection, tenant_id: UUID, values: Mapping[str, Any], now: datetime) -> bool:
    """Enters an import that waits for a worker; False where the same file is there already."""
    rows = await fetch(
        conn,
        f'INSERT INTO import_run (tenant_id, {_GIVEN}, state, created_at, member, "offset", line, busy_ms, "rows", received, '
        f"accepted, rejected, duplicate, unvalued, faults, sums) SELECT :tenant, {', '.join(':' + name for name in _GIVEN.split(', '))}, "
        "'waiting', :now, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, '{}' ON CONFLICT DO NOTHING RETURNING import_id",
        tenant=tenant_id,
        now=now,
        **values,
    )
    return bool(rows)


async def same_file(
    conn: AsyncConnection, tenant_id: UUID, *, sha256: str, mapping: str, mapping_version: int, mode: str
) -> Row[Any] | None:
    """The import of which the same file again is a duplicate."""
    rows = await fetch(
        conn,
        f"SELECT {_RUN} FROM import_run WHERE tenant_id = :tenant AND sha256 = :sha256 AND mapping = :mapping "  # noqa: S608 - column names are ours
        "AND mapping_version = :version AND mode = :mode AND once",
        tenant=tenant_id,
        sha256=sha256,
        mapping=mapping,
        version=mapping_version,
        mode=mode,
    )
    return rows[0] if rows else None


async def run_by_id(conn: AsyncConnection, tenant_id: UUID, import_id: UUID, *, lock: str = "") -> Row[Any] | None:
    """An import; `lock` is a locking clause of SELECT."""
    rows = await fetch(
        conn,
        f"SELECT {_RUN} FROM import_run WHERE tenant_id = :tenant AND import_id = :id {lock}",  # noqa: S608 - column names are ours
        tenant=tenant_id,
        id=import_id,
    )
    return rows[0] if rows else None


async def run_of_source(conn: AsyncConnection, tenant_id: UUID, source: str) -> Row[Any] | None:
    """The import that a drop's file has become."""
    rows = await fetch(
        conn,
        f"SELECT {_RUN} FROM import_run WHERE tenant_id = :tenant AND source = :source AND source <> 'api'",  # noqa: S608 - column names are ours
        tenant=tenant_id,
        source=source,
    )
    return rows[0] if rows else None


async def runs(conn: AsyncConnection, tenant_id: UUID, *, state: str | None, before: UUID | None, limit: int) -> Sequence[Row[Any]]:
    """A page of imports, the newest first."""
    return await fetch(
        conn,
        f"SELECT {_RUN} FROM import_run WHERE tenant_id = :tenant AND (CAST(:state AS text) IS NULL OR state = CAST(:state AS text)) "  # noqa: S608 - column names are ours
        "AND (CAST(:before AS uuid) IS NULL OR import_id < CAST(:before AS uuid)) ORDER BY import_id DESC LIMIT :limit",
        tenant=tenant_id,
        state=state,
        before=before,
        limit=limit,
    )


_WAITING = "state IN ('waiting', 'running')"
DUE = f"EXISTS (SELECT 1 FROM import_run WHERE tenant_id = t.tenant_id AND {_WAITING})"  # noqa: S608 - our own text
"""For `Job.due`."""


async def next_run(conn: AsyncConnection, tenant_id: UUID) -> Row[Any] | None:
    """The oldest import of a tenant that is not finished, not locked."""
    rows = await fetch(
        conn,
        f"SELECT {_RUN} FROM import_run WHERE tenant_id = :tenant AND {_WAITING} "  # noqa: S608 - column names are ours
        "ORDER BY import_id LIMIT 1",
        tenant=tenant_id,
    )
    return rows[0] if rows else None


async def advance_run(
    conn: AsyncConnection,
    tenant_id: UUID,
    import_id: UUID,
    *,
    place: tuple[int, int, int],
    counted: Mapping[str, int],
    sums: Mapping[str, Any],
    finished: bool,
    now: datetime,
) -> None:
    """Moves an import to the next place, adding what was counted; its row is locked. `sums` are the new control sums."""
    added = ", ".join(f'"{name}" = "{name}" + :{name}' for name in _COUNTED)
    await run(
        conn,
        f'UPDATE import_run SET {added}, member = :member, "offset" = :offset, line = :line, sums = CAST(:sums AS jsonb), '  # noqa: S608 - column names are ours
        "state = CASE WHEN :finished THEN 'done' ELSE 'running' END, started_at = coalesce(started_at, :now), "
        "finished_at = CASE WHEN :finished THEN CAST(:now AS timestamptz) END WHERE tenant_id = :tenant AND import_id = :id",
        tenant=tenant_id,
        id=import_id,
        member=place[0],
        offset=place[1],
        line=place[2],
        sums=msgspec.json.encode(sums).decode(),
        finished=finished,
        now=now,
        **{name: counted.get(name, 0) for name in _COUNTED},
    )


async def end_run(
    conn: AsyncConnection, tenant_id: UUID, import_id: UUID, *, state: str, failure: Mapping[str, Any] | None, now: datetime
) -> None:
    """Ends an import as `failed` or `cancelled`, so that its file may come again."""
    await run(
        conn,
        "UPDATE import_run SET state = :state, failure = CAST(:failure AS jsonb), once = false, finished_at = :now "
        "WHERE tenant_id = :tenant AND import_id = :id",
        tenant=tenant_id,
        id=import_id,
        state=state,
        failure=None if failure is None else msgspec.json.encode(failure).decode(),
        now=now,
    )


# --- faults -----------------------------------------------------------------------------------------------------------
async def add_faults(conn: AsyncConnection, tenant_id: UUID, import_id: UUID, first: int, faults: Sequence[Fault]) -> None:
    """Adds lines of the error file, numbered from `first`. One statement."""
    rows = [[number, *(getattr(fault, name) for name in _FAULT)] for number, fault in enumerate(faults, first)]
    names = ["number", *_FAULT]
    await run(
        conn,
        f"INSERT INTO import_fault (tenant_id, import_id, {', '.join(names)}) SELECT :tenant, :id, {', '.join(names)} "  # noqa: S608 - column names are ours
        f"FROM {unnest({'number': 'bigint', **_FAULT})}",
        tenant=tenant_id,
        id=import_id,
        **arrays(rows, names),
    )


async def faults(conn: AsyncConnection, tenant_id: UUID, import_id: UUID, after: int, limit: int) -> Sequence[Row[Any]]:
    """A page of the error file, in the order of the file."""
    return await fetch(
        conn,
        f"SELECT number, {', '.join(_FAULT)} FROM import_fault WHERE tenant_id = :tenant AND import_id = :id AND number > :after "  # noqa: S608 - column names are ours
        "ORDER BY number LIMIT :limit",
        tenant=tenant_id,
        id=import_id,
        after=after,
        limit=limit,
    )
