"""Items settled beside the bank, with proof: netted with what we owe the customer elsewhere, or paid in cash.

Rules:
- up to the entity's limit one person books it, above it another one approves; nothing changes before; what one person alone has settled
  of the same items before counts with it;
- a customer's items are those of whoever stands for him now;
- one proof settles once per entity and kind, however its number is written (`domain.proofs`); refused or taken back, it has settled
  nothing, and may be given again;
- cash is a payment (source `cash`, on the entity's cash desk), allocated to the lines; netting is no payment: it closes items;
- reversed, everything is as before, and an item follows what its invoice has said meanwhile that a netting held up.
Rows are locked after the payment's and the items'.
"""

from datetime import datetime, timedelta
from uuid import UUID

from contracts.envelope import Message
from contracts.invoices import InvoiceState
from contracts.payments import PaymentReceived
from shared.aliases import stands_for
from shared.clock import machine_now
from shared.ids import named_id, new_id
from shared.outbox import Outgoing, publish
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Key
from matching.domain.rows import received
from matching.handlers import allocations
from matching.handlers.credit_notes import set_off_again
from matching.handlers.customers import billed
from matching.handlers.invoices import change, lock_said
from matching.handlers.limits import second_person
from matching.handlers.payments import lock_items, lock_with_items, take_off
from matching.handlers.plans import expect_again, hold_settled
from matching.handlers.publishing import payment_event, save_and_publish
from matching.handlers.refusals import refused
from matching.storage import held_up
from matching.storage import settlements as stored
from matching.storage.items import change_terms
from matching.storage.limits import limit_of, settled_alone
from matching.storage.parties import note_named
from matching.storage.settlements import Settlement

RULE = "settlement"


async def request(conn: AsyncConnection, tenant_id: UUID, given: Settlement, *, now: datetime) -> Settlement:
    """Takes a settlement in, and books it where one person may. Raises a 409 Problem for a proof that has settled already."""
    given.settlement_id = new_id()
    if not await stored.insert(conn, tenant_id, given):
        raise refused(409, "proof-used", "This proof has settled something of the entity already", "/proof/reference")
    await _fitting(conn, tenant_id, given)
    alone = given.amount_minor + await settled_alone(conn, tenant_id, given.entity_id, [item for item, _ in given.lines])
    if alone <= await limit_of(conn, tenant_id, given.entity_id, given.currency):
        await _book(conn, tenant_id, given, by=given.requested_by, now=now)
    return given


async def decide(conn: AsyncConnection, tenant_id: UUID, settlement_id: UUID, *, approve: bool, by: str, now: datetime) -> Settlement:
    """Another person books a requested settlement, or anybody refuses it."""
    given = await _locked(conn, tenant_id, settlement_id)
    if given.status != "requested":
        raise Problem(409, "settlement-decided", "The settlement is decided already")
    if approve:
        second_person(given.requested_by, by)
        await _book(conn, tenant_id, given, by=by, now=now)
    else:
        await _set(conn, tenant_id, given, "refused", by=by, now=now)
    return given


async def reverse(conn: AsyncConnection, tenant_id: UUID, settlement_id: UUID, *, by: str, now: datetime) -> Settlement:
    """A booked settlement is taken back: its items owe again, unless they were cancelled, cash is given back."""
    given = await _locked(conn, tenant_id, settlement_id)
    if given.status != "booked":
        raise Problem(409, "settlement-not-booked", "The settlement is not booked, or reversed already")
    if given.payment_id is None:
        await _take_back(conn, tenant_id, given, now)
    else:
        plans = await hold_settled(conn, [(tenant_id, given.payment_id)])
        books = await lock_with_items(conn, [(tenant_id, given.payment_id)])
        payment = books.payments[tenant_id, given.payment_id]
        await take_off(conn, books, payment)
        books.give_back(payment, "cash_given_back", ledger="cash")
        await save_and_publish(conn, books, now, {})
        await set_off_again(conn, books, now)
        await expect_again(conn, plans, now)
    await _set(conn, tenant_id, given, "reversed", by=by, now=now)
    return given


async def _take_back(conn: AsyncConnection, tenant_id: UUID, given: Settlement, now: datetime) -> None:
    """Takes a netting back, and follows the versions of its invoices that it held up and that no other netting does."""
    books, held, named = await _lock_netted(conn, tenant_id, given)
    for item_id, amount in given.lines:
        books.undo_net(books.items[tenant_id, item_id], amount)
    freed: dict[Key, None] = {}
    followed = [key for key, said in held.items() if await change(conn, books, books.items[key], said, freed)]
    looks = dict.fromkeys(freed, machine_now() + timedelta(seconds=1))
    await save_and_publish(conn, books, now, {key: held[key].envelope for key in followed}, looks=looks)
    if followed:
        await change_terms(conn, [books.items[key] for key in followed])
        await note_named(conn, {key: named.get(key) for key in followed})
        await held_up.drop(conn, followed)


async def _lock_netted(
    conn: AsyncConnection, tenant_id: UUID, given: Settlement
) -> tuple[Books, dict[Key, Message[InvoiceState]], dict[Key, UUID]]:
    """The items of a netting, locked, and what of their invoices is held up, with all that following it needs and whom it names."""
    items = [(tenant_id, item) for item, _ in given.lines]
    said, named = await billed(conn, await held_up.of(conn, items))
    held = {(tenant_id, message.data.invoice_id): message for message in said}
    return await lock_said(conn, held, items), held, named


async def _fitting(conn: AsyncConnection, tenant_id: UUID, given: Settlement) -> Books:
    """The items of a settlement, locked. Raises a Problem for a line that no approval could book."""
    books = await lock_items(conn, [(tenant_id, item) for item, _ in given.lines])
    debtor_id = await stands_for(conn, tenant_id, given.customer_id)
    for at, (item_id, amount) in enumerate(given.lines):
        item = books.items.get((tenant_id, item_id))
        if item is None:
            raise refused(404, "item-unknown", "There is no such item", f"/lines/{at}")
        if (item.entity_id, item.currency) != (given.entity_id, given.currency) or item.kind == "credit_note":
            raise refused(422, "item-elsewhere", "The item is another entity's, in another currency, or a credit note", f"/lines/{at}")
        if item.customer_id != debtor_id:
            raise refused(422, "item-is-anothers", "The item is another customer's", f"/lines/{at}")
        if amount > item.open_minor:
            raise refused(409, "item-has-less", "The item has less than that open", f"/lines/{at}")
    return books


async def _book(conn: AsyncConnection, tenant_id: UUID, given: Settlement, *, by: str, now: datetime) -> None:
    books = await _fitting(conn, tenant_id, given)
    if given.kind == "netting":
        for item_id, amount in given.lines:
            books.net(books.items[tenant_id, item_id], amount)
        await save_and_publish(conn, books, now, {})
    else:
        given.payment_id = await _cash(conn, tenant_id, given, now)
        lines = [allocations.Line(item, amount) for item, amount in given.lines]
        debtor_id = await stands_for(conn, tenant_id, given.customer_id)
        await allocations.allocate(conn, tenant_id, given.payment_id, lines, customer_id=debtor_id, by=by, now=now, rule=RULE)
    await _set(conn, tenant_id, given, "booked", by=by, now=now)


async def _cash(conn: AsyncConnection, tenant_id: UUID, given: Settlement, now: datetime) -> UUID:
    """The payment that cash is: received on the entity's cash desk, which is no bank account."""
    payment = received(
        tenant_id,
        named_id("payment", tenant_id, "cash", given.settlement_id),
        bank_account_id=named_id("cash_desk", tenant_id, given.entity_id, given.currency),
        entity_id=given.entity_id,
        currency=given.currency,
        amount_minor=given.amount_minor,
        booking_date=given.value_date,
        value_date=given.value_date,
        confirmation="booked",
        source="cash",
    )
    await stored.insert_cash(conn, payment, f"cash:{given.settlement_id}", at=machine_now(), now=now)
    await publish(conn, [Outgoing(tenant_id, payment_event(PaymentReceived, payment), payment.entity_id)])
    return payment.payment_id


async def _locked(conn: AsyncConnection, tenant_id: UUID, settlement_id: UUID) -> Settlement:
    """A settlement with the items and the payment that it is about: those are locked before it."""
    first = await _known(conn, tenant_id, settlement_id)
    if first.payment_id is None:
        await _lock_netted(conn, tenant_id, first)
    else:
        await lock_with_items(conn, [(tenant_id, first.payment_id)], items=[(tenant_id, item) for item, _ in first.lines])
    return await _known(conn, tenant_id, settlement_id, lock=True)


async def _known(conn: AsyncConnection, tenant_id: UUID, settlement_id: UUID, *, lock: bool = False) -> Settlement:
    given = await stored.find(conn, tenant_id, settlement_id, lock=lock)
    if given is None:
        raise Problem(404, "settlement-unknown", "There is no such settlement")
    return given


async def _set(conn: AsyncConnection, tenant_id: UUID, given: Settlement, status: str, *, by: str, now: datetime) -> None:
    given.status, given.decided_by, given.decided_at = status, by, now
    await stored.save(conn, tenant_id, given)
