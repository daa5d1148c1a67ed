"""Credit notes and the invoices that they name: set off against each other as far as both are open, whichever comes first.

Rules:
- of an invoice that was written off a credit note takes back what was given up as a loss: what is not billed is none;
- one that came while money had settled its invoice is set off once that goes back (returned, recalled, unmatched): as if the payment had
  never been matched.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from contracts.envelope import Envelope
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Key
from matching.handlers.given_up import reverse_latest
from matching.handlers.publishing import save_and_publish
from matching.storage.books import lock
from matching.storage.items import accounts_of, credit_pairs, set_offs_of


async def set_off_pairs(
    conn: AsyncConnection, pairs: Sequence[tuple[UUID, UUID, UUID]], now: datetime, causes: Mapping[Key, Envelope]
) -> list[tuple[UUID, UUID, UUID, int]]:
    """Sets credit notes off against the invoices they name; pairs are (tenant, credit note, item), unlocked. Returns those that met, and
    how much of each.
    """
    if not pairs:
        return []
    keys = [key for tenant, credit, item in pairs for key in ((tenant, credit), (tenant, item))]
    accounts = await accounts_of(conn, keys)
    books = await lock(conn, accounts=[(key[0], account) for key, account in accounts.items()], items=keys)
    books.set_offs = await set_offs_of(conn, keys)
    made = []
    for tenant, credit_id, item_id in pairs:
        credit, item = books.items[tenant, credit_id], books.items[tenant, item_id]
        if (
            (tenant, credit.account_id) in books.accounts
            and (tenant, item.account_id) in books.accounts
            and credit.currency == item.currency
        ):
            if (lost := min(credit.open_minor - item.open_minor, item.written_off_minor)) > 0 and item.close_cause != "cancelled":
                await reverse_latest(conn, books, item, lost)
            if amount := books.set_off(credit, item):
                made.append((tenant, credit_id, item_id, amount))
    await save_and_publish(conn, books, now, causes)
    return made


async def set_off_again(conn: AsyncConnection, books: Books, now: datetime) -> list[tuple[UUID, UUID, UUID, int]]:
    """The same for what payments settle no more, by these books, which are saved; those that came while they did."""
    gone = sorted({(tenant, item) for (tenant, _, item), held in books.changed_allocations.items() if held is None}, key=str)
    return await set_off_pairs(conn, await credit_pairs(conn, gone), now, {}) if gone else []
