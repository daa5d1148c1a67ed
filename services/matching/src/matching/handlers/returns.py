"""Booked movements that take back what came in, or bring back what went out: refunds of ours, recalls, returns and their reversals.

Rules:
- a debit with a refund's EndToEndId closes the refund, a credit with it (the creditor's bank sends it back) undoes it, once the debit is
  booked; one that a recall has asked for settles the recall, and what it took beyond goes back like a return, as far as the payment has it;
- a return takes back the one payment that it names: of its amount, or else (a partial return) one that has as much left, or
  (the bank adds its fee to what it takes, `is_fee`) one that is smaller; one that takes more, or what was refunded already, or names
  none or several, waits for a person; of two in one statement that name one payment, the second takes what the first has left, if that
  is enough;
- a return that comes before its payment waits, and takes it back once that is booked;
- a reversed return (a credit that says so) gives the one payment that it names its money again, as far as it was really returned, and
  once it is where the two are imported the other way round;
- what was notified and has not come is withdrawn, unless it was booked meanwhile, and no refund of it is sent;
- a refund that was not sent yet is taken back before its payment is given back: else the money would go out twice;
- the original is unmatched, whole, or taken in, where it was set apart, whatever part of it goes: items, balances, dunning and
  interest stand as if it had never been matched, and what is left of it is looked at anew; but of what a list or an announcement says is
  for several items (a deposit of cheques, a collection of debits) a part that is just what one of them alone got takes that one off, and
  the others stay paid.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from shared.clock import machine_now
from shared.failures import UnavailableError
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Payment
from matching.domain.remittances import RULES
from matching.domain.returns import STAYED, is_fee, reason_code
from matching.domain.rows import NO_RECEIVABLE
from matching.domain.statements import Transaction
from matching.handlers import recalls, refunds
from matching.handlers.credit_notes import set_off_again
from matching.handlers.expected import meet
from matching.handlers.payments import lock_with_items, take_off
from matching.handlers.plans import expect_again, hold_settled
from matching.handlers.publishing import save_and_publish
from matching.handlers.unmet import come_again, gone_back
from matching.storage import movements
from matching.storage.bank import BankAccount
from matching.storage.limits import limit_of

NOT_OURS = frozenset({"other", "fee", "refund"})
"""Kinds of movements that are nobody's payment, unless they name one of ours, or a refund."""
DESIGNATED = frozenset({RULES["remittance"], "announced"})
"""Rules of what is allocated as a list or an announcement says."""
WAITING_MAX = 1_000
"""Returns that wait on an account and are looked at when payments are booked on it."""


async def take_back(conn: AsyncConnection, held: BankAccount, moved: Sequence[Transaction], now: datetime) -> tuple[list[bool], int]:
    """What becomes of booked movements of an account: which of them are resolved, and how many were returns."""
    outcomes = await refunds.close(conn, held, moved, now)
    back = [at for at, one in enumerate(moved) if one.credit and one.reversal and outcomes[at] is None]
    for at, outcome in zip(back, await _reversed(conn, held, [moved[at] for at in back], now), strict=True):
        outcomes[at] = outcome
    left = [at for at, one in enumerate(moved) if one.kind == "return" and not outcomes[at]]
    taken: dict[UUID, list[tuple[str, int]]] = {}
    limit = await limit_of(conn, held.tenant_id, held.entity_id, held.currency) if left else 0
    for at, settled in zip(left, await recalls.settle(conn, held, [moved[at] for at in left], limit, now), strict=True):
        outcomes[at] = settled is not None
        if settled is not None:
            payment_id, beyond = settled
            parts = taken.setdefault(payment_id, [])
            known = await movements.left_and_returned(conn, held, payment_id) if beyond else None
            if known and known[0]:
                parts.append((_reason(moved[at]), min(beyond, known[0])))
    left = [at for at in left if not outcomes[at]]
    found = await movements.originals(conn, held, [moved[at] for at in left]) if left else []
    more = [one[0] for at, payments in zip(left, found, strict=True) for one in payments if one[1] < moved[at].amount_minor]
    sent = await movements.refunded(conn, held.tenant_id, more) if more else set()  # what went out twice is no fee
    count = 0
    for at, payments in zip(left, found, strict=True):
        amount = moved[at].amount_minor
        free = [one for one in payments if one[0] not in taken and is_fee(moved[at], one[1], 0 if one[0] in sent else limit)]
        if not free:  # parts of one payment that go back in one statement
            free = [one for one in payments if one[0] in taken and one[1] - sum(part for _, part in taken[one[0]]) >= amount]
        if len(free) == 1:
            payment_id, least = free[0]
            taken.setdefault(payment_id, []).append((_reason(moved[at]), min(amount, least)))
            outcomes[at] = True
            count += 1
    while any(taken.values()):  # once, but for a payment's parts: each by itself, as over statements
        await give_back(conn, held.tenant_id, {key: parts.pop(0) for key, parts in taken.items() if parts}, now)
    await _reversed_before(conn, held, [moved[at] for at in left if outcomes[at]], now)
    return [one.kind in NOT_OURS if outcome is None else outcome for one, outcome in zip(moved, outcomes, strict=True)], count


def _reason(moved: Transaction) -> str:
    return moved.return_reason or ("reversal" if moved.reversal else "unknown")


async def meet_waiting(conn: AsyncConnection, held: BankAccount, booked: Collection[UUID], now: datetime) -> int:
    """Returns that came before their payments: of those booked now each takes the one back that it names, where that is the only one.

    Returns how many did. What names several, or one that was there already when the return came, a person looks at.
    """
    waiting = await movements.waiting_returns(conn, held, WAITING_MAX) if booked else []
    if not waiting:
        return 0
    found = await movements.originals(conn, held, [one for _, one in waiting])
    met = [row for row, payments in zip(waiting, found, strict=True) if len(payments) == 1 and payments[0][0] in booked]
    outcomes, count = await take_back(conn, held, [one for _, one in met], now) if met else ([], 0)
    done = [movement_id for (movement_id, _), resolved in zip(met, outcomes, strict=True) if resolved]
    if done:
        await movements.resolve(conn, held.tenant_id, done)
    return count


async def _reversed_before(conn: AsyncConnection, held: BankAccount, returns: Sequence[Transaction], now: datetime) -> None:
    """Reversals of these returns that were imported before them. One that is older than the return was of another."""
    days = {one.end_to_end_id: one.day for one in returns if one.end_to_end_id}
    waiting = await movements.waiting_credits(conn, held, days) if days else []
    early = [(movement_id, one) for movement_id, one in waiting if one.day >= days.get(one.end_to_end_id or "", one.day)]
    outcomes = await _reversed(conn, held, [one for _, one in early], now)
    if met := [movement_id for (movement_id, _), outcome in zip(early, outcomes, strict=True) if outcome]:
        await movements.resolve(conn, held.tenant_id, met)


async def _reversed(conn: AsyncConnection, held: BankAccount, credits_: Sequence[Transaction], now: datetime) -> list[bool | None]:
    """Gives payments what a bank had returned and brings back; None for a credit that names no payment of ours."""
    if not credits_:
        return []
    outcomes: list[bool | None] = []
    amounts: dict[UUID, int] = {}
    for one, payments in zip(credits_, await movements.returned(conn, held, credits_), strict=True):
        fits = [payment_id for payment_id, left in payments if left >= one.amount_minor and payment_id not in amounts]
        outcomes.append(len(fits) == 1 if payments else None)
        if len(fits) == 1:
            amounts[fits[0]] = one.amount_minor
    await bring_back(conn, held.tenant_id, amounts, now)
    return outcomes


async def bring_back(conn: AsyncConnection, tenant_id: UUID, amounts: Mapping[UUID, int], now: datetime) -> None:
    """The bank brings back what it had returned of payments; they are looked at anew. Raises ValueError for more than that."""
    if not amounts:
        return
    books = await lock_with_items(conn, [(tenant_id, payment_id) for payment_id in amounts])
    for key, payment in books.payments.items():
        books.reverse_return(payment, amounts[key[1]])
    await save_and_publish(conn, books, now, {}, looks=dict.fromkeys(books.payments, machine_now()))
    await come_again(conn, list(books.payments.values()))


async def give_back(conn: AsyncConnection, tenant_id: UUID, returns: Mapping[UUID, tuple[str, int]], now: datetime) -> None:
    """The bank took money back (payment to reason and amount): allocations are undone, what is left is looked at anew."""
    if not returns:
        return
    gone = [(tenant_id, payment_id) for payment_id, (reason, _) in returns.items() if reason not in STAYED]
    await meet(conn, gone, now, {})  # one that came and goes at once may be announced
    keys = [(tenant_id, payment_id) for payment_id in returns]
    plans = await hold_settled(conn, keys)
    books = await lock_with_items(conn, keys)
    await refunds.cancel_unsent(conn, books, list(books.payments.values()))  # or the money would go out twice
    looks = {}
    for key, payment in books.payments.items():
        reason, amount = returns[key[1]]
        await take_off(conn, books, payment, _part(payment, amount))
        if payment.return_reason == NO_RECEIVABLE:  # it is still in the bank's account until now
            books.take_in(payment)
        if payment.unapplied_minor < amount:
            raise UnavailableError("a payment was refunded at the same moment")
        books.give_back(payment, reason_code(reason), amount)
        looks[key] = machine_now() if payment.unapplied_minor else None
    await save_and_publish(conn, books, now, {}, looks=looks)
    await set_off_again(conn, books, now)
    await gone_back(conn, list(books.payments.values()))
    await expect_again(conn, plans, now)


def _part(payment: Payment, amount: int) -> UUID | None:
    """The item that alone got the amount of a payment which is for several, as its list or announcement says; None: all of it is undone."""
    if any(one.rule not in DESIGNATED for one in payment.allocations.values()):
        return None
    got = [one.item_id for one in payment.allocations.values() if one.amount_minor == amount]
    return got[0] if len(got) == 1 and payment.unapplied_minor < amount else None


async def withdraw_payments(
    conn: AsyncConnection, tenant_id: UUID, payment_ids: Sequence[UUID], now: datetime, *, booked: bool = False
) -> None:
    """What is left of payments has not come, or is counted as part of another: it is taken back until they are booked after all.

    The caller holds their bank account, so that none of them is booked meanwhile. Those that are booked stay, unless `booked`.
    """
    if not payment_ids:
        return
    keys = [(tenant_id, payment_id) for payment_id in payment_ids]
    plans = await hold_settled(conn, keys)
    books = await lock_with_items(conn, keys)
    await refunds.cancel_unsent(conn, books, [one for one in books.payments.values() if one.confirmation == "notified"])
    for payment in books.payments.values():
        if payment.confirmation == "notified" or booked:
            await take_off(conn, books, payment)
            if payment.unapplied_minor:
                books.withdraw(payment)
    await save_and_publish(conn, books, now, {})
    await set_off_again(conn, books, now)
    await gone_back(conn, list(books.payments.values()))
    await expect_again(conn, plans, now)
