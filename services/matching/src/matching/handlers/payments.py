"""What is done to a payment after it came in: taken back by the bank, or unmatched by a person.

Both undo allocations: items owe again, and the same automatic decision is not repeated (an unmatched pair is dismissed).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from shared.clock import machine_now
from shared.db import run
from shared.failures import UnavailableError
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Key, Payment
from matching.handlers.publishing import save_and_publish
from matching.storage.books import lock
from matching.storage.rows import fetch


async def lock_with_items(conn: AsyncConnection, payments: Sequence[Key]) -> Books:
    """Payments with their accounts and everything they are allocated to, locked.

    Raises UnavailableError when one was matched between looking and locking.
    """
    rows = await fetch(
        conn,
        "SELECT p.tenant_id, p.account_id, a.item_id, i.account_id FROM payment p LEFT JOIN allocation a USING (tenant_id, payment_id) "
        "LEFT JOIN open_item i ON i.tenant_id = a.tenant_id AND i.item_id = a.item_id WHERE (p.tenant_id, p.payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        tenants=[key[0] for key in payments],
        ids=[key[1] for key in payments],
    )
    accounts = [(tenant, account) for tenant, held, _, other in rows for account in (held, other) if account is not None]
    items = [(tenant, item) for tenant, _, item, _ in rows if item is not None]
    books = await lock(conn, accounts=accounts, payments=payments, items=items)
    for key, payment in books.payments.items():
        known = payment.account_id is None or (key[0], payment.account_id) in books.accounts
        if not known or any((key[0], item_id) not in books.items for item_id in payment.allocations):
            raise UnavailableError("a payment was matched at the same moment")
    for item in books.items.values():
        if (item.tenant_id, item.account_id) not in books.accounts:
            raise UnavailableError("an item moved to another account at the same moment")
    return books


async def give_back(conn: AsyncConnection, tenant_id: UUID, returns: Mapping[UUID, str], now: datetime) -> int:
    """The bank took payments back (id to reason): allocations are undone, nothing of them is left. Returns how many."""
    if not returns:
        return 0
    books = await lock_with_items(conn, [(tenant_id, payment_id) for payment_id in returns])
    given = 0
    for key, payment in books.payments.items():
        if payment.returned_minor or payment.refunded_minor:
            continue
        for item_id in list(payment.allocations):
            books.unallocate(payment, books.items[tenant_id, item_id])
        books.give_back(payment, _code(returns[key[1]]))
        given += 1
    await save_and_publish(conn, books, now, {})
    return given


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


def _code(reason: str) -> str:
    """A bank's return reason as a code: AC04 is `ac04`."""
    return "".join(char for char in reason.lower() if char.isascii() and (char.isalnum() or char in "_.-"))[:64] or "unknown"
