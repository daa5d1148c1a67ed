"""A long statement that two workers book, killed again and again, beside notifications of what is in it."""

import asyncio
import io
import os
import random

import pytest
from matching.handlers.files import take_file
from shared.clock import machine_now, monotonic
from shared.ids import new_id
from shared.testing.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]
ENTRIES = 40_000
KILLS = 6
SEED = os.environ.get("ENCOURS_FAULT_SEED", "20260302")


async def test_a_statement_is_booked_once_by_workers_that_are_killed(system, make, feed, camtfile):
    tenant, chance = new_id(), random.Random(f"{SEED} statement")
    held = await system.account(tenant)
    named = [
        make.invoice(tenant, f"INV{number:06d}", 10_000, reference=f"REF{number:06d}", customer=f"C{number % 300}")
        for number in range(ENTRIES)
    ]
    workers, relay = [await system.start("worker"), await system.start("worker")], await system.start("relay")
    await system.joined(2)
    await system.send([system.record(one) for one in named])

    async def all_items() -> bool:
        return await system.count("SELECT count(*) FROM open_item") == ENTRIES

    await eventually(all_items, seconds=120, what="the items")
    early, beside = chance.sample(range(ENTRIES), 60), chance.sample(range(ENTRIES), 200)
    for number in early[:30]:
        await system.notify(held, feed.transfer(number))
    for number in early[30:]:  # the statement knows it by another name
        await system.notify(held, feed.transfer(number, bank_reference=f"N{number}"))
    lines = [
        camtfile.entry("100.00", ref=f"B{number}", e2e=f"E{number}", structured=f"REF{number:06d}", day=held.start_date.isoformat())
        for number in range(ENTRIES)
    ]
    file = camtfile.statement(held.iban, "0.00", f"{ENTRIES * 100}.00", *lines, day=held.start_date.isoformat())
    async with system.database.transaction(tenant) as conn:
        (taken,) = await take_file(conn, tenant, io.BytesIO(file), "a" * 64, by="bank", now=machine_now())
    assert taken.verdict == "importing", taken

    async def told() -> None:
        for number in beside:
            await system.notify(held, feed.transfer(number))

    telling, began = asyncio.create_task(told()), monotonic()
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.5, 2.5))
        killed = workers.pop(0)
        assert killed.alive, killed.tail()
        await killed.end()
        workers.append(await system.start("worker"))
        system.injected["kill -9 of a worker"] += 1
    await telling
    system.injected["notifications before and beside"] += len(early) + len(beside)
    left = await system.count("SELECT count(*) FROM statement_slice")
    print(f"{KILLS} killed in {monotonic() - began:.0f} s, {left} slices left then")  # noqa: T201 - the record
    await system.settled(payments=ENTRIES, paid=ENTRIES, seconds=150)
    await system.ended(*workers, relay)
