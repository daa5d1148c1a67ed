"""Whole histories, shuffled and repeated; and a bulk import beside live events."""

import asyncio
import random
import signal
from pathlib import Path
from statistics import median

import asyncpg
import pytest
from shared.clock import monotonic
from shared.db import Database
from shared.outbox import Outgoing, depth, publish
from shared.testing.fixtures import Infrastructure
from shared.testing.waiting import eventually
from toyservice.harness import TENANTS, Fed, System, Zygote, history, payment, reminder, system

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
BULK_DEPTH = 20_000
"""Bulk work waits while more than this is in the outbox."""


async def _kept(toy: System) -> dict[str, list[tuple]]:
    conn = await asyncpg.connect(toy.urls.check)
    kept = {
        table: [tuple(row) for row in await conn.fetch(f"SELECT {columns} FROM {table} ORDER BY {columns}")]  # noqa: S608 - our own text
        for table, columns in {
            "payment": "tenant_id, payment_id, version, account_id, amount_minor",
            "account": "tenant_id, account_id, total_minor",
            "reminded": "tenant_id, customer_id, times",
            "effect": "tenant_id, event_id, customer_id",
        }.items()
    }
    await conn.close()
    return kept


async def test_shuffled_and_repeated_histories_leave_the_same(infrastructure: Infrastructure, zygote: Zygote, tmp_path: Path) -> None:
    events = history(random.Random(51), 1, 60)
    results = []
    for seed in range(4):
        chance = random.Random(seed)
        async with system(infrastructure.admin_dsn, infrastructure.bootstrap, tmp_path) as toy:
            children = [await zygote.start(role, toy.environment, toy.log(role)) for role in ("worker", "relay")]
            shuffled = chance.sample(events, len(events))
            for first in range(0, len(shuffled), 150):
                await toy.feed(shuffled[first : first + 150], chance=chance)
            await toy.send(chance.sample(toy.sent, len(toy.sent)))
            toy.injected["whole histories repeated"] += 1
            try:
                await toy.settled()
            finally:
                for child in children:
                    await child.end()
            results.append(await _kept(toy))
    assert all(result == results[0] for result in results)


async def test_a_bulk_import_beside_live_events(toy: System, zygote: Zygote) -> None:
    """The import commits slices of 1,000 and waits while the outbox is deep; a live event stays a matter of seconds."""
    database = Database(toy.urls.app, application_name="import")
    live, bulk = TENANTS[:2]
    deepest = waited = 0
    fed = Fed()

    async def import_all() -> None:
        nonlocal deepest, waited
        for first in range(0, 30_000, 1000):
            async with database.transaction() as conn:
                while (deep := await depth(conn, BULK_DEPTH + 1)) > BULK_DEPTH:
                    waited += 1
                    await asyncio.sleep(0.05)
            data = [payment(number) for number in range(first, first + 1000)]
            async with database.transaction(bulk) as conn:
                await publish(conn, [Outgoing(bulk, each) for each in data])
            for each in data:
                fed.add(bulk, each)
            deepest = max(deepest, deep + 1000)

    importing = asyncio.create_task(import_all())

    async def waiting() -> int:
        return waited

    await eventually(waiting, what="the import waiting")  # nobody publishes yet: it fills the outbox to its limit and no further
    children = [await zygote.start(role, toy.environment, toy.log(role)) for role in ("worker", "relay")]
    latencies = []
    conn = await asyncpg.connect(toy.urls.check)
    while not importing.done() or len(latencies) < 20:
        data = reminder(len(latencies))
        fed.add(live, data)
        began = monotonic()
        async with database.transaction(live) as writing:
            await publish(writing, [Outgoing(live, data)])
        while await conn.fetchval("SELECT count(*) FROM effect") <= len(latencies):
            assert monotonic() - began < 60, "a live event waits behind the import"
            await asyncio.sleep(0.01)
        latencies.append(monotonic() - began)
        await asyncio.sleep(0.1)
    await importing
    await conn.close()
    await database.close()
    toy.fed = fed
    toy.injected["bulk events"] += 30_000
    assert deepest <= BULK_DEPTH + 1001
    print(  # noqa: T201 - the record
        f"outbox at most {deepest} deep, the import waited {waited} times; "
        f"{len(latencies)} live events took {median(latencies):.2f} s (median), {max(latencies):.2f} s at most"
    )
    await toy.settled(seconds=150)
    for child in children:
        assert await child.end(signal.SIGTERM) == 0
