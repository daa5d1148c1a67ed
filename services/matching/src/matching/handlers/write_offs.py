"""Write-offs: what of an item is given up as a loss, and what of that is owed again.

Rules: up to the entity's limit one person writes off alone, above it another one approves; the item's amounts change only
when it is booked; money that comes after all reverses it, the latest write-off first. A payment plan that covers the item expects
what is owed from then on. What money reversed stands again once that goes back (`given_up`), unless a person has taken the rest of the
write-off back. Rows are locked after their item's, and that after such plans.
"""

from datetime import datetime
from uuid import UUID

from contracts.items import ReceivableWrittenOff
from shared.ids import new_id
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Item
from matching.handlers.given_up import reverse_some, tell
from matching.handlers.limits import BY_HAND, second_person
from matching.handlers.payments import lock_items
from matching.handlers.plans import Plans, follow, hold, owed_now
from matching.handlers.publishing import save_and_publish
from matching.handlers.refusals import refused
from matching.storage import write_offs as stored
from matching.storage.items import debtors_of
from matching.storage.limits import forgiven_alone, limit_of
from matching.storage.write_offs import WriteOff


async def request(
    conn: AsyncConnection, tenant_id: UUID, item_id: UUID, amount: int | None, *, reason: str, note: str | None, by: str, now: datetime
) -> WriteOff:
    """Writes off `amount` of an item, or all that is open, alone where the limit allows; else it waits for another person."""
    plans = await _plans(conn, tenant_id, item_id)
    books = await lock_items(conn, [(tenant_id, item_id)])
    owed = owed_now(plans, books)
    item = _open(books, tenant_id, item_id)
    if amount is not None and amount > item.open_minor:
        raise refused(409, "item-has-less", "The item has less than that open", "/amount_minor")
    given = WriteOff(
        new_id(), 1, item.entity_id, item_id, item.currency, amount or item.open_minor, 0, reason, note, "requested", by, None, now, None
    )
    limit = await limit_of(conn, tenant_id, item.entity_id, item.currency)
    before = (await forgiven_alone(conn, tenant_id, [item_id], BY_HAND)).get(item_id, 0)
    await stored.insert(conn, tenant_id, given)
    if given.amount_minor + before <= limit:
        await _book(conn, books, item, given, by=by, now=now)
        await follow(conn, plans, owed, now)
    return given


async def decide(conn: AsyncConnection, tenant_id: UUID, write_off_id: UUID, *, approve: bool, by: str, now: datetime) -> WriteOff:
    """Another person books a requested write-off, or refuses it."""
    plans, books, item, given = await _locked(conn, tenant_id, write_off_id)
    owed = owed_now(plans, books)
    if given.status != "requested":
        raise Problem(409, "write-off-decided", "The write-off is decided already")
    if approve:
        second_person(given.requested_by, by)
        if given.amount_minor > item.open_minor:
            raise Problem(409, "item-has-less", "The item has less than that open")
        await _book(conn, books, item, given, by=by, now=now)
        await follow(conn, plans, owed, now)
    else:
        given.status, given.decided_by, given.decided_at = "refused", by, now
        await stored.save(conn, tenant_id, given)
    return given


async def reverse(conn: AsyncConnection, tenant_id: UUID, write_off_id: UUID, amount: int | None, *, now: datetime) -> WriteOff:
    """The item owes `amount` of a booked write-off again, or the whole of what is left of it."""
    plans, books, item, given = await _locked(conn, tenant_id, write_off_id)
    owed = owed_now(plans, books)
    left = given.amount_minor - given.reversed_minor
    if given.status != "booked":
        raise Problem(409, "write-off-not-booked", "The write-off is not booked, or reversed already")
    if item.close_cause == "cancelled":
        raise Problem(409, "item-cancelled", "The invoice was cancelled: nothing of it is owed")
    if amount is not None and amount > left:
        raise refused(409, "write-off-has-less", "Less than that is left of the write-off", "/amount_minor")
    books.reverse_write_off(item, amount or left)
    await reverse_some(conn, item, given, amount or left)
    if given.status == "reversed":
        await stored.forget_reversals(conn, tenant_id, write_off_id)
    await save_and_publish(conn, books, now, {})
    await follow(conn, plans, owed, now)
    return given


async def _plans(conn: AsyncConnection, tenant_id: UUID, item_id: UUID) -> Plans:
    """The living plans of who owes an item, locked."""
    return await hold(conn, [(tenant_id, one) for one in await debtors_of(conn, tenant_id, [item_id])])


async def _locked(conn: AsyncConnection, tenant_id: UUID, write_off_id: UUID) -> tuple[Plans, Books, Item, WriteOff]:
    """A write-off, its item and the plans of who owes it, locked in this order: plans, item, write-off."""
    first = await _known(conn, tenant_id, write_off_id)
    plans = await _plans(conn, tenant_id, first.item_id)
    books = await lock_items(conn, [(tenant_id, first.item_id)])
    return plans, books, books.items[tenant_id, first.item_id], await _known(conn, tenant_id, write_off_id, lock=True)


async def _known(conn: AsyncConnection, tenant_id: UUID, write_off_id: UUID, *, lock: bool = False) -> WriteOff:
    given = await stored.find(conn, tenant_id, write_off_id, lock=lock)
    if given is None:
        raise Problem(404, "write-off-unknown", "There is no such write-off")
    return given


def _open(books: Books, tenant_id: UUID, item_id: UUID) -> Item:
    item = books.items.get((tenant_id, item_id))
    if item is None:
        raise refused(404, "item-unknown", "There is no such item", "/item_id")
    if item.kind == "credit_note":
        raise refused(422, "item-is-credit", "A credit note is owed by us: it is not written off", "/item_id")
    if not item.open_minor:
        raise refused(409, "item-settled", "Nothing of the item is open", "/item_id")
    return item


async def _book(conn: AsyncConnection, books: Books, item: Item, given: WriteOff, *, by: str, now: datetime) -> None:
    books.write_off(item, given.amount_minor)
    given.status, given.decided_by, given.decided_at = "booked", by, now
    await stored.save(conn, item.tenant_id, given)
    await tell(conn, ReceivableWrittenOff, item, given)
    await save_and_publish(conn, books, now, {})
