"""Duplicates: whoever stands for a merged customer is reminded once, and everything comes back with the merge undone."""

from datetime import date
from uuid import UUID

from contracts.credit import CreditHoldPlaced
from contracts.customers import CustomerMerged, CustomerUnmerged
from dunning.handlers import promises
from dunning.storage import lists
from dunning_world import morning, new_id

DUE = date(2025, 3, 3)


def merged(world, one: UUID, into: UUID, version: int = 2):
    ids = {"customer_id": one, "into_customer_id": into}
    return world.message(CustomerMerged(version=version, source_system="erp", customer_number="A", status="merged", **ids))


def separated(world, one: UUID, into: UUID, version: int = 3):
    ids = {"customer_id": one, "into_customer_id": into}
    return world.message(CustomerUnmerged(version=version, source_system="erp", customer_number="A", status="separate", **ids))


async def pair(world) -> tuple[UUID, UUID]:
    one, two = world.customer(email="old@debtor.example"), world.customer(email="pay@debtor.example")
    await world.feed(*one, *two)
    return one[0].data.customer_id, two[0].data.customer_id


async def test_one_mail_to_the_survivor_asks_for_both_and_no_level_is_reached_twice(world):
    await world.start()
    a, b = await pair(world)
    first, second = world.item(a, due=DUE, number="OLD"), world.item(b, due=DUE, number="NEW")
    await world.feed(first, second, merged(world, a, b))
    day = await _first_mail_day(world)
    [mail] = world.mail_server.mails
    assert mail["to"] == "pay@debtor.example"
    assert all(number in str(mail.get_body()) for number in ("OLD", "NEW"))
    assert {item.item_id for told in await world.told() for item in told.items} == {first.data.item_id, second.data.item_id}
    await world.feed(world.item(b, due=DUE, number="OLD", item_id=first.data.item_id))  # matching moved it
    await world.day(date.fromordinal(day.toordinal() + 1))
    await world.feed(separated(world, a, b), world.item(a, due=DUE, number="OLD", item_id=first.data.item_id))
    await world.day(date.fromordinal(day.toordinal() + 2))
    assert len(world.mail_server.mails) == 1


async def _first_mail_day(world) -> date:
    """Runs days until the first step has sent something."""
    for ordinal in range(DUE.toordinal(), DUE.toordinal() + 40):
        await world.day(date.fromordinal(ordinal))
        if world.mail_server.mails:
            return date.fromordinal(ordinal)
    raise AssertionError("no mail")


async def test_money_in_hand_of_either_holds_the_mail_back(world):
    await world.start()
    a, b = await pair(world)
    await world.feed(world.item(b, due=DUE), world.balance(a, unapplied_minor=100_00), merged(world, a, b))
    for ordinal in range(DUE.toordinal(), DUE.toordinal() + 20):
        await world.day(date.fromordinal(ordinal))
    assert world.mail_server.mails == []
    reasons = {row.reason for row in await world.rows("SELECT reason FROM decision")}
    assert "in_credit" in reasons
    await world.feed(separated(world, a, b))
    await world.day(date.fromordinal(DUE.toordinal() + 20))
    assert len(world.mail_server.mails) == 1


async def test_a_duplicate_whom_a_court_protects_protects_the_survivor(world):
    await world.start()
    a, b = await pair(world)
    hold = CreditHoldPlaced(
        version=1, customer_id=a, active=True, reason="insolvency", exposure_minor=0, limit_minor=0, currency="EUR", decided_at=morning(DUE)
    )
    await world.feed(world.message(hold), world.item(b, due=DUE), merged(world, a, b))
    for ordinal in range(DUE.toordinal() + 1, DUE.toordinal() + 12):
        await world.day(date.fromordinal(ordinal))
    assert world.mail_server.mails == []
    assert {row.reason for row in await world.rows("SELECT reason FROM decision")} == {"insolvent"}
    await world.feed(separated(world, a, b))
    await world.day(date.fromordinal(DUE.toordinal() + 12))
    assert len(world.mail_server.mails) == 1


async def test_a_mail_planned_for_the_merged_one_does_not_leave(world):
    await world.start()
    a, b = await pair(world)
    await world.feed(world.item(a, due=DUE))
    ordinal = DUE.toordinal() + 1  # past the courtesy note, which never leaves late
    while not await world.rows("SELECT 1 FROM dispatch WHERE state = 'planned'"):
        await world.decide(date.fromordinal(ordinal))
        ordinal += 1
    planned = date.fromordinal(ordinal - 1)
    await world.feed(merged(world, a, b))
    await world.send(morning(planned))
    assert world.mail_server.mails == []
    assert [row.reason for row in await world.rows("SELECT reason FROM decision WHERE outcome = 'withdrawn'")] == ["merged"]
    await world.day(date.fromordinal(ordinal))
    assert [mail["to"] for mail in world.mail_server.mails] == ["pay@debtor.example"]


async def test_promises_and_disputes_follow_and_are_listed_with_the_survivor(world):
    await world.start()
    a, b = await pair(world)
    item = world.item(a, due=DUE)
    await world.feed(item)
    async with world.database.transaction(world.tenant) as conn:
        made = await promises.make(
            conn, world.tenant, new_id(), customer_id=a, item_ids=[], amount_minor=100_00, currency="EUR", due_on=date(2025, 6, 1),
            now=morning(date(2025, 3, 4)),
        )  # fmt: skip
    await world.feed(merged(world, a, b))
    for ordinal in range(DUE.toordinal(), DUE.toordinal() + 20):
        await world.day(date.fromordinal(ordinal))
    assert world.mail_server.mails == []  # promised
    async with world.database.transaction(world.tenant) as conn:
        for who in (a, b):
            assert [row.promise_id for row in await lists.promises(conn, world.tenant, who, None, None, 10)] == [made.promise_id]
    paid = world.item(b, due=DUE, open_minor=0, item_id=item.data.item_id, value_date=date(2025, 3, 20))
    await world.feed(paid)
    await world.day(date(2025, 3, 24))
    assert [row.status for row in await world.rows("SELECT status FROM promise")] == ["kept"]


async def test_any_order_of_merge_and_late_events_of_the_old_one_ends_alike(world):
    await world.start()
    a, b = await pair(world)
    await world.feed(merged(world, a, b), separated(world, a, b, version=3))
    await world.feed(merged(world, a, b, version=2))
    assert [row.stands for row in await world.rows("SELECT coalesce(survivor_id, id) AS stands FROM alias")] == [a]
    await world.feed(merged(world, a, b, version=4), world.item(a, due=DUE, number="LATE"))
    await _first_mail_day(world)
    assert [mail["to"] for mail in world.mail_server.mails] == ["pay@debtor.example"]
