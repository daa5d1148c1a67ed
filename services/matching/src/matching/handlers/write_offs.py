"""Write-offs: what of an item is given up as a loss, and what of that is owed again.

Rules: up to the entity's limit one person writes off alone, above it another one approves; the item's amounts change only
when it is booked; money that comes after all reverses it, the latest write-off first. Rows are locked after their item's.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from contracts.items import ReceivableWrittenOff, WriteOffReversed, WriteOffState
from shared.db import run
from shared.ids import new_id
from shared.outbox import Outgoing, publish
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Item
from matching.handlers.limits import limit_of, second_person
from matching.handlers.payments import lock_items
from matching.handlers.publishing import save_and_publish
from matching.handlers.refusals import refused
from matching.storage.rows import fetch


@dataclass(slots=True)
class WriteOff:
    """A write-off as it stands. `status`: requested, booked, refused, or reversed (the whole of it)."""

    write_off_id: UUID
    version: int
    entity_id: UUID
    item_id: UUID
    currency: str
    amount_minor: int
    reversed_minor: int
    reason: str
    note: str | None
    status: str
    requested_by: str
    decided_by: str | None
    requested_at: datetime
    decided_at: datetime | None


COLUMNS = (
    "write_off_id, version, entity_id, item_id, currency, amount_minor, reversed_minor, reason, note, status, requested_by, decided_by, "
    "requested_at, decided_at"
)


async def request(
    conn: AsyncConnection, tenant_id: UUID, item_id: UUID, amount: int | None, *, reason: str, note: str | None, by: str, now: datetime
) -> WriteOff:
    """Writes off `amount` of an item, or all that is open, alone where the limit allows; else it waits for another person."""
    books = await lock_items(conn, [(tenant_id, item_id)])
    item = _open(books, tenant_id, item_id)
    if amount is not None and amount > item.open_minor:
        raise refused(409, "item-has-less", "The item has less than that open", "/amount_minor")
    given = WriteOff(
        new_id(), 1, item.entity_id, item_id, item.currency, amount or item.open_minor, 0, reason, note, "requested", by, None, now, None
    )
    alone = given.amount_minor + await _given_alone(conn, item) <= await limit_of(conn, tenant_id, item.entity_id, item.currency)
    await run(
        conn,
        f"INSERT INTO write_off (tenant_id, {COLUMNS}) VALUES (:tenant, :id, 1, :entity, :item, :currency, :amount, 0, :reason, :note, "  # noqa: S608 - ours
        "'requested', :by, NULL, :now, NULL)",
        tenant=tenant_id,
        id=given.write_off_id,
        entity=given.entity_id,
        item=item_id,
        currency=given.currency,
        amount=given.amount_minor,
        reason=reason,
        note=note,
        by=by,
        now=now,
    )
    if alone:
        await _book(conn, books, item, given, by=by, now=now)
    return given


async def decide(conn: AsyncConnection, tenant_id: UUID, write_off_id: UUID, *, approve: bool, by: str, now: datetime) -> WriteOff:
    """Another person books a requested write-off, or refuses it."""
    books, item, given = await _locked(conn, tenant_id, write_off_id)
    if given.status != "requested":
        raise Problem(409, "write-off-decided", "The write-off is decided already")
    if approve:
        second_person(given.requested_by, by)
        if given.amount_minor > item.open_minor:
            raise Problem(409, "item-has-less", "The item has less than that open")
        await _book(conn, books, item, given, by=by, now=now)
    else:
        given.status, given.decided_by, given.decided_at = "refused", by, now
        await _save(conn, tenant_id, given)
    return given


async def reverse(conn: AsyncConnection, tenant_id: UUID, write_off_id: UUID, amount: int | None, *, now: datetime) -> WriteOff:
    """The item owes `amount` of a booked write-off again, or the whole of what is left of it."""
    books, item, given = await _locked(conn, tenant_id, write_off_id)
    left = given.amount_minor - given.reversed_minor
    if given.status != "booked":
        raise Problem(409, "write-off-not-booked", "The write-off is not booked, or reversed already")
    if item.close_cause == "cancelled":
        raise Problem(409, "item-cancelled", "The invoice was cancelled: nothing of it is owed")
    if amount is not None and amount > left:
        raise refused(409, "write-off-has-less", "Less than that is left of the write-off", "/amount_minor")
    books.reverse_write_off(item, amount or left)
    await _reversed(conn, item, given, amount or left)
    await save_and_publish(conn, books, now, {})
    return given


async def reverse_for_money(conn: AsyncConnection, books: Books, item: Item, amount: int) -> None:
    """Money comes for a written-off item: its latest write-offs are reversed as far as needed. The caller saves the books."""
    rows = await fetch(
        conn,
        f"SELECT {COLUMNS} FROM write_off WHERE tenant_id = :tenant AND item_id = :item AND status = 'booked' "  # noqa: S608 - ours
        "ORDER BY decided_at DESC, write_off_id DESC FOR UPDATE",
        tenant=item.tenant_id,
        item=item.item_id,
    )
    books.reverse_write_off(item, amount)
    for row in rows:
        given = WriteOff(*row)
        step = min(amount, given.amount_minor - given.reversed_minor)
        if step:
            await _reversed(conn, item, given, step)
        amount -= step


async def _locked(conn: AsyncConnection, tenant_id: UUID, write_off_id: UUID) -> tuple[Books, Item, WriteOff]:
    """A write-off and its item, locked in this order: item, write-off."""
    query = f"SELECT {COLUMNS} FROM write_off WHERE tenant_id = :tenant AND write_off_id = :id"  # noqa: S608 - ours
    rows = await fetch(conn, query, tenant=tenant_id, id=write_off_id)
    if not rows:
        raise Problem(404, "write-off-unknown", "There is no such write-off")
    item_id = WriteOff(*rows[0]).item_id
    books = await lock_items(conn, [(tenant_id, item_id)])
    rows = await fetch(conn, query + " FOR UPDATE", tenant=tenant_id, id=write_off_id)
    return books, books.items[tenant_id, item_id], WriteOff(*rows[0])


async def _given_alone(conn: AsyncConnection, item: Item) -> int:
    """What of an item is written off already by one person alone: the limit is for all of it, or it would be passed in slices."""
    rows = await fetch(
        conn,
        "SELECT coalesce(sum(amount_minor - reversed_minor), 0) FROM write_off WHERE tenant_id = :tenant AND item_id = :item "
        "AND status = 'booked' AND decided_by = requested_by",
        tenant=item.tenant_id,
        item=item.item_id,
    )
    return int(rows[0][0])


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
    await _save(conn, item.tenant_id, given)
    await publish(conn, [Outgoing(item.tenant_id, _event(ReceivableWrittenOff, item, given), item.entity_id)])
    await save_and_publish(conn, books, now, {})


async def _reversed(conn: AsyncConnection, item: Item, given: WriteOff, amount: int) -> None:
    given.reversed_minor += amount
    if given.reversed_minor == given.amount_minor:
        given.status = "reversed"
    await _save(conn, item.tenant_id, given)
    await publish(conn, [Outgoing(item.tenant_id, _event(WriteOffReversed, item, given), item.entity_id)])


async def _save(conn: AsyncConnection, tenant_id: UUID, given: WriteOff) -> None:
    given.version += 1
    await run(
        conn,
        "UPDATE write_off SET version = :version, status = :status, reversed_minor = :reversed, decided_by = :by, decided_at = :at "
        "WHERE tenant_id = :tenant AND write_off_id = :id",
        tenant=tenant_id,
        id=given.write_off_id,
        version=given.version,
        status=given.status,
        reversed=given.reversed_minor,
        by=given.decided_by,
        at=given.decided_at,
    )


def _event(cls: type[WriteOffState], item: Item, given: WriteOff) -> WriteOffState:
    return cls(
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
