"""Payment plans: agreed, met, completed, broken through the gate, cancelled; reminders wait for them."""

import asyncio
import random
from datetime import date, timedelta
from typing import Any

import pytest
from contracts.customers import CustomerMerged
from dunning.handlers import disputes, plans
from dunning.handlers.promises import RefusedError
from dunning_world import World, morning, new_id
from shared.testing.events import published

DUE = date(2025, 3, 1)
DAY = DUE + timedelta(days=7)
FIRST, SECOND = DAY + timedelta(days=5), DAY + timedelta(days=35)
NAMES = ("PaymentPlanAgreed", "PaymentPlanCompleted", "PaymentPlanBroken", "PaymentPlanCancelled")


async def debtor(world: World, **known):
    """A customer who owes 100 (F-1) and 50 (F-2)."""
    await world.start()
    who, identity = world.customer()
    customer = who.data.customer_id
    one = world.item(customer, due=DUE, **known)
    two = world.item(customer, due=DUE, number="F-2", open_minor=50_00, original_minor=50_00)
    await world.feed(who, identity, one, two)
    return customer, one.data.item_id, two.data.item_id


async def agree(world: World, customer, items, *amounts: int, **changes: Any):
    values = {
        "customer_id": customer,
        "items": items,
        "currency": "EUR",
        "instalments": list(zip((FIRST, SECOND), amounts, strict=False)),
        "grace_days": 3,
        "now": morning(DAY),
    }
    async with world.database.transaction(world.tenant) as conn:
        return await plans.agree(conn, world.tenant, new_id(), **{**values, **changes})


async def cancel(world: World, plan) -> None:
    async with world.database.transaction(world.tenant) as conn:
        await plans.cancel(conn, world.tenant, plan.payment_plan_id, reason="agreed", by="tester")


async def judge(world: World, day: date):
    """Judges on a day; returns what was published so far, each as (event, what is left of the instalments)."""
    await plans.judge_plans(world.context(morning(day)), world.tenant)
    return [(each.envelope.type, [one.open_minor for one in each.data.instalments]) for each in await told(world)]


async def told(world: World):
    found = [each for each in await published(world.urls.owner, *NAMES) if each.tenant_id == world.tenant]
    assert [each.data.version for each in found] == list(range(1, len(found) + 1))
    return found


async def bank_through(world: World, day: date) -> None:
    await world.feed(world.reconciled(day))
    await world.open_gates(morning(day))


async def test_money_meets_the_instalments_in_order_and_completes_the_plan(world: World) -> None:
    customer, one, two = await debtor(world)
    plan = await agree(world, customer, [one, "F-2"], 90_00, 60_00)
    assert [each["item_id"] for each in plan.items] == [str(one), str(two)]
    assert await judge(world, DAY) == [("PaymentPlanAgreed", [90_00, 60_00])]
    await world.feed(world.item(customer, due=DUE, item_id=one, open_minor=20_00, value_date=FIRST))
    assert (await judge(world, DAY))[1:] == [("PaymentPlanAgreed", [10_00, 60_00])]
    await world.feed(
        world.item(customer, due=DUE, item_id=one, open_minor=0, value_date=FIRST + timedelta(days=3))
    )  # the last day of grace
    assert (await judge(world, DAY))[2:] == [("PaymentPlanAgreed", [0, 50_00])]
    await bank_through(world, FIRST + timedelta(days=9))
    assert len(await judge(world, FIRST + timedelta(days=10))) == 3
    paid = {"open_minor": 0, "original_minor": 50_00, "value_date": SECOND}
    await world.feed(world.item(customer, due=DUE, item_id=two, number="F-2", **paid))
    for _ in range(2):
        assert (await judge(world, SECOND))[3:] == [("PaymentPlanCompleted", [0, 0])]


async def test_a_missed_instalment_breaks_the_plan_only_when_the_bank_has_spoken_for_its_grace(world: World) -> None:
    customer, one, two = await debtor(world)
    await agree(world, customer, [one, two], 90_00, 60_00)
    await world.feed(world.item(customer, due=DUE, item_id=one, open_minor=50_00, value_date=FIRST))
    for through, count in ((FIRST + timedelta(days=2), 2), (FIRST + timedelta(days=3), 3)):
        await bank_through(world, through)
        assert len(await judge(world, FIRST + timedelta(days=9))) == count
    broken = (await told(world))[-1].data
    assert (type(broken).__name__, broken.broken_instalment, broken.missing_minor) == ("PaymentPlanBroken", 1, 40_00)


async def test_not_broken_while_a_payment_in_review_may_be_the_money(world: World) -> None:
    customer, one, two = await debtor(world)
    await agree(world, customer, [one, two], 90_00, 60_00)
    payment = new_id()
    await world.feed(world.payment_in_review(payment, unapplied_minor=90_00, candidates=[customer]))
    await bank_through(world, FIRST + timedelta(days=3))
    assert len(await judge(world, FIRST + timedelta(days=4))) == 1
    await world.feed(world.payment_in_review(payment, unapplied_minor=0))
    assert (await judge(world, FIRST + timedelta(days=4)))[1:] == [("PaymentPlanBroken", [90_00, 60_00])]


async def test_reminders_wait_for_the_plan_and_ask_for_what_it_does_not_cover(world: World) -> None:
    customer, one, _ = await debtor(world)
    plan = await agree(world, customer, [one], 40_00, 60_00)
    run = await world.day(DAY)
    assert (run.sent, dict(run.held)) == (1, {})
    assert [item.asked_minor for item in (await world.told())[0].items] == [50_00]  # F-2 alone
    assert [dict((await world.day(DAY + timedelta(days=number))).held) for number in (1, 8)] == [{"payment_plan": 1}] * 2
    await world.day(FIRST + timedelta(days=4))  # the run came first; the plan was broken that day
    assert (await told(world))[-1].data.status == "broken"
    # F-2 has had the step of this day's window; F-1 goes on with it, no level is made up for
    before = len(await world.told())
    assert (await world.day(FIRST + timedelta(days=5))).sent == 1
    [asked] = (await world.told())[before:]
    assert [item.item_id for item in asked.items] == [one]
    with pytest.raises(RefusedError, match="broken"):
        await cancel(world, plan)


async def test_a_mail_planned_before_the_plan_does_not_leave(world: World) -> None:
    customer, one, two = await debtor(world)
    await world.decide(DAY)
    await agree(world, customer, [one, two], 90_00, 60_00)
    await world.send(morning(DAY))
    assert (await world.run(DAY)).sent == 0
    assert world.mail_server.mails == []


async def test_what_is_credited_or_disputed_is_not_expected(world: World) -> None:
    customer, one, two = await debtor(world)
    await agree(world, customer, [one, two], 90_00, 60_00)
    gone = {"open_minor": 0, "original_minor": 50_00, "credited_minor": 50_00}
    await world.feed(world.item(customer, due=DUE, item_id=two, number="F-2", **gone))
    assert (await judge(world, DAY))[1:] == [("PaymentPlanAgreed", [90_00, 10_00])]
    async with world.database.transaction(world.tenant) as conn:
        opened = await disputes.open_dispute(
            conn, world.tenant, new_id(), item_id=one, amount_minor=30_00, currency="EUR", reason="quality"
        )
    await world.feed(world.item(customer, due=DUE, item_id=one, disputed_minor=30_00))
    assert (await judge(world, DAY))[2:] == [("PaymentPlanAgreed", [70_00, 0])]
    await world.feed(world.item(customer, due=DUE, item_id=one, open_minor=30_00, disputed_minor=30_00, value_date=FIRST))
    await bank_through(world, SECOND + timedelta(days=3))
    assert (await judge(world, SECOND + timedelta(days=4)))[3:] == [("PaymentPlanAgreed", [0, 0])]  # the contested part is not settled
    async with world.database.transaction(world.tenant) as conn:
        await disputes.resolve(conn, world.tenant, opened.dispute_id, resolution="justified")
    gone = {"open_minor": 0, "credited_minor": 30_00, "value_date": FIRST}
    await world.feed(world.item(customer, due=DUE, item_id=one, **gone))
    assert (await judge(world, SECOND + timedelta(days=4)))[4:] == [("PaymentPlanCompleted", [0, 0])]


async def test_a_plan_covers_what_is_not_disputed_when_it_is_agreed(world: World) -> None:
    customer, one, _ = await debtor(world, disputed_minor=40_00)
    with pytest.raises(RefusedError, match="open and uncontested of the items is 6000"):
        await agree(world, customer, [one], 50_00, 50_00)
    plan = await agree(world, customer, [one], 30_00, 30_00)
    assert plan.items[0]["amount_minor"] == 60_00


async def test_cancelled_once_and_the_items_may_be_planned_again(world: World) -> None:
    customer, one, two = await debtor(world)
    first = await agree(world, customer, [one], 40_00, 60_00)
    with pytest.raises(RefusedError) as refused:
        await agree(world, customer, [two, one], 90_00, 60_00)
    assert (refused.value.code, refused.value.pointer) == ("already-in-a-plan", "/items/1")
    await cancel(world, first)
    with pytest.raises(RefusedError, match="cancelled"):
        await cancel(world, first)
    again = await agree(world, customer, [two, one], 90_00, 60_00)
    assert again.status == "active"
    assert [row.status for row in await world.rows("SELECT status FROM payment_plan ORDER BY status")] == ["active", "cancelled"]


async def test_one_of_two_plans_for_an_item_that_are_agreed_at_once_is_refused(world: World) -> None:
    customer, one, _ = await debtor(world)
    done = await asyncio.gather(*(agree(world, customer, [one], 40_00, 60_00) for _ in range(4)), return_exceptions=True)
    assert sorted(getattr(each, "code", "made") for each in done) == ["already-in-a-plan"] * 3 + ["made"]  # type: ignore[type-var]


async def test_a_number_that_two_items_carry_and_items_of_two_entities_are_refused(world: World) -> None:
    customer, one, _ = await debtor(world)
    other = world.item(customer, due=DUE, number="F-1", entity=new_id())
    await world.feed(other)
    for items, code in ((["F-1"], "number-not-unique"), ([one, other.data.item_id], "several-entities"), (["F-2"], None)):
        if code is None:
            await agree(world, customer, items, 20_00, 30_00)
            continue
        with pytest.raises(RefusedError) as refused:
            await agree(world, customer, items, 100_00, 100_00)
        assert refused.value.code == code


async def test_whoever_stands_for_a_merged_customer_keeps_his_plan(world: World) -> None:
    customer, one, two = await debtor(world)
    await agree(world, customer, [one, two], 90_00, 60_00)
    survivor, identity = world.customer()
    into = survivor.data.customer_id
    ids = {"customer_id": customer, "into_customer_id": into}
    merged = CustomerMerged(version=2, source_system="erp", customer_number="A", status="merged", **ids)
    await world.feed(survivor, identity, world.message(merged))
    await world.feed(world.item(into, due=DUE, item_id=one, open_minor=10_00, value_date=FIRST))  # matching moved it, and it was paid
    assert dict((await world.day(DAY)).held) == {"payment_plan": 1}
    assert (await told(world))[-1].data.instalments[0].open_minor == 0


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_and_repetition_of_what_is_paid_leaves_the_same_plan(world: World, seed: int) -> None:
    customer, one, two = await debtor(world)
    await agree(world, customer, [one, two], 90_00, 60_00)
    rest = {"original_minor": 50_00, "number": "F-2"}
    late = FIRST + timedelta(days=4)
    events = [
        world.item(customer, due=DUE, item_id=one, open_minor=60_00, value_date=FIRST),
        world.item(customer, due=DUE, item_id=one, open_minor=40_00, value_date=late),
        world.item(customer, due=DUE, item_id=one, open_minor=60_00, value_date=FIRST),  # what was late went back
        world.item(customer, due=DUE, item_id=two, open_minor=10_00, value_date=FIRST, **rest),
        world.item(customer, due=DUE, item_id=two, open_minor=0, value_date=late, **rest),
    ]
    rng = random.Random(seed)
    for event in rng.sample([*events, *events], k=2 * len(events)):
        await world.feed(event)
        await judge(world, DAY)
    await bank_through(world, FIRST + timedelta(days=3))
    await judge(world, late)
    broken = (await told(world))[-1].data
    assert (broken.status, broken.broken_instalment, broken.missing_minor) == ("broken", 1, 10_00)
    assert ([each.left_minor for each in broken.items], [each.open_minor for each in broken.instalments]) == ([60_00, 0], [0, 60_00])


async def test_a_plan_is_no_other_tenants(world: World) -> None:
    customer, one, _ = await debtor(world)
    plan = await agree(world, customer, [one], 40_00, 60_00)
    stranger = World(world.database, world.urls, world.mail_server)
    async with world.database.transaction(stranger.tenant) as conn:
        assert await plans.cancel(conn, stranger.tenant, plan.payment_plan_id, reason="x", by="y") is None
    with pytest.raises(RefusedError, match="not this customer's"):
        await agree(stranger, customer, [one], 40_00, 60_00)
