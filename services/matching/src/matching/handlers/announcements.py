"""Announced money holds reminders back until it comes, its day passes or somebody takes it back: each is told.

A payment is locked before what is expected of it, here as where the two meet.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from contracts.payments import AnnouncedItem, PaymentAnnouncementChanged
from shared.clock import machine_now
from shared.days import business_day
from shared.failures import UnavailableError
from shared.jobs import JobContext
from shared.outbox import Outgoing, publish
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.handlers.refusals import refused
from matching.storage import expected as stored
from matching.storage.expected import Expected

ANNOUNCED = {"direct_debit", "cheque", "card", "transfer"}
"""Kinds that hold reminders back and are told of."""


async def end(conn: AsyncConnection, tenant_id: UUID, expected_id: UUID, status: str) -> Expected:
    """An expected payment will not come: `cancelled` by us, or `failed` at the bank. Raises Problem: 404, or 409 where it came.

    Of a list that has come and waits for an item, the item will not come: what is left of its payment is looked at anew. Raises
    UnavailableError where it came so at the same moment.
    """
    key = (tenant_id, expected_id)
    before = (await stored.load(conn, [key], lock=False)).get(key)
    met = before.payment_id if before and before.status == "partly" and status == "cancelled" else None
    if met is not None:  # a payment is locked before what it meets
        await stored.look_at(conn, [(tenant_id, met)], machine_now())
    held = (await stored.load(conn, [key])).get(key)
    if held is None:
        raise Problem(404, "expected-payment-unknown", "There is no such expected payment")
    if held.status == "partly" and status == "cancelled":
        if held.payment_id != met:
            raise UnavailableError("it was met at the same moment")
    elif held.status not in {"waiting", "expired"}:
        raise Problem(409, "expected-payment-over", "It has come, or was taken back already")
    held.status = status
    await stored.save(conn, held)
    await announce(conn, held)
    return held


def still_holds(held: Expected, now: datetime) -> None:
    """Raises a 422 Problem for announced money that has not come and whose days are over: no reminder would wait for it."""
    if held.holds_until is not None and held.holds_until < business_day(now):
        raise refused(
            422,
            "holds-over",
            "It has not come and its days are over: say until when it holds reminders, if it is still to come",
            "/holds_until",
        )


async def join(conn: AsyncConnection, customers: Sequence[Key]) -> None:
    """Customers were merged: money that was announced under two of their ids is announced once, and comes once. What came meanwhile, and
    might have been either, is looked at again.
    """
    twice = await stored.announced_twice(conn, customers)
    if not twice:
        return
    await stored.look_for(conn, list((await stored.load(conn, twice, lock=False)).values()), machine_now())
    for held in (await stored.load(conn, twice)).values():
        if held.status == "waiting":
            held.status = "cancelled"
            await stored.save(conn, held)
            await announce(conn, held)


async def expire(context: JobContext, tenant_id: UUID) -> None:
    """Job: announcements whose money did not come in time hold nobody back any more."""
    async with context.database.transaction(tenant_id) as conn:
        late = await stored.overdue(conn, tenant_id, business_day(context.now))
        for held in (await stored.load(conn, late)).values() if late else ():
            if held.status == "waiting":
                held.status = "expired"
                await stored.save(conn, held)
                await announce(conn, held)


async def announce(conn: AsyncConnection, held: Expected) -> None:
    """Tells of an announcement as it is now; of kinds that hold nobody back nothing is told."""
    if held.kind not in ANNOUNCED or held.payer_customer_id is None or held.expected_on is None or held.holds_until is None:
        return
    status = {"waiting": "announced", "partly": "received"}.get(held.status, held.status)
    event = PaymentAnnouncementChanged(
        version=held.version,
        announcement_id=held.expected_id,
        customer_id=held.payer_customer_id,
        kind=held.kind,  # type: ignore[arg-type] # one of ANNOUNCED
        amount_minor=held.amount_minor,
        currency=held.currency,
        expected_on=held.expected_on,
        holds_until=held.holds_until,
        items=[AnnouncedItem(item_id=line.item_id, amount_minor=line.net_minor) for line in held.lines if line.item_id],
        status=status,  # type: ignore[arg-type] # the table's CHECK has the same values
        payment_id=held.payment_id,
    )
    await publish(conn, [Outgoing(held.tenant_id, event, held.entity_id)])
