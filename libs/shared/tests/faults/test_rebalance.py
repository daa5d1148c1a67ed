"""Workers that join, leave, freeze and lose their place: partitions move in mid-batch and nothing is applied twice."""

import asyncio
import random
import signal
from pathlib import Path

import pytest
from shared.batches import Batches
from shared.clock import BusinessClock, monotonic
from shared.consumer import Worker
from shared.db import Database
from shared.kafka import Offsets, consumer
from shared.service import prepare_inbox
from shared.testing.waiting import eventually
from toyservice import handlers
from toyservice.harness import TENANTS, System, Zygote, history, payment
from toyservice.service import SERVICE

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
SLOW = {"TOY_DELAY_SECONDS": "0.3", "ENCOURS_BATCH_MAX": "40"}


async def _feed(toy: System, chance: random.Random, enough: asyncio.Event) -> None:
    first = 1
    while not enough.is_set():
        await toy.feed(history(chance, first, 8), chance=chance)
        first += 8
        await asyncio.sleep(0.3)


async def test_workers_join_and_leave_in_mid_batch(toy: System, zygote: Zygote) -> None:
    enough = asyncio.Event()
    chance = random.Random(3)
    environment = {**toy.environment, **SLOW}
    feeding = asyncio.create_task(_feed(toy, random.Random(4), enough))
    relay = await zygote.start("relay", toy.environment, toy.log("relay"))
    workers = [await zygote.start("worker", environment, toy.log("worker"))]
    end = monotonic() + 45
    while monotonic() < end:
        if len(workers) == 1 or (len(workers) < 4 and chance.random() < 0.5):
            workers.append(await zygote.start("worker", environment, toy.log("worker")))
            toy.injected["a worker joined"] += 1
        else:
            leaving = workers.pop(chance.randrange(len(workers)))
            began = monotonic()
            # -SIGTERM: it was asked to leave before it had begun
            assert await leaving.end(signal.SIGTERM) in (0, -signal.SIGTERM), leaving.log.read_text()[-3000:]
            assert monotonic() - began < 30  # 25 s are promised; this machine is shared
            toy.injected["a worker left"] += 1
        await asyncio.sleep(chance.uniform(0.5, 3.0))
    enough.set()
    await feeding
    await toy.settled()
    for child in (relay, *workers):
        assert await child.end(signal.SIGTERM) == 0, child.log.read_text()[-3000:]
    assert sum(toy.injected[name] for name in ("a worker joined", "a worker left")) >= 10


async def test_a_worker_paused_beyond_its_session_goes_on_without_harm(toy: System, zygote: Zygote) -> None:
    """The zombie holds a batch, its partitions move, another worker handles them; then it wakes and finishes."""
    environment = {**toy.environment, **SLOW}
    relay = await zygote.start("relay", toy.environment, toy.log("relay"))
    zombie = await zygote.start("worker", environment, toy.log("zombie"))
    chance = random.Random(5)
    await toy.feed(history(chance, 1, 100))

    async def begun() -> bool:
        return await toy.count("SELECT count(*) FROM payment") > 0

    await eventually(begun, what="the first batch")
    zombie.tell(signal.SIGSTOP)
    toy.injected["paused for more than a session"] += 1
    began = monotonic()
    other = await zygote.start("worker", toy.environment, toy.log("other"))
    await toy.feed(history(chance, 101, 20), chance=chance)
    await asyncio.sleep(16 - min(1.0, monotonic() - began))
    zombie.tell(signal.SIGCONT)
    await toy.feed(history(chance, 121, 20), chance=chance)
    await toy.settled()
    for child in (relay, zombie, other):
        assert await child.end(signal.SIGTERM) == 0, child.log.read_text()[-3000:]


async def test_a_batch_whose_partitions_all_moved_away_commits_no_offsets_and_kills_nobody(
    toy: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers in this process: one is in a batch longer than the rebalance waits for it."""
    monkeypatch.setattr(handlers, "DELAY_SECONDS", 1.0)
    monkeypatch.setattr("shared.consumer.DRAIN_SECONDS", 0.0)
    databases = [Database(toy.urls.app, application_name=f"w{number}") for number in range(3)]
    await prepare_inbox(databases[0])
    workers = [
        Worker(
            Batches("toyservice", database, SERVICE.routes, offsets=Offsets(toy.bootstrap), topic_prefix=toy.prefix, clock=BusinessClock()),
            database,
            bootstrap_servers=toy.bootstrap,
            topic_prefix=toy.prefix,
            batch_max=100,
        )
        for database in databases
    ]
    tasks = []
    await toy.feed(history(random.Random(6), 1, 60))
    for worker in workers:
        tasks.append(asyncio.create_task(worker.run()))
        await asyncio.wait_for(worker.ready.wait(), 30)
        await asyncio.sleep(1.5)
    monkeypatch.setattr(handlers, "DELAY_SECONDS", 0.0)

    async def applied() -> bool:
        return await toy.count("SELECT count(*) FROM effect") == len(toy.fed.reminders) and await toy.count(
            "SELECT sum(version) FROM payment"
        ) >= sum(version for version, _ in toy.fed.payments.values())

    await eventually(applied, seconds=60)
    for worker in workers:
        worker.stop()
    await asyncio.gather(*tasks)
    assert set((await toy.verify()).values()) == {True}
    for database in databases:
        await database.close()


async def test_a_poll_that_outlasts_a_revocation_loses_nothing(toy: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a broker is away aiokafka revokes again at every attempt to join; a poll waits through all of them for the new assignment."""
    clients = []

    def remembered(*args: str, **options: str) -> object:
        clients.append(consumer(*args, **options))
        return clients[-1]

    monkeypatch.setattr("shared.consumer.new_consumer", remembered)
    database = Database(toy.urls.app, application_name="w")
    await prepare_inbox(database)
    batches = Batches(
        "toyservice", database, SERVICE.routes, offsets=Offsets(toy.bootstrap), topic_prefix=toy.prefix, clock=BusinessClock()
    )
    worker = Worker(batches, database, bootstrap_servers=toy.bootstrap, topic_prefix=toy.prefix)
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(worker.ready.wait(), 30)
    for number in range(1, 21):
        await worker.drain(clients[0])  # nothing is in line: only the poll in hand can lose what comes next
        await toy.feed([(TENANTS[0], payment(number))])

        async def applied(number: int = number) -> bool:
            return await toy.count("SELECT count(*) FROM payment") == number

        await eventually(applied, seconds=10, what=f"payment {number}")
    worker.stop()
    await running
    await database.close()


async def test_an_orderly_end_leaves_no_message_behind_its_offset(toy: System, zygote: Zygote, tmp_path: Path) -> None:
    """Twenty rolling restarts by SIGTERM under load: no loss, and what is committed in Kafka never runs ahead of the database."""
    del tmp_path
    enough = asyncio.Event()
    feeding = asyncio.create_task(_feed(toy, random.Random(8), enough))
    relay = await zygote.start("relay", toy.environment, toy.log("relay"))
    for _ in range(20):
        child = await zygote.start("worker", toy.environment, toy.log("worker"))
        await asyncio.sleep(2)
        status = await child.end(signal.SIGTERM)
        assert status in (0, -signal.SIGTERM), child.log.read_text()[-3000:]  # the latter: before it had begun
        toy.injected["restarted in order"] += status == 0
    assert toy.injected["restarted in order"] >= 10
    enough.set()
    await feeding
    last = await zygote.start("worker", toy.environment, toy.log("worker"))
    await toy.settled()
    offsets = Offsets(toy.bootstrap)

    async def caught_up() -> bool:
        ends = await offsets.ends(["PaymentReceived", "ReminderSent"], prefix=toy.prefix)
        committed = await offsets.committed(toy.prefix + "toyservice")
        return all(committed.get(partition, 0) == end for partition, end in ends.items())

    await eventually(caught_up)
    await offsets.close()
    for child in (relay, last):
        assert await child.end(signal.SIGTERM) == 0
