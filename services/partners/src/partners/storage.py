"""All SQL of partners.

Invariant: positions of a tenant's log are given in one transaction at a time, under its head's row lock, after the entries
were committed: 1, 2, 3, ... without a gap, and never to an entry that a reader has already passed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import fetch, run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

POSITIONS_DUE = (
    "EXISTS (SELECT 1 FROM event_log WHERE tenant_id = t.tenant_id AND position IS NULL) OR EXISTS (SELECT 1 FROM subscription s "
    "JOIN log_head h ON h.tenant_id = s.tenant_id WHERE s.tenant_id = t.tenant_id AND s.status = 'active' AND s.position < h.position)"
)
"""For `Job.due`: an entry has no position yet, or a subscription is behind the log."""
DELIVERY_DUE = "EXISTS (SELECT 1 FROM delivery WHERE tenant_id = t.tenant_id AND status = 'pending' AND next_attempt_at <= :machine)"
"""A condition of `tenants_due`."""


async def append(conn: AsyncConnection, entries: Sequence[tuple[UUID, str, UUID, str]], *, now: datetime) -> None:
    """Adds (tenant, event, event id, CloudEvent as JSON) to the log, each once."""
    await run(
        conn,
        "INSERT INTO event_log (tenant_id, event, event_id, cloudevent, recorded_at) "
        "SELECT tenant, event, id, cloudevent, :now FROM unnest(CAST(:tenants AS uuid[]), CAST(:events AS text[]), "
        "CAST(:ids AS uuid[]), CAST(:cloudevents AS text[])) AS t(tenant, event, id, cloudevent) ON CONFLICT DO NOTHING",
        now=now,
        tenants=[entry[0] for entry in entries],
        events=[entry[1] for entry in entries],
        ids=[entry[2] for entry in entries],
        cloudevents=[entry[3] for entry in entries],
    )


async def sequence(conn: AsyncConnection, tenant_id: UUID, *, limit: int) -> int:
    """Gives positions to up to `limit` committed entries in their order of arrival; returns to how many."""
    await run(conn, "INSERT INTO log_head (tenant_id, position) VALUES (:tenant, 0) ON CONFLICT DO NOTHING", tenant=tenant_id)
    await fetch(conn, "SELECT position FROM log_head WHERE tenant_id = :tenant FOR UPDATE", tenant=tenant_id)
    rows = await fetch(
        conn,
        "WITH waiting AS (SELECT event, event_id, row_number() OVER (ORDER BY arrival) AS n FROM (SELECT event, event_id, arrival "
        "FROM event_log WHERE tenant_id = :tenant AND position IS NULL ORDER BY arrival LIMIT :limit) AS w), "
        "given AS (UPDATE event_log l SET position = h.position + waiting.n FROM waiting, log_head h WHERE h.tenant_id = :tenant "
        "AND l.tenant_id = :tenant AND l.event = waiting.event AND l.event_id = waiting.event_id RETURNING 1), "
        "counted AS (SELECT count(*) AS n FROM given) "
        "UPDATE log_head SET position = position + counted.n FROM counted WHERE tenant_id = :tenant RETURNING counted.n",
        tenant=tenant_id,
        limit=limit,
    )
    return int(rows[0].n)


async def feed(conn: AsyncConnection, tenant_id: UUID, *, after: int, events: Sequence[str], limit: int) -> Sequence[Row[Any]]:
    """Entries (position, cloudevent) after a position, in order; of these events only where any are named."""
    return await fetch(
        conn,
        "SELECT position, cloudevent FROM event_log WHERE tenant_id = :tenant AND position > :after "
        "AND (cardinality(CAST(:events AS text[])) = 0 OR event = ANY(:events)) ORDER BY position LIMIT :limit",
        tenant=tenant_id,
        after=after,
        events=list(events),
        limit=limit,
    )


async def head(conn: AsyncConnection, tenant_id: UUID) -> int:
    """The last position given."""
    rows = await fetch(conn, "SELECT position FROM log_head WHERE tenant_id = :tenant", tenant=tenant_id)
    return int(rows[0].position) if rows else 0


async def subscribe(
    conn: AsyncConnection, tenant_id: UUID, subscription_id: UUID, *, url: str, secret: str, events: Sequence[str], now: datetime
) -> None:
    """A new subscription; it gets what is logged from now on."""
    await run(
        conn,
        "INSERT INTO subscription (tenant_id, subscription_id, url, secret, events, status, position, created_at) "
        "VALUES (:tenant, :id, :url, :secret, :events, 'active', :position, :now)",
        tenant=tenant_id,
        id=subscription_id,
        url=url,
        secret=secret,
        events=list(events),
        position=await head(conn, tenant_id),
        now=now,
    )


async def subscriptions(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Row[Any]]:
    """The tenant's subscriptions, oldest first, with what waits and what failed."""
    return await fetch(
        conn,
        "SELECT s.*, (SELECT count(*) FROM delivery d WHERE d.tenant_id = s.tenant_id AND d.subscription_id = s.subscription_id "
        "AND d.status = 'pending') AS pending FROM subscription s WHERE tenant_id = :tenant AND status <> 'deleted' ORDER BY created_at",
        tenant=tenant_id,
    )


async def set_status(conn: AsyncConnection, tenant_id: UUID, subscription_id: UUID, status: str) -> bool:
    """Changes a subscription's status; False where there is none. Deleting drops what has not been sent."""
    changed = await run(
        conn,
        "UPDATE subscription SET status = :status, failing_since = NULL "
        "WHERE tenant_id = :tenant AND subscription_id = :id AND status <> 'deleted'",
        tenant=tenant_id,
        id=subscription_id,
        status=status,
    )
    if changed and status == "deleted":
        await run(
            conn,
            "DELETE FROM delivery WHERE tenant_id = :tenant AND subscription_id = :id AND status = 'pending'",
            tenant=tenant_id,
            id=subscription_id,
        )
    return changed > 0


async def plan(conn: AsyncConnection, tenant_id: UUID, *, limit: int, now: datetime) -> int:
    """Turns new log entries into deliveries, for every active subscription at once; returns how many.

    A subscription's row is locked meanwhile and its position moves with the deliveries made.
    """
    rows = await fetch(
        conn,
        "WITH mine AS (SELECT subscription_id, position, events FROM subscription WHERE tenant_id = :tenant AND status = 'active' "
        "ORDER BY subscription_id FOR UPDATE), "
        "slice AS (SELECT m.subscription_id, m.events, l.* FROM mine m CROSS JOIN LATERAL (SELECT event, event_id, position AS at "
        "FROM event_log WHERE tenant_id = :tenant AND position > m.position ORDER BY position LIMIT :limit) AS l), "
        "made AS (INSERT INTO delivery "
        "(tenant_id, delivery_id, subscription_id, event, event_id, position, status, attempts, next_attempt_at) "
        "SELECT :tenant, gen_random_uuid(), subscription_id, event, event_id, at, 'pending', 0, :now FROM slice "
        "WHERE event = ANY(events) ON CONFLICT (tenant_id, subscription_id, position) DO NOTHING RETURNING 1), "
        "moved AS (UPDATE subscription s SET position = x.upto FROM (SELECT subscription_id, max(at) AS upto FROM slice GROUP BY 1) AS x "
        "WHERE s.tenant_id = :tenant AND s.subscription_id = x.subscription_id RETURNING 1) "
        "SELECT (SELECT count(*) FROM made) AS made, (SELECT count(*) FROM moved) AS moved",
        tenant=tenant_id,
        limit=limit,
        now=now,
    )
    return int(rows[0].made)


async def lease(conn: AsyncConnection, tenant_id: UUID, *, now: datetime, until: datetime, limit: int) -> Sequence[Row[Any]]:
    """Takes due deliveries for this sender until `until`: another one sees them again only after that.

    At most `limit` in all and twenty per subscription, so that a dead endpoint holds up nobody.
    """
    return await fetch(
        conn,
        "WITH due AS (SELECT delivery_id, row_number() OVER (PARTITION BY subscription_id ORDER BY delivery.position) AS n FROM delivery "
        "JOIN subscription USING (tenant_id, subscription_id) WHERE tenant_id = :tenant AND delivery.status = 'pending' "
        "AND subscription.status = 'active' AND next_attempt_at <= :now), "
        "taken AS (SELECT d.delivery_id FROM delivery d JOIN due USING (delivery_id) WHERE d.tenant_id = :tenant AND due.n <= 20 "
        "ORDER BY d.position LIMIT :limit FOR UPDATE OF d SKIP LOCKED) "
        "UPDATE delivery d SET next_attempt_at = :until FROM taken, subscription s, event_log l "
        "WHERE d.tenant_id = :tenant AND d.delivery_id = taken.delivery_id "
        "AND s.tenant_id = d.tenant_id AND s.subscription_id = d.subscription_id AND s.status = 'active' "
        "AND l.tenant_id = d.tenant_id AND l.event = d.event AND l.event_id = d.event_id "
        "RETURNING d.delivery_id, d.subscription_id, d.attempts, d.event_id, d.position, s.url, s.secret, l.cloudevent",
        tenant=tenant_id,
        now=now,
        until=until,
        limit=limit,
    )


async def finish(conn: AsyncConnection, tenant_id: UUID, outcomes: Sequence[tuple[Any, ...]], *, now: datetime) -> None:
    """Writes outcomes (delivery id, status, next attempt or None, HTTP status or None, problem or None)."""
    await run(
        conn,
        "UPDATE delivery d SET status = o.status, attempts = d.attempts + 1, next_attempt_at = o.next, answered = o.answered, "
        "problem = o.problem, finished_at = CASE WHEN o.status = 'pending' THEN NULL ELSE CAST(:now AS timestamptz) END "
        "FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:nexts AS timestamptz[]), CAST(:answers AS int[]), "
        "CAST(:problems AS text[])) AS o(id, status, next, answered, problem) WHERE d.tenant_id = :tenant AND d.delivery_id = o.id",
        tenant=tenant_id,
        now=now,
        ids=[outcome[0] for outcome in outcomes],
        statuses=[outcome[1] for outcome in outcomes],
        nexts=[outcome[2] for outcome in outcomes],
        answers=[outcome[3] for outcome in outcomes],
        problems=[outcome[4] for outcome in outcomes],
    )


async def note_health(conn: AsyncConnection, tenant_id: UUID, worked: Sequence[UUID], failed: Sequence[UUID], *, now: datetime) -> None:
    """Starts, keeps or ends the clock of a subscription that only fails."""
    await run(
        conn,
        "UPDATE subscription SET failing_since = CASE WHEN subscription_id = ANY(CAST(:worked AS uuid[])) THEN NULL "
        "ELSE COALESCE(failing_since, CAST(:now AS timestamptz)) END "
        "WHERE tenant_id = :tenant AND (subscription_id = ANY(CAST(:worked AS uuid[])) OR subscription_id = ANY(CAST(:failed AS uuid[])))",
        tenant=tenant_id,
        worked=list(worked),
        failed=list(failed),
        now=now,
    )


async def disable_failing(conn: AsyncConnection, tenant_id: UUID, *, before: datetime) -> int:
    """Disables subscriptions that have only failed since before a moment."""
    return await run(
        conn,
        "UPDATE subscription SET status = 'disabled' WHERE tenant_id = :tenant AND status = 'active' AND failing_since < :before",
        tenant=tenant_id,
        before=before,
    )


async def deliveries(conn: AsyncConnection, tenant_id: UUID, subscription_id: UUID, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """Deliveries of a subscription, newest first, below a position."""
    return await fetch(
        conn,
        "SELECT delivery_id, event, event_id, position, status, attempts, next_attempt_at, answered, problem FROM delivery "
        "WHERE tenant_id = :tenant AND subscription_id = :id AND position < :after ORDER BY position DESC LIMIT :limit",
        tenant=tenant_id,
        id=subscription_id,
        after=after,
        limit=limit,
    )


async def resend(conn: AsyncConnection, tenant_id: UUID, delivery_id: UUID, *, now: datetime) -> bool:
    """Puts a delivery back in the queue with a fresh schedule; False where there is none."""
    return (
        await run(
            conn,
            "UPDATE delivery SET status = 'pending', attempts = 0, next_attempt_at = :now, finished_at = NULL "
            "WHERE tenant_id = :tenant AND delivery_id = :id",
            tenant=tenant_id,
            id=delivery_id,
            now=now,
        )
        > 0
    )
