"""What a reminder's decision reads, and where it is stored.

Invariant: what is read for a decision is locked in the fixed order (account, payment, item), so that no newer word about it
commits before the decision does.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.aliases import GROUP, group_of, members, survivor
from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.storage.disputes import standing
from dunning.storage.plans import living
from dunning.storage.policies import ACTIVE

Rows = Sequence[Row[Any]]
DUNNED_KINDS = ("invoice", "deposit")
"""A credit note is owed by us; a late charge starts no step of its own."""

_CANDIDATES = (
    f"SELECT {survivor('i.tenant_id', 'i.customer_id')} AS customer_id, i.currency, i.entity_id, n.item_id, n.number, n.due_date, "  # noqa: S608 - our own text
    "GREATEST((SELECT max(level) FROM level_reached l WHERE (l.tenant_id, l.item_id, l.instalment) = (n.tenant_id, n.item_id, n.number)), "
    "v.reminder_level) AS reached "
    "FROM instalment n JOIN item i USING (tenant_id, item_id) "
    "LEFT JOIN invoice v ON (v.tenant_id, v.invoice_id) = (n.tenant_id, n.item_id) "
    "WHERE n.tenant_id = :tenant AND n.open_minor > 0 AND n.due_date BETWEEN :first AND :last "
    "AND i.kind = ANY(CAST(:kinds AS text[])) AND i.status = 'open' AND coalesce(v.status, '') <> 'cancelled'"
)


async def candidates(conn: AsyncConnection, tenant_id: UUID, due: tuple[date, date], entity_id: UUID | None = None) -> Rows:
    """Open instalments due within some dates, with the highest level each has reached; of one entity or all."""
    return await fetch(
        conn,
        _CANDIDATES + " AND (CAST(:entity AS uuid) IS NULL OR i.entity_id = :entity) ORDER BY 1, 2",
        tenant=tenant_id,
        first=due[0],
        last=due[1],
        kinds=list(DUNNED_KINDS),
        entity=entity_id,
    )


DUE = (
    f"{ACTIVE} AND EXISTS (SELECT 1 FROM bank_account a WHERE a.tenant_id = t.tenant_id AND a.status = 'active' AND NOT EXISTS ("  # noqa: S608 - ours
    "SELECT 1 FROM run r WHERE r.tenant_id = a.tenant_id AND r.entity_id = a.entity_id AND r.day = :today))"
)
"""For `Job.due`: an entity's run of the day is not done. Whether its gate is open is asked then."""


async def entities(conn: AsyncConnection, tenant_id: UUID) -> list[UUID]:
    """The legal entities that collect on an account."""
    rows = await fetch(
        conn, "SELECT DISTINCT entity_id FROM bank_account WHERE tenant_id = :tenant AND status = 'active' ORDER BY 1", tenant=tenant_id
    )
    return [row.entity_id for row in rows]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known about some customers of one entity, locked."""

    balances: Rows
    payments: Rows
    items: Rows
    instalments: Rows
    disputes: Rows
    promises: Rows
    plans: Rows
    customers: Rows
    announcements: Rows


async def facts(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, customers: Sequence[UUID], items: Sequence[UUID]) -> Facts:
    """Locks and reads what a decision about some customers and their items rests on: a fixed number of statements.

    What is about a customer that was merged is theirs who stands for him, and named so (`customer_id`).
    """
    listed = sorted(set(customers))
    group = group_of(await members(conn, tenant_id, listed))
    who: dict[str, Any] = {"tenant": tenant_id, "entity": entity_id, **group}
    what: dict[str, Any] = {"tenant": tenant_id, "items": sorted(set(items))}
    balances = await fetch(
        conn,
        "SELECT b.account_id, b.version, g.survivor AS customer_id, b.currency, b.unapplied_minor + b.unused_credits_minor AS credit_minor "  # noqa: S608 - our own text
        f"FROM {GROUP} JOIN balance b ON b.tenant_id = :tenant AND b.entity_id = :entity AND b.customer_id = g.member "
        "ORDER BY b.account_id FOR UPDATE OF b",
        **who,
    )
    payments = await fetch(
        conn,
        f"SELECT payment_id, version, ARRAY(SELECT DISTINCT {survivor('payment.tenant_id', 'c.id')} FROM unnest(customer_ids) AS c(id)) "  # noqa: S608 - our own text
        "AS customer_ids FROM payment WHERE tenant_id = :tenant AND unapplied_minor > 0 "
        "AND customer_ids && CAST(:members AS uuid[]) AND coalesce(entity_id, :entity) = :entity ORDER BY payment_id FOR UPDATE",
        tenant=tenant_id,
        entity=entity_id,
        members=group["members"],
    )
    locked = await fetch(
        conn,
        "SELECT i.item_id, i.version, "  # noqa: S608 - our own text
        f"{survivor('i.tenant_id', 'i.customer_id')} AS customer_id, i.currency, i.invoice_number, i.issue_date, i.status, "
        "i.disputed_minor, i.credited_minor, (s.outside ->> 'status')::int AS outside_status FROM item i "
        "LEFT JOIN invoice_status s ON (s.tenant_id, s.invoice_id) = (i.tenant_id, i.item_id) "
        "WHERE i.tenant_id = :tenant AND i.item_id = ANY(CAST(:items AS uuid[])) ORDER BY i.item_id FOR UPDATE OF i",
        **what,
    )
    instalments = await fetch(
        conn,
        "SELECT n.item_id, n.number, n.due_date, n.open_minor, v.payment_reference, "  # noqa: S608 - our own text
        "coalesce(own.iban, v.payment_account, his.iban) AS account FROM instalment n "
        "LEFT JOIN invoice v ON (v.tenant_id, v.invoice_id) = (n.tenant_id, n.item_id) "
        "LEFT JOIN item i ON (i.tenant_id, i.item_id) = (n.tenant_id, n.item_id) "
        "LEFT JOIN LATERAL (SELECT iban FROM virtual_iban w WHERE (w.tenant_id, w.invoice_id) = (n.tenant_id, n.item_id) "
        "AND w.status = 'assigned' ORDER BY iban LIMIT 1) own ON true "
        "LEFT JOIN LATERAL (SELECT iban FROM virtual_iban w WHERE w.tenant_id = i.tenant_id "
        f"AND w.customer_id IN (i.customer_id, {survivor('i.tenant_id', 'i.customer_id')}) "
        "AND w.status = 'assigned' AND w.entity_id = i.entity_id ORDER BY iban LIMIT 1) his ON true "
        "WHERE n.tenant_id = :tenant AND n.item_id = ANY(CAST(:items AS uuid[]))",
        **what,
    )
    disputes = await standing(conn, tenant_id, what["items"])
    promises = await fetch(
        conn,
        "SELECT p.promise_id, p.version, g.survivor AS customer_id, g.survivor AS debtor_id, p.item_ids, p.amount_minor, p.currency, "  # noqa: S608 - our own text
        f"p.due_on, p.made_on, p.baseline FROM {GROUP} JOIN promise p ON p.tenant_id = :tenant AND p.customer_id = g.member "
        # what went back may be the money of one that was kept
        "WHERE p.status = 'open' OR p.status = 'kept' AND p.recheck ORDER BY p.promise_id FOR UPDATE OF p",
        tenant=tenant_id,
        **group,
    )
    plans = await living(conn, tenant_id, listed, entity_id)
    announcements = await fetch(
        conn,
        "SELECT a.announcement_id, a.version, g.survivor AS customer_id, a.currency, a.amount_minor, a.items FROM "  # noqa: S608 - our own text
        f"{GROUP} JOIN payment_announcement a ON a.tenant_id = :tenant AND a.customer_id = g.member "
        "WHERE a.status = 'announced' AND a.entity_id = :entity ORDER BY a.announcement_id FOR UPDATE OF a",
        **who,
    )
    people = await fetch(
        conn,
        "SELECT who.customer_id, c.language, c.country, c.version, d.name, d.contacts, d.version AS identity_version, s.band, "  # noqa: S608 - our own text
        "h.active AS held, h.reason AS hold_reason, h.version AS hold_version "
        "FROM unnest(CAST(:customers AS uuid[])) AS who(customer_id) "
        "LEFT JOIN customer c ON c.tenant_id = :tenant AND c.customer_id = who.customer_id "
        "LEFT JOIN customer_identity d ON d.tenant_id = :tenant AND d.customer_id = who.customer_id "
        "LEFT JOIN score s ON s.tenant_id = :tenant AND s.customer_id = who.customer_id "
        # a court that protects a duplicate protects whoever stands for him
        f"LEFT JOIN LATERAL (SELECT x.active, x.reason, x.version FROM {GROUP} JOIN credit_hold x ON x.tenant_id = :tenant "
        "AND x.customer_id = g.member WHERE g.survivor = who.customer_id "
        "ORDER BY x.active DESC, x.reason LIKE 'insolv%' DESC, g.member LIMIT 1) h ON true",
        tenant=tenant_id,
        customers=listed,
        **group,
    )
    return Facts(balances, payments, locked, instalments, disputes, promises, plans, people, announcements)


async def decided_today(conn: AsyncConnection, tenant_id: UUID, day: date, entity_id: UUID) -> set[tuple[UUID, str]]:
    """Customers and currencies that have their decision of the day, they or one that was merged into them."""
    rows = await fetch(
        conn,
        f"SELECT DISTINCT {survivor('d.tenant_id', 'd.customer_id')} AS customer_id, currency FROM decision d "  # noqa: S608 - our own text
        "WHERE tenant_id = :tenant AND day = :day AND entity_id = :entity",
        tenant=tenant_id,
        day=day,
        entity=entity_id,
    )
    return {(row.customer_id, row.currency) for row in rows}


_DECISION = {
    "customer_id": "uuid",
    "currency": "text",
    "reminder_id": "uuid",
    "outcome": "text",
    "reason": "text",
    "step": "text",
    "level": "int",
    "inputs": "text",
    "asked": "text",
}


async def store_decisions(conn: AsyncConnection, common: Mapping[str, Any], rows: Sequence[tuple[Any, ...]]) -> set[UUID]:
    """Stores decisions that are the first of their customer, entity, currency and day; returns those reminders' ids.

    `common`: tenant, day, entity, policy, as_of, gate, now. `rows` in the order of the columns of `_DECISION`.
    """
    found = await fetch(
        conn,
        "INSERT INTO decision (tenant_id, day, entity_id, policy_version, as_of, gate_through, decided_at, customer_id, currency, "  # noqa: S608 - our own column names
        "reminder_id, outcome, reason, step, level, inputs, asked) "
        "SELECT :tenant, :day, :entity, :policy, :as_of, :gate, :now, customer_id, currency, reminder_id, outcome, reason, step, level, "
        f"CAST(inputs AS jsonb), CAST(asked AS jsonb) FROM {unnest(_DECISION)} "
        "ON CONFLICT (tenant_id, day, entity_id, customer_id, currency) DO NOTHING RETURNING reminder_id",
        **common,
        **arrays(rows, list(_DECISION)),
    )
    return {row.reminder_id for row in found}


async def reach(conn: AsyncConnection, tenant_id: UUID, rows: Sequence[tuple[UUID, int, int, UUID]]) -> None:
    """Takes levels for reminders: (item, instalment, level, reminder). A level taken twice is refused by the key: no mail."""
    columns = {"item_id": "uuid", "instalment": "int", "level": "int", "reminder_id": "uuid"}
    await run(
        conn,
        "INSERT INTO level_reached (tenant_id, item_id, instalment, level, reminder_id) "  # noqa: S608 - our own column names
        f"SELECT :tenant, item_id, instalment, level, reminder_id FROM {unnest(columns)}",
        tenant=tenant_id,
        **arrays(rows, list(columns)),
    )


async def plan(conn: AsyncConnection, tenant_id: UUID, machine_now: datetime, rows: Sequence[tuple[Any, ...]]) -> None:
    """Plans mails: (reminder, customer, message id, recipient, mail, interest, compensation)."""
    columns = {
        "reminder_id": "uuid",
        "customer_id": "uuid",
        "message_id": "text",
        "recipient": "text",
        "mail": "bytea",
        "interest_minor": "bigint",
        "compensation_minor": "bigint",
    }
    await run(
        conn,
        f"INSERT INTO dispatch (tenant_id, state, attempts, attempt_at, {', '.join(columns)}) "  # noqa: S608 - our own column names
        f"SELECT :tenant, 'planned', 0, :now, {', '.join(columns)} FROM {unnest(columns)}",
        tenant=tenant_id,
        now=machine_now,
        **arrays(rows, list(columns)),
    )


async def finish_run(conn: AsyncConnection, tenant_id: UUID, day: date, entity_id: UUID, gate: date, now: datetime) -> None:
    """Notes that an entity's run of a day is done."""
    await run(
        conn,
        "INSERT INTO run (tenant_id, day, entity_id, gate_through, done_at) VALUES (:tenant, :day, :entity, :gate, :now) "
        "ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        day=day,
        entity=entity_id,
        gate=gate,
        now=now,
    )


async def runs(conn: AsyncConnection, tenant_id: UUID, day: date) -> set[UUID]:
    """The entities whose run of a day is done."""
    rows = await fetch(conn, "SELECT entity_id FROM run WHERE tenant_id = :tenant AND day = :day", tenant=tenant_id, day=day)
    return {row.entity_id for row in rows}


async def tally(conn: AsyncConnection, tenant_id: UUID, day: date) -> Rows:
    """Decisions of a day counted by outcome, reason and state of the mail."""
    return await fetch(
        conn,
        "SELECT d.outcome, d.reason, p.state, p.attempts > 0 AS tried, count(*) AS n FROM decision d "
        "LEFT JOIN dispatch p USING (tenant_id, reminder_id) WHERE d.tenant_id = :tenant AND d.day = :day GROUP BY 1, 2, 3, 4",
        tenant=tenant_id,
        day=day,
    )


def to_json(value: object) -> str:
    """JSON for a jsonb column: ids, dates and moments as text."""
    return json.dumps(value, default=str)
