"""Dunning's payment plans, and the expected payments that stand for their instalments."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import arrays, run, unnest
from shared.ids import named_id
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.plans import Through
from matching.storage.expected import lines_json
from matching.storage.rows import fetch


async def lock(conn: AsyncConnection, plans: Iterable[Key]) -> Sequence[Any]:
    """Plans by key, locked: tenant, id, entity, customer, currency, items, instalments, status."""
    wanted = sorted(set(plans), key=str)
    return await fetch(
        conn,
        "SELECT tenant_id, payment_plan_id, entity_id, customer_id, currency, items, instalments, status FROM payment_plan "
        "WHERE (tenant_id, payment_plan_id) IN (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) "
        "ORDER BY tenant_id, payment_plan_id FOR UPDATE",
        tenants=[key[0] for key in wanted],
        ids=[key[1] for key in wanted],
    )


async def living(conn: AsyncConnection, customers: Iterable[Key]) -> list[Key]:
    """The living plans of customers, unlocked."""
    wanted = list(customers)
    rows = await fetch(
        conn,
        "SELECT tenant_id, payment_plan_id FROM payment_plan WHERE status = 'active' AND (tenant_id, customer_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        tenants=[key[0] for key in wanted],
        ids=[key[1] for key in wanted],
    )
    return [(row[0], row[1]) for row in rows]


async def settled_by(conn: AsyncConnection, payments: Iterable[Key]) -> list[Key]:
    """The plans of which payments met instalments, and the living ones of those whose items they settle, unlocked."""
    wanted = list(payments)
    rows = await fetch(
        conn,
        "WITH k AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant_id, payment_id)) "
        "SELECT e.tenant_id, e.payment_plan_id FROM k JOIN expected_payment e USING (tenant_id, payment_id) "
        "WHERE e.payment_plan_id IS NOT NULL UNION SELECT p.tenant_id, p.payment_plan_id FROM k JOIN allocation a "
        "USING (tenant_id, payment_id) JOIN open_item i USING (tenant_id, item_id) "
        "JOIN payment_plan p ON p.tenant_id = i.tenant_id AND p.customer_id = i.customer_id AND p.status = 'active'",
        tenants=[key[0] for key in wanted],
        ids=[key[1] for key in wanted],
    )
    return [(row[0], row[1]) for row in rows]


async def say(conn: AsyncConnection, plans: Mapping[Key, tuple[Sequence[object], Sequence[object]]]) -> None:
    """Changes what is left of plans, by item and by instalment, until dunning's next word."""
    rows = [(*key, json.dumps(items), json.dumps(instalments)) for key, (items, instalments) in plans.items()]
    columns = {"tenant": "uuid", "plan": "uuid", "of_items": "text", "of_instalments": "text"}
    await run(
        conn,
        "UPDATE payment_plan SET items = CAST(of_items AS jsonb), instalments = CAST(of_instalments AS jsonb) "  # noqa: S608 - our own names
        f"FROM {unnest(columns)} WHERE tenant_id = tenant AND payment_plan_id = plan",
        **arrays(rows, list(columns)),
    )


async def owed(conn: AsyncConnection, items: Iterable[Key]) -> dict[Key, int]:
    """What is open and undisputed of those items that are known."""
    wanted = list(items)
    rows = await fetch(
        conn,
        "SELECT tenant_id, item_id, open_minor - contested_minor FROM open_item WHERE (tenant_id, item_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        tenants=[key[0] for key in wanted],
        ids=[key[1] for key in wanted],
    )
    return {(row[0], row[1]): row[2] for row in rows}


_ROW = {
    "tenant": "uuid",
    "id": "uuid",
    "plan": "uuid",
    "entity": "uuid",
    "payer": "uuid",
    "currency": "text",
    "amount": "bigint",
    "due_on": "date",
    "lines": "text",
}


async def expect(conn: AsyncConnection, plans: Mapping[Key, tuple[Any, Sequence[Through]]], now: datetime) -> list[Key]:
    """Expects what is still to come of living plans (by key: the row of `lock`, and what is expected), and nothing more; returns what is
    expected now that was not, or otherwise.
    """
    rows = [
        (key[0], named_id("plan-instalment", *key, each.number), key[1], plan[2], plan[3], plan[4], each.amount_minor, each.due_on, text)
        for key, (plan, found) in sorted(plans.items(), key=lambda one: str(one[0]))
        for each in found
        for text in [lines_json(each.lines)]
    ]
    changed = await fetch(
        conn,
        "WITH wanted AS (SELECT t.*, CAST(t.lines AS jsonb) AS said FROM "  # noqa: S608 - our own column names
        f"{unnest(_ROW)}), come AS (UPDATE expected_payment e SET status = 'received', version = e.version + 1 FROM wanted w "
        "WHERE w.amount = 0 AND e.tenant_id = w.tenant AND e.expected_id = w.id AND e.status = 'waiting') "
        "INSERT INTO expected_payment AS e (tenant_id, expected_id, version, entity_id, kind, payer_customer_id, currency, amount_minor, "
        "expected_on, lines, missing, status, created_by, created_at, payment_plan_id) SELECT tenant, id, 1, entity, 'plan_instalment', "
        "payer, currency, amount, due_on, said, '{}', 'waiting', 'dunning', :now, plan FROM wanted WHERE amount > 0 "
        "ON CONFLICT (tenant_id, expected_id) DO UPDATE SET version = e.version + 1, amount_minor = EXCLUDED.amount_minor, "
        "lines = EXCLUDED.lines, payer_customer_id = EXCLUDED.payer_customer_id, status = 'waiting', payment_id = NULL "
        "WHERE e.status IN ('waiting', 'received') AND (e.status, e.amount_minor, e.lines, e.payer_customer_id) IS DISTINCT FROM "
        "('waiting', EXCLUDED.amount_minor, EXCLUDED.lines, EXCLUDED.payer_customer_id) RETURNING e.tenant_id, e.expected_id",
        now=now,
        **arrays(rows, list(_ROW)),
    )
    return [(row[0], row[1]) for row in changed]


async def end(conn: AsyncConnection, plans: Mapping[Key, str]) -> None:
    """Nothing more is expected of plans that have ended; by key: what their waiting expectations are from now on."""
    rows = [(*key, status) for key, status in sorted(plans.items(), key=lambda one: str(one[0]))]
    columns = {"tenant": "uuid", "plan": "uuid", "ending": "text"}
    await run(
        conn,
        f"UPDATE expected_payment e SET status = ending, version = version + 1 FROM {unnest(columns)} "  # noqa: S608 - our own column names
        "WHERE e.tenant_id = tenant AND e.payment_plan_id = plan AND e.status = 'waiting'",
        **arrays(rows, list(columns)),
    )


async def named(conn: AsyncConnection, said: Sequence[tuple[UUID, UUID, str]]) -> dict[Key, set[UUID]]:
    """The open items that payments name themselves: by (tenant, payment, value as references are compared), and by the virtual IBAN of
    one invoice that they were paid to.
    """
    columns = {"tenant": "uuid", "payment": "uuid", "value": "text"}
    rows = await fetch(
        conn,
        f"WITH k AS (SELECT * FROM {unnest(columns)}) SELECT k.tenant, k.payment, i.item_id FROM k "  # noqa: S608 - our own column names
        "JOIN payment p ON p.tenant_id = k.tenant AND p.payment_id = k.payment JOIN item_reference r ON r.tenant_id = k.tenant "
        "AND r.entity_id = p.entity_id AND r.value = k.value AND r.kind <> 'folded' JOIN open_item i ON i.tenant_id = k.tenant "
        "AND i.item_id = r.item_id AND i.status = 'open' UNION SELECT p.tenant_id, p.payment_id, v.invoice_id FROM k "
        "JOIN payment p ON p.tenant_id = k.tenant AND p.payment_id = k.payment JOIN virtual_iban v ON v.tenant_id = p.tenant_id "
        "AND v.virtual_iban_id = p.virtual_iban_id AND v.status = 'assigned' WHERE v.invoice_id IS NOT NULL",
        **arrays(said, list(columns)),
    )
    found: dict[Key, set[UUID]] = {}
    for row in rows:
        found.setdefault((row[0], row[1]), set()).add(row[2])
    return found
