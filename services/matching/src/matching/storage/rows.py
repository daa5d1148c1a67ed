"""Reading rows whose columns the query itself names, and passing columns to one."""

from collections.abc import Iterable, Sequence
from typing import Any

from shared import db
from sqlalchemy.ext.asyncio import AsyncConnection

_MARK = "\x1e"  # ASCII record separator


async def fetch(conn: AsyncConnection, statement: str, /, **values: Any) -> Sequence[Any]:
    """The rows of one statement. Untyped: text gives the type checker no columns, and every caller unpacks its own."""
    return await db.fetch(conn, statement, **values)


def columns(rows: Sequence[Sequence[Any]], *names: str) -> dict[str, list[Any]]:
    """Rows as the array parameters `names`, one a column."""
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def literal(values: Iterable[object]) -> str:
    """An array as PostgreSQL writes it, of ids, numbers, days and codes: nothing in them needs quoting.

    The driver looks into each element of a list three times before it encodes it; a text is passed as it is. Ids are not:
    the server takes longer to read them as text than the driver to write them in binary. Arrays of arrays do not pass
    through unnest at all.
    """
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """A list of texts for `string_to_array(..., chr(30), '')`: an empty one is none. The mark between them is none of a text's own."""
    listed = ["" if value is None else value for value in values]
    text = _MARK.join(listed)
    if text.count(_MARK) >= max(len(listed), 1):  # a bank's text may hold any character; JSON and arrays hold no raw control character
        text = _MARK.join([value.replace(_MARK, " ") for value in listed])
    return text
