"""Payments and items under lock, and unmatching by a person: items owe again, and the pair is not matched automatically again.

What a confirmed candidate had taught of the payer is taken back with the last of it, and so is that its debtor was taken for the payer.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from shared.clock import machine_now
from shared.failures import UnavailableError
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Key, Payment
from matching.handlers.credit_notes import set_off_again
from matching.handlers.plans import expect, hold_settled
from matching.handlers.publishing import save_and_publish
from matching.storage import payments as stored
from matching.storage.account_balances import account_id
from matching.storage.books import lock
from matching.storage.decisions import payer_by
from matching.storage.items import accounts_of, set_offs_of
from matching.storage.parties import forget_payer

CONFIRMED = "confirmed"
"""The rule of what a person confirmed of the candidates that were shown."""


async def lock_with_items(
    conn: AsyncConnection, payments: Sequence[Key], *, items: Sequence[Key] = (), customers: Mapping[Key, UUID | None] | None = None
) -> Books:
    """Payments and everything they are allocated to, and `items`, locked; with the accounts of all.

    `customers` have an account made for the entity and currency of their payment. Raises UnavailableError when one was
    matched between looking and locking.
    """
    held = await stored.with_items(conn, payments)
    accounts = [(one.tenant_id, account) for one in held for account in (one.account_id, one.item_account_id) if account is not None]
    accounts += [(key[0], account) for key, account in (await accounts_of(conn, items)).items()] if items else []
    payers = customers or {}
    new = {
        (one.tenant_id, account_id(one.tenant_id, payer, one.entity_id, one.currency), one.entity_id, payer, one.currency)
        for one in held
        if (payer := payers.get((one.tenant_id, one.payment_id))) is not None
    }
    mine = [(one.tenant_id, one.item_id) for one in held if one.item_id is not None]
    beside = await stored.set_off_with(conn, payments)
    also = sorted({(key[0], item) for key, found in beside.items() for credit, of, _ in found for item in (credit, of)}, key=str)
    if also:
        accounts += [(key[0], account) for key, account in (await accounts_of(conn, also)).items()]
    books = await lock(conn, accounts=accounts, new_accounts=sorted(new, key=str), payments=payments, items=[*mine, *items, *also])
    books.set_off_with = beside
    books.set_offs = await set_offs_of(conn, [*items, *also]) if items or also else {}
    for key, payment in books.payments.items():
        known = payment.account_id is None or (key[0], payment.account_id) in books.accounts
        if not known or any((key[0], item_id) not in books.items for item_id in payment.allocations):
            raise UnavailableError("a payment was matched at the same moment")
    _together(books)
    return books


async def take_off(conn: AsyncConnection, books: Books, payment: Payment, item_id: UUID | None = None) -> list[UUID]:
    """Undoes what of a payment is at an item, or everything: allocations, and the credit notes set off with them.

    Returns the items. The caller saves the books.
    """
    key = (payment.tenant_id, payment.payment_id)
    undone = [one for one in payment.allocations if item_id in {None, one}]
    for one in undone:
        books.unallocate(payment, books.items[payment.tenant_id, one])
    gone = [one for one in books.set_off_with.get(key, []) if item_id in {None, one[1]}]
    for credit, item, amount in gone:
        books.undo_set_off(books.items[payment.tenant_id, credit], books.items[payment.tenant_id, item], amount)
    if gone:
        await stored.drop_set_offs(conn, key, [one[1] for one in gone])
        books.set_off_with[key] = [one for one in books.set_off_with[key] if one not in gone]
    return list(dict.fromkeys([*undone, *(item for _, item, _ in gone)]))


async def lock_items(conn: AsyncConnection, items: Sequence[Key]) -> Books:
    """Items, locked, with their accounts. Raises UnavailableError when one moved between looking and locking."""
    accounts = [(key[0], account) for key, account in (await accounts_of(conn, items)).items()]
    books = await lock(conn, accounts=accounts, items=items)
    _together(books)
    return books


def _together(books: Books) -> None:
    for item in books.items.values():
        if (item.tenant_id, item.account_id) not in books.accounts:
            raise UnavailableError("an item moved to another account at the same moment")


async def unmatch(
    conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, item_id: UUID | None, reason: str, now: datetime
) -> Payment | None:
    """Undoes a payment's allocation to an item, or all of them, with the credit notes that were set off there beside it, or those alone.

    None where there is no such payment, or nothing of that.
    """
    key = (tenant_id, payment_id)
    plans = await hold_settled(conn, [key])
    books = await lock_with_items(conn, [key])
    payment = books.payments.get(key)
    if payment is None:
        return None
    undone = await take_off(conn, books, payment, item_id)
    if not undone:
        return None
    taught = payment.payer_customer_id
    if not payment.allocations and await payer_by(conn, key) == "items":
        books.attribute(payment, None)
    books.decided(payment, "unmatched")
    await stored.dismiss(conn, key, undone, reason, machine_now())
    await save_and_publish(conn, books, now, {})
    await set_off_again(conn, books, now)
    await expect(conn, plans, now)
    if payment.rule == CONFIRMED and not payment.allocations:
        await forget_payer(conn, tenant_id, payment_id, taught)
    return payment
