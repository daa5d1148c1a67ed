"""Money that comes for what was written off."""

import itertools
from datetime import date

import pytest
from handwork import limit
from matching.handlers.late_money import allocate_late_money
from shared.jobs import JobContext
from shared.kafka import Offsets

_KEYS = itertools.count()
REFERENCE = "RF18539007547034"


async def post(client, path, body):
    return await client.post(path, json=body, headers={"idempotency-key": f"l{next(_KEYS)}"})


async def written_off(world, tenant, make, client, amount=1_000):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE, due=date(2025, 1, 1)))
    await limit(client, tenant, make, 5_000)
    body = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "uncollectible", "amount_minor": amount}
    assert (await post(client, "/v1/write-offs", body)).status_code == 201
    return held


async def run(world, tenant, now):
    await allocate_late_money(JobContext(world.database, now, Offsets("localhost:1"), "", "matching"), tenant)


async def item(world, tenant):
    return tuple(await world.one(tenant, "SELECT open_minor, cash_minor, written_off_minor, status FROM open_item"))


@pytest.mark.parametrize(("paid", "after"), [(1_000, (0, 1_000, 0, "paid")), (400, (0, 400, 600, "paid")), (1_300, (0, 1_000, 0, "paid"))])
async def test_the_write_off_is_reversed_as_far_as_the_money_goes(world, tenant, make, client, now, paid, after):
    held = await written_off(world, tenant, make, client)
    payment = await world.pay(held, paid, REFERENCE)
    await world.match(tenant)
    assert await item(world, tenant) == (0, 0, 1_000, "closed")
    for _ in range(2):
        await run(world, tenant, now)
    assert await item(world, tenant) == after
    shown = (await client.get(f"/v1/payments/{payment}")).json()
    assert (shown["unapplied_minor"], shown["decisions"][-1]["rule"]) == (max(paid - 1_000, 0), "after_write_off")
    assert len([m for m in await world.events("WriteOffReversed") if m.tenant_id == tenant]) == 1
    await world.holds()


async def test_what_the_payment_does_not_say_waits_for_a_person(world, tenant, make, client, now):
    held = await written_off(world, tenant, make, client)
    await world.pay(held, 1_000, number=1, remittance=["F-1"])
    await world.match(tenant)
    await run(world, tenant, now)
    assert await item(world, tenant) == (0, 0, 1_000, "closed")


async def test_what_a_person_has_dismissed_is_left_alone(world, tenant, make, client, now):
    held = await written_off(world, tenant, make, client)
    payment = await world.pay(held, 1_000, REFERENCE)
    await world.match(tenant)
    answer = await post(client, f"/v1/payments/{payment}/dismiss", {"item_ids": [str(make.invoice_id(tenant, "F-1"))], "reason": "other"})
    assert answer.status_code == 200, answer.text
    await run(world, tenant, now)
    assert await item(world, tenant) == (0, 0, 1_000, "closed")
    await world.holds()
