"""Up to which day each account is reconciled: what is drawn up, and what of it may be told.

An account is quiet while nothing of it is unprocessed: no payment waits, no batch total lacks its details, no rejected statement is
unreplaced, none is being imported, and no message of the tenant that may carry money or a claim is put aside.
"""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from shared.db import run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.reconciliation import Covered
from matching.storage.rows import fetch
from matching.storage.statements import TAKES_ITS_PLACE

_QUIET = f"""
NOT EXISTS (SELECT 1 FROM payment p WHERE p.tenant_id = a.tenant_id AND p.bank_account_id = a.bank_account_id AND p.status = 'received')
AND NOT EXISTS (SELECT 1 FROM movement m WHERE m.tenant_id = a.tenant_id AND m.bank_account_id = a.bank_account_id AND NOT m.resolved
  AND m.kind = 'total')
AND NOT EXISTS (SELECT 1 FROM statement s WHERE s.tenant_id = a.tenant_id AND s.bank_account_id = a.bank_account_id
  AND s.verdict = 'rejected' AND s.role <> 'report' AND NOT EXISTS (SELECT 1 FROM statement r
  WHERE {TAKES_ITS_PLACE} AND r.verdict = 'booked'))
AND NOT EXISTS (SELECT 1 FROM statement s WHERE s.tenant_id = a.tenant_id AND s.bank_account_id = a.bank_account_id
  AND s.verdict = 'importing')
AND NOT EXISTS (SELECT 1 FROM dead_letter d WHERE d.tenant_id = a.tenant_id AND d.replayed_at IS NULL
  AND d.event = ANY(CAST(:events AS text[])))
"""  # noqa: S608 - our own text


_NEW = (
    "FROM bank_account a LEFT JOIN reconciliation r USING (tenant_id, bank_account_id) CROSS JOIN LATERAL (SELECT count(*) AS n "
    "FROM statement s WHERE s.tenant_id = a.tenant_id AND s.bank_account_id = a.bank_account_id AND s.verdict = 'booked' "
    "AND s.role = 'statement') s WHERE a.tenant_id = {tenant} AND s.n <> coalesce(r.statements, 0)"
)
DUE = (
    f"EXISTS (SELECT 1 {_NEW.format(tenant='t.tenant_id')}) "  # noqa: S608 - our own text
    "OR EXISTS (SELECT 1 FROM reconciliation WHERE tenant_id = t.tenant_id AND next_booked_through IS NOT NULL)"
)
"""For `Job.due`: a statement has come in that no word takes account of, or a word waits to be told."""


class Due(NamedTuple):
    """A quiet account with statements (`statements` of them now) that no word takes account of yet; `matched_through`: the last word."""

    bank_account_id: UUID
    start_date: date
    statements: int
    matched_through: date | None


async def due(conn: AsyncConnection, tenant_id: UUID, events: Sequence[str]) -> list[Due]:
    """Accounts whose word is to be drawn up. Dead letters of `events` hold an account back."""
    rows = await fetch(
        conn,
        f"SELECT a.bank_account_id, a.start_date, s.n, r.matched_through {_NEW.format(tenant=':tenant')} "
        f"AND {_QUIET} ORDER BY a.bank_account_id",
        tenant=tenant_id,
        events=list(events),
    )
    return [Due(*row) for row in rows]


async def covered(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID) -> list[Covered]:
    """The days and balances of an account's booked statements."""
    rows = await fetch(
        conn,
        "SELECT first_day, last_day, sequence, opening_minor, closing_minor FROM statement WHERE tenant_id = :tenant "
        "AND bank_account_id = :account AND verdict = 'booked' AND role = 'statement' AND first_day IS NOT NULL AND last_day IS NOT NULL "
        "AND opening_minor IS NOT NULL AND closing_minor IS NOT NULL",
        tenant=tenant_id,
        account=bank_account_id,
    )
    return [Covered(*row) for row in rows]


async def draw_up(
    conn: AsyncConnection,
    tenant_id: UUID,
    account: Due,
    *,
    booked: date | None,
    matched: date | None,
    gaps: Sequence[tuple[date, date]],
) -> None:
    """Notes what is to be told of an account once all that is in the outbox now has left it."""
    await run(
        conn,
        "INSERT INTO reconciliation (tenant_id, bank_account_id, version, next_booked_through, "
        "next_matched_through, next_gaps, after_outbox_id, "
        "statements) VALUES (:tenant, :account, 0, :booked, :matched, CAST(:gaps AS jsonb), (SELECT coalesce(max(id), 0) FROM outbox), :n) "
        "ON CONFLICT (tenant_id, bank_account_id) DO UPDATE SET next_booked_through = EXCLUDED.next_booked_through, "
        "next_matched_through = EXCLUDED.next_matched_through, next_gaps = EXCLUDED.next_gaps, after_outbox_id = EXCLUDED.after_outbox_id, "
        "statements = EXCLUDED.statements",
        tenant=tenant_id,
        account=account.bank_account_id,
        booked=booked,
        matched=matched,
        gaps=json.dumps([[first.isoformat(), last.isoformat()] for first, last in gaps]),
        n=account.statements,
    )


async def take_drawn_up(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Row[Any]]:
    """What was drawn up and may be told now: what was in the outbox then has left it. `gaps` is JSON, pairs of days."""
    return await fetch(
        conn,
        "UPDATE reconciliation r SET version = r.version + 1, booked_through = next_booked_through, "
        "matched_through = next_matched_through, "
        "gaps = next_gaps, next_booked_through = NULL, next_matched_through = NULL, next_gaps = NULL FROM bank_account a "
        "WHERE r.tenant_id = :tenant AND a.tenant_id = r.tenant_id AND a.bank_account_id = r.bank_account_id "
        "AND r.next_booked_through IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id <= r.after_outbox_id AND r.tenant_id = ANY(o.tenants)) "
        "RETURNING r.bank_account_id, r.version, r.booked_through, r.matched_through, CAST(r.gaps AS text) AS gaps, a.entity_id",
        tenant=tenant_id,
    )


async def reconciled(conn: AsyncConnection, tenant_id: UUID) -> list[UUID]:
    """The accounts of which the bank's word is in up to some day."""
    rows = await fetch(
        conn,
        "SELECT bank_account_id FROM reconciliation WHERE tenant_id = :tenant AND booked_through IS NOT NULL ORDER BY 1",
        tenant=tenant_id,
    )
    return [row[0] for row in rows]
