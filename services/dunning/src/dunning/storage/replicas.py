"""Keeping what others say, set-wise.

Invariant: what is kept is the same for every order of arrival and any repetition: rows go by version, instalments are those
of the item's kept version, settlements are one row per (item, version).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from shared.aliases import survivor
from shared.db import arrays, run, unnest
from shared.states import keep
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.tables.items import ITEM

Key = tuple[UUID, UUID]
"""Tenant and id."""


async def keep_items(
    conn: AsyncConnection,
    items: Sequence[Mapping[str, Any]],
    instalments: Mapping[tuple[UUID, UUID, int], Sequence[tuple[Any, ...]]],
    settlements: Iterable[tuple[Any, ...]],
) -> None:
    """Items by version, the instalments of what was applied, and every version's settlement.

    `instalments`: (tenant, item, version) -> (number, due date, open); `settlements`: (tenant, item, version, paid, value date).
    Open promises and living plans of the customers concerned are marked to be looked at again, also those already marked: this waits
    for whoever is just looking at them, and is not lost to him.
    """
    applied = await keep(conn, ITEM, items)
    versions = {(row["tenant_id"], row["item_id"]): 0 for row in items}
    for row in items:
        key = (row["tenant_id"], row["item_id"])
        versions[key] = max(versions[key], row["version"])
    rows = [(*key, *line) for key in sorted(applied) for line in instalments[(key[0], key[1], versions[(key[0], key[1])])]]
    if applied:
        await run(
            conn,
            "DELETE FROM instalment USING unnest(CAST(:tenants AS uuid[]), CAST(:items AS uuid[])) AS t(tenant, item) "
            "WHERE tenant_id = tenant AND item_id = item",
            tenants=[key[0] for key in applied],
            items=[key[1] for key in applied],
        )
    columns = {"tenant_id": "uuid", "item_id": "uuid", "number": "int", "due_date": "date", "open_minor": "bigint"}
    if rows:
        await run(
            conn,
            f"INSERT INTO instalment ({', '.join(columns)}) SELECT * FROM {unnest(columns)}",  # noqa: S608 - our own column names
            **arrays(rows, list(columns)),
        )
    columns = {"tenant_id": "uuid", "item_id": "uuid", "version": "bigint", "paid_minor": "bigint", "value_date": "date"}
    if found := sorted(set(settlements), key=lambda row: row[:3]):
        await run(
            conn,
            f"INSERT INTO settlement ({', '.join(columns)}) SELECT * FROM {unnest(columns)} ON CONFLICT DO NOTHING",  # noqa: S608 - as above
            **arrays(found, list(columns)),
        )
    concerned = sorted({(row["tenant_id"], row["customer_id"]) for row in items if (row["tenant_id"], row["item_id"]) in applied})
    await recheck(conn, concerned)


async def recheck(conn: AsyncConnection, customers: Sequence[Key]) -> None:
    """Marks open promises and living payment plans of customers, and of whomever they were merged with, to be looked at again."""
    if customers:
        await run(
            conn,
            "WITH t AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:customers AS uuid[])) AS t(tenant, customer)), s AS ("  # noqa: S608 - our own text
            f"SELECT DISTINCT tenant, {survivor('t.tenant', 't.customer')} AS customer FROM t), "
            "concerned AS (SELECT * FROM t UNION SELECT * FROM s UNION SELECT s.tenant, a.id "
            "FROM s JOIN alias a ON a.tenant_id = s.tenant AND a.survivor_id = s.customer), "
            "promised AS (UPDATE promise SET recheck = true FROM concerned c "
            "WHERE promise.tenant_id = c.tenant AND promise.customer_id = c.customer AND promise.status = 'open') "
            "UPDATE payment_plan p SET recheck = true FROM concerned c "
            "WHERE p.tenant_id = c.tenant AND p.customer_id = c.customer AND p.status = 'active'",
            tenants=[key[0] for key in customers],
            customers=[key[1] for key in customers],
        )


async def keep_rejections(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rejected statements: facts, under their own id."""
    columns = {
        "tenant_id": "uuid",
        "statement_id": "uuid",
        "bank_account_id": "uuid",
        "statement_number": "text",
        "reason": "text",
        "rejected_at": "timestamptz",
    }
    await run(
        conn,
        f"INSERT INTO statement_rejected ({', '.join(columns)}) SELECT * FROM {unnest(columns)} ON CONFLICT DO NOTHING",  # noqa: S608 - our own names
        **arrays(rows, list(columns)),
    )
