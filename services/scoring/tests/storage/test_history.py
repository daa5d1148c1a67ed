"""What is kept of others is the same for every order and any repetition, and nothing of one tenant touches another."""

import random
from datetime import date

import pytest
from contracts.dunning import (
    DisputeOpened,
    DisputeResolved,
    PaymentPlanAgreed,
    PaymentPlanBroken,
    PaymentPlanCompleted,
    PlanInstalment,
    PlanItem,
    PromiseBroken,
    PromiseKept,
    PromiseMade,
)
from contracts.items import Settled
from contracts.payments import PaymentReturned

KEPT = {
    "customer": "customer_id",
    "invoice": "invoice_id",
    "open_item": "item_id",
    "account": "account_id",
    "contribution": "kind, source_id",
    "behaviour": "customer_id, currency, month",
}


def history(world, seed):
    """A made-up history of a few customers, every version of everything, in order."""
    rng = random.Random(seed)
    customers = [world.id("customer", n) for n in range(4)]
    events = [world.customer(each, version) for each in customers for version in (1, 2)]
    for n in range(25):
        item, who, currency = world.id("item", n), rng.choice(customers), rng.choice(["EUR", "EUR", "USD"])
        common = {"amount": rng.randrange(1, 10**9), "currency": currency, "due": date(2026, rng.randrange(1, 6), 10)}
        events.append(world.item(item, who, 1, **common))
        paid = date(2026, rng.randrange(1, 7), rng.randrange(1, 28))
        events.append(world.item(item, who, 2, paid_on=paid, **common))
        match rng.randrange(4):
            case 0:  # returned: it owes again
                events.append(world.item(item, who, 3, **common))
            case 1:  # the source moved it to another customer
                events.append(world.item(item, rng.choice(customers), 3, paid_on=paid, **common))
            case 2:  # given up
                events.append(
                    world.item(item, who, 3, status="closed", open_minor=0, settled=Settled(written_off_minor=common["amount"]), **common)
                )
    for n in range(6):
        events.append(world.invoice(world.id("old", n), rng.choice(customers), origin="history", paid_on=date(2026, 5, 1 + n)))
        events += [world.account(who, version, open_minor=version) for version in (1, 2) for who in customers[:2]]
        promise = {
            "promise_id": world.id("promise", n), "customer_id": rng.choice(customers), "item_ids": [], "amount_minor": 5,
            "currency": "EUR", "due_on": date(2026, 5, 3),
        }  # fmt: skip
        events.append(PromiseMade(version=1, status="open", **promise))
        ended, status = rng.choice([(PromiseKept, "kept"), (PromiseBroken, "broken")])
        events.append(ended(version=2, status=status, **promise))
        plan = {
            "payment_plan_id": world.id("plan", n), "customer_id": rng.choice(customers), "currency": "EUR",
            "agreed_on": date(2026, 4, 1), "grace_days": 0,
            "items": [PlanItem(item_id=world.id("item", n), invoice_number="F1", amount_minor=5, left_minor=5)],
            "instalments": [PlanInstalment(number=1, due_on=date(2026, 5, 3), amount_minor=5, open_minor=5)],
        }  # fmt: skip
        events.append(PaymentPlanAgreed(version=1, status="active", **plan))
        if n % 2:
            events.append(PaymentPlanBroken(version=2, status="broken", broken_instalment=1, missing_minor=5, **plan))
        else:
            events.append(PaymentPlanCompleted(version=2, status="completed", **plan))
        dispute = {
            "dispute_id": world.id("dispute", n), "item_id": world.id("item", n), "customer_id": rng.choice(customers),
            "amount_minor": 5, "currency": "EUR", "reason": "price",
        }  # fmt: skip
        events.append(DisputeOpened(version=1, status="open", **dispute))
        events.append(DisputeResolved(version=2, status="resolved", resolution=rng.choice(["justified", "rejected"]), **dispute))
        events.append(
            PaymentReturned(
                version=3, payment_id=world.id("payment", n), bank_account_id=world.id("bank"), amount_minor=5, currency="EUR",
                booking_date=date(2026, 5, 4), value_date=date(2026, 5, 4), confirmation="booked", source="camt.053", allocations=[],
                unapplied_minor=0, returned_minor=5, refunded_minor=0, payer_customer_id=rng.choice([*customers, None]),
            )
        )  # fmt: skip
    return events


async def kept(world, tenant):
    found = {}
    for table, order in KEPT.items():
        found[table] = [
            tuple(value for name, value in row._mapping.items() if name != "tenant_id")
            for row in await world.rows(f"SELECT * FROM {table} ORDER BY {order}", tenant=tenant)  # noqa: S608 - our own names
        ]
    empty = {row[:3] for row in found["behaviour"] if not any(row[3:])}  # emptied buckets stay behind in some orders
    found["behaviour"] = [row for row in found["behaviour"] if row[:3] not in empty]
    return found


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_and_repetition_leaves_the_same(world, seed):
    events = history(world, seed)
    rng = random.Random(seed)
    tenants = [world.id("order", seed, n) for n in range(4)]
    await world.deliver([(tenants[0], event) for event in events])
    expected = await kept(world, tenants[0])
    assert all(expected.values())
    for tenant in tenants[1:]:
        shuffled = [*events, *rng.choices(events, k=len(events) // 2)]
        rng.shuffle(shuffled)
        shuffled.sort(key=lambda event: rng.choice([type(event).__name__, ""]))  # some long batches, some short ones
        await world.deliver([(tenant, event) for event in shuffled])
        assert await kept(world, tenant) == expected
    await world.invariants_hold()


async def test_two_tenants_with_the_same_ids_in_one_batch(world):
    one, two, someone, number = world.id("t1"), world.id("t2"), world.id("same customer"), world.id("same item")
    await world.deliver(
        [
            (one, world.item(number, someone, amount=500, paid_on=date(2026, 5, 1))),
            (two, world.item(number, someone, amount=700, paid_on=date(2026, 5, 31))),
        ]
    )
    await world.deliver([(one, world.account(someone, open_minor=1)), (two, world.account(someone, open_minor=9_000_000))])
    sums = [(await world.rows("SELECT settled_minor, days FROM behaviour", tenant=tenant))[0] for tenant in (one, two)]
    assert [(int(row.settled_minor), int(row.days)) for row in sums] == [(500, 0), (700, 30)]
    await world.review(one)
    await world.review(two)
    assert [len(await world.rows("SELECT 1 FROM hold WHERE active", tenant=tenant)) for tenant in (one, two)] == [0, 1]
    assert {row.tenant_id for row in await world.rows("SELECT tenant_id FROM open_item", tenant=one)} == {one}
