"""What owes again is looked at by the money that waits for it: all stands as if what was undone had never been."""

import itertools

from bankdays import Bank, job
from matching.handlers.matching import look_at_due

_KEYS = itertools.count()
REFERENCE = "RF18539007547034"


async def post(client, path, body):
    return await client.post(path, json=body, headers={"idempotency-key": f"o{next(_KEYS)}"})


async def settled(world, tenant):
    """All looks that a payment has by itself are over."""
    for _ in range(3):
        await world.rows(tenant, "UPDATE payment SET next_look_at = now() WHERE next_look_at IS NOT NULL RETURNING 1")
        await look_at_due(job(world), tenant)
    assert await world.rows(tenant, "SELECT 1 FROM payment WHERE next_look_at IS NOT NULL") == []


async def state(world, tenant, *payments):
    rows = await world.rows(tenant, "SELECT payment_id, status, allocated_minor FROM payment")
    found = {row[0]: tuple(row[1:]) for row in rows}
    return [found[one] for one in payments]


async def paid_twice(world, tenant, make, held):
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE))
    payments = [await world.pay(held, 1_000, REFERENCE, number=n, end_to_end_id=f"E-{n}") for n in (1, 2)]
    for _ in payments:
        await world.match(tenant)
    await settled(world, tenant)
    return payments


async def test_an_invoice_paid_twice_is_paid_by_the_other_once_the_first_is_returned(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    first, other = await paid_twice(world, tenant, make, held)
    assert await state(world, tenant, first, other) == [("matched", 1_000), ("unapplied", 0)]
    bank = Bank(world, client, held, camtfile)
    await bank.books(*((1_000, {"ref": f"B{n}", "e2e": f"E-{n}"}) for n in (1, 2)))
    await settled(world, tenant)
    await bank.books((-1_000, {"ref": "R1", "e2e": "E-1", "reason": "AC04"}))
    assert (await world.one(tenant, "SELECT open_minor FROM open_item"))[0] == 1_000
    await look_at_due(job(world), tenant)
    assert await state(world, tenant, first, other) == [("returned", 0), ("matched", 1_000)]
    assert tuple(await world.one(tenant, "SELECT open_minor, status FROM open_item")) == (0, "paid")
    await world.holds()


async def test_what_a_person_takes_off_is_left_alone_and_the_other_payment_is_matched(world, tenant, make, client):
    held = await world.account(tenant)
    first, other = await paid_twice(world, tenant, make, held)
    await world.feed(make.invoice(tenant, "F-2", 1_000))
    await settled(world, tenant)
    before = (await state(world, tenant, other))[0]
    assert (await post(client, f"/v1/payments/{first}/unmatch", {"reason": "not this one"})).status_code == 200
    await look_at_due(job(world), tenant)
    assert before == ("unapplied", 0)
    assert await state(world, tenant, first, other) == [("unapplied", 0), ("matched", 1_000)]
    await world.holds()


async def test_what_was_overpaid_pays_what_a_cancelled_credit_note_leaves_owing(world, tenant, make):
    held = await world.account(tenant)
    credited = {"credited_invoice_id": make.invoice_id(tenant, "F-1")}
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE), make.invoice(tenant, "A-1", 300, cls=make.Credit, **credited))
    payment = await world.pay(held, 1_000, REFERENCE)
    await world.match(tenant)
    await settled(world, tenant)
    assert await state(world, tenant, payment) == [("partly_matched", 700)]
    await world.feed(make.invoice(tenant, "A-1", 300, cls=make.Cancelled, kind="credit_note", version=2, **credited))
    await look_at_due(job(world), tenant)
    assert await state(world, tenant, payment) == [("matched", 1_000)]
    await world.holds()
