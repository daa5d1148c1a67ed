"""BankReconciliationAdvanced: up to which day the bank's word is in and everything in it has been looked at.

It is drawn up while nothing of the account is unprocessed (`storage.reconciliation`), and published once every event of the tenant that
was in the outbox by then has left it: whoever reads it can read all that came before.
"""

import json
from datetime import date
from typing import Any
from uuid import UUID

from contracts.accounts import BankReconciliationAdvanced, DateRange
from shared.jobs import JobContext
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.reconciliation import reach
from matching.storage import reconciliation as stored

EVENTS = ("PaymentReceived", "InvoiceIssued", "InvoiceChanged", "InvoiceCancelled", "CreditNoteIssued")
"""Whose dead letters hold an account back: behind each may be money or a claim."""


async def advance(context: JobContext, tenant_id: UUID) -> None:
    """Job: draws up and publishes how far each account of the tenant is reconciled."""
    async with context.database.transaction(tenant_id) as conn:
        for account in await stored.due(conn, tenant_id, EVENTS):  # one at a time: rare, for it runs when a statement has come in
            await _draw_up(conn, tenant_id, account)
        rows = await stored.take_drawn_up(conn, tenant_id)
        rows = sorted(rows, key=lambda row: str(row.bank_account_id))
        await publish(conn, [Outgoing(tenant_id, _event(row), row.entity_id) for row in rows])


async def _draw_up(conn: AsyncConnection, tenant_id: UUID, account: stored.Due) -> None:
    found = reach(account.start_date, await stored.covered(conn, tenant_id, account.bank_account_id))
    if found is None:
        await stored.draw_up(conn, tenant_id, account, booked=None, matched=None, gaps=[])
        return
    matched = max(found.matched_through, account.matched_through or found.matched_through)  # a word once given is kept
    await stored.draw_up(conn, tenant_id, account, booked=found.booked_through, matched=matched, gaps=found.gaps)


def _event(row: Row[Any]) -> BankReconciliationAdvanced:
    return BankReconciliationAdvanced(
        version=row.version,
        bank_account_id=row.bank_account_id,
        booked_through=row.booked_through,
        matched_through=row.matched_through,
        gaps=[DateRange(first=date.fromisoformat(first), last=date.fromisoformat(last)) for first, last in json.loads(row.gaps)],
    )
