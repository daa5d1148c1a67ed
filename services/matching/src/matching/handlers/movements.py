"""What a person says about a booked movement that nothing explained.

Rules:
- money that went out takes back the payment that he names, of the same account: its amount, or what the payment has left where the
  bank took its fee on top;
- money that came in is the payment's again that he names, as far as a bank had returned it; or it is the refund of the payment whose
  EndToEndId it bears, less a fee;
- what is no payment's is only noted: the books have nothing to do with it.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.handlers.refunds import come_back
from matching.handlers.returns import bring_back, give_back
from matching.storage import movements


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
        known = await movements.left_and_returned(conn, held, payment_id)
        if known is None:
            raise Problem(404, "payment-unknown", "No such payment came on the movement's account")
        left, returned = known
        if movement.amount_minor < 0:
            if not left:
                raise Problem(409, "payment-has-nothing-left", "Nothing is left of the payment that could have gone back")
            moved = -min(-movement.amount_minor, left)
            await give_back(conn, tenant_id, {payment_id: (return_reason or "unknown", -moved)}, now)
        else:
            moved = await come_back(conn, held, payment_id, movement.end_to_end_id, movement.amount_minor, now)
            if not moved and returned < movement.amount_minor:
                raise Problem(409, "payment-not-returned", f"A bank returned {returned} of the payment, less than the movement brings")
            if not moved:
                moved = movement.amount_minor
                await bring_back(conn, tenant_id, {payment_id: moved}, now)
    await movements.resolve(conn, tenant_id, [movement_id])
    return Explained(movement_id, movement.amount_minor, held.currency, payment_id, moved)
