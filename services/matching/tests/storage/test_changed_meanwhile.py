"""What is read without a lock is written only over the version that was read."""

import asyncio
from datetime import UTC, datetime

import pytest
from matching.domain.books import Books
from matching.handlers.matching import match
from matching.handlers.review import dismiss
from matching.storage.books import ChangedError, lock, look_again, save
from matching.storage.candidates import direct
from shared.failures import is_unavailable
from shared.testing.waiting import eventually

WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
async def pays(world, tenant, make):
    """Two payments that name one item."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    return [await world.pay(held, amount, "REF000001", number=amount) for amount in (600, 300)]


async def matched_unlocked(conn, tenant, payment, meanwhile):
    """Reads, lets `meanwhile` happen, decides on what was read and saves it."""
    found = await direct(conn, [(tenant, payment)])
    (item,) = found.items.values()
    read = Books(payments=found.payments, items=found.items)
    books = await lock(conn, accounts=[(tenant, item.account_id)], read=read)
    await meanwhile()
    books.allocate(books.payments[tenant, payment], item, "structured_reference")
    books.decided(books.payments[tenant, payment], None)
    await save(conn, books, NOW)


async def nothing():
    pass


async def stored(world, tenant):
    payments = await world.rows(tenant, "SELECT amount_minor, version, status FROM payment ORDER BY 1 DESC")
    items = await world.rows(tenant, "SELECT version, open_minor FROM open_item")
    written = await world.rows(
        tenant, "SELECT (SELECT count(*) FROM allocation), (SELECT count(*) FROM ledger_entry WHERE item_id IS NOT NULL)"
    )
    return [tuple(row) for row in (*payments, *items, *written)]


async def test_what_nobody_changed_is_written(world, tenant, pays):
    async with world.database.transaction(tenant) as conn:
        await matched_unlocked(conn, tenant, pays[0], nothing)
    assert await stored(world, tenant) == [(600, 2, "matched"), (300, 1, "received"), (2, 400), (1, 2)]


@pytest.mark.parametrize("which", [0, 1], ids=["the payment itself", "another one of its item"])
async def test_what_another_transaction_has_changed_is_left_to_it(world, tenant, pays, which):
    async def other():
        async with world.database.transaction(tenant) as conn:
            await matched_unlocked(conn, tenant, pays[which], nothing)

    with pytest.raises(ChangedError) as refused:
        async with world.database.transaction(tenant) as conn:
            await matched_unlocked(conn, tenant, pays[0], other)
    assert is_unavailable(refused.value)  # a worker handles the batch again, and puts nothing aside
    left = 400 if which == 0 else 700
    first, second = ((600, 2, "matched"), (300, 1, "received")) if which == 0 else ((600, 1, "received"), (300, 2, "matched"))
    assert await stored(world, tenant) == [first, second, (2, left), (1, 2)]


@pytest.mark.parametrize("which", [0, 1], ids=["the payment itself", "another one of its item"])
async def test_a_change_that_is_not_committed_yet_is_waited_for(world, tenant, pays, which):
    """Then the row that the statement saw first is the old one, and the one that it gets the lock of the new."""
    saved, commit = asyncio.Event(), asyncio.Event()

    async def other():
        async with world.database.transaction(tenant) as conn:
            await matched_unlocked(conn, tenant, pays[which], nothing)
            saved.set()
            await commit.wait()

    async def second():
        async with world.database.transaction(tenant) as conn:
            await matched_unlocked(conn, tenant, pays[0], nothing)

    first = asyncio.create_task(other())
    await saved.wait()
    waiting = asyncio.create_task(second())
    await eventually(lambda: world.rows(tenant, WAITING), what="waiting for a lock")
    commit.set()
    await first
    with pytest.raises(ChangedError):
        await waiting
    assert (await stored(world, tenant))[3:] == [(1, 2)]


async def test_what_was_settled_meanwhile_is_not_looked_at_again(world, tenant, pays):
    """A look at it would find nothing to decide, and come again with every round of the job."""
    async with world.database.transaction(tenant) as conn:
        await matched_unlocked(conn, tenant, pays[0], nothing)
    async with world.database.transaction(tenant) as conn:
        await look_again(conn, {(tenant, payment): (1, NOW) for payment in pays})
    rows = await world.rows(tenant, "SELECT status, next_look_at IS NOT NULL FROM payment ORDER BY 1")
    assert [tuple(row) for row in rows] == [("matched", False), ("received", True)]


async def test_what_a_person_dismisses_after_it_was_proposed_is_not_settled(world, tenant, pays, make):
    item = make.invoice_id(tenant, "F-1")

    async def looks():
        async with world.database.transaction(tenant) as conn:
            await match(conn, [(tenant, pays[0])], NOW, {})

    async with world.database.transaction(tenant) as conn:
        await dismiss(conn, tenant, pays[0], [item], "another one's")
        task = asyncio.create_task(looks())
        await eventually(lambda: world.rows(tenant, WAITING), what="waiting")
    await task
    assert await stored(world, tenant) == [(600, 1, "received"), (300, 1, "received"), (1, 1_000), (0, 1)]
    await looks()
    assert await stored(world, tenant) == [(600, 2, "unapplied"), (300, 1, "received"), (1, 1_000), (0, 1)]
