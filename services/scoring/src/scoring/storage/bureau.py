"""Bureau subjects and observations.

Invariants: a subject is leased by moving `next_attempt_at` before anything is asked, so that no lock is held while a
bureau answers and two workers do not ask twice; an observation is kept raw, once per content; a bureau's silence changes
nothing here, so what is known grows stale by its own date.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scoring.domain.observation import Observation
from scoring.storage.behaviour import touch
from scoring.tables import BUREAU_NOTIFICATION, OBSERVATION


async def put_down(conn: AsyncConnection, subjects: Collection[tuple[UUID, UUID, str]], now: datetime) -> None:
    """Puts (tenant, customer, what he is searched by) down to be asked about; who is searched by something else, anew.

    Nobody asks about an erased customer (who has no name any more).
    """
    if subjects:
        columns = {"tenant_id": "uuid", "customer_id": "uuid", "searched": "text"}
        await run(
            conn,
            "INSERT INTO bureau_subject (tenant_id, customer_id, searched, status, failures, next_attempt_at) "  # noqa: S608 - names are ours
            f"SELECT tenant_id, customer_id, searched, 'new', 0, :now FROM {unnest(columns)} "
            "WHERE NOT EXISTS (SELECT 1 FROM customer_identity i WHERE i.tenant_id = t.tenant_id AND i.customer_id = t.customer_id "
            "AND i.name = '') ORDER BY tenant_id, customer_id "
            "ON CONFLICT (tenant_id, customer_id) DO UPDATE SET searched = excluded.searched, reference = NULL, status = 'new', "
            "failures = 0, next_attempt_at = excluded.next_attempt_at WHERE bureau_subject.searched <> excluded.searched",
            now=now,
            **arrays(sorted(subjects), tuple(columns)),
        )


_DUE = "next_attempt_at <= :now"
DUE = f"EXISTS (SELECT 1 FROM bureau_subject WHERE tenant_id = t.tenant_id AND {_DUE})"  # noqa: S608 - our own text
"""A condition of `tenants_due`."""


async def lease(conn: AsyncConnection, tenant_id: UUID, *, now: datetime, until: datetime, limit: int) -> Sequence[Row[Any]]:
    """Subjects that are due to be asked about, taken until a moment: customer_id, searched, reference, failures, name."""
    return await fetch(
        conn,
        f"WITH due AS (SELECT customer_id FROM bureau_subject WHERE tenant_id = :tenant AND {_DUE} "  # noqa: S608 - our own text
        " ORDER BY next_attempt_at LIMIT :limit FOR UPDATE SKIP LOCKED), "
        "taken AS (UPDATE bureau_subject s SET next_attempt_at = :until FROM due "
        " WHERE s.tenant_id = :tenant AND s.customer_id = due.customer_id "
        " RETURNING s.customer_id, s.searched, s.reference, s.failures) "
        "SELECT taken.*, i.name FROM taken "
        "LEFT JOIN customer_identity i ON i.tenant_id = :tenant AND i.customer_id = taken.customer_id",
        tenant=tenant_id,
        now=now,
        until=until,
        limit=limit,
    )


async def settle(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, *, status: str, reference: str | None, failures: int, again: datetime
) -> None:
    """Notes how asking went and when to ask next."""
    await run(
        conn,
        "UPDATE bureau_subject SET status = :status, reference = coalesce(:reference, reference), failures = :failures, "
        "next_attempt_at = :again WHERE tenant_id = :tenant AND customer_id = :customer",
        tenant=tenant_id,
        customer=customer_id,
        status=status,
        reference=reference,
        failures=failures,
        again=again,
    )


async def observe(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, observation: Observation) -> None:
    """Keeps an observation; the same content again only says that it still holds. The customer is reviewed."""
    await touch(conn, [(tenant_id, customer_id)])
    statement = insert(OBSERVATION).values(tenant_id=tenant_id, customer_id=customer_id, **asdict(observation))
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "customer_id", "provider", "checksum"],
            set_={"fetched_at": statement.excluded.fetched_at},
            where=OBSERVATION.c.fetched_at < statement.excluded.fetched_at,
        )
    )


async def hand_back(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID], now: datetime) -> None:
    """Gives leased subjects back that nobody came to ask about."""
    await run(
        conn,
        "UPDATE bureau_subject SET next_attempt_at = :now WHERE tenant_id = :tenant AND customer_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=list(customers),
        now=now,
    )


async def notified(conn: AsyncConnection, tenant_id: UUID, notifications: Sequence[tuple[str, str, str]], now: datetime) -> int:
    """Takes those notifications (id, reference, moment) that concern a customer of the tenant, each once; has the companies
    of new ones asked about now. Returns how many were new.
    """
    columns = {"notification_id": "text", "reference": "text", "event_at": "text"}
    given = arrays(sorted(set(notifications)), tuple(columns))
    mine = await fetch(
        conn,
        f"SELECT DISTINCT t.notification_id, t.reference, t.event_at FROM {unnest(columns)} "  # noqa: S608 - column names are ours
        "JOIN bureau_subject s ON s.tenant_id = :tenant AND s.reference = t.reference",
        tenant=tenant_id,
        **given,
    )
    if not mine:
        return 0
    taken = await conn.execute(
        insert(BUREAU_NOTIFICATION)
        .values(
            [
                {
                    "tenant_id": tenant_id,
                    "notification_id": row.notification_id,
                    "reference": row.reference,
                    "event_at": row.event_at,
                    "seen_at": now,
                }
                for row in mine
            ]
        )
        .on_conflict_do_nothing()
        .returning(BUREAU_NOTIFICATION.c.reference)
    )
    new = [row.reference for row in taken.fetchall()]
    await run(
        conn,
        "UPDATE bureau_subject SET next_attempt_at = :now WHERE tenant_id = :tenant AND reference = ANY(CAST(:new AS text[]))",
        tenant=tenant_id,
        now=now,
        new=sorted(set(new)),
    )
    return len(new)


async def forget(conn: AsyncConnection, customers: Sequence[tuple[UUID, UUID]]) -> None:
    """Erases what a bureau's answers and people's notes say of customers (tenant, customer); bands, limits and dates stay."""
    columns = {"tenant_id": "uuid", "customer_id": "uuid"}
    values = arrays(customers, list(columns))
    for change in (
        "DELETE FROM bureau_subject x USING",
        "UPDATE bureau_observation x SET raw = '{}' FROM",
        "UPDATE hold x SET note = NULL FROM",
        "UPDATE limit_override x SET note = '' FROM",
    ):
        await run(conn, f"{change} {unnest(columns)} WHERE x.tenant_id = t.tenant_id AND x.customer_id = t.customer_id", **values)
