"""Promises of dunning: money that a customer said will come, so it is met when it comes.

Rules:
- an open promise is an expected payment of its amount and payer; the items that it names are the designation, where the
  amount is that of one of them, or of all that is open of them; else the payer alone is known by it;
- money of just that amount that came before it and waits is looked at again;
- it ends with dunning's own word (kept, broken, cancelled): nothing here judges it, and nothing is published;
- dunning opens it again when the money that kept it goes back: it waits for the debtor's next payment, but where a person has undone it.
"""

from collections.abc import Sequence
from datetime import datetime

from contracts.dunning import PromiseState
from contracts.envelope import Message
from shared.aliases import stands_for
from shared.batches import Context
from shared.clock import machine_now
from shared.states import keep
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.remittances import RemittanceLine
from matching.handlers.unmet import undone
from matching.storage import expected as stored
from matching.storage.expected import Expected
from matching.storage.items import owed_of
from matching.tables.expected import PROMISE

_ENDS = {"kept": "received", "broken": "expired", "cancelled": "cancelled"}


async def keep_promises(conn: AsyncConnection, messages: Sequence[Message[PromiseState]], ctx: Context) -> None:
    """PromiseMade, PromiseKept, PromiseBroken, PromiseCancelled: what is expected as the newest version says."""
    rows = [
        {"tenant_id": m.tenant_id, "promise_id": m.data.promise_id, "version": m.data.version, "status": m.data.status} for m in messages
    ]
    applied = await keep(conn, PROMISE, rows)
    newest: dict[object, Message[PromiseState]] = {}
    for message in sorted(messages, key=lambda one: one.data.version):
        newest[message.tenant_id, message.data.promise_id] = message
    for key, message in newest.items():
        if key not in applied:
            continue
        if message.data.status == "open":
            await _expect(conn, message, ctx.now)
        else:
            await stored.end(conn, message.tenant_id, message.data.promise_id, _ENDS[message.data.status])


async def _expect(conn: AsyncConnection, message: Message[PromiseState], now: datetime) -> None:
    """Expects the money of a promise; one that concerns items of several entities is left to the rules."""
    promise = message.data
    customer = await stands_for(conn, message.tenant_id, promise.customer_id)
    items = await owed_of(conn, message.tenant_id, customer, promise.currency, promise.item_ids)
    entities = {row[1] for row in items}
    if len(entities) != 1 or not promise.amount_minor:
        return
    named = items if promise.item_ids else []
    if len(named) > 1 and sum(row[2] for row in named) != promise.amount_minor:
        named = []
    lines = [RemittanceLine(None, row[0], amount, 0, None, amount) for row in named for amount in [min(row[2], promise.amount_minor)]]
    held = Expected(
        message.tenant_id,
        promise.promise_id,
        promise.version,
        entities.pop(),
        "promise",
        None,
        promise.customer_id,
        promise.currency,
        promise.amount_minor,
        None,
        None,
        promise.due_on,
        None,
        lines,
        [],
        "waiting",
        None,
        "dunning",
        now,
    )
    if not await stored.insert(conn, held) and not await _wait_again(conn, held):
        return
    await stored.look_for(conn, [held], machine_now())


async def _wait_again(conn: AsyncConnection, held: Expected) -> bool:
    """Waits again for the money of a promise that had ended and is open, as `held` says; whether it does."""
    key = (held.tenant_id, held.expected_id)
    known = (await stored.load(conn, [key]))[key]
    if known.status not in {"received", "expired"} or (known.payment_id is not None and await undone(conn, known)):
        return False
    await stored.wait_again(conn, held)
    return True
