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
from matching.storage.books import account_id, lock
from matching.storage.items import accounts_of
from matching.storage.rows import fetch


async def lock_with_items(
    conn: AsyncConnection, payments: Sequence[Key], *, items: Sequence[Key] = (), customers: Mapping[Key, UUID | None] | None = None
) -> Books:
    """Payments with their accounts and everything they are allocated to, locked; and `items` with theirs.

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
    books = await lock(conn, accounts=accounts, new_accounts=sorted(new, key=str), payments=payments, items=[*mine, *items])
    for key, payment in books.payments.items():
        known = payment.account_id is None or (key[0], payment.account_id) in books.accounts
        if not known or any((key[0], item_id) not in books.items for item_id in payment.allocations):
            raise UnavailableError("a payment was matched at the same moment")
    _together(books)
    return books


async def lock_items(conn: AsyncConnection, items: Sequence[Key]) -> Books:
    """Items with their accounts, locked. Raises UnavailableError when one moved between looking and locking."""
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
    undone = [one for one in list(payment.allocations) if item_id in {None, one}]
    for one in undone:
        books.unallocate(payment, books.items[tenant_id, one])
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
