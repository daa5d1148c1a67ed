"""Two workers at one long statement: what touches nothing is booked by both at once, all else as if there were one."""

import asyncio
from uuid import UUID

import pytest
from bankdays import FIRST, Bank, book, job, money, waiting_for_a_lock
from handwork import refunded
from matching.handlers import files
from matching.handlers.ingest import TouchedError
from matching.handlers.slices import book_slice, import_slices
from matching.storage import statements
from matching.storage.bank import hold_account, hold_half
from shared.clock import machine_now

DAY = FIRST.isoformat()
COUNTED = "SELECT count(*) FILTER (WHERE confirmation = 'booked'), count(*) FILTER (WHERE confirmation <> 'booked') FROM payment"


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    return Bank(world, client, await world.account(tenant), camtfile)


async def brings(bank, lines, *, day=DAY):
    """A statement of these lines, each an amount and what else is said of it; it waits in slices of a thousand."""
    told = [bank.entry(amount, **{"day": day, **more}) for amount, more in lines]
    closing = money(sum(amount for amount, _ in lines))
    (found,) = await book(bank.client, bank.camtfile.statement(bank.held.iban, "0.00", closing, *told, day=day))
    assert found["verdict"] == "importing"


def numbered(count, first=0):
    return [(1_000, {"ref": f"L{n}", "e2e": f"E{n}"}) for n in range(first, first + count)]


async def beside(world, tenant, conn):
    """Books the next slice as if another worker were at the one after it."""
    kept = await statements.importing(conn, tenant)
    return await book_slice(conn, tenant, kept, machine_now(), beside=True, settle=True)


async def count(world, tenant):
    return tuple(await world.one(tenant, COUNTED))


async def test_another_worker_books_the_next_slices_and_what_comes_after_payments_waits_for_all_of_them(world, tenant, bank, make):
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, reference=f"REF{n:06d}") for n in (1, 2)))
    named = [(1_000, {"ref": f"N{n}", "e2e": f"N{n}", "structured": f"REF{n:06d}"}) for n in (1, 2)]
    lines = [named[0], *numbered(2_500), named[1], (-1_000, {"ref": "R", "e2e": "E0", "reason": "AC04"})]
    await brings(bank, lines)
    async with world.database.transaction(tenant) as conn:
        assert await beside(world, tenant, conn)
        other = asyncio.create_task(import_slices(job(world), tenant))
        await waiting_for_a_lock(world, tenant, 1)
        assert await count(world, tenant) == (1_502, 0)
        assert (await world.one(tenant, "SELECT count(*) FROM movement"))[0] == 0
    await other
    await import_slices(job(world), tenant)
    assert await count(world, tenant) == (2_502, 0)
    found = await world.rows(tenant, "SELECT status, count(*) FROM payment GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in found] == [("matched", 2), ("received", 2_499), ("returned", 1)]
    assert (await world.one(tenant, "SELECT verdict FROM statement")).verdict == "booked"
    await world.holds()


async def known(bank, **_):
    await bank.tells(bank.entry(1_000, ref="L5", e2e="E5", day=DAY))


async def known_otherwise(bank, **_):
    await bank.tells(bank.entry(1_000, e2e="E5", day=DAY))


async def waiting_return(bank, **_):
    await bank.books((-1_000, {"ref": "R", "e2e": "E5", "reason": "AC04"}))


async def refund_that_comes_back(bank, world, client, tenant, make):
    return await refunded(world, client, tenant, make, bank)


@pytest.mark.parametrize("touched", [known, known_otherwise, waiting_return, refund_that_comes_back])
async def test_what_touches_something_is_not_booked_beside_others(world, tenant, client, make, bank, touched):
    """It is booked alone, and stands as it would of a short statement."""
    name = await touched(bank, world=world, client=client, tenant=tenant, make=make)
    before = sum(await count(world, tenant))
    lines = numbered(1_100)
    if name:
        lines[5] = (600, {"ref": "L5", "e2e": name})
    await brings(bank, lines)
    with pytest.raises(TouchedError):
        async with world.database.transaction(tenant) as conn:
            await beside(world, tenant, conn)
    await asyncio.gather(import_slices(job(world), tenant), import_slices(job(world), tenant))
    await import_slices(job(world), tenant)
    fresh = 1_100 - (touched is not waiting_return)  # a return is no payment; all else is one of those that the statement tells
    assert await count(world, tenant) == (before + fresh, 0)
    returned = await world.rows(tenant, "SELECT end_to_end_id FROM payment WHERE status = 'returned'")
    assert [row[0] for row in returned] == (["E5"] if touched is waiting_return else [])
    await world.holds()


async def test_what_another_file_has_told_is_not_booked_beside_others(world, tenant, bank):
    head = f":20:X\r\n:25:{bank.held.iban}\r\n:28C:00001/001\r\n:60F:C260228EUR0,00\r\n"
    lines = ":61:2603010301C10,00NTRFNONREF\r\n:86:VIREMENT\r\n" * 1_100
    await book(bank.client, f"{head}{lines}:62F:C260301EUR11000,00\r\n-\r\n")
    await import_slices(job(world), tenant)
    await brings(bank, numbered(1_100))
    with pytest.raises(TouchedError):
        async with world.database.transaction(tenant) as conn:
            await beside(world, tenant, conn)
    await import_slices(job(world), tenant)
    assert await count(world, tenant) == (1_100, 0)
    await world.holds()


async def test_of_two_entries_far_apart_that_may_be_one_notified_payment_one_is(world, tenant, bank):
    await bank.tells(bank.entry(1_000, e2e="RENT", day=DAY))
    twice = [(1_000, {"ref": f"T{n}", "e2e": "RENT"}) for n in range(2)]
    await brings(bank, [twice[0], *numbered(1_100), twice[1]])
    await asyncio.gather(*(import_slices(job(world), tenant) for _ in range(2)))
    await import_slices(job(world), tenant)
    assert await count(world, tenant) == (1_102, 0)
    await world.holds()


async def test_two_that_name_one_item_at_once_do_not_pay_it_twice(world, tenant, bank, make):
    await world.feed(make.invoice(tenant, "F-1", 1_500, reference="REF000001"))
    twice = [(1_000, {"ref": f"T{n}", "e2e": f"T{n}", "structured": "REF000001"}) for n in range(2)]
    await brings(bank, [twice[0], *numbered(1_100), twice[1]])
    await asyncio.gather(*(import_slices(job(world), tenant) for _ in range(2)))
    await import_slices(job(world), tenant)
    await world.match(tenant)
    found = await world.rows(tenant, "SELECT status, allocated_minor FROM payment WHERE bank_reference LIKE 'T_' ORDER BY 2")
    assert [tuple(row) for row in found] == [("partly_matched", 500), ("matched", 1_000)]
    await world.holds()


async def test_a_statement_that_is_accepted_later_waits_for_the_one_that_is_being_booked(world, tenant, bank):
    """Though it came before: the days that files move are told apart in the order of what is booked."""
    lines = [bank.entry(1_000, ref=f"W{n}", day="2026-03-09") for n in range(3_100)]  # what is shorter is booked as it is accepted
    off = bank.camtfile.statement(bank.held.iban, "0.00", "1.00", *lines, day="2026-03-09", number=9)
    (rejected,) = await book(bank.client, off)
    assert rejected["verdict"] == "rejected"
    await brings(bank, numbered(1_100))
    async with world.database.transaction(tenant) as conn:
        await files.accept(conn, tenant, UUID(rejected["statement_id"]), reason="as it is", by="second", now=machine_now())
    assert str((await at_work(world, tenant)).statement_id) != rejected["statement_id"]
    while await at_work(world, tenant):
        await import_slices(job(world), tenant)
    assert await count(world, tenant) == (4_200, 0)
    await world.holds()


async def at_work(world, tenant):
    async with world.database.transaction(tenant) as conn:
        return await statements.importing(conn, tenant)


@pytest.mark.parametrize("alone", [True, False])
async def test_an_account_has_two_halves_and_nothing_else_while_one_is_held(world, tenant, bank, alone):
    account = bank.held.bank_account_id

    async def hold():
        async with world.database.transaction(tenant) as conn:
            await hold_account(conn, account, alone=alone)

    async with world.database.transaction(tenant) as one, world.database.transaction(tenant) as two:
        await hold_half(one, account)
        await asyncio.wait_for(hold_half(two, account), 10)
        task = asyncio.create_task(hold())
        await waiting_for_a_lock(world, tenant, 1)
        assert not task.done()
    await task
