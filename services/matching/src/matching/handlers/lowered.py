"""An invoice says less than what has settled it, or was cancelled: what is too much goes back where it came from.

It gives way in this order, so that an item stands where it would if the lower amount had been said first: what was given up as a loss,
then money, the latest first, whose rest stays as it was allocated, then credit notes. Money in another currency goes back whole: what
remains is for a rate to say. A netting has a proof of its own and stays.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Item, Key, Payment
from matching.handlers.given_up import reverse_latest


async def release(conn: AsyncConnection, books: Books, item: Item, most: int, reason: str) -> dict[Key, None]:
    """Takes back what settles an item beyond `most`; returns the payments that have money again, for a reason. The caller saves the books.

    All that settles the item is in the books, its set-offs too.
    """
    beyond = item.original_minor - item.open_minor - most
    if lost := min(beyond, item.written_off_minor):
        await reverse_latest(conn, books, item, lost)
        beyond -= lost
    freed: dict[Key, None] = {}
    for key, payment in sorted(books.payments.items(), key=lambda one: (one[1].value_date, str(one[0][1])), reverse=True):
        if beyond > 0 and key[0] == item.tenant_id and item.item_id in payment.allocations:
            beyond -= _give_way(books, payment, item, beyond)
            books.decided(payment, reason)
            freed[key] = None
    for tenant, credit_id, item_id in list(books.set_offs):
        if beyond > 0 and tenant == item.tenant_id and item.item_id in (credit_id, item_id):
            beyond -= books.undo_set_off(books.items[tenant, credit_id], books.items[tenant, item_id], beyond)
    return freed


def _give_way(books: Books, payment: Payment, item: Item, beyond: int) -> int:
    """Takes `beyond` of what a payment settles of an item back, or all; returns how much. What it forgave beside goes first."""
    held = payment.allocations[item.item_id]
    whole = held.settled_minor + held.diff_minor
    books.unallocate(payment, item)
    rest = whole - beyond
    if held.exchange is not None or rest <= 0:
        return whole
    received = min(held.amount_minor, rest)
    books.allocate(payment, item, held.rule, amount=received, diff=rest - received, reason=held.diff_reason if rest > received else None)
    return beyond
