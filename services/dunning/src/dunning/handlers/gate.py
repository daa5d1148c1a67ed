"""The freshness gate: it tells "no payment came" from "we have not heard".

Rule: on reading BankReconciliationAdvanced the end offsets of OpenItemChanged and AccountBalanceChanged are noted; the
bank account's gate opens to `matched_through` once this service's own committed positions have passed them. An entity's gate
day is the least over its active accounts. A reminder of day D needs it at D - `gate_lag_days` or later. It is shut for an
entity without an account, one never reconciled, and while events about what is owed lie in our dead letters.

Invariant: a `matched_through` that falls back shuts the gate at once; each version is judged by its own mark, so that a
stream of new words never keeps an older one from opening.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from contracts.accounts import BankReconciliationAdvanced
from contracts.envelope import Message
from shared.batches import Context
from shared.jobs import JobContext
from shared.states import keep
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.storage import gate as storage
from dunning.tables.money import RECONCILIATION


async def keep_reconciliations(conn: AsyncConnection, messages: Sequence[Message[BankReconciliationAdvanced]], ctx: Context) -> None:
    """Keeps the bank's word and marks where the topics about what is owed end now."""
    ends = await ctx.offsets.ends(storage.GUARDED, prefix=ctx.topic_prefix)
    rows = [
        {
            "tenant_id": message.tenant_id,
            "bank_account_id": message.data.bank_account_id,
            "version": message.data.version,
            "booked_through": message.data.booked_through,
            "matched_through": message.data.matched_through,
            "gaps": msgspec.to_builtins(message.data.gaps),
        }
        for message in messages
    ]
    applied = await keep(conn, RECONCILIATION, rows)
    marks = {
        (row["tenant_id"], row["bank_account_id"], row["version"], row["matched_through"])
        for row in rows
        if (row["tenant_id"], row["bank_account_id"]) in applied
    }
    await storage.mark(conn, marks, ends)


async def open_gates(context: JobContext, tenant_id: UUID) -> None:
    """The job: opens what our committed positions have passed."""
    async with context.database.transaction(tenant_id) as conn:
        marks = await storage.shut_marks(conn, tenant_id)
        if not marks or await storage.tainted(conn, tenant_id):
            return
        committed = await context.offsets.committed(context.consumer)
        if passed := [(mark.bank_account_id, mark.version) for mark in marks if has_passed(mark.ends, committed)]:
            await storage.open_marks(conn, tenant_id, passed, context.now)


def has_passed(ends: Mapping[str, int], committed: Mapping[tuple[str, int], int]) -> bool:
    """Whether committed positions have reached every noted end (`topic:partition` -> offset)."""
    for place, end in ends.items():
        topic, _, partition = place.rpartition(":")
        if committed.get((topic, int(partition)), 0) < end:
            return False
    return True
