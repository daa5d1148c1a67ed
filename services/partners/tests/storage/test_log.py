"""The public log: every event once, positions without a gap, nothing skipped."""

import asyncio
from types import SimpleNamespace
from uuid import UUID

from contracts.catalogue import consumed_by
from partners import handlers, storage
from partners.worker import ROUTES
from shared import migrations
from shared.clock import machine_now
from shared.service import check
from shared.testing.events import context, message

ONE, TWO = UUID(int=101), UUID(int=102)


def job(runtime):
    return SimpleNamespace(database=runtime.database)


async def log(runtime, *messages):
    async with runtime.database.transaction(*{m.tenant_id for m in messages}) as conn:
        await handlers.log_events(conn, messages, context(machine_now()))


async def read(runtime, tenant, after=0):
    async with runtime.database.transaction(tenant) as conn:
        return [row.position for row in await storage.feed(conn, tenant, after=after, events=[], limit=10_000)]


async def test_the_schema_is_that_of_the_code(urls):
    await migrations.check_unchanged("partners", urls.owner)


def test_every_public_event_is_routed():
    assert {event.__name__ for event in ROUTES} == consumed_by("partners")
    assert "CustomerIdentityChanged" not in {event.__name__ for event in ROUTES}


async def test_an_event_enters_once_whatever_the_repetition_and_each_tenant_has_its_own_log(runtime, received):
    both = [message(tenant, received(number)) for number in range(50) for tenant in (ONE, TWO)]
    await log(runtime, *both)
    await log(runtime, *reversed(both))
    for tenant in (ONE, TWO):
        await handlers.give_positions(job(runtime), tenant)
    assert await read(runtime, ONE) == await read(runtime, TWO) == list(range(1, 51))


async def test_an_entry_without_position_is_invisible(runtime, received):
    await log(runtime, message(ONE, received(1)))
    assert await read(runtime, ONE) == []


async def test_readers_skip_nothing_while_many_write(runtime, received):
    seen = []
    writing = asyncio.Event()

    async def write(lane):
        for number in range(40):
            await log(runtime, *(message(ONE, received(lane * 10_000 + number * 10 + step)) for step in range(5)))

    async def sequence():
        while not writing.is_set():
            await handlers.give_positions(job(runtime), ONE)
        await handlers.give_positions(job(runtime), ONE)

    async def follow():
        while not writing.is_set() or (await read(runtime, ONE, seen[-1] if seen else 0)):
            seen.extend(await read(runtime, ONE, seen[-1] if seen else 0))
            await asyncio.sleep(0.005)

    tasks = [asyncio.create_task(sequence()), asyncio.create_task(sequence()), asyncio.create_task(follow())]
    await asyncio.gather(*(write(lane) for lane in range(4)))
    writing.set()
    await asyncio.gather(*tasks)
    seen.extend(await read(runtime, ONE, seen[-1] if seen else 0))
    assert seen == list(range(1, 801))
    assert all(value is True for value in (await check(runtime.service, runtime.settings)).values())


async def test_a_batch_is_one_statement_beside_the_scope(runtime, received):
    await log(runtime, message(ONE, received(1)))
    before = runtime.database.statements
    await log(runtime, *(message(ONE, received(number)) for number in range(1000)))
    assert runtime.database.statements - before == 2
