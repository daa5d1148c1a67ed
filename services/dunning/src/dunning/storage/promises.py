"""Promises and what was paid on their items."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from shared.aliases import GROUP, group_of, members, survivor
from shared.db import fetch, run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.domain.promise import Paid

Rows = Sequence[Row[Any]]
COLUMNS = (
    "promise_id, version, customer_id, item_ids, amount_minor, currency, made_on, due_on, status, baseline, "
    f"{survivor('promise.tenant_id', 'promise.customer_id')} AS debtor_id"
)
"""`debtor_id`: who stands for the customer that promised."""


async def debts(
    conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID], items: Sequence[UUID] = (), *, lock: bool = False
) -> Rows:
    """The debit items of some customers and of those merged into them, and some items by id: version, paid, entity, what is open.

    `customer_id` is who stands for the customer that the item names.
    """
    return await fetch(
        conn,
        f"SELECT item_id, version, {survivor('item.tenant_id', 'item.customer_id')} AS customer_id, entity_id, currency, issue_date, "  # noqa: S608 - our own text
        "invoice_number, paid_minor, open_minor, disputed_minor, credited_minor FROM item "
        "WHERE tenant_id = :tenant AND kind <> 'credit_note' "
        "AND (customer_id = ANY(CAST(:members AS uuid[])) OR item_id = ANY(CAST(:items AS uuid[])))"
        + (" ORDER BY item_id FOR UPDATE" if lock else ""),
        tenant=tenant_id,
        members=list(await members(conn, tenant_id, customers)),
        items=list(items),
    )


async def histories(conn: AsyncConnection, tenant_id: UUID, items: Sequence[UUID]) -> dict[UUID, list[Paid]]:
    """What was paid of some items at each of their versions."""
    rows = await fetch(
        conn,
        "SELECT item_id, version, paid_minor, value_date FROM settlement "
        "WHERE tenant_id = :tenant AND item_id = ANY(CAST(:items AS uuid[]))",
        tenant=tenant_id,
        items=list(items),
    )
    found: dict[UUID, list[Paid]] = {}
    for row in rows:
        found.setdefault(row.item_id, []).append(Paid(row.version, row.paid_minor, row.value_date))
    return found


async def insert(conn: AsyncConnection, tenant_id: UUID, values: Mapping[str, Any]) -> bool:
    """A new promise at version 1; False where one of this id exists."""
    rows = await fetch(
        conn,
        "INSERT INTO promise (tenant_id, promise_id, version, customer_id, item_ids, amount_minor, currency, made_on, due_on, status, "
        "baseline, recheck) VALUES (:tenant, :promise_id, 1, :customer_id, :item_ids, :amount_minor, :currency, :made_on, :due_on, 'open', "
        "CAST(:baseline AS jsonb), true) ON CONFLICT DO NOTHING RETURNING 1",
        **{"tenant": tenant_id, **values, "baseline": json.dumps(values["baseline"])},
    )
    return bool(rows)


async def get(conn: AsyncConnection, tenant_id: UUID, promise_id: UUID) -> Row[Any] | None:
    """One promise, locked."""
    rows = await fetch(
        conn,
        f"SELECT {COLUMNS} FROM promise WHERE tenant_id = :tenant AND promise_id = :promise FOR UPDATE",  # noqa: S608 - our own column names
        tenant=tenant_id,
        promise=promise_id,
    )
    return rows[0] if rows else None


_TO_JUDGE = "(recheck OR status = 'open' AND due_on < :today)"
DUE = f"EXISTS (SELECT 1 FROM promise WHERE tenant_id = t.tenant_id AND {_TO_JUDGE})"  # noqa: S608 - our own text
"""For `Job.due`."""


async def to_judge(conn: AsyncConnection, tenant_id: UUID, today: date, after: UUID | None, limit: int) -> Rows:
    """Promises whose items changed, and open ones whose day has passed, by id; locked, so that each is judged once."""
    return await fetch(
        conn,
        f"SELECT {COLUMNS} FROM promise WHERE tenant_id = :tenant AND {_TO_JUDGE} "  # noqa: S608 - as above
        "AND (CAST(:after AS uuid) IS NULL OR promise_id > :after) ORDER BY promise_id LIMIT :limit FOR UPDATE SKIP LOCKED",
        tenant=tenant_id,
        today=today,
        after=after,
        limit=limit,
    )


async def looked_at(conn: AsyncConnection, tenant_id: UUID, promises: Sequence[UUID]) -> None:
    """Nothing new about some promises until an item of theirs changes."""
    await run(
        conn,
        "UPDATE promise SET recheck = false WHERE tenant_id = :tenant AND promise_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=list(promises),
    )


async def decide(conn: AsyncConnection, tenant_id: UUID, verdicts: Sequence[tuple[UUID, str, Mapping[str, Any]]]) -> Rows:
    """Sets locked promises to (id, status, decision), each at its next version; returns them as they are now."""
    return await fetch(
        conn,
        "UPDATE promise SET status = verdict, version = version + 1, recheck = false, decision = CAST(inputs AS jsonb) "  # noqa: S608 - our own column names
        "FROM unnest(CAST(:ids AS uuid[]), CAST(:verdicts AS text[]), CAST(:inputs AS text[])) AS t(id, verdict, inputs) "
        f"WHERE tenant_id = :tenant AND promise_id = id AND status <> 'cancelled' RETURNING {COLUMNS}",
        tenant=tenant_id,
        ids=[verdict[0] for verdict in verdicts],
        verdicts=[verdict[1] for verdict in verdicts],
        inputs=[json.dumps(verdict[2], default=str) for verdict in verdicts],
    )


async def in_hand(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID]) -> set[UUID]:
    """Customers with a payment in review, or with money on the account that has no item yet, they or one merged into them."""
    rows = await fetch(
        conn,
        f"SELECT g.survivor AS who FROM {GROUP} JOIN payment p ON p.tenant_id = :tenant AND p.unapplied_minor > 0 "  # noqa: S608 - our own text
        "AND p.customer_ids @> ARRAY[g.member] "
        f"UNION SELECT g.survivor FROM {GROUP} JOIN balance b ON b.tenant_id = :tenant AND b.unapplied_minor > 0 "
        "AND b.customer_id = g.member",
        tenant=tenant_id,
        **group_of(await members(conn, tenant_id, customers)),
    )
    return {row.who for row in rows}
