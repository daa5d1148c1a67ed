"""BankReconciliationAdvanced: up to which day the bank's word is in and everything in it has been looked at.

It is drawn up while nothing of the account is unprocessed (no payment waits, no batch total lacks its details, no rejected
statement is unreplaced, no message of the tenant is put aside), and published once every event of the tenant that was in
the outbox by then has left it: whoever reads it can read all that came before.
"""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from contracts.accounts import BankReconciliationAdvanced, DateRange
from shared.db import run
from shared.jobs import JobContext
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.reconciliation import Covered, Reach, reach
from matching.storage.rows import fetch
from matching.storage.statements import TAKES_ITS_PLACE

EVENTS = ("PaymentReceived", "InvoiceIssued", "InvoiceChanged", "InvoiceCancelled", "CreditNoteIssued")
"""Whose dead letters hold an account back: behind each may be money or a claim."""

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


async def advance(context: JobContext, tenant_id: UUID) -> None:
    """Job: draws up and publishes how far each account of the tenant is reconciled."""
    async with context.database.transaction(tenant_id) as conn:
        await _draw_up(conn, tenant_id)
        await _publish(conn, tenant_id)


async def _draw_up(conn: AsyncConnection, tenant_id: UUID) -> None:
    rows = await fetch(
        conn,
        "SELECT a.bank_account_id, a.start_date, s.n, r.booked_through, r.matched_through FROM bank_account a "  # noqa: S608 - our own text
        "LEFT JOIN reconciliation r USING (tenant_id, bank_account_id) CROSS JOIN LATERAL (SELECT count(*) AS n FROM statement s "
        "WHERE s.tenant_id = a.tenant_id AND s.bank_account_id = a.bank_account_id AND s.verdict = 'booked' AND s.role = 'statement') s "
        f"WHERE a.tenant_id = :tenant AND s.n <> coalesce(r.statements, 0) AND {_QUIET} ORDER BY a.bank_account_id",
        tenant=tenant_id,
        events=list(EVENTS),
    )
    for account in rows:  # one account's statements at a time: rare, for it runs when a statement has come in
        found = reach(account.start_date, await _statements(conn, tenant_id, account.bank_account_id))
        await _note(conn, tenant_id, account, found)


async def _statements(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID) -> list[Covered]:
    rows = await fetch(
        conn,
        "SELECT first_day, last_day, sequence, opening_minor, closing_minor FROM statement WHERE tenant_id = :tenant "
        "AND bank_account_id = :account AND verdict = 'booked' AND role = 'statement' AND first_day IS NOT NULL AND last_day IS NOT NULL "
        "AND opening_minor IS NOT NULL AND closing_minor IS NOT NULL",
        tenant=tenant_id,
        account=bank_account_id,
    )
    return [Covered(*row) for row in rows]


async def _note(conn: AsyncConnection, tenant_id: UUID, account: Row[Any], found: Reach | None) -> None:
    matched = None
    if found is not None:
        matched = max(found.matched_through, account.matched_through or found.matched_through)  # a word once given is kept
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
        booked=found.booked_through if found else None,
        matched=matched,
        gaps=json.dumps([[first.isoformat(), last.isoformat()] for first, last in found.gaps] if found else []),
        n=account.n,
    )


async def _publish(conn: AsyncConnection, tenant_id: UUID) -> None:
    rows = await fetch(
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
    await publish(conn, [Outgoing(tenant_id, _event(row), row.entity_id) for row in _by_account(rows)])


def _by_account(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    return sorted(rows, key=lambda row: str(row.bank_account_id))


def _event(row: Row[Any]) -> BankReconciliationAdvanced:
    return BankReconciliationAdvanced(
        version=row.version,
        bank_account_id=row.bank_account_id,
        booked_through=row.booked_through,
        matched_through=row.matched_through,
        gaps=[DateRange(first=date.fromisoformat(first), last=date.fromisoformat(last)) for first, last in json.loads(row.gaps)],
    )
