"""What a buyer says of an e-invoice opens and lifts disputes, and pauses reminders."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest
from contracts.invoices import InvoiceStatusChanged, StatusAmount, StatusEntry, StatusReason
from dunning.handlers import disputes, statuses
from dunning_world import World, new_id
from shared.testing.events import published

DUE = date(2025, 3, 1)
AT = datetime(2025, 3, 2, 9, tzinfo=UTC)


def entry(status, *, amounts=(), reason="TX_TVA_ERR"):
    reasons = [StatusReason(code=reason, action="NIN")] if status in {206, 207, 208, 210} else []
    found = [StatusAmount(kind=kind, amount_minor=amount) for kind, amount in amounts]
    return StatusEntry(status=status, at=AT, message_id=f"m{status}", reasons=reasons, amounts=found)


def said(world: World, item, customer, version, outside, ours=None):
    newer = outside or ours
    return world.message(
        InvoiceStatusChanged(
            version=version,
            invoice_id=item,
            customer_id=customer,
            source_system="erp",
            invoice_number="F-1",
            currency="EUR",
            status=newer.status if newer else None,
            origin=None if newer is None else "outside" if outside else "ours",
            outside=outside,
            ours=ours,
        )
    )


async def events(world: World):
    found = await published(world.urls.owner, "DisputeOpened", "DisputeResolved")
    return [each.data for each in found if each.tenant_id == world.tenant]


@pytest.fixture
async def debtor(world: World):
    await world.start()
    who, identity = world.customer()
    item = new_id()
    await world.feed(who, identity, world.item(who.data.customer_id, due=DUE, item_id=item))
    return world, item, who.data.customer_id


async def test_in_dispute_contests_the_amount_and_approved_lifts_it(debtor) -> None:
    world, item, customer = debtor
    await world.feed(said(world, item, customer, 1, entry(207, amounts=[("MNATTC", 30_00)])))
    [opened] = await events(world)
    assert (opened.amount_minor, opened.reason, opened.origin, opened.item_id) == (30_00, "tx_tva_err", "outside", item)
    run = await world.day(DUE + timedelta(days=7))
    assert run.sent == 1
    [sent] = await world.told()
    assert [each.asked_minor for each in sent.items] == [70_00]
    await world.feed(said(world, item, customer, 2, entry(205)))
    _, lifted = await events(world)
    assert (type(lifted).__name__, lifted.version, lifted.resolution, lifted.origin) == ("DisputeResolved", 2, "withdrawn", "outside")


@pytest.mark.parametrize(
    ("status", "held"), [(210, {"disputed": 1}), (213, {"disputed": 1}), (207, {"disputed": 1}), (208, {"suspended": 1})]
)
async def test_refused_and_suspended_hold_the_reminder(debtor, status, held) -> None:
    world, item, customer = debtor
    await world.feed(said(world, item, customer, 1, entry(status)))
    assert (await world.day(DUE + timedelta(days=7))).held == held
    assert len(await events(world)) == (0 if status == 208 else 1)
    await world.feed(said(world, item, customer, 2, entry(209)))
    assert (await world.day(DUE + timedelta(days=8))).sent == 1


async def test_our_own_status_opens_nothing(debtor) -> None:
    world, item, customer = debtor
    await world.feed(said(world, item, customer, 1, None, ours=entry(207)))
    assert await events(world) == []
    # and ours beside the buyer's does not hide his, whatever is newer
    await world.feed(said(world, item, customer, 2, entry(210), ours=entry(212)))
    assert [each.amount_minor for each in await events(world)] == [100_00]


async def test_what_people_dispute_is_left_alone_and_not_disputed_twice(debtor) -> None:
    world, item, customer = debtor
    async with world.database.transaction(world.tenant) as conn:
        await disputes.open_dispute(conn, world.tenant, new_id(), item_id=item, amount_minor=40_00, currency="EUR", reason="quality")
    await world.feed(said(world, item, customer, 1, entry(210)))
    await world.feed(said(world, item, customer, 2, entry(205)))
    assert [(each.status, each.amount_minor, each.origin) for each in await events(world)] == [
        ("open", 40_00, "ours"),
        ("open", 60_00, "outside"),
        ("resolved", 60_00, "outside"),
    ]


async def test_a_status_before_its_item_waits_for_it(world: World) -> None:
    await world.start()
    customer, item, idle = new_id(), new_id(), new_id()
    await world.feed(said(world, item, customer, 1, entry(210)), said(world, idle, customer, 1, entry(205)))
    assert await events(world) == []
    waiting = await world.rows("SELECT invoice_id FROM invoice_status WHERE settled_version < version AND tenant_id = :t", t=world.tenant)
    assert [row.invoice_id for row in waiting] == [item]
    await world.feed(world.item(customer, due=DUE, item_id=item))
    await statuses.settle_waiting(world.context(AT), world.tenant)
    await statuses.settle_waiting(world.context(AT), world.tenant)
    assert [each.amount_minor for each in await events(world)] == [100_00]


@pytest.mark.parametrize("seed", range(10))
async def test_order_and_repetition_leave_the_same_disputed(debtor, seed) -> None:
    world, item, customer = debtor
    history = [
        said(world, item, customer, version + 1, entry(status)) for version, status in enumerate((202, 207, 205, 208, 210, 212, 207))
    ]
    chance = Random(seed)
    shuffled = history + chance.choices(history, k=4)
    chance.shuffle(shuffled)
    for each in shuffled:
        await world.feed(each)
    [row] = await world.rows("SELECT sum(amount_minor) AS n FROM dispute WHERE tenant_id = :t AND status = 'open'", t=world.tenant)
    assert row.n == 100_00


async def test_statements_of_a_batch_do_not_grow_with_it(world: World) -> None:
    counts = []
    for size in (2, 300):
        items = [new_id() for _ in range(size)]
        await world.feed(*(world.item(new_id(), due=DUE, item_id=item) for item in items))
        before = world.database.statements
        await world.feed(*(said(world, item, new_id(), 1, entry(207)) for item in items))
        counts.append(world.database.statements - before)
    assert counts[1] <= counts[0] <= 9
