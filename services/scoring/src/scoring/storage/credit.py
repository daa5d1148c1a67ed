"""What a decision about customers reads and writes: exposure, policy, standing, score, terms, hold, checks, decisions.

Invariants: whoever calls `lock` or `claim` first is alone with those customers until the transaction ends; versions and
decision numbers are drawn under that lock; a number of statements per slice, not per customer.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from shared import aliases
from shared.aliases import GROUP, survivor
from shared.days import business_day
from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row, Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scoring.domain.behaviour import Contribution
from scoring.domain.policy import Exposure, Override, Policy
from scoring.domain.scorecard import Bureau
from scoring.storage.behaviour import buckets, touch
from scoring.tables import DECISION, LIMIT_OVERRIDE


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known about one customer when something is decided about him. `state`: score, terms and hold as they stand."""

    customer_id: UUID
    buckets: list[Contribution]
    overdue_since: date | None
    bureau: Bureau | None
    exposure: Exposure
    override: Override | None
    state: Row[Any]


DUE = (
    "EXISTS (SELECT 1 FROM standing WHERE tenant_id = t.tenant_id AND review_on <= :today) OR EXISTS (SELECT 1 FROM standing "
    "WHERE tenant_id = t.tenant_id AND policy_version < (SELECT max(version) FROM credit_policy WHERE tenant_id = t.tenant_id))"
)
"""For `Job.due`: a customer's day has come, or a policy is newer."""


async def claim(conn: AsyncConnection, tenant_id: UUID, today: date, policy_version: int, limit: int) -> list[UUID]:
    """Locks customers that are due for review, by their day or by a newer policy, skipping those that somebody else has.

    One that was merged is not reviewed: whoever stands for it is noted as due instead.
    """
    due = await fetch(
        conn,
        "SELECT customer_id FROM standing WHERE tenant_id = :tenant AND review_on <= :today "
        "ORDER BY review_on, customer_id LIMIT :limit FOR UPDATE SKIP LOCKED",
        tenant=tenant_id,
        today=today,
        limit=limit,
    ) or await fetch(
        conn,
        "SELECT customer_id FROM standing WHERE tenant_id = :tenant AND policy_version < :policy "
        "ORDER BY policy_version, customer_id LIMIT :limit FOR UPDATE SKIP LOCKED",
        tenant=tenant_id,
        policy=policy_version,
        limit=limit,
    )
    merged = await aliases.resolve(conn, [(tenant_id, row.customer_id) for row in due]) if due else {}
    if merged:
        await reviewed(conn, tenant_id, {customer: date.max for _, customer in merged}, policy_version)
        await touch(conn, {(tenant_id, stands) for stands in merged.values()})
    return [row.customer_id for row in due if (tenant_id, row.customer_id) not in merged]


async def lock(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> UUID | None:
    """Locks the standing of whoever stands for a customer and returns that one; None where nothing was ever heard of him."""
    while True:
        stands = await aliases.stands_for(conn, tenant_id, customer_id)
        rows = await fetch(
            conn,
            "SELECT 1 FROM standing WHERE tenant_id = :tenant AND customer_id = :customer FOR UPDATE",
            tenant=tenant_id,
            customer=stands,
        )
        if not rows:
            return None
        if stands == await aliases.stands_for(conn, tenant_id, customer_id):  # else merged or separated while we waited
            return stands


async def policy_of(conn: AsyncConnection, tenant_id: UUID) -> Policy:
    """The tenant's policy in force: its newest version, or the product's own, version 0."""
    rows = await fetch(
        conn, "SELECT version, body FROM credit_policy WHERE tenant_id = :tenant ORDER BY version DESC LIMIT 1", tenant=tenant_id
    )
    return msgspec.convert({**rows[0].body, "version": rows[0].version}, Policy) if rows else Policy()


async def set_policy(conn: AsyncConnection, tenant_id: UUID, policy: Policy, *, actor: str, now: datetime) -> int:
    """Stores the next version of a policy, by which every customer is then reviewed; returns the version.

    Two callers at once: the second waits at the tenant's row.
    """
    await fetch(conn, "SELECT pg_advisory_xact_lock(hashtextextended(:tenant, 2))", tenant=str(tenant_id))
    body = msgspec.to_builtins(policy)
    del body["version"]
    rows = await fetch(
        conn,
        "INSERT INTO credit_policy (tenant_id, version, body, set_by, set_at) "
        "SELECT :tenant, coalesce(max(version), 0) + 1, CAST(:body AS jsonb), :actor, :now FROM credit_policy WHERE tenant_id = :tenant "
        "RETURNING version",
        tenant=tenant_id,
        body=msgspec.json.encode(body).decode(),
        actor=actor,
        now=now,
    )
    return int(rows[0].version)


async def cases(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID], policy: Policy, now: datetime) -> list[Case]:
    """What is known about customers, whose standing the caller has locked, and about those merged into them.

    Eight statements, whatever their number.
    """
    today, ids = business_day(now), list(customers)
    group = aliases.group_of(await aliases.members(conn, tenant_id, ids))
    history = await buckets(conn, tenant_id, group, today)
    states = await fetch(
        conn,
        "SELECT t.customer_id, s.version AS score_version, s.score, s.band, s.firm_band, s.factors, s.bureau, "  # noqa: S608 - column names are ours
        "m.version AS terms_version, m.limit_minor, m.currency, m.payment_terms_days, m.down_payment_bp, m.reason AS terms_reason, "
        "h.version AS hold_version, h.active, h.automatic, h.reason AS hold_reason, h.released_through, "
        "o.limit_minor AS override_minor, o.currency AS override_currency, o.expires_on, "
        f"(SELECT min(i.next_due) FROM {GROUP} JOIN open_item i ON i.tenant_id = :tenant AND i.customer_id = g.member "
        " WHERE g.survivor = t.customer_id AND i.next_due IS NOT NULL) AS overdue_since, "
        f"EXISTS (SELECT 1 FROM {GROUP} JOIN hold w ON w.tenant_id = :tenant AND w.customer_id = g.member "
        " WHERE g.survivor = t.customer_id AND g.member <> t.customer_id AND w.active AND NOT w.automatic) AS held_duplicate "
        f"FROM {unnest({'customer_id': 'uuid'})} "
        "LEFT JOIN score s ON s.tenant_id = :tenant AND s.customer_id = t.customer_id "
        "LEFT JOIN terms m ON m.tenant_id = :tenant AND m.customer_id = t.customer_id "
        "LEFT JOIN hold h ON h.tenant_id = :tenant AND h.customer_id = t.customer_id "
        "LEFT JOIN limit_override o ON o.tenant_id = :tenant AND o.customer_id = t.customer_id",
        tenant=tenant_id,
        customer_id=ids,
        **group,
    )
    exposures = await _exposures(conn, tenant_id, ids, group, policy, now)
    bureaus = await _bureaus(conn, tenant_id, group, policy)
    return [
        Case(
            customer_id=row.customer_id,
            buckets=history[row.customer_id],
            overdue_since=row.overdue_since,
            bureau=bureaus.get(row.customer_id),
            exposure=exposures[row.customer_id],
            override=None
            if row.override_minor is None
            else Override(limit_minor=row.override_minor, currency=row.override_currency, expires_on=row.expires_on),
            state=row,
        )
        for row in states
    ]


async def _exposures(
    conn: AsyncConnection, tenant_id: UUID, ids: list[UUID], group: Mapping[str, list[UUID]], policy: Policy, now: datetime
) -> dict[UUID, Exposure]:
    owed: dict[UUID, dict[str, int]] = defaultdict(dict)
    for row in await fetch(
        conn,
        "SELECT g.survivor AS customer_id, a.currency, sum(a.open_minor - a.unused_credits_minor - a.unapplied_minor) AS minor "  # noqa: S608 - names are ours
        f"FROM {GROUP} JOIN account a ON a.tenant_id = :tenant AND a.customer_id = g.member GROUP BY 1, 2",
        tenant=tenant_id,
        **group,
    ):
        owed[row.customer_id][row.currency] = int(row.minor)
    reserved: dict[UUID, int] = {}
    for row in await fetch(
        conn,
        "SELECT g.survivor AS customer_id, c.currency, sum(c.amount_minor) AS minor "  # noqa: S608 - names are ours
        f"FROM {GROUP} JOIN credit_check c ON c.tenant_id = :tenant AND c.customer_id = g.member "
        "AND c.decision = 'approved' AND c.invoice_id IS NULL AND c.expires_at > :now GROUP BY 1, 2",
        tenant=tenant_id,
        **group,
        now=now,
    ):
        if row.currency == policy.currency:
            reserved[row.customer_id] = int(row.minor)
        else:  # reserved under an earlier policy of another currency
            owed[row.customer_id][row.currency] = owed[row.customer_id].get(row.currency, 0) + int(row.minor)
    return {
        customer: Exposure(
            minor=owed[customer].get(policy.currency, 0),
            reserved_minor=reserved.get(customer, 0),
            other={code: minor for code, minor in sorted(owed[customer].items()) if code != policy.currency and minor},
        )
        for customer in ids
    }


async def _bureaus(conn: AsyncConnection, tenant_id: UUID, group: Mapping[str, list[UUID]], policy: Policy) -> dict[UUID, Bureau]:
    rows = await fetch(
        conn,
        "SELECT DISTINCT ON (g.survivor) g.survivor AS customer_id, o.provider, o.band, o.as_of, o.fetched_at, o.advised_limit_minor, "  # noqa: S608 - names are ours
        f"o.advised_limit_currency FROM {GROUP} JOIN bureau_observation o ON o.tenant_id = :tenant AND o.customer_id = g.member "
        "ORDER BY g.survivor, o.fetched_at DESC, o.checksum",
        tenant=tenant_id,
        **group,
    )
    return {
        row.customer_id: Bureau(
            provider=row.provider,
            band=row.band,
            as_of=row.as_of.isoformat(),
            fresh_until=business_day(row.fetched_at) + timedelta(days=policy.bureau_fresh_days),
            advised_limit_minor=row.advised_limit_minor,
            advised_limit_currency=row.advised_limit_currency,
        )
        for row in rows
    }


async def save(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[UUID, int]:
    """Writes score, terms or hold rows of one tenant; returns each customer's new version. At most 1,000 rows a call."""
    if not rows:
        return {}
    columns = ", ".join(rows[0])
    changed = ", ".join(f"{name} = excluded.{name}" for name in rows[0] if name not in {"tenant_id", "customer_id"})
    written = await fetch(
        conn,
        f"INSERT INTO {table.name} ({columns}, version) SELECT {columns}, 1 FROM {_records(table)} "  # noqa: S608 - names are ours
        f"ON CONFLICT (tenant_id, customer_id) DO UPDATE SET {changed}, version = {table.name}.version + 1 RETURNING customer_id, version",
        rows=msgspec.json.encode(rows).decode(),
    )
    return {row.customer_id: row.version for row in written}


def _records(table: Table) -> str:
    """A FROM item that turns one JSON parameter, `rows`, into rows of a table: no statement to compile per batch."""
    return f"jsonb_populate_recordset(CAST(NULL AS {table.name}), CAST(:rows AS jsonb))"


async def set_override(
    conn: AsyncConnection,
    tenant_id: UUID,
    customer_id: UUID,
    *,
    limit_minor: int,
    currency: str,
    expires_on: date | None,
    note: str,
    actor: str,
    now: datetime,
) -> None:
    """A person's limit, in the place of any earlier one."""
    statement = insert(LIMIT_OVERRIDE).values(
        tenant_id=tenant_id,
        customer_id=customer_id,
        limit_minor=limit_minor,
        currency=currency,
        expires_on=expires_on,
        note=note,
        set_by=actor,
        set_at=now,
    )
    changed = {name: statement.excluded[name] for name in ("limit_minor", "currency", "expires_on", "note", "set_by", "set_at")}
    await conn.execute(statement.on_conflict_do_update(index_elements=["tenant_id", "customer_id"], set_=changed))


async def forget_releases(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID]) -> None:
    """A person's release of a hold has served: the rule it stood against no longer fires."""
    if customers:
        await run(
            conn,
            "UPDATE hold SET released_through = NULL WHERE tenant_id = :tenant AND customer_id = ANY(CAST(:ids AS uuid[]))",
            tenant=tenant_id,
            ids=list(customers),
        )


async def remember(conn: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds decisions. Their `number` counts per customer and kind and is drawn by the caller under the customer's lock."""
    if rows:
        columns = ", ".join(rows[0])
        await run(
            conn,
            f"INSERT INTO decision ({columns}) SELECT {columns} FROM {_records(DECISION)}",  # noqa: S608 - names are ours
            rows=msgspec.json.encode(rows).decode(),
        )


async def numbers(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID], kind: str) -> dict[UUID, int]:
    """The last number of a kind of decision, per customer; 0 where there is none."""
    rows = await fetch(
        conn,
        "SELECT t.customer_id, coalesce((SELECT max(number) FROM decision d WHERE d.tenant_id = :tenant AND d.customer_id = t.customer_id "  # noqa: S608 - our names
        f"AND d.kind = :kind), 0) AS number FROM {unnest({'customer_id': 'uuid'})}",
        tenant=tenant_id,
        kind=kind,
        customer_id=list(customers),
    )
    return {row.customer_id: row.number for row in rows}


async def reviewed(conn: AsyncConnection, tenant_id: UUID, next_review: Mapping[UUID, date], policy_version: int) -> None:
    """Notes by which policy customers were reviewed, and when they are to be looked at next."""
    columns = {"customer_id": "uuid", "review_on": "date"}
    await run(
        conn,
        f"UPDATE standing s SET review_on = t.review_on, policy_version = :policy FROM {unnest(columns)} "  # noqa: S608 - column names are ours
        "WHERE s.tenant_id = :tenant AND s.customer_id = t.customer_id",
        tenant=tenant_id,
        policy=policy_version,
        **arrays(sorted(next_review.items()), tuple(columns)),
    )


async def release_reservations(conn: AsyncConnection, invoices: Sequence[tuple[UUID, UUID]]) -> None:
    """Ends the reservation of checks that an invoice names, once the invoice stands in the exposure or was cancelled.

    `invoices`: (tenant, invoice) whose invoice or open item has just come; the caller holds their customers' locks.
    """
    if invoices:
        columns = {"tenant_id": "uuid", "invoice_id": "uuid"}
        await run(
            conn,
            "UPDATE credit_check c SET invoice_id = i.invoice_id FROM invoice i "  # noqa: S608 - column names are ours
            f"JOIN {unnest(columns)} USING (tenant_id, invoice_id) "
            "WHERE c.tenant_id = i.tenant_id AND c.credit_check_id = i.credit_check_id "
            f"AND {survivor('c.tenant_id', 'c.customer_id')} = {survivor('i.tenant_id', 'i.customer_id')} "
            "AND c.invoice_id IS NULL AND (i.status = 'cancelled' OR i.origin = 'history' "
            "OR EXISTS (SELECT 1 FROM open_item o WHERE o.tenant_id = i.tenant_id AND o.item_id = i.invoice_id))",
            **arrays(sorted(set(invoices)), tuple(columns)),
        )
