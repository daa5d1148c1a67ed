"""Recalls as they stand, and the payments that they may be about."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.storage.movements import LEFT
from matching.storage.rows import fetch, found


@dataclass(slots=True)
class Held:
    """A recall as it stands. `allocations`: (item, amount, difference, its reason, rule, what was exchanged, what of the item's write-offs
    it had reversed) that were undone because of it.

    A set-off that was undone has the rule `set_off`, and its credit note where an allocation has the reason; so has one that was made in
    place of what was undone, with the rule `set_off_instead`. `settled_minor`: how much
    the bank took, once it has.
    """

    recall_id: UUID
    payment_id: UUID
    entity_id: UUID
    bank_account_id: UUID
    currency: str
    amount_minor: int
    reason: str
    cancellation_id: str
    allocations: list[list[Any]]
    status: str
    requested_by: str | None
    decided_by: str | None
    received_at: datetime
    decided_at: datetime | None
    settled_minor: int | None = None


class Waiting(NamedTuple):
    """A recall that no debit has settled yet, and what its payment is known by."""

    recall_id: UUID
    payment_id: UUID
    amount_minor: int
    end_to_end_id: str | None
    transaction_id: str | None
    bank_reference: str | None


LISTED = "SELECT recall_id AS at, * FROM recall WHERE tenant_id = :tenant AND (CAST(:status AS text) IS NULL OR status = :status)"
_COLUMNS = (
    "recall_id, payment_id, entity_id, bank_account_id, currency, amount_minor, reason, cancellation_id, allocations, status, "
    "requested_by, decided_by, received_at, decided_at, settled_minor"
)


async def hold(conn: AsyncConnection, recall_id: UUID) -> None:
    """Until the end of the transaction: the same request brought twice at once is taken in one after the other."""
    await fetch(conn, "SELECT pg_advisory_xact_lock(hashtextextended(:id, 3))", id=str(recall_id))


async def find(conn: AsyncConnection, tenant_id: UUID, recall_id: UUID, *, lock: bool = False) -> Held | None:
    """A recall, locked where it is about to change; None where there is none."""
    query = f"SELECT {_COLUMNS} FROM recall WHERE tenant_id = :tenant AND recall_id = :id"  # noqa: S608 - ours
    row = await found(conn, query, lock=lock, tenant=tenant_id, id=recall_id)
    if row is None:
        return None
    held = Held(*row)
    if isinstance(held.allocations, str):  # the driver hands jsonb of a text statement over as text
        held.allocations = json.loads(held.allocations)
    return held


async def named(
    conn: AsyncConnection, tenant_id: UUID, amount: int, currency: str, *, end_to_end_id: str | None, transaction_ids: Sequence[str]
) -> list[UUID]:
    """Payments that a recall may be about and that have as much left: by a transaction id, else by EndToEndId, which payers use again.

    Those of just its amount, else those of more.
    """
    rows = await fetch(
        conn,
        "SELECT payment_id, amount_minor, transaction_id IS NOT NULL AND transaction_id = ANY(CAST(:txs AS text[])) AS by_id, "  # noqa: S608 - ours
        f"{LEFT} >= :amount AS enough FROM payment p WHERE tenant_id = :tenant AND currency = :currency "
        "AND ((CAST(:e2e AS text) IS NOT NULL AND end_to_end_id = :e2e) OR transaction_id = ANY(CAST(:txs AS text[]))) "
        "ORDER BY by_id DESC, enough DESC, amount_minor <> :amount, payment_id LIMIT 3",
        tenant=tenant_id,
        currency=currency,
        amount=amount,
        e2e=end_to_end_id,
        txs=list(transaction_ids),
    )
    best = [row for row in rows if row.by_id == rows[0].by_id and row.enough]
    return [row.payment_id for row in best if row.amount_minor == amount] or [row.payment_id for row in best]


async def insert(conn: AsyncConnection, tenant_id: UUID, held: Held) -> None:
    """Stores a recall that has come in."""
    await run(
        conn,
        f"INSERT INTO recall (tenant_id, {_COLUMNS}) VALUES (:tenant, :id, :payment, :entity, :account, :currency, :amount, :reason, "  # noqa: S608 - ours
        ":cancellation, CAST(:allocations AS jsonb), :status, NULL, NULL, :now, NULL, NULL)",
        tenant=tenant_id,
        id=held.recall_id,
        payment=held.payment_id,
        entity=held.entity_id,
        account=held.bank_account_id,
        currency=held.currency,
        amount=held.amount_minor,
        reason=held.reason,
        cancellation=held.cancellation_id,
        allocations=json.dumps(held.allocations),
        status=held.status,
        now=held.received_at,
    )


async def save(conn: AsyncConnection, tenant_id: UUID, held: Held) -> None:
    """Writes a recall's status, who asked and who decided."""
    await run(
        conn,
        "UPDATE recall SET status = :status, requested_by = :asked, decided_by = :by, decided_at = :at "
        "WHERE tenant_id = :tenant AND recall_id = :id",
        tenant=tenant_id,
        id=held.recall_id,
        status=held.status,
        asked=held.requested_by,
        by=held.decided_by,
        at=held.decided_at,
    )


async def waiting(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID) -> list[Waiting]:
    """An account's recalls that its bank has not settled, the oldest first."""
    rows = await fetch(
        conn,
        "SELECT r.recall_id, r.payment_id, r.amount_minor, p.end_to_end_id, p.transaction_id, p.bank_reference FROM recall r "
        "JOIN payment p USING (tenant_id, payment_id) WHERE r.tenant_id = :tenant AND r.bank_account_id = :account "
        "AND r.status IN ('open', 'requested', 'accepted') ORDER BY r.received_at, r.recall_id",
        tenant=tenant_id,
        account=bank_account_id,
    )
    return [Waiting(*row) for row in rows]


async def settle(conn: AsyncConnection, tenant_id: UUID, took: Mapping[UUID, int], now: datetime) -> bool:
    """The bank has taken so much for each of these; False where one of them waits no more. Their payments are locked."""
    settled = await run(
        conn,
        "UPDATE recall SET status = 'settled', decided_at = :now, settled_minor = t.took "
        "FROM unnest(CAST(:ids AS uuid[]), CAST(:took AS bigint[])) AS t(id, took) "
        "WHERE tenant_id = :tenant AND recall_id = t.id AND status IN ('open', 'requested', 'accepted')",
        tenant=tenant_id,
        ids=list(took),
        took=list(took.values()),
        now=now,
    )
    return settled == len(took)
