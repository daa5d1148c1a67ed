"""Booked debits that take back what came in: refunds of ours that the bank carried out, recalls, and returns.

Rules:
- a debit with a refund's EndToEndId closes the refund, one that a recall has asked for settles the recall;
- a return takes back the one payment that it names: of its amount, or else (a partial return) one that has as much left, or
  (the bank adds its fee to what it takes) one that is smaller; one that names none or several waits for a person;
- what was notified and has not come is withdrawn, unless it was booked meanwhile;
- the original is unmatched, whole, whatever part of it goes: items, balances, dunning and interest stand as if it had never
  been matched, and what is left of it is looked at anew.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from shared.clock import machine_now
from shared.failures import UnavailableError
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.returns import reason_code
from matching.domain.statements import Transaction
from matching.handlers import recalls, refunds
from matching.handlers.payments import lock_with_items, take_off
from matching.handlers.publishing import save_and_publish
from matching.storage import bank
from matching.storage.bank import BankAccount


async def take_back(conn: AsyncConnection, held: BankAccount, debits: Sequence[Transaction], now: datetime) -> tuple[list[bool], int]:
    """What became of booked debits of an account: which are explained by a refund, a recall or a return, and how many were returns."""
    explained = await refunds.close(conn, held, debits, now)
    left = [at for at, one in enumerate(debits) if one.kind == "return" and not explained[at]]
    for at, settled in zip(left, await recalls.settle(conn, held, [debits[at] for at in left], now), strict=True):
        explained[at] = settled
    left = [at for at in left if not explained[at]]
    found = await bank.originals(conn, held, [debits[at] for at in left]) if left else []
    taken: dict[UUID, tuple[str, int]] = {}
    for at, payments in zip(left, found, strict=True):
        free = [one for one in payments if one[0] not in taken]
        if len(free) == 1:
            payment_id, least = free[0]
            taken[payment_id] = (
                debits[at].return_reason or ("reversal" if debits[at].reversal else "unknown"),
                min(debits[at].amount_minor, least),
            )
            explained[at] = True
    await give_back(conn, held.tenant_id, taken, now)
    return explained, len(taken)


async def give_back(conn: AsyncConnection, tenant_id: UUID, returns: Mapping[UUID, tuple[str, int]], now: datetime) -> None:
    """The bank took money back (payment to reason and amount): allocations are undone, what is left is looked at anew."""
    if not returns:
        return
    books = await lock_with_items(conn, [(tenant_id, payment_id) for payment_id in returns])
    looks = {}
    for key, payment in books.payments.items():
        reason, amount = returns[key[1]]
        await take_off(conn, books, payment)
        if payment.unapplied_minor < amount:
            raise UnavailableError("a payment was refunded at the same moment")
        books.give_back(payment, reason_code(reason), amount)
        looks[key] = machine_now() if payment.unapplied_minor else None
    await save_and_publish(conn, books, now, {}, looks=looks)


async def withdraw_payments(
    conn: AsyncConnection, tenant_id: UUID, payment_ids: Sequence[UUID], now: datetime, *, booked: bool = False
) -> None:
    """What is left of payments has not come, or is counted as part of another: it is taken back until they are booked after all.

    The caller holds their bank account, so that none of them is booked meanwhile. Those that are booked stay, unless `booked`.
    """
    if not payment_ids:
        return
    books = await lock_with_items(conn, [(tenant_id, payment_id) for payment_id in payment_ids])
    for payment in books.payments.values():
        if payment.confirmation == "notified" or booked:
            await take_off(conn, books, payment)
            if payment.unapplied_minor:
                books.withdraw(payment)
    await save_and_publish(conn, books, now, {})
