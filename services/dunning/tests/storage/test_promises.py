"""Promises and disputes: opened, kept, broken through the gate, resolved."""

from datetime import date, timedelta
from typing import Any

import pytest
from dunning.handlers import disputes, promises
from dunning.handlers.promises import RefusedError
from dunning_world import World, morning, new_id
from shared.testing.events import published

DUE = date(2025, 3, 1)
DAY = DUE + timedelta(days=7)
PROMISED = DAY + timedelta(days=5)


async def promise(world: World, customer, items=(), amount=100_00, **changes: Any):
    values = {
        "customer_id": customer,
        "item_ids": items,
        "amount_minor": amount,
        "currency": "EUR",
        "due_on": PROMISED,
        "now": morning(DAY),
    }
    async with world.database.transaction(world.tenant) as conn:
        return await promises.make(conn, world.tenant, new_id(), **{**values, **changes})


async def judge(world: World, day: date) -> list[tuple[str, int]]:
    """Judges on a day; returns what was published so far as (event, version)."""
    await promises.judge_promises(world.context(morning(day)), world.tenant)
    names = ("PromiseMade", "PromiseKept", "PromiseBroken", "PromiseCancelled")
    found = await published(world.urls.owner, *names)
    return [(each.envelope.type, each.data.version) for each in found if each.tenant_id == world.tenant]


async def test_kept_by_money_whose_value_date_is_in_time(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item])
    await world.feed(world.item(customer, due=DUE, item_id=item, open_minor=0, value_date=PROMISED))
    assert await judge(world, DAY) == [("PromiseMade", 1), ("PromiseKept", 2)]
    assert await judge(world, DAY) == [("PromiseMade", 1), ("PromiseKept", 2)]


@pytest.mark.parametrize("order", [1, -1])
async def test_late_money_keeps_no_promise_whatever_the_order_of_arrival(world: World, order: int) -> None:
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item])
    half = world.item(customer, due=DUE, item_id=item, open_minor=50_00, value_date=PROMISED)
    rest = world.item(customer, due=DUE, item_id=item, open_minor=0, value_date=PROMISED + timedelta(days=1))
    for each in (half, rest)[::order]:
        await world.feed(each)
    assert await judge(world, PROMISED + timedelta(days=2)) == [("PromiseMade", 1)]
    await world.feed(world.reconciled(PROMISED))
    await world.open_gates(morning(PROMISED))
    assert await judge(world, PROMISED + timedelta(days=2)) == [("PromiseMade", 1), ("PromiseBroken", 2)]


async def test_broken_only_when_the_bank_has_spoken_for_its_day(world: World) -> None:
    customer, _ = await world.debtor(DUE)
    await promise(world, customer)
    for through, told in ((PROMISED - timedelta(days=1), 1), (PROMISED, 2)):
        await world.feed(world.reconciled(through))
        await world.open_gates(morning(PROMISED))
        assert len(await judge(world, PROMISED + timedelta(days=1))) == told


async def test_not_broken_while_a_payment_in_review_may_be_the_money(world: World) -> None:
    customer, _ = await world.debtor(DUE)
    await promise(world, customer)
    payment = new_id()
    await world.feed(world.payment_in_review(payment, unapplied_minor=100_00, candidates=[customer]), world.reconciled(PROMISED))
    await world.open_gates(morning(PROMISED))
    assert len(await judge(world, PROMISED + timedelta(days=1))) == 1
    await world.feed(world.payment_in_review(payment, unapplied_minor=0))
    assert await judge(world, PROMISED + timedelta(days=1)) == [("PromiseMade", 1), ("PromiseBroken", 2)]


async def test_reminders_wait_for_the_promise_and_go_on_when_it_is_broken(world: World) -> None:
    customer, _ = await world.debtor(DUE)
    await promise(world, customer)
    days = [DAY + timedelta(days=number) for number in range(8)]
    assert [dict((await world.day(day)).held) for day in days[:6]] == [{"promised": 1}] * 6
    assert (await world.day(days[6])).held == {"promised": 1}  # the run came first; the promise was broken that day
    assert (await world.day(days[7])).sent == 1


async def test_a_partly_kept_promise_takes_only_what_is_missing_off(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item], amount=60_00)
    await world.feed(world.item(customer, due=DUE, item_id=item, open_minor=50_00, value_date=DAY))
    await world.day(DAY)
    assert (await world.told())[0].items[0].asked_minor == 40_00


async def test_cancelled_by_agreement_once(world: World) -> None:
    customer, _ = await world.debtor(DUE)
    made = await promise(world, customer)
    async with world.database.transaction(world.tenant) as conn:
        await promises.cancel(conn, world.tenant, made.promise_id, reason="agreed", by="tester")
    with pytest.raises(RefusedError, match="no longer open"):
        async with world.database.transaction(world.tenant) as conn:
            await promises.cancel(conn, world.tenant, made.promise_id, reason="agreed", by="tester")
    assert await judge(world, PROMISED + timedelta(days=9)) == [("PromiseMade", 1), ("PromiseCancelled", 2)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"due_on": DAY - timedelta(days=1)}, "due-in-the-past"),
        ({"amount": 100_01}, "more-than-open"),
        ({"items": [new_id()]}, "nothing-owed"),
        ({"currency": "CHF"}, "nothing-owed"),
    ],
)
async def test_promises_that_cannot_be_are_refused(world: World, changes, code) -> None:
    customer, _ = await world.debtor(DUE)
    with pytest.raises(RefusedError) as refused:
        await promise(world, customer, **changes)
    assert refused.value.code == code


# --- disputes ---------------------------------------------------------------------------------------------------------
async def dispute(world: World, item, amount):
    async with world.database.transaction(world.tenant) as conn:
        return await disputes.open_dispute(
            conn, world.tenant, new_id(), item_id=item, amount_minor=amount, currency="EUR", reason="quality"
        )


async def resolve(world: World, opened, resolution: str) -> None:
    async with world.database.transaction(world.tenant) as conn:
        await disputes.resolve(conn, world.tenant, opened.dispute_id, resolution=resolution)


async def test_a_dispute_counts_before_matching_says_so_and_at_most_what_is_open(world: World) -> None:
    _, item = await world.debtor(DUE)
    await dispute(world, item, 60_00)
    with pytest.raises(RefusedError, match="not disputed yet"):
        await dispute(world, item, 40_01)
    await dispute(world, item, 40_00)
    assert (await world.day(DAY)).held == {"disputed": 1}
    events = [each.data for each in await published(world.urls.owner, "DisputeOpened") if each.tenant_id == world.tenant]
    assert [event.amount_minor for event in events] == [60_00, 40_00]


async def test_a_rejected_dispute_is_asked_for_again(world: World) -> None:
    _, item = await world.debtor(DUE)
    opened = await dispute(world, item, 100_00)
    await world.day(DAY)
    await resolve(world, opened, "rejected")
    assert (await world.day(DAY + timedelta(days=1))).sent == 1
    with pytest.raises(RefusedError, match="resolved"):
        await resolve(world, opened, "rejected")


async def test_what_was_conceded_is_not_asked_for_until_it_is_credited(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await resolve(world, await dispute(world, item, 30_00), "justified")
    await world.day(DAY)
    await world.feed(world.item(customer, due=DUE, item_id=item, open_minor=70_00, credited_minor=30_00))
    await world.day(DUE + timedelta(days=21))
    assert [event.items[0].asked_minor for event in await world.told()] == [70_00, 70_00]
