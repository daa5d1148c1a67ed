"""Reading rows whose columns the query itself names, passing columns to one, and finding rows by their whole keys whatever the plan."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from shared import db
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key

# Rows are locked one after the other in the order of their keys: a subquery that locks is never flattened, so no plan can change it.
# One statement for several tables would wait with a snapshot that another worker's commit makes old, and Postgres would then look
# at each of the rows a second time, with all of that statement's plan: 57 us a payment of a batch that waited, instead of 20.
LOCK = (
    "SELECT l.* FROM (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant, id) ORDER BY tenant, id) k "
    "CROSS JOIN LATERAL (SELECT {columns} FROM {table} WHERE tenant_id = k.tenant AND {id} = k.id FOR UPDATE) l"
)
_JSON = msgspec.json.Encoder().encode
_MARK = "\x1e"  # ASCII record separator


async def fetch(conn: AsyncConnection, statement: str, /, **values: Any) -> Sequence[Any]:
    """The rows of one statement. Untyped: text gives the type checker no columns, and every caller unpacks its own."""
    return await db.fetch(conn, statement, **values)


async def found(conn: AsyncConnection, query: str, /, *, lock: bool, **values: Any) -> Any:
    """The row that a query by a whole key finds, locked where it is about to change; None where there is none."""
    rows = await fetch(conn, query + " FOR UPDATE" if lock else query, **values)
    return rows[0] if rows else None


async def listed(
    conn: AsyncConnection, query: str, tenant_id: UUID, filters: Mapping[str, object], *, after: UUID | None, limit: int
) -> Sequence[Any]:
    """Rows of a query, which has `:tenant` and a parameter for each filter, and whose rows carry their id as `at`: those after an id."""
    return await fetch(
        conn,
        f"SELECT * FROM ({query}) AS listed WHERE (CAST(:after AS uuid) IS NULL OR at > :after) ORDER BY at LIMIT :limit",  # noqa: S608 - ours
        tenant=tenant_id,
        after=after,
        limit=limit,
        **filters,
    )


def columns(rows: Sequence[Sequence[Any]], *names: str) -> dict[str, list[Any]]:
    """Rows as the array parameters `names`, one a column."""
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def literal(values: Sequence[object]) -> str:
    """An array as PostgreSQL writes it, of ids, numbers, days and codes, or nothing: what JSON writes of these it reads as well.

    The driver looks into each element of a list three times before it encodes it; a text is passed as it is. Ids are not:
    the server takes longer to read them as text than the driver to write them in binary. Arrays of arrays do not pass
    through unnest at all.
    """
    return "{" + _JSON(values)[1:-1].decode() + "}"


def texts(values: Iterable[str | None]) -> str:
    """A list of texts for `string_to_array(..., chr(30), '')`: an empty one is none. The mark between them is none of a text's own."""
    listed = ["" if value is None else value for value in values]
    text = _MARK.join(listed)
    if text.count(_MARK) >= max(len(listed), 1):  # a bank's text may hold any character; JSON and arrays hold no raw control character
        text = _MARK.join([value.replace(_MARK, " ") for value in listed])
    return text


def keys(pairs: Iterable[Key]) -> dict[str, list[UUID]]:
    """Pairs of tenant and id as the array parameters `tenants` and `ids`."""
    listed = list(pairs)
    return {"tenants": [pair[0] for pair in listed], "ids": [pair[1] for pair in listed]}


def from_lists(prefix: str, columns: Mapping[str, str], *lists: str) -> str:
    """A FROM item of rows whose columns come as array literals; `lists`: those that come as `texts`.

    Ids come as lists, and so do texts that keep every character, which are `varchar`.
    """
    arrays = [
        f"CAST(:{prefix}_{name} AS {kind}[])" if kind in {"uuid", "varchar"} else f"CAST(CAST(:{prefix}_{name} AS text) AS {kind}[])"
        for name, kind in columns.items()
    ]
    arrays += [f"string_to_array(:{prefix}_{name}, chr(30), '')" for name in lists]
    names = ", ".join(f'"{name}"' for name in (*columns, *lists))
    return f"unnest({', '.join(arrays)}) AS t({names})"


def by_keys(rows: str, ids: str, table: str, column: str, *, tenant: str = "tenant", key: str = "id") -> str:
    """What an UPDATE takes its values from: `t`, which are `rows` (a FROM item), each joined with its row of the table by the whole key.

    `ids` is the parameter that lists the keys. Rows that the transaction has not locked yet are locked in the order of their keys. The
    planner takes a limit that it does not know for a tenth of the ten rows it expects, and so looks each up by its index, however small
    the table is: a plan that was made while it was small would read all of it for each batch, and is kept.
    """
    limit = f"cardinality(CAST(:{ids} AS uuid[]))"
    return (
        f"FROM (SELECT * FROM {rows} ORDER BY {tenant}, {key} LIMIT {limit}) AS t "  # noqa: S608 - our own names
        f"WHERE {table}.tenant_id = t.{tenant} AND {table}.{column} = t.{key}"
    )
