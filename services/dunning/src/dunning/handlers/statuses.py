"""What buyers and platforms say of e-invoices: kept, and turned into disputes that open and lift by themselves.

Invariants:
- only the part of a status that came from outside is read; nothing that we publish changes it, so no circle closes;
- a dispute of origin `outside` is open exactly while the status that stands contests its amount, capped by what is open and not
  disputed by people; what people opened is never touched;
- each version of a status is acted on once, under the item's lock; one whose item is not known yet waits for it.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from contracts.envelope import Message
from contracts.invoices import InvoiceStatusChanged, StatusEntry
from shared.batches import Context
from shared.ids import named_id
from shared.jobs import JobContext
from shared.outbox import publish
from shared.states import keep
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.domain.lifecycle import contested, may_contest
from dunning.handlers.disputes import told
from dunning.storage import statuses as storage
from dunning.storage.statuses import Key
from dunning.tables.items import INVOICE_STATUS

SLICE = 500
_DISPUTED_KINDS = frozenset({"invoice", "deposit"})


async def keep_statuses(conn: AsyncConnection, messages: Sequence[Message[InvoiceStatusChanged]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Statuses by version; what is new among them is acted on where its item is known."""
    said = {(message.tenant_id, message.data.invoice_id, message.data.version): message.data.outside for message in messages}
    rows = [{"tenant_id": key[0], "invoice_id": key[1], "version": key[2], "outside": outside} for key, outside in said.items()]
    applied = {(key[0], key[1]) for key in await keep(conn, INVOICE_STATUS, rows)}
    unknown = applied - await act(conn, applied)
    # nothing was contested of an item that we do not know: only what contests it now waits for it
    idle = [key for key, outside in said.items() if key[:2] in unknown and not (outside and may_contest(outside.status))]
    if idle:
        await storage.settle(conn, idle)


async def settle_waiting(context: JobContext, tenant_id: UUID) -> None:
    """The job: acts on statuses that came before their item."""
    while True:
        async with context.database.transaction(tenant_id) as conn:
            keys = await storage.waiting(conn, tenant_id, SLICE)
            await act(conn, keys)
        if len(keys) < SLICE:
            return


async def act(conn: AsyncConnection, keys: Iterable[Key]) -> set[Key]:
    """Opens and lifts disputes so that they say what the statuses say; returns the keys whose item is known.

    A fixed number of statements.
    """
    keys = list(keys)
    items = await storage.lock_items(conn, keys) if keys else []
    if not items:
        return set()
    here = [(row.tenant_id, row.item_id) for row in items]
    disputes: dict[Key, list[Row[Any]]] = {}
    for dispute in await storage.open_disputes(conn, here):
        disputes.setdefault((dispute.tenant_id, dispute.item_id), []).append(dispute)
    opening: list[tuple[Any, ...]] = []
    lifting: list[tuple[UUID, UUID]] = []
    for row in items:
        open_now = disputes.get((row.tenant_id, row.item_id), [])
        standing = [each for each in open_now if each.origin == "outside"]
        others = sum(each.amount_minor for each in open_now if each.origin != "outside")
        entry = None if row.outside is None else msgspec.json.decode(row.outside, type=StatusEntry)
        wanted = _wanted(row, entry, max(0, row.open_minor - others))
        if sum(each.amount_minor for each in standing) == wanted:
            continue
        lifting += [(each.tenant_id, each.dispute_id) for each in standing]
        if wanted and entry is not None:
            dispute_id = named_id("dispute-by-status", row.tenant_id, row.item_id, row.version)
            reason = entry.reasons[0].code.lower() if entry.reasons else f"status_{entry.status}"
            opening.append((row.tenant_id, dispute_id, row.item_id, row.customer_id, row.entity_id, wanted, row.currency, reason))
    changed = [*(await storage.withdraw(conn, lifting) if lifting else ()), *(await storage.open_outside(conn, opening) if opening else ())]
    await storage.settle(conn, [(row.tenant_id, row.item_id, row.version) for row in items])
    await publish(conn, [told(row.tenant_id, row) for row in changed])
    return set(here)


def _wanted(row: Row[Any], entry: StatusEntry | None, disputable: int) -> int:
    if entry is None or row.kind not in _DISPUTED_KINDS:
        return 0
    return contested(entry.status, [(each.kind, each.amount_minor) for each in entry.amounts], disputable)
