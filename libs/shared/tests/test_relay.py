"""The relay against a broker that does not answer; what needs a real one is in faults/."""

import asyncio

import asyncpg
import pytest
from prometheus_client import REGISTRY
from shared import metrics
from shared import relay as module
from shared.clock import monotonic
from shared.db import Database
from shared.failures import UnavailableError
from shared.kafka import Lanes
from shared.outbox import Outgoing, publish
from shared.recordbatches import read
from shared.relay import MEASURE_SECONDS, Notifier, Relay
from shared.testing.databases import Urls
from shared.testing.events import published
from shared.testing.waiting import eventually
from toyservice.harness import TENANTS, payment

TENANT = TENANTS[0]


class _Down:
    """A producer whose broker is away until told otherwise."""

    def __init__(self) -> None:
        self.away = True
        self.tried = 0
        self.sent: list[tuple] = []
        self.took = asyncio.Event()

    async def send(self, lanes: Lanes) -> None:
        self.tried += 1
        if self.away:
            raise UnavailableError("Kafka: away")
        self.sent += [(topic, *record[1:]) for (topic, _), batches in lanes.items() for batch in batches for record in read(batch)]
        self.took.set()

    async def close(self) -> None: ...


async def test_commits_during_an_outage_do_not_shorten_its_back_off(database: Database, urls: Urls) -> None:
    """The database takes changes meanwhile; rows stay until they are sent, and the broker is not asked at every commit."""
    producer = _Down()
    reading = Database(urls.relay, application_name="relay", pool_max=2)
    relay = Relay(reading, producer)
    database.after_commit.append(relay.wake)
    task = asyncio.create_task(relay.run())
    for version in range(1, 101):
        async with database.transaction(TENANT) as conn:
            await publish(conn, [Outgoing(TENANT, payment(1, version))])
        await asyncio.sleep(0.01)
    assert 2 <= producer.tried <= 20
    assert len(await published(urls.owner)) == 100
    producer.away = False

    async def sent() -> bool:
        return len(producer.sent) >= 100

    await eventually(sent)
    relay.stop()
    await asyncio.wait_for(task, 10)
    assert await published(urls.owner) == []
    await reading.close()


async def test_a_relay_that_waits_for_the_lock_leaves_the_database_alone(database: Database, urls: Urls) -> None:
    first, second = (Database(urls.relay, application_name=name, pool_max=2) for name in ("first", "second"))
    producers = [_Down(), _Down()]
    for producer in producers:
        producer.away = False
    relays = [Relay(first, producers[0]), Relay(second, producers[1])]
    tasks = [asyncio.create_task(relays[0].run())]
    await asyncio.sleep(0.5)
    database.after_commit.append(relays[1].wake)
    tasks.append(asyncio.create_task(relays[1].run()))
    for version in range(1, 51):
        async with database.transaction(TENANT) as conn:
            await publish(conn, [Outgoing(TENANT, payment(2, version))])
        await asyncio.sleep(0.01)
    assert second.statements <= 10

    async def empty() -> bool:
        return not await published(urls.owner)

    await eventually(empty)
    for relay in relays:
        relay.stop()
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert producers[1].sent == []
    assert len(producers[0].sent) == 50
    for each in (first, second):
        await each.close()


async def test_a_commit_of_another_process_wakes_the_relay_that_has_dozed_off(database: Database, urls: Urls) -> None:
    producer = _Down()
    producer.away = False
    reading = Database(urls.relay, application_name="relay", pool_max=2)
    relay, notifier = Relay(reading, producer), Notifier(database)
    database.after_commit.append(notifier.wake)
    tasks = [asyncio.create_task(relay.run()), asyncio.create_task(notifier.run())]
    waits = []
    for version in range(1, 11):
        await asyncio.sleep(0.5)  # by now it looks every 200 ms by itself
        producer.took.clear()
        async with database.transaction(TENANT) as conn:
            await publish(conn, [Outgoing(TENANT, payment(2, version))])
        committed = monotonic()
        await producer.took.wait()
        waits.append(monotonic() - committed)
    assert sorted(waits)[5] < 0.05
    metrics.OUTBOX_DEPTH.set(9)

    async def told_empty() -> bool:
        return REGISTRY.get_sample_value("encours_outbox_depth") == 0

    await eventually(told_empty, seconds=MEASURE_SECONDS / 2, what="an empty outbox, sooner than it is counted again")
    relay.stop()
    notifier.stop()
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    database.after_commit.remove(notifier.wake)
    await reading.close()


async def test_what_was_sent_is_cleared_away_by_the_relay_itself(database: Database, urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Autovacuum would come a minute later. The relay's role may do it, and it does not hold up what is to be sent."""
    monkeypatch.setattr(module, "CLEAN_SECONDS", 0.1)
    owner = await asyncpg.connect(urls.owner)

    async def cleared() -> int:
        await owner.execute("SELECT pg_stat_clear_snapshot()")
        return await owner.fetchval("SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'outbox'")

    before = await cleared()
    producer = _Down()
    producer.away = False
    reading = Database(urls.relay, application_name="relay", pool_max=2)
    relay = Relay(reading, producer)
    database.after_commit.append(relay.wake)
    task = asyncio.create_task(relay.run())
    async with database.transaction(TENANT) as conn:
        await publish(conn, [Outgoing(TENANT, payment(4))])

    async def again() -> bool:
        return await cleared() > before

    await eventually(again)
    relay.stop()
    await asyncio.wait_for(task, 10)
    await reading.close()
    await owner.close()


async def test_the_outbox_is_read_in_its_order_and_never_whole(database: Database, urls: Urls) -> None:
    """A plan made while the table was empty, and kept, read all that had been sent since the last vacuum, at every look."""
    owner = await asyncpg.connect(urls.owner)
    whole = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'outbox'"
    await owner.execute("SELECT pg_stat_force_next_flush()")
    before = await owner.fetchval(whole)
    producer = _Down()
    producer.away = False
    reading = Database(urls.relay, application_name="relay", pool_max=2)
    relay = Relay(reading, producer)
    database.after_commit.append(relay.wake)
    task = asyncio.create_task(relay.run())
    for version in range(1, 21):
        async with database.transaction(TENANT) as conn:
            await publish(conn, [Outgoing(TENANT, payment(3, version))])
        await asyncio.sleep(0.02)

    async def sent() -> bool:
        return len(producer.sent) == 20

    await eventually(sent)
    relay.stop()
    await asyncio.wait_for(task, 10)
    database.after_commit.remove(relay.wake)
    await reading.close()  # its session tells what it did at its end
    looked = "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'outbox'"

    async def told() -> bool:
        return await owner.fetchval(looked) >= 20

    await eventually(told)
    assert await owner.fetchval(whole) == before
    await owner.close()
