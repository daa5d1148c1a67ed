"""Recalls (camt.056): a bank asks for a payment back, before or without taking it.

Rules:
- the money is not ours to count on from then on: the payment is unmatched and its amount stands as given back, so that
  items, balances, dunning and interest are as if it had never come; refunds of it that were not sent yet and leave too little are taken
  back before: else the money would go out twice;
- a person accepts (the bank takes it, and its booked debit settles the recall), above the entity's limit with another person, as
  with a refund; or anybody refuses: then the money is the payment's again, and what was undone is allocated again as far as it is
  still open, credit notes that were set off in its place making room;
- the bank's debit settles a recall whatever its amount: what of less it did not take is the payment's again, and looked at anew as after
  a return in part; what it took beyond goes back like a return;
- the same request again, by its own id, changes nothing.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from shared import audit
from shared.clock import machine_now
from shared.failures import UnavailableError
from shared.ids import named_id
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Allocation, Books, Exchange, Item, Key, Payment
from matching.domain.deductions import Room, beyond
from matching.domain.remittances import RULES
from matching.domain.returns import is_fee, reason_code
from matching.domain.rows import NO_RECEIVABLE
from matching.domain.statements import Transaction
from matching.handlers.credit_notes import set_off_again
from matching.handlers.given_up import reverse_latest
from matching.handlers.limits import BY_HAND, second_person
from matching.handlers.payments import lock_with_items, take_off
from matching.handlers.plans import expect_again, hold_settled
from matching.handlers.publishing import save_and_publish
from matching.handlers.refunds import cancel_unsent
from matching.handlers.unmet import gone_back
from matching.recalls import Recall
from matching.storage import recalls as stored
from matching.storage.bank import BankAccount
from matching.storage.books import lock, look_again
from matching.storage.expected import note_set_offs
from matching.storage.limits import given_back_alone, limit_of, rooms
from matching.storage.movements import originals, refunded
from matching.storage.recalls import Held, Waiting
from matching.storage.write_offs import reversed_by

SET_OFF = "set_off"
INSTEAD = "set_off_instead"
"""What a recall keeps: credit notes that were set off beside the payment, and those that were once it was undone."""
_COUNTED = BY_HAND | {RULES["remittance"]}
"""Rules of allocations whose differences one person's limit is for."""


async def take(conn: AsyncConnection, tenant_id: UUID, asked: Sequence[Recall], *, by: str, now: datetime) -> tuple[list[Held], list[int]]:
    """Takes a message's recalls in; returns them, and the numbers (from 1) of those that name no payment, or more than one."""
    taken, unknown = [], []
    for number, one in enumerate(asked, 1):
        held = await receive(conn, tenant_id, one, now=now)
        if held is None:
            unknown.append(number)
        else:
            taken.append(held)
    await audit.record(conn, tenant_id, [(by, "recall.receive", str(one.recall_id), {"payment_id": str(one.payment_id)}) for one in taken])
    return taken, unknown


async def receive(conn: AsyncConnection, tenant_id: UUID, asked: Recall, *, now: datetime) -> Held | None:
    """Takes a recall in; None where no payment, or more than one, is what it names: that is for a person."""
    transaction = next(iter(asked.transaction_ids), None)
    recall_id = named_id("recall", tenant_id, asked.cancellation_id, asked.end_to_end_id, transaction, asked.amount_minor)
    await stored.hold(conn, recall_id)
    if known := await stored.find(conn, tenant_id, recall_id):
        return known
    found = await stored.named(
        conn,
        tenant_id,
        asked.amount_minor,
        asked.currency,
        end_to_end_id=asked.end_to_end_id,
        transaction_ids=asked.transaction_ids,
    )
    if len(found) != 1:
        return None
    key = (tenant_id, found[0])
    plans = await hold_settled(conn, [key])
    books = await lock_with_items(conn, [key])
    payment = books.payments[key]
    if payment.unapplied_minor + payment.allocated_minor < asked.amount_minor:
        await cancel_unsent(conn, books, [payment])
    owed_again: Counter[UUID] = Counter()
    for reversal in await reversed_by(conn, [(*key, item_id) for item_id in payment.allocations]):
        owed_again[reversal.item_id] += reversal.amount_minor
    undone: list[list[Any]] = [
        [str(one.item_id), one.amount_minor, one.diff_minor, one.diff_reason, one.rule, _told(books, payment, one), owed_again[one.item_id]]
        for one in payment.allocations.values()
    ]
    undone += [[str(item), amount, 0, str(credit), SET_OFF] for credit, item, amount in books.set_off_with.get(key, [])]
    await take_off(conn, books, payment)
    if payment.return_reason == NO_RECEIVABLE:
        books.take_in(payment)
    if payment.unapplied_minor < asked.amount_minor:
        raise UnavailableError("some of a payment went out at the same moment")
    reason = reason_code(asked.reason)
    books.give_back(payment, reason, asked.amount_minor, ledger="recalled")
    taken = Held(
        recall_id,
        payment.payment_id,
        payment.entity_id,
        payment.bank_account_id,
        payment.currency,
        asked.amount_minor,
        reason,
        asked.cancellation_id,
        undone,
        "open",
        None,
        None,
        now,
        None,
    )
    await save_and_publish(conn, books, now, {})
    undone += [[str(item), amount, 0, str(credit), INSTEAD] for _, credit, item, amount in await set_off_again(conn, books, now)]
    await stored.insert(conn, tenant_id, taken)
    await expect_again(conn, plans, now)
    return taken


async def accept(conn: AsyncConnection, tenant_id: UUID, recall_id: UUID, *, by: str, now: datetime) -> Held:
    """The bank may take the money: its booked debit is awaited. Above the limit the first person's word waits for another's.

    Raises Problem: 404, 409 where it is refused or settled, 403 where the same person decides twice.
    """
    first = await _known(conn, tenant_id, recall_id)
    await lock(conn, payments=[(tenant_id, first.payment_id)])  # one after the other: the limit is for all of a payment
    held = await _open(conn, tenant_id, recall_id)
    if held.status == "requested":
        second_person(held.requested_by or "", by)
        await _set(conn, tenant_id, held, "accepted", by=by, now=now)
    elif held.status == "open":
        held.requested_by = by
        given = held.amount_minor + await given_back_alone(conn, tenant_id, held.payment_id)
        if given <= await limit_of(conn, tenant_id, held.entity_id, held.currency):
            await _set(conn, tenant_id, held, "accepted", by=by, now=now)
        else:
            await _set(conn, tenant_id, held, "requested", by=None, now=None)
    return held


async def refuse(conn: AsyncConnection, tenant_id: UUID, recall_id: UUID, *, by: str, now: datetime) -> Held:
    """The money stays: what was undone is allocated again as far as it is still open, the rest is looked at anew."""
    first = await _known(conn, tenant_id, recall_id)
    key = (tenant_id, first.payment_id)
    named = [one[0] for one in first.allocations] + [str(one[3]) for one in first.allocations if one[4] in {SET_OFF, INSTEAD}]
    books = await lock_with_items(conn, [key], items=[(tenant_id, UUID(one)) for one in named])
    held = await _open(conn, tenant_id, recall_id)
    payment = books.payments[key]
    books.keep_recalled(payment, held.amount_minor)
    forgiven = sorted({(tenant_id, UUID(one[0])) for one in held.allocations if one[2] and one[4] in _COUNTED}, key=str)
    await note_set_offs(conn, {key: await _restore(conn, books, payment, held, await rooms(conn, forgiven, BY_HAND) if forgiven else {})})
    books.decided(payment, "recall_refused")
    await _set(conn, tenant_id, held, "refused", by=by, now=now)
    await save_and_publish(conn, books, now, {}, looks={key: machine_now() if payment.unapplied_minor else None})
    return held


def _told(books: Books, payment: Payment, one: Allocation) -> dict[str, object] | None:
    if one.exchange is None:
        return None
    return {**asdict(one.exchange), "rate": str(one.exchange.rate), "currency": books.items[payment.tenant_id, one.item_id].currency}


async def _restore(
    conn: AsyncConnection, books: Books, payment: Payment, held: Held, forgivable: Mapping[Key, Room]
) -> list[tuple[UUID, UUID, int]]:
    """Does again what was undone, as far as both sides have it and may still meet; returns the set-offs among it.

    What was forgiven is not forgiven again where one person has forgiven the item so much meanwhile that the limit is passed.
    """
    set_off = []
    _make_room(books, held, payment.tenant_id)
    for item_id, amount, difference, reason, rule, *exchanged in held.allocations:
        item = books.items.get((payment.tenant_id, UUID(item_id)))
        if item is None or rule == INSTEAD:
            continue
        if rule == SET_OFF:
            credit = books.items[payment.tenant_id, UUID(reason)]
            if credit.currency == item.currency and (step := books.set_off(credit, item, amount)):
                set_off.append((credit.item_id, item.item_id, step))
            continue
        there = payment.allocations.get(item.item_id)
        told = exchanged[0] if exchanged else None
        if (told.get("currency", item.currency) if told else payment.currency) != item.currency or (
            told and there
        ):  # the invoice is in another one since
            continue
        again = min(exchanged[1] if exchanged[1:] else 0, item.written_off_minor)
        owed = item.open_minor + again
        if told:
            if told["item_amount_minor"] <= owed and amount <= payment.unapplied_minor:
                await _owe_again(conn, books, payment, item, told["item_amount_minor"])
                rate, source = Decimal(told["rate"]), told["source"]
                traded = Exchange(told["item_amount_minor"], rate, source, told["difference_minor"])
                books.allocate_across(payment, item, rule, amount, traded)
            continue
        whole = owed >= amount + difference and amount <= payment.unapplied_minor and (there is None or there.diff_reason in {None, reason})
        room = forgivable.get((payment.tenant_id, item.item_id)) if rule in _COUNTED else None
        if room is not None and room.alone_minor:
            paid = amount + sum(one[1] for one in held.allocations if one[0] == item_id and one[4] == SET_OFF)
            alone = difference if rule in BY_HAND else beyond(room.terms, reason, payment.value_date, paid, difference)
            whole = whole and room.bears(alone)
        granted = difference if whole else 0
        await _owe_again(conn, books, payment, item, min(amount, payment.unapplied_minor, owed) + granted)
        books.allocate(payment, item, rule, amount=amount, diff=granted, reason=reason if granted else None)
    return set_off


def _make_room(books: Books, held: Held, tenant_id: UUID) -> None:
    """Undoes the set-offs that were made in place of what was undone."""
    for item_id, amount, _, credit_id, rule, *_ in held.allocations:
        if rule == INSTEAD:
            books.undo_set_off(books.items[tenant_id, UUID(credit_id)], books.items[tenant_id, UUID(item_id)], amount)


async def _owe_again(conn: AsyncConnection, books: Books, payment: Payment, item: Item, wanted: int) -> None:
    """What an allocation had reversed of the item's write-offs is reversed again with it."""
    if wanted > item.open_minor:
        await reverse_latest(conn, books, item, wanted - item.open_minor, payment)


async def settle(
    conn: AsyncConnection, held: BankAccount, debits: Sequence[Transaction], limit_minor: int, now: datetime
) -> list[tuple[UUID, int] | None]:
    """Booked debits of an account settle the recalls that asked for them: the payment of each, and how much more than that it took.

    One of a recall's amount settles that. Any other settles the recalls of the only payment that it names, the oldest first; one that
    gets less is settled at that, and the rest is the payment's again, and looked at anew. One that takes more than the payment has left
    and a fee (`is_fee`, with the limit of one person, where nothing was refunded) settles none.
    """
    outcomes: list[tuple[UUID, int] | None] = [None] * len(debits)
    waiting = await stored.waiting(conn, held.tenant_id, held.bank_account_id)
    took: dict[UUID, int] = {}
    for at, one in enumerate(debits) if waiting else ():
        exact = [asked for asked in _named(one, waiting, took) if asked.amount_minor == one.amount_minor]
        if exact:
            took[exact[0].recall_id] = one.amount_minor
            outcomes[at] = (exact[0].payment_id, 0)
    left = [at for at, one in enumerate(debits) if outcomes[at] is None and _named(one, waiting, took)]
    sent = await refunded(conn, held.tenant_id, [asked.payment_id for asked in waiting]) if left else set()  # what went out twice is no fee
    for at, others in zip(left, await originals(conn, held, [debits[at] for at in left]) if left else [], strict=True):
        asked_for, rest = _named(debits[at], waiting, took), debits[at].amount_minor
        if asked_for and len({asked.payment_id for asked in asked_for} | {payment_id for payment_id, _ in others}) == 1:
            left_of = sum(asked.amount_minor for asked in asked_for) + sum(left_minor for _, left_minor in others)
            if not is_fee(debits[at], left_of, 0 if asked_for[0].payment_id in sent else limit_minor):
                continue
            outcomes[at] = (asked_for[0].payment_id, _share(asked_for, rest, took))
    if took:
        await _settled(conn, held.tenant_id, [asked for asked in waiting if asked.recall_id in took], took, now)
    return outcomes


async def explained(conn: AsyncConnection, held: BankAccount, payment_id: UUID, amount: int, now: datetime) -> int:
    """A debit of this amount, which names nothing, is of a payment: it settles recalls as one that names it. Returns how much they took."""
    asked_for = [asked for asked in await stored.waiting(conn, held.tenant_id, held.bank_account_id) if asked.payment_id == payment_id]
    took: dict[UUID, int] = {}
    _share([asked for asked in asked_for if asked.amount_minor == amount][:1] or asked_for, amount, took)
    if took:
        await _settled(conn, held.tenant_id, [asked for asked in asked_for if asked.recall_id in took], took, now)
    return sum(took.values())


def _share(asked_for: Sequence[Waiting], amount: int, took: dict[UUID, int]) -> int:
    """Gives each recall what it asked for, the oldest first, as far as the amount goes; returns what is left of that."""
    for asked in asked_for:
        if not amount:
            break
        took[asked.recall_id] = min(amount, asked.amount_minor)
        amount -= took[asked.recall_id]
    return amount


def _named(debit: Transaction, waiting: Sequence[Waiting], took: Container[UUID]) -> list[Waiting]:
    """The recalls that a debit may be the answer to: those of payments that it names, by more than an EndToEndId where it does, unless
    another debit is.
    """
    left = [asked for asked in waiting if asked.recall_id not in took] if not debit.credit else []
    known = [
        asked
        for asked in left
        if (debit.transaction_id and debit.transaction_id == asked.transaction_id)
        or (debit.bank_reference and debit.bank_reference == asked.bank_reference)
    ]
    return known or [asked for asked in left if debit.end_to_end_id and debit.end_to_end_id == asked.end_to_end_id]


async def _settled(conn: AsyncConnection, tenant_id: UUID, recalls: Sequence[Waiting], took: Mapping[UUID, int], now: datetime) -> None:
    books = await lock_with_items(conn, sorted({(tenant_id, asked.payment_id) for asked in recalls}, key=str))
    looks: dict[Key, tuple[int, datetime | None]] = {}
    for asked in recalls:
        payment = books.payments[tenant_id, asked.payment_id]
        books.clear(payment, took[asked.recall_id], "recalled")
        if kept := asked.amount_minor - took[asked.recall_id]:
            books.keep_recalled(payment, kept)
            books.decided(payment, "partly_returned")
            looks[tenant_id, asked.payment_id] = (payment.looks, machine_now())
    if not await stored.settle(conn, tenant_id, took, now):
        raise UnavailableError("a recall was decided at the same moment")
    await save_and_publish(conn, books, now, {}, keep_looks=True)
    await look_again(conn, looks)
    await gone_back(conn, list(books.payments.values()))


async def _known(conn: AsyncConnection, tenant_id: UUID, recall_id: UUID, *, lock: bool = False) -> Held:
    held = await stored.find(conn, tenant_id, recall_id, lock=lock)
    if held is None:
        raise Problem(404, "recall-unknown", "There is no such recall")
    return held


async def _open(conn: AsyncConnection, tenant_id: UUID, recall_id: UUID) -> Held:
    held = await _known(conn, tenant_id, recall_id, lock=True)
    if held.status in {"refused", "settled"}:
        raise Problem(409, "recall-decided", "The recall is refused or settled already")
    return held


async def _set(conn: AsyncConnection, tenant_id: UUID, held: Held, status: str, *, by: str | None, now: datetime | None) -> None:
    held.status, held.decided_by, held.decided_at = status, by, now
    await stored.save(conn, tenant_id, held)
