"""What of items was given up, as money comes and goes: it reverses write-offs, and they stand again once it goes back.

Rules:
- money that comes for a written-off item reverses its write-offs, the latest first, and it is noted which payment did;
- a credit note that comes then, or an invoice that is lowered, reverses what else is no loss; what it reverses because money settles the
  item, and not the loss, is noted of that money, too;
- once that payment no longer settles the item (returned, recalled, withdrawn, taken off by a person), they stand again, as far as the item
  owes: as if the payment had never been matched. What was approved then is not asked for again, and the audit trail says which payment
  brought it back;
- so what an allocation has reversed is never more than it settles.
Rows are locked after their item's.
"""

from collections import Counter
from uuid import UUID

from contracts.items import ReceivableWrittenOff, WriteOffReversed, WriteOffState
from shared import audit
from shared.outbox import Outgoing, publish
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Item, Payment
from matching.storage import write_offs as stored
from matching.storage.write_offs import Reversal, WriteOff


async def reverse_latest(conn: AsyncConnection, books: Books, item: Item, amount: int, payment: Payment | None = None) -> None:
    """Money (of `payment`) or a credit note comes for a written-off item, or less was billed: its latest write-offs are reversed.

    The caller saves the books, with what of the payment settles the item then.
    """
    booked = await stored.booked_of(conn, item.tenant_id, item.item_id)
    books.reverse_write_off(item, amount)
    behind = [(payment.payment_id, amount)] if payment else await stored.settling(conn, item.tenant_id, item.item_id)
    steps, noted = [], []
    for given in booked:
        step = min(amount, given.amount_minor - given.reversed_minor)
        if step:
            await reverse_some(conn, item, given, step)
            steps.append((given.write_off_id, step))
        amount -= step
    for write_off_id, step in reversed(steps):  # without that money what was written off first would stand
        shares, behind = _shared(behind, step)
        noted += [Reversal(item.tenant_id, one, item.item_id, write_off_id, share) for one, share in shares]
    if noted:
        await stored.note_reversals(conn, noted)


def _shared(behind: list[tuple[UUID, int]], amount: int) -> tuple[list[tuple[UUID, int]], list[tuple[UUID, int]]]:
    """An amount as payments have room for it, in their order; and what room is left."""
    shares, left = [], []
    for payment_id, room in behind:
        share = min(room, amount)
        amount -= share
        if share:
            shares.append((payment_id, share))
        if share < room:
            left.append((payment_id, room - share))
    return shares, left


async def stand_again(conn: AsyncConnection, books: Books) -> None:
    """What allocations that were undone, or lowered, had reversed beyond what they settle now stands again. The caller saves the books."""
    changed = {key: held for key, held in books.changed_allocations.items() if key in books.stored}
    noted = await stored.reversed_by(conn, list(changed)) if changed else []
    room: Counter[tuple[UUID, UUID, UUID]] = Counter()
    for key, held in changed.items():
        room[key] = held.settled_minor + held.diff_minor if held else 0
    gone = []
    for one in noted:
        kept = min(one.amount_minor, room[one[:3]])
        room[one[:3]] -= kept
        if kept < one.amount_minor:
            gone.append(one._replace(amount_minor=kept - one.amount_minor))
    if gone:
        await stored.note_reversals(conn, gone)
    for one in gone:
        item = books.items[one.tenant_id, one.item_id]
        if step := min(-one.amount_minor, item.open_minor):
            given = await stored.find(conn, one.tenant_id, one.write_off_id, lock=True)
            if given is None:
                raise LookupError(f"write-off {one.write_off_id} is not there")
            books.write_off(item, step)
            given.reversed_minor -= step
            given.status = "booked"
            await stored.save(conn, item.tenant_id, given)
            await tell(conn, ReceivableWrittenOff, item, given)
            detail = {"item_id": str(one.item_id), "payment_id": str(one.payment_id), "amount_minor": step, "reason": given.reason}
            await audit.record(conn, one.tenant_id, [("matching", "write_off.stand_again", str(one.write_off_id), detail)])


async def reverse_some(conn: AsyncConnection, item: Item, given: WriteOff, amount: int) -> None:
    """Notes and tells that `amount` of a write-off, locked, is taken back."""
    given.reversed_minor += amount
    if given.reversed_minor == given.amount_minor:
        given.status = "reversed"
    await stored.save(conn, item.tenant_id, given)
    await tell(conn, WriteOffReversed, item, given)


async def tell(conn: AsyncConnection, cls: type[WriteOffState], item: Item, given: WriteOff) -> None:
    """Publishes a write-off's state."""
    event = cls(
        version=given.version,
        write_off_id=given.write_off_id,
        item_id=item.item_id,
        customer_id=item.customer_id,
        source_system=item.source_system,
        invoice_number=item.invoice_number,
        currency=item.currency,
        amount_minor=given.amount_minor,
        reversed_minor=given.reversed_minor,
        reason=given.reason,
    )
    await publish(conn, [Outgoing(item.tenant_id, event, item.entity_id)])
