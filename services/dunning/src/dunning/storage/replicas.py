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
    Promises and plans that this may concern are marked to be looked at again.
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
    days = {(tenant, item, version): day for tenant, item, version, _, day in found}
    await recheck(
        conn,
        [
            (*(row[name] for name in _CHANGE if name != "value_date"), days.get((row["tenant_id"], row["item_id"], row["version"])))
            for row in items
        ],
    )


_CHANGE = {
    "tenant_id": "uuid",
    "customer_id": "uuid",
    "item_id": "uuid",
    "version": "bigint",
    "paid_minor": "bigint",
    "open_minor": "bigint",
    "value_date": "date",
}


async def recheck_of(conn: AsyncConnection, customers: Sequence[Key]) -> None:
    """The same for all that is open or living of customers, whatever became of their items."""
    await recheck(conn, [(*key, None, 0, 0, 0, None) for key in customers])


async def recheck(conn: AsyncConnection, changes: Sequence[tuple[Any, ...]]) -> None:
    """Marks promises and plans of customers, and of whomever they were merged with, to be looked at again: open and living ones; a kept
    promise of whose items less is paid than before, a broken one where money is of its time; a completed plan of which an item is owed.

    `changes`: items as they were said, in the order of `_CHANGE`. What is marked already is marked too: this waits for whoever is just
    looking at it, and is not lost to him.
    """
    if changes:
        await run(
            conn,
            f"WITH t AS (SELECT * FROM {unnest(_CHANGE)}), o AS (SELECT DISTINCT tenant_id, customer_id FROM t), "  # noqa: S608 - our own text
            f"s AS (SELECT o.*, {survivor('o.tenant_id', 'o.customer_id')} AS survivor_id FROM o), "
            "concerned AS (SELECT *, customer_id AS who FROM s UNION SELECT *, survivor_id FROM s UNION SELECT s.*, a.id "
            "FROM s JOIN alias a USING (tenant_id, survivor_id)), "
            "c AS (SELECT t.*, concerned.who FROM t JOIN concerned USING (tenant_id, customer_id)), "
            "promised AS (UPDATE promise p SET recheck = true FROM c WHERE p.tenant_id = c.tenant_id AND p.customer_id = c.who "
            "AND (p.status = 'open' OR (p.item_ids = '{}' OR c.item_id = ANY(p.item_ids)) AND (p.status = 'broken' "
            "AND c.value_date <= p.due_on OR p.status = 'kept' AND EXISTS (SELECT 1 FROM settlement b WHERE b.tenant_id = c.tenant_id "
            "AND b.item_id = c.item_id AND b.version < c.version AND b.paid_minor > c.paid_minor)))) "
            "UPDATE payment_plan p SET recheck = true FROM c WHERE p.tenant_id = c.tenant_id AND p.customer_id = c.who "
            "AND (p.status = 'active' OR p.status = 'completed' AND c.open_minor > 0 "
            "AND p.items @> jsonb_build_array(jsonb_build_object('item_id', c.item_id)))",
            **arrays(changes, list(_CHANGE)),
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
