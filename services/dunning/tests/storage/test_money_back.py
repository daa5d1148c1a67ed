"""Money that kept a promise or completed a plan goes back: both stand as if it had never come."""

import random
from datetime import date, timedelta

import pytest
from contracts.customers import CustomerMerged
from dunning.handlers import plans, promises
from dunning.handlers.promises import RefusedError
from dunning_world import World, morning, new_id
from shared.testing.events import published

DUE = date(2025, 3, 1)
DAY = DUE + timedelta(days=7)
PROMISED = DAY + timedelta(days=5)
LATE = PROMISED + timedelta(days=4)
MADE, KEPT, BROKEN = "PromiseMade", "PromiseKept", "PromiseBroken"
AGREED, COMPLETED, PLAN_BROKEN = "PaymentPlanAgreed", "PaymentPlanCompleted", "PaymentPlanBroken"


async def promise(world: World, customer, items=(), amount=100_00, due_on=PROMISED):
    async with world.database.transaction(world.tenant) as conn:
        return await promises.make(
            conn, world.tenant, new_id(), customer_id=customer, item_ids=items, amount_minor=amount, currency="EUR", due_on=due_on,
            now=morning(DAY),
        )  # fmt: skip


async def agree(world: World, customer, item, *instalments):
    async with world.database.transaction(world.tenant) as conn:
        return await plans.agree(
            conn, world.tenant, new_id(), customer_id=customer, items=[item], currency="EUR", instalments=instalments, grace_days=3,
            now=morning(DAY),
        )  # fmt: skip


def says(world: World, customer, item, open_minor, value_date=None):
    """The item at its next version; `value_date` is that of the latest money that stands on it."""
    return world.item(customer, due=DUE, item_id=item, open_minor=open_minor, value_date=value_date)


async def told(world: World, *names):
    """(event, version) of what was published."""
    found = [each for each in await published(world.urls.owner, *names) if each.tenant_id == world.tenant]
    return [(each.envelope.type, each.data.version) for each in found]


async def judge(world: World, day: date) -> list[str]:
    """Judges on a day; the events of promises so far, at versions without a gap."""
    await promises.judge_promises(world.context(morning(day)), world.tenant)
    found = await told(world, MADE, KEPT, BROKEN, "PromiseCancelled")
    assert [version for _, version in found] == list(range(1, len(found) + 1))
    return [name for name, _ in found]


async def judge_plans(world: World, day: date) -> list[str]:
    await plans.judge_plans(world.context(morning(day)), world.tenant)
    return [name for name, _ in await told(world, AGREED, COMPLETED, PLAN_BROKEN)]


async def bank_through(world: World, day: date) -> None:
    await world.feed(world.reconciled(day))
    await world.open_gates(morning(day))


async def kept(world: World):
    """A promise that money on its last day kept."""
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item])
    await world.feed(says(world, customer, item, 0, PROMISED))
    await judge(world, PROMISED)
    return customer, item


@pytest.mark.parametrize("about", ["its item", "anything"])
async def test_a_kept_promise_is_open_again_and_kept_by_the_next_money_in_time(world: World, about: str) -> None:
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item] if about == "its item" else [])
    await world.feed(says(world, customer, item, 0, DAY))
    assert await judge(world, DAY) == [MADE, KEPT]
    await world.feed(says(world, customer, item, 100_00))
    for _ in range(2):
        assert await judge(world, DAY) == [MADE, KEPT, MADE]
    await world.feed(says(world, customer, item, 0, PROMISED))
    for _ in range(2):
        assert await judge(world, PROMISED) == [MADE, KEPT, MADE, KEPT]


async def test_once_its_day_is_over_it_is_broken_and_late_money_in_its_place_keeps_nothing(world: World) -> None:
    customer, item = await kept(world)
    await bank_through(world, LATE)
    await world.feed(says(world, customer, item, 100_00))
    await judge(world, LATE)
    assert await judge(world, LATE) == [MADE, KEPT, MADE, BROKEN]
    await world.feed(says(world, customer, item, 0, LATE))
    assert await judge(world, LATE) == [MADE, KEPT, MADE, BROKEN]


async def test_it_is_not_broken_before_the_bank_has_spoken_nor_while_the_money_is_in_hand(world: World) -> None:
    customer, item = await kept(world)
    await world.feed(says(world, customer, item, 100_00), world.balance(customer, unapplied_minor=100_00))
    for through in (PROMISED - timedelta(days=1), PROMISED):
        await bank_through(world, through)
        await judge(world, LATE)
        assert await judge(world, LATE) == [MADE, KEPT, MADE]
    await world.feed(world.balance(customer))
    assert await judge(world, LATE) == [MADE, KEPT, MADE, BROKEN]


async def test_a_return_that_the_bank_takes_back_keeps_it_after_all(world: World) -> None:
    customer, item = await kept(world)
    await bank_through(world, LATE)
    await world.feed(says(world, customer, item, 100_00))
    for _ in range(2):
        await judge(world, LATE)
    await world.feed(says(world, customer, item, 0, PROMISED))
    assert await judge(world, LATE) == [MADE, KEPT, MADE, BROKEN, KEPT]


async def test_money_that_came_and_went_before_it_was_looked_at_kept_nothing_and_nor_does_late_money_then(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item])
    await world.feed(says(world, customer, item, 0, DAY), says(world, customer, item, 100_00))
    assert await judge(world, DAY) == [MADE]
    await world.feed(says(world, customer, item, 0, LATE))
    assert await judge(world, LATE) == [MADE]
    await bank_through(world, LATE)
    assert await judge(world, LATE) == [MADE, BROKEN]


async def test_of_two_payments_the_one_in_time_goes_back(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item], amount=50_00)
    await world.feed(says(world, customer, item, 50_00, PROMISED), says(world, customer, item, 0, LATE))
    assert await judge(world, LATE) == [MADE, KEPT]
    await world.feed(says(world, customer, item, 50_00, LATE))
    assert await judge(world, LATE) == [MADE, KEPT, MADE]


async def test_money_in_time_beside_late_money_that_was_another_s_keeps_it_once_that_goes(world: World) -> None:
    """Both stood, and only the latest day of both was told."""
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item], amount=50_00)
    await world.feed(says(world, customer, item, 50_00, LATE), says(world, customer, item, 0, LATE))
    await bank_through(world, LATE)
    assert await judge(world, LATE) == [MADE, BROKEN]
    await world.feed(says(world, customer, item, 50_00, PROMISED))
    assert await judge(world, LATE) == [MADE, BROKEN, KEPT]


async def test_what_was_paid_before_it_was_made_goes_back_and_it_stays_kept(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await world.feed(says(world, customer, item, 50_00, DAY - timedelta(days=1)))
    await promise(world, customer, [item], amount=50_00)
    await world.feed(says(world, customer, item, 0, PROMISED))
    assert await judge(world, PROMISED) == [MADE, KEPT]
    await world.feed(says(world, customer, item, 50_00, PROMISED))
    assert await judge(world, PROMISED) == [MADE, KEPT]


@pytest.mark.parametrize("first", ["paid", "lowered"])
async def test_of_an_invoice_that_is_lowered_no_more_is_to_be_paid(world: World, first: str) -> None:
    """What was too much is the customer's, and refunded to him."""
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item])
    whole = says(world, customer, item, 0, PROMISED) if first == "paid" else None
    less = world.item(customer, due=DUE, item_id=item, open_minor=0, original_minor=70_00, value_date=PROMISED)
    for event in filter(None, (whole, less)):
        await world.feed(event)
        assert await judge(world, PROMISED) == [MADE, KEPT]
    await bank_through(world, LATE)
    for _ in range(2):
        assert await judge(world, LATE) == [MADE, KEPT]


async def test_reminders_wait_for_it_again_though_nobody_has_looked_at_it_yet(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item])
    await world.feed(says(world, customer, item, 0, DAY))
    await judge(world, DAY)
    await world.feed(says(world, customer, item, 100_00))
    assert dict((await world.day(DAY)).held) == {"promised": 1}  # the run comes before the promise is judged
    days = [DAY + timedelta(days=number) for number in range(1, 9)]
    assert [(await world.day(day)).sent for day in days] == [0] * 6 + [1, 0]  # and go on once it is broken


async def test_what_was_agreed_to_be_no_promise_stays_so(world: World) -> None:
    customer, item = await world.debtor(DUE)
    made = await promise(world, customer, [item])
    async with world.database.transaction(world.tenant) as conn:
        await promises.cancel(conn, world.tenant, made.promise_id, reason="agreed", by="tester")
    await world.feed(says(world, customer, item, 0, DAY), says(world, customer, item, 100_00))
    assert await judge(world, DAY) == [MADE, "PromiseCancelled"]


async def test_the_promise_of_a_merged_customer_follows_what_was_his(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item])
    await world.feed(says(world, customer, item, 0, DAY))
    await judge(world, DAY)
    survivor, identity = world.customer()
    into = survivor.data.customer_id
    ids = {"customer_id": customer, "into_customer_id": into}
    merged = CustomerMerged(version=2, source_system="erp", customer_number="A", status="merged", **ids)
    await world.feed(survivor, identity, world.message(merged), says(world, into, item, 100_00))
    assert await judge(world, DAY) == [MADE, KEPT, MADE]


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_and_repetition_ends_the_same(world: World, seed: int) -> None:
    customer, item = await world.debtor(DUE)
    await promise(world, customer, [item])
    rng = random.Random(seed)
    standing = [DAY, None, PROMISED, None] if seed % 2 else [DAY, None, LATE, None, PROMISED]
    events = [says(world, customer, item, 100_00 if day is None else 0, day) for day in standing]
    for event in rng.sample([*events, *events], k=2 * len(events)):
        await world.feed(event)
        if rng.random() < 0.5:
            await judge(world, PROMISED)
    await bank_through(world, LATE)
    for _ in range(2):
        await judge(world, LATE)
    assert (await judge(world, LATE))[-1] == (BROKEN if seed % 2 else KEPT)


# --- plans ------------------------------------------------------------------------------------------------------------
async def test_a_completed_plan_goes_on_when_its_money_goes_back_and_reminders_wait_for_it(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await agree(world, customer, item, (PROMISED, 40_00), (LATE, 60_00))
    await world.feed(says(world, customer, item, 0, DAY))
    assert await judge_plans(world, DAY) == [AGREED, COMPLETED]
    await world.feed(says(world, customer, item, 100_00))
    with pytest.raises(RefusedError, match="in a payment plan already"):
        await agree(world, customer, item, (LATE, 100_00))
    assert dict((await world.day(DAY)).held) == {"payment_plan": 1}  # the run comes before the plan is judged
    assert await judge_plans(world, DAY) == [AGREED, COMPLETED, AGREED]
    [plan] = await world.rows("SELECT status, instalments, next_on FROM payment_plan")
    assert (plan.status, [each["open_minor"] for each in plan.instalments]) == ("active", [40_00, 60_00])
    await world.feed(says(world, customer, item, 0, PROMISED))
    for _ in range(2):
        assert await judge_plans(world, PROMISED) == [AGREED, COMPLETED, AGREED, COMPLETED]


async def test_it_breaks_where_an_instalment_s_day_is_over_by_then(world: World) -> None:
    customer, item = await world.debtor(DUE)
    await agree(world, customer, item, (PROMISED, 100_00))
    await world.feed(says(world, customer, item, 0, PROMISED))
    await judge_plans(world, PROMISED)
    await bank_through(world, LATE)
    await world.feed(says(world, customer, item, 100_00))
    assert await judge_plans(world, LATE) == [AGREED, COMPLETED, AGREED]
    assert await judge_plans(world, LATE) == [AGREED, COMPLETED, AGREED, PLAN_BROKEN]
    await agree(world, customer, item, (LATE, 100_00))
