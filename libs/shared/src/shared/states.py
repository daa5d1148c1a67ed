"""Keeping the state of others' aggregates: one row each, at the highest version seen, whatever the order of arrival.

Invariant: applying any shuffle and repetition of a history leaves the same rows as applying it in order.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import fetch

_ENCODE = msgspec.json.Encoder().encode


@cache
def _upsert(table: Table, columns: tuple[str, ...]) -> str:
    """The statement for a table and a set of columns, made once: one text per table is one prepared plan."""
    key = [column.name for column in table.primary_key]
    names = ", ".join(f'"{name}"' for name in columns)
    kept = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM json_populate_recordset(NULL::{table.name}, CAST(:rows AS json)) "  # noqa: S608 - names of our own tables
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {kept} WHERE {table.name}.version < excluded.version RETURNING {', '.join(key)}"
    )


async def keep(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> set[tuple[UUID, ...]]:
    """Upserts rows that carry `version` where theirs is higher than the one kept; returns the primary keys applied.

    Of several rows with one key the highest version counts. Rows are written in key order, so that two workers lock
    alike. Every row has the same columns: the table's key, `version`, and what is kept; values are what msgspec writes as
    JSON (ids, dates, moments, integers, texts, lists, structs). One statement, whatever the number of rows.
    """
    if not rows:
        return set()
    key = [column.name for column in table.primary_key]
    newest: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        identity = tuple(row[name] for name in key)
        if identity not in newest or row["version"] > newest[identity]["version"]:
            newest[identity] = row
    ordered = [newest[identity] for identity in sorted(newest, key=lambda parts: tuple(str(part) for part in parts))]
    applied = await fetch(conn, _upsert(table, tuple(ordered[0])), rows=_ENCODE(ordered).decode())
    return {tuple(row) for row in applied}
