"""What a person says about a booked movement that nothing explained.

Rules:
- money that went out takes back the payment that he names, of the same account: what banks have asked back of it, then what the payment
  has left, where the bank took its fee on top;
- money that came in is the payment's again that he names, as far as a bank had returned it;
- either may be the refund of the payment whose EndToEndId it bears, and a fee; or one of its amount, where it bears none;
- what is no payment's is only noted: the books have nothing to do with it.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.statements import Transaction
from matching.handlers import recalls, refunds
from matching.handlers.returns import bring_back, give_back
from matching.storage import movements
from matching.storage.bank import BankAccount


@dataclass(frozen=True, slots=True)
class Explained:
    """A movement, the payment it is about, and what that moved on the payment: below zero what went out."""

    movement_id: UUID
    amount_minor: int
    currency: str
    payment_id: UUID | None
    moved_minor: int


async def explain(
    conn: AsyncConnection, tenant_id: UUID, movement_id: UUID, *, payment_id: UUID | None, return_reason: str | None, now: datetime
) -> Explained:
    """Resolves a movement that waits. Raises 404 and 409 Problems where it does not, or the payment cannot be what it is about."""
    found = await movements.waiting(conn, tenant_id, movement_id, total=False)
    if found is None:
        raise Problem(404, "movement-unknown", "There is no such movement")
    held, movement = found
    if movement.resolved:
        raise Problem(409, "movement-resolved", "The movement waits no more")
    moved = 0
    if payment_id is not None:
        if await movements.left_and_returned(conn, held, payment_id) is None:
            raise Problem(404, "payment-unknown", "No such payment came on the movement's account")
        one = Transaction(
            kind=movement.kind,
            credit=movement.amount_minor > 0,
            amount_minor=abs(movement.amount_minor),
            currency=held.currency,
            day=movement.booking_date,
            end_to_end_id=movement.end_to_end_id,
            return_reason=return_reason,
        )
        moved = await refunds.explained(conn, held, payment_id, one, now) or await _of_payment(conn, held, payment_id, one, now)
    await movements.resolve(conn, tenant_id, [movement_id])
    signed = moved if movement.amount_minor > 0 else -moved
    return Explained(movement_id, movement.amount_minor, held.currency, payment_id, signed)


async def _of_payment(conn: AsyncConnection, held: BankAccount, payment_id: UUID, one: Transaction, now: datetime) -> int:
    """Takes back what a bank took of a payment, its recalls first, or gives it what came again; returns how much of it that was."""
    asked = 0 if one.credit else await recalls.explained(conn, held, payment_id, one.amount_minor, now)
    left, returned = await movements.left_and_returned(conn, held, payment_id) or (0, 0)
    if one.credit:
        if returned < one.amount_minor:
            raise Problem(409, "payment-not-returned", f"A bank returned {returned} of the payment, less than the movement brings")
        await bring_back(conn, held.tenant_id, {payment_id: one.amount_minor}, now)
        return one.amount_minor
    gone = min(one.amount_minor - asked, left)
    if not asked and not gone:
        raise Problem(409, "payment-has-nothing-left", "Nothing is left of the payment that could have gone back")
    if gone:
        await give_back(conn, held.tenant_id, {payment_id: (one.return_reason or "unknown", gone)}, now)
    return asked + gone
