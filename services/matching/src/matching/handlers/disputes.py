"""Disputes of dunning: how much of an item is contested. The event of the item says at most what is open.

A dispute and its item that are handled at the same moment by two workers do not see each other; a job puts that right,
and so it does with a credit note and its invoice.
"""

from collections.abc import Sequence
from uuid import UUID

from contracts.dunning import DisputeState
from contracts.envelope import Envelope, Message
from shared.batches import Context
from shared.jobs import JobContext
from shared.states import keep
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.handlers.credit_notes import set_off_pairs
from matching.handlers.publishing import save_and_publish
from matching.storage.books import lock
from matching.storage.items import contested, credit_pairs, open_credit_notes, wrongly_contested
from matching.tables.parties import DISPUTE

SLICE = 1_000


async def keep_disputes(conn: AsyncConnection, messages: Sequence[Message[DisputeState]], ctx: Context) -> None:
    """DisputeOpened, DisputeResolved: keeps them and tells the items they are about."""
    applied = await keep(
        conn,
        DISPUTE,
        [
            {
                "tenant_id": message.tenant_id,
                "dispute_id": message.data.dispute_id,
                "version": message.data.version,
                "item_id": message.data.item_id,
                "amount_minor": message.data.amount_minor,
                "status": message.data.status,
            }
            for message in messages
        ],
    )
    items = {(m.tenant_id, m.data.item_id): m.envelope for m in messages if (m.tenant_id, m.data.dispute_id) in applied}
    await contest(conn, items, ctx)


async def contest(conn: AsyncConnection, items: dict[Key, Envelope] | dict[Key, None], ctx: Context | JobContext) -> None:
    """Sets what is contested of items to the sum of their open disputes."""
    if not items:
        return
    books = await lock(conn, items=items)
    sums = await contested(conn, books.items)
    for key, item in books.items.items():
        if item.contested_minor != sums.get(key, 0):
            books.touch(item)
            item.contested_minor = sums.get(key, 0)
    await save_and_publish(conn, books, ctx.now, {key: cause for key, cause in items.items() if cause is not None})


async def meet_late(context: JobContext, tenant_id: UUID) -> None:
    """Job: disputes and credit notes that missed their item because both were handled at the same moment."""
    async with context.database.transaction(tenant_id) as conn:
        await contest(conn, dict.fromkeys(await wrongly_contested(conn, tenant_id, SLICE)), context)
    async with context.database.transaction(tenant_id) as conn:
        pairs = await credit_pairs(conn, await open_credit_notes(conn, tenant_id, SLICE))
        await set_off_pairs(conn, pairs, context.now, {})
