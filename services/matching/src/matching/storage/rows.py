"""Reading rows whose columns the query itself names."""

from collections.abc import Sequence
from typing import Any

from shared import db
from sqlalchemy.ext.asyncio import AsyncConnection


async def fetch(conn: AsyncConnection, statement: str, /, **values: Any) -> Sequence[Any]:
    """The rows of one statement. Untyped: text gives the type checker no columns, and every caller unpacks its own."""
    return await db.fetch(conn, statement, **values)


def columns(rows: Sequence[Sequence[Any]], *names: str) -> dict[str, list[Any]]:
    """Rows as the array parameters `names`, one a column."""
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}
