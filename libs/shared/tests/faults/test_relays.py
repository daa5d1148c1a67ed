"""Two relays at once, and two that change places: order per key is kept and nothing is lost."""

import asyncio
import json
import random
import signal
from collections import defaultdict

import asyncpg
import pytest
from shared.db import Database, fetch
from shared.outbox import Outgoing, publish
from shared.testing.waiting import eventually
from toyservice.harness import TENANTS, System, Zygote, history, payment

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


async def test_two_relays_keep_order_while_they_are_killed_and_cut_off(toy: System, zygote: Zygote) -> None:
    tenant = TENANTS[0]
    database = Database(toy.urls.app, application_name="writer")
    relays = [await zygote.start("relay", toy.environment, toy.log("relay")) for _ in range(2)]
    enough = asyncio.Event()
    written = 0

    async def write(number: int) -> None:
        nonlocal written
        version = 0
        while not enough.is_set():
            async with database.transaction(tenant) as conn:
                await fetch(conn, "SELECT pg_advisory_xact_lock(:n)", n=number)
                await publish(conn, [Outgoing(tenant, payment(number, version + step)) for step in range(1, 21)])
            version += 20
            written += 20
            await asyncio.sleep(0.02)

    writers = [asyncio.create_task(write(number)) for number in range(8)]
    chance = random.Random(11)
    admin = await asyncpg.connect(toy.urls.relay)
    for turn in range(24):
        await asyncio.sleep(chance.uniform(0.2, 1.0))
        if turn % 2:
            victim = relays.pop(chance.randrange(2))
            await victim.end()
            relays.append(await zygote.start("relay", toy.environment, toy.log("relay")))
            toy.injected["a relay killed"] += 1
        else:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'encours-toyservice-relay'"
            )
            toy.injected["the lock's connection cut"] += 1
    enough.set()
    await asyncio.gather(*writers)
    await admin.close()

    async def empty() -> bool:
        return await toy.count("SELECT count(*) FROM outbox") == 0

    await eventually(empty, what="the outbox empty")
    seen: dict[bytes, list[int]] = defaultdict(list)
    for key, value in await toy.records("PaymentReceived"):
        seen[key].append(json.loads(value)["version"])
    assert sum(len(set(versions)) for versions in seen.values()) == written
    for versions in seen.values():
        highest = 0
        for version in versions:
            assert version <= highest + 1, f"{version} overtook {highest + 1}"
            highest = max(highest, version)
    repeated = sum(len(versions) - len(set(versions)) for versions in seen.values())
    print(f"injected {dict(toy.injected)}; {written} events in order, {repeated} of them published again")  # noqa: T201 - the record
    for child in relays:
        assert await child.end(signal.SIGTERM) == 0, child.log.read_text()[-3000:]
    await database.close()


async def test_two_whole_processes_share_the_work(toy: System, zygote: Zygote) -> None:
    """Two of `worker` and two of `relay`: the effects are those of one."""
    children = [await zygote.start(role, toy.environment, toy.log(role)) for role in ("worker", "relay", "worker", "relay")]
    chance = random.Random(12)
    for first in range(1, 101, 20):
        await toy.feed(history(chance, first, 20), chance=chance)
    toy.injected["second worker and second relay"] += 1
    await toy.settled()
    for child in children:
        assert await child.end(signal.SIGTERM) == 0, child.log.read_text()[-3000:]
