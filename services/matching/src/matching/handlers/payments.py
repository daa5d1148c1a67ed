"""Payments and items under lock, and unmatching by a person: items owe again, and the pair is not matched automatically again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from shared.clock import machine_now
from shared.db import run
from shared.failures import UnavailableError
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Key, Payment
from matching.handlers.publishing import save_and_publish
from matching.storage.account_balances import account_id
from matching.storage.books import lock
from matching.storage.items import accounts_of, set_offs_of
from matching.storage.rows import fetch


async def lock_with_items(
    conn: AsyncConnection, payments: Sequence[Key], *, items: Sequence[Key] = (), customers: Mapping[Key, UUID | None] | None = None
) -> Books:
    """Payments and everything they are allocated to, and `items`, locked; with the accounts of all.

    `customers` have an account made for the entity and currency of their payment. Raises UnavailableError when one was
    matched between looking and locking.
    """
    rows = await fetch(
        conn,
        "SELECT p.tenant_id, p.account_id, a.item_id, i.account_id, p.entity_id, p.currency, p.payment_id FROM payment p "
        "LEFT JOIN allocation a USING (tenant_id, payment_id) "
        "LEFT JOIN open_item i ON i.tenant_id = a.tenant_id AND i.item_id = a.item_id WHERE (p.tenant_id, p.payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        tenants=[key[0] for key in payments],
        ids=[key[1] for key in payments],
    )
    accounts = [(row[0], account) for row in rows for account in (row[1], row[3]) if account is not None]
    accounts += [(key[0], account) for key, account in (await accounts_of(conn, items)).items()] if items else []
    payers = customers or {}
    new = {
        (row[0], account_id(row[0], payer, row[4], row[5]), row[4], payer, row[5])
        for row in rows
        if (payer := payers.get((row[0], row[6]))) is not None
    }
    mine = [(row[0], row[2]) for row in rows if row[2] is not None]
    beside = await _set_off_with(conn, payments)
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


async def _set_off_with(conn: AsyncConnection, payments: Sequence[Key]) -> dict[Key, list[tuple[UUID, UUID, int]]]:
    rows = await fetch(
        conn,
        "SELECT tenant_id, payment_id, credit_item_id, item_id, amount_minor FROM payment_set_off WHERE (tenant_id, payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) ORDER BY 1, 2, 3, 4",
        tenants=[key[0] for key in payments],
        ids=[key[1] for key in payments],
    )
    found: dict[Key, list[tuple[UUID, UUID, int]]] = {}
    for tenant, payment, credit, item, amount in rows:
        found.setdefault((tenant, payment), []).append((credit, item, amount))
    return found


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
        await run(
            conn,
            "DELETE FROM payment_set_off WHERE tenant_id = :tenant AND payment_id = :payment AND item_id = ANY(CAST(:items AS uuid[]))",
            tenant=payment.tenant_id,
            payment=payment.payment_id,
            items=[one[1] for one in gone],
        )
        books.set_off_with[key] = [one for one in books.set_off_with[key] if one not in gone]
    return undone


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
    """Undoes a payment's allocation to an item, or all of them; None where there is no such payment or allocation."""
    key = (tenant_id, payment_id)
    books = await lock_with_items(conn, [key])
    payment = books.payments.get(key)
    if payment is None:
        return None
    undone = await take_off(conn, books, payment, item_id)
    if not undone:
        return None
    books.decided(payment, "unmatched")
    await run(
        conn,
        "INSERT INTO dismissed_pair (tenant_id, payment_id, item_id, reason, dismissed_at) "
        "SELECT :tenant, :payment, unnest(CAST(:items AS uuid[])), "
        ":reason, :now ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        payment=payment_id,
        items=undone,
        reason=reason,
        now=machine_now(),
    )
    await save_and_publish(conn, books, now, {})
    return payment
