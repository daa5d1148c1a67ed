"""Columns as the texts that a statement takes them from: what comes back is what went in."""

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from matching.storage.rows import fetch, literal, texts
from shared.money import MAX_MINOR


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bigint", [0, -1, MAX_MINOR, -MAX_MINOR, None]),
        ("bigint", []),
        ("text", ["matched", None, "structured_reference", "EUR"]),
        ("date", [date(2026, 11, 27), None, date(1, 1, 1), date(9999, 12, 31)]),
        ("timestamptz", [datetime(2026, 11, 27, 23, 59, 59, 999_999, tzinfo=UTC), None]),
        ("uuid", [UUID(int=0), UUID(int=2**128 - 1), None]),
        ("numeric", [Decimal("1.0823000000"), Decimal("-0.01"), None]),
    ],
)
async def test_an_array_is_read_as_it_was_written(world, tenant, kind, values):
    async with world.database.transaction(tenant) as conn:
        ((found,),) = await fetch(conn, f"SELECT CAST(CAST(:values AS text) AS {kind}[])", values=literal(values))
    assert found == values


async def test_what_has_no_end_is_read_as_such(world, tenant):
    async with world.database.transaction(tenant) as conn:
        rows = await fetch(conn, "SELECT unnest(CAST(CAST(:values AS text) AS timestamptz[])) = '-infinity'", values=literal(["-infinity"]))
    assert [row[0] for row in rows] == [True]


async def test_texts_keep_whatever_a_bank_writes_but_their_own_mark(world, tenant):
    told = ['{"a,b"}', 'it\'s \\ "quoted"', "NULL", "null", "Müller\tund Söhne", "two\x1ewords"]
    async with world.database.transaction(tenant) as conn:
        ((found,),) = await fetch(conn, "SELECT string_to_array(CAST(:values AS text), chr(30), '')", values=texts([*told, None, ""]))
    assert found == [*told[:-1], "two words", None, None]
