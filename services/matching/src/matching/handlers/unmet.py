"""What becomes of what was expected when the money that met it goes back whole, or comes again.

Rules:
- the bank's return is no person's word: a list, whose designation still stands, waits again for the debtor's next payment, and so does a
  promise that dunning calls open; not so a list of which a person had undone something on that payment, for that stays undone;
- announced money was that very money: returned, it has failed (a cheque that bounced, a debit given back), and is told so; a return that
  is reversed takes that back. What was only notified and has not come is still on its way;
- money of the amount that waits meanwhile may be the debtor's next payment, and is looked at again.
"""

from collections.abc import Sequence

from shared.clock import machine_now
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key, Payment
from matching.domain.returns import STAYED
from matching.handlers.announcements import ANNOUNCED, announce
from matching.storage import expected as stored
from matching.storage.expected import Expected
from matching.storage.expected_items import resolve
from matching.storage.payments import dismissed


async def gone_back(conn: AsyncConnection, payments: Sequence[Payment]) -> None:
    """Of those of the payments, locked, of which a bank has taken all back; one that stands as its details is not gone."""
    gone = (one for one in payments if one.returned_minor == one.amount_minor and one.return_reason not in STAYED)
    whole = {(one.tenant_id, one.payment_id): one for one in gone}
    for held in await _met(conn, list(whole), look=True):
        if held.status not in {"partly", "received"}:
            continue
        payment = whole[held.tenant_id, held.payment_id]  # type: ignore[index] # it met one of them
        if held.kind in ANNOUNCED and not payment.withdrawn_minor:
            held.status = "failed"
        elif await undone(conn, held):
            continue
        else:
            held.status, held.payment_id, held.missing = "waiting", None, []
        await stored.save(conn, held)
        await announce(conn, held)


async def come_again(conn: AsyncConnection, payments: Sequence[Payment]) -> None:
    """Of those of the payments, locked, of which a bank has brought all back: what had failed with them is on its way, and met at the next
    look.
    """
    whole = [(one.tenant_id, one.payment_id) for one in payments if not one.returned_minor]
    for held in await _met(conn, whole):
        if held.status == "failed":
            held.status, held.payment_id = "waiting", None
            await stored.save(conn, held)
            await announce(conn, held)


async def _met(conn: AsyncConnection, payments: Sequence[Key], *, look: bool = False) -> list[Expected]:
    """What the payments met, locked; `look` first at the money that may be it instead, for payments are locked before."""
    met = await stored.met_by(conn, payments) if payments else []
    if not met:
        return []
    if look:
        await stored.look_for(conn, list((await stored.load(conn, met, lock=False)).values()), machine_now())
    return list((await stored.load(conn, met)).values())


async def undone(conn: AsyncConnection, held: Expected) -> bool:
    """Whether a person has undone something of the list on its payment."""
    undone = {item for _, _, item in await dismissed(conn, [(held.tenant_id, held.payment_id)])}  # type: ignore[list-item] # it has one
    return bool(undone) and not undone.isdisjoint((await resolve(conn, held)).values())
