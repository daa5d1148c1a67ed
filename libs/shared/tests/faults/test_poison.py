"""Poison over a real broker: at every position, of one tenant beside a healthy one, of many tenants at once."""

import random
from uuid import UUID

import pytest
from shared.clock import monotonic
from shared.ids import named_id
from shared.testing.waiting import eventually
from toyservice.handlers import REFUSED_MINOR
from toyservice.harness import TENANTS, System, Zygote, history, payment, record

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


async def test_poison_at_every_position_of_the_stream(toy: System, zygote: Zygote) -> None:
    """First, in between and last; bytes that are no event, what the handler refuses and what the database refuses."""
    chance = random.Random(21)
    for turn in range(10):
        events = history(chance, turn * 10 + 1, 10)
        records = []
        for tenant, data in events:
            toy.fed.add(tenant, data)
            records.append(record(tenant, data, prefix=toy.prefix))
        topic, key, _, headers = record(TENANTS[0], payment(900 + turn), prefix=toy.prefix)
        poison = [
            (topic, key, b"\xff\x00{", headers),
            record(TENANTS[0], payment(910 + turn, amount=REFUSED_MINOR), prefix=toy.prefix),
            record(TENANTS[1], payment(920 + turn, amount=10**9), prefix=toy.prefix),
        ]
        for position, one in zip((0, len(records) // 2, len(records) + 2), poison, strict=True):
            records.insert(position, one)
        toy.injected["poison"] += len(poison)
        await toy.send(records)
    children = [await zygote.start(role, toy.environment, toy.log(role)) for role in ("worker", "relay")]

    async def put_aside() -> bool:
        return await toy.count("SELECT count(*) FROM dead_letter") == 30

    await eventually(put_aside, seconds=60, what="30 dead letters")
    await toy.settled(dead_letters=30)
    for child in children:
        await child.end()


async def test_a_poisoning_tenant_is_parked_and_a_healthy_one_does_not_notice(toy: System, zygote: Zygote) -> None:
    healthy, poisoning = TENANTS[0], named_id("tenant", UUID(int=50))
    children = [await zygote.start(role, toy.environment, toy.log(role)) for role in ("worker", "relay")]
    began = monotonic()
    for turn in range(15):
        bad = [record(poisoning, payment(turn * 20 + number, amount=REFUSED_MINOR), prefix=toy.prefix) for number in range(20)]
        await toy.send(bad)
        toy.injected["poison of one tenant"] += len(bad)
        await toy.feed([(healthy, payment(turn * 10 + number)) for number in range(10)])

    async def healthy_done() -> bool:
        return await toy.count("SELECT count(*) FROM payment") >= 150

    await eventually(healthy_done, seconds=60, what="the healthy tenant's payments")

    async def aside(letters: int) -> bool:
        return await toy.count("SELECT count(*) FROM dead_letter") == letters

    await eventually(lambda: aside(300), seconds=60, what="300 dead letters")
    # only a later batch knows that the tenant is parked: what shares one with the poison is judged on its own merit
    await toy.feed([(poisoning, payment(10_000))])
    toy.fed.payments.popitem()  # good, but its tenant is parked by now
    await eventually(lambda: aside(301), seconds=60, what="301 dead letters")
    parked = await toy.count("SELECT count(*) FROM dead_letter WHERE parked")
    assert parked >= 1
    assert await toy.count(f"SELECT count(*) FROM dead_letter WHERE tenant_id <> '{poisoning}'") == 0  # noqa: S608 - our own text
    print(f"{monotonic() - began:.1f} s; {parked} of 301 put aside unread, its tenant being parked")  # noqa: T201 - the record
    await toy.settled(dead_letters=301)
    for child in children:
        await child.end()


async def test_poison_of_many_tenants_stops_the_process(toy: System, zygote: Zygote) -> None:
    worker = await zygote.start("worker", toy.environment, toy.log("worker"))
    tenants = [named_id("tenant", UUID(int=100 + number)) for number in range(6)]
    bad = [record(tenant, payment(number, amount=REFUSED_MINOR), prefix=toy.prefix) for number in range(110) for tenant in tenants]
    await toy.send(bad)
    toy.injected["poison of six tenants"] += len(bad)

    async def ended() -> bool:
        return worker.ended.is_set()

    await eventually(ended, seconds=60, what="the worker's end")
    assert worker.status == 1
    assert "WorkerStoppedError" in worker.log.read_text()
    # what it had put aside is there; nothing was dropped: a second start goes on from there
    assert await toy.count("SELECT count(*) FROM dead_letter") >= 6 * 100
