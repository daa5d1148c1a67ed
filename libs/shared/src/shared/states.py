"""Keeping the state of others' aggregates: one row each, at the highest version seen, whatever the order of arrival.

Invariant: applying any shuffle and repetition of a history leaves the same rows as applying it in order.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

_PARAMETERS_MAX = 30_000
"""PostgreSQL takes 65,535 parameters a statement; a wide table's batch is cut well before."""


async def keep(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> set[tuple[UUID, ...]]:
    """Upserts rows that carry `version` where theirs is higher than the one kept; returns the primary keys applied.

    Of several rows with one key the highest version counts. Rows are written in key order, so that two workers lock
    alike. Every row has the same columns: the table's key, `version`, and what is kept.
    """
    key = [column.name for column in table.primary_key]
    newest: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        identity = tuple(row[name] for name in key)
        if identity not in newest or row["version"] > newest[identity]["version"]:
            newest[identity] = row
    ordered = [newest[identity] for identity in sorted(newest, key=lambda parts: tuple(str(part) for part in parts))]
    applied: set[tuple[UUID, ...]] = set()
    step = max(1, _PARAMETERS_MAX // max(1, len(ordered[0]) if ordered else 1))
    for start in range(0, len(ordered), step):
        chunk = ordered[start : start + step]
        statement = insert(table).values([dict(row) for row in chunk])
        statement = statement.on_conflict_do_update(
            index_elements=key,
            set_={name: statement.excluded[name] for name in chunk[0] if name not in key},
            where=table.c.version < statement.excluded.version,
        )
        result = await conn.execute(statement.returning(*(table.c[name] for name in key)))
        applied.update(tuple(row) for row in result.fetchall())
    return applied
