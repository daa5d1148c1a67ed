"""Duplicates are judged together while they are merged, and each by itself before and after, whatever the order of events."""

import asyncio
import random
from datetime import date
from uuid import UUID

import pytest
from contracts.customers import CustomerMerged, CustomerUnmerged
from scoring.domain.behaviour import summarise
from scoring.handlers import credit
from scoring.storage.credit import cases, policy_of
from shared.aliases import members


def merged(one: UUID, into: UUID, version: int = 2) -> CustomerMerged:
    return CustomerMerged(
        version=version, customer_id=one, source_system="erp", customer_number="A", into_customer_id=into, status="merged"
    )


def separated(one: UUID, into: UUID, version: int = 3) -> CustomerUnmerged:
    return CustomerUnmerged(
        version=version, customer_id=one, source_system="erp", customer_number="A", into_customer_id=into, status="separate"
    )


async def case_of(world, customer, tenant=None):
    tenant = tenant or world.tenant
    async with world.database.transaction(tenant) as conn:
        policy = await policy_of(conn, tenant)
        (found,) = await cases(conn, tenant, [customer], policy, world.now)
    return found


@pytest.fixture
def pair(world):
    return world.id("A", world.tenant), world.id("B", world.tenant)


async def test_exposure_behaviour_and_hold_follow_the_survivor_and_come_back(world, pair):
    a, b = pair
    await world.feed(
        world.customer(a), world.customer(b, customer_number="C-2"),
        world.account(a, open_minor=9_000_000), world.account(b, open_minor=100),
        world.item(world.id("i", a), a, paid_on=date(2026, 5, 31)), world.item(world.id("i", b), b, paid_on=date(2026, 5, 1)),
    )  # fmt: skip
    await world.review()
    held = {row.customer_id: row.active for row in await world.rows("SELECT customer_id, active FROM hold")}
    assert held == {a: True}
    await world.feed(merged(a, b))
    await world.review()
    found = await case_of(world, b)
    assert found.exposure.minor == 9_000_100
    assert summarise(found.buckets, date(2026, 6, 15)).settled == 2
    [placed] = [event for event in await world.published("CreditHoldPlaced") if event.customer_id == b]
    assert placed.exposure_minor == 9_000_100
    await world.feed(world.account(a, 2, open_minor=8_000_000))  # late, of the old one
    await world.review()
    assert (await case_of(world, b)).exposure.minor == 8_000_100
    await world.feed(separated(a, b))
    await world.review()
    assert [(await case_of(world, one)).exposure.minor for one in (a, b)] == [8_000_000, 100]
    assert [event.customer_id for event in await world.published("CreditHoldReleased")] == [b]
    await world.invariants_hold()


async def test_a_person_who_holds_a_duplicate_holds_the_survivor(world, pair):
    a, b = pair
    await world.feed(world.customer(a), world.customer(b, customer_number="C-2"))
    async with world.database.transaction(world.tenant) as conn:
        await credit.change_hold(conn, world.tenant, a, active=True, note="no", actor="me", expires_on=None, now=world.now)
    await world.feed(merged(a, b))
    await world.review()
    assert [event.reason for event in await world.published("CreditHoldPlaced") if event.customer_id == b] == ["duplicate_held"]
    await world.feed(separated(a, b))
    await world.review()
    rows = await world.rows("SELECT customer_id, active FROM hold ORDER BY active")
    assert [(row.customer_id, row.active) for row in rows] == [(b, False), (a, True)]


async def test_a_credit_check_of_the_old_number_takes_the_survivors_room(world, pair):
    a, b = pair
    await world.feed(world.customer(a), world.customer(b, customer_number="C-2"), merged(a, b))
    await world.review()
    async with world.database.transaction(world.tenant) as conn:
        limit = (await credit.review_one(conn, world.tenant, b, world.now)).outcome.terms.limit_minor

    async def check(customer):
        async with world.database.transaction(world.tenant) as conn:
            return await credit.check_credit(conn, world.tenant, customer, amount_minor=limit, currency="EUR", now=world.now)

    answers = await asyncio.gather(check(a), check(b))
    assert {answer["customer_id"] for answer in answers} == {b}
    assert sorted(answer["decision"] for answer in answers).count("approved") == 1
    checked = next(answer for answer in answers if answer["decision"] == "approved")
    issued = world.invoice(world.id("late", a), a, amount=limit, credit_check_id=checked["credit_check_id"])
    await world.feed(issued, world.item(issued.invoice_id, a, amount=limit))
    assert (await case_of(world, b)).exposure.reserved_minor == 0
    await world.invariants_hold()


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_and_repetition_is_judged_the_same(world, seed):
    rng = random.Random(seed)
    who = [world.id("customer", n) for n in range(4)]
    events = []
    for n in range(20):
        item, customer = world.id("item", n), rng.choice(who)
        events += [world.item(item, customer, 1), world.item(item, customer, 2, paid_on=date(2026, 5, rng.randrange(1, 28)))]
        events.append(world.account(rng.choice(who), n + 1, open_minor=rng.randrange(1, 10**6)))
    events += [merged(who[0], who[1], 2), merged(who[1], who[2], 2), separated(who[1], who[2], 3), merged(who[3], who[0], 2)]
    if seed % 2:
        events.append(separated(who[0], who[1], 5))

    async def judged(tenant):
        await world.review(tenant)
        async with world.database.transaction(tenant) as conn:
            policy = await policy_of(conn, tenant)
            stand = sorted(set((await members(conn, tenant, who)).values()))
            found = await cases(conn, tenant, stand, policy, world.now)
        scores = await world.rows("SELECT customer_id, score FROM score WHERE customer_id = ANY(:ids)", tenant=tenant, ids=stand)
        sums = {each.customer_id: (each.exposure, summarise(each.buckets, date(2026, 6, 15))) for each in found}
        return sums, {row.customer_id: row.score for row in scores}

    tenants = [world.id("order", seed, n) for n in range(3)]
    await world.deliver([(tenants[0], event) for event in events])
    expected = await judged(tenants[0])
    assert len(expected[0]) == (3 if seed % 2 else 2)
    for tenant in tenants[1:]:
        shuffled = [*events, *rng.choices(events, k=10)]
        rng.shuffle(shuffled)
        for event in shuffled:
            await world.deliver([(tenant, event)])
            if rng.random() < 0.1:
                await world.review(tenant)
        assert await judged(tenant) == expected
    await world.invariants_hold()
