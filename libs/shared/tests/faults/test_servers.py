"""Servers that die: the broker for a minute, the leader of three, Postgres in mid-transaction. Private servers: these are killed."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from onemachine.infrastructure import ADMIN_URL, BOOTSTRAP, Infrastructure
from onemachine.testing import infrastructure as start
from shared.clock import monotonic
from shared.testing.waiting import eventually
from toyservice.harness import Child, System, Zygote, history, system

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


@contextmanager
def _servers(folder: Path, *, brokers: int) -> Iterator[Infrastructure]:
    """Servers of our own, whatever the environment names."""
    kept = {name: os.environ.pop(name) for name in (ADMIN_URL, BOOTSTRAP) if name in os.environ}
    try:
        with start(folder, brokers=brokers) as made:
            yield made
    finally:
        os.environ.update(kept)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infrastructure]:
    with _servers(tmp_path_factory.mktemp("one"), brokers=1) as made:
        yield made


async def _running(toy: System, zygote: Zygote) -> list[Child]:
    return [await zygote.start(role, toy.environment, toy.log(role)) for role in ("worker", "relay")]


async def _ended(children: list[Child]) -> None:
    for child in children:
        assert child.status is None, f"it died of the outage: {child.log.read_text()[-3000:]}"
        assert await child.end(signal.SIGTERM) == 0, child.log.read_text()[-3000:]


class Load:
    """Feeds a toy until told to stop; the feeder waits for the broker as a relay would."""

    def __init__(self, toy: System, seed: int) -> None:
        self._toy, self._chance, self._enough = toy, random.Random(seed), asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        first = 1
        while not self._enough.is_set():
            await self._toy.feed(history(self._chance, first, 8), chance=self._chance)
            first += 8
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """Ends it once what is in hand is on the topics."""
        self._enough.set()
        await self._task


async def test_the_broker_is_away(one: Infrastructure, zygote: Zygote, tmp_path: Path, fault_seconds: float) -> None:
    """Processes live on, the outbox grows (the database still takes changes), and all of it leaves in order afterwards."""
    assert one.kafka is not None
    async with system(one.admin_dsn, one.bootstrap, tmp_path) as toy:
        leaving = await _running(toy, zygote)
        load = Load(toy, 31)
        await asyncio.sleep(5)
        children = await _running(toy, zygote)
        await asyncio.sleep(3)
        await asyncio.to_thread(one.kafka.kill)
        toy.injected[f"broker away for {fault_seconds:.0f} s"] += 1
        began = monotonic()
        await asyncio.sleep(3)
        for child in leaving:
            asked = monotonic()
            assert await child.end(signal.SIGTERM) == 0, child.log.read_text()[-3000:]
            assert monotonic() - asked < 30  # 25 s are promised; this machine is shared
            toy.injected["asked to end meanwhile"] += 1
        await asyncio.sleep(max(0.0, fault_seconds - (monotonic() - began)))
        assert all(child.status is None for child in children)
        began = monotonic()
        await asyncio.to_thread(one.kafka.restart)
        restarted = monotonic() - began
        await load.stop()
        await toy.settled(seconds=120)
        print(f"broker up again after {restarted:.0f} s, all applied {monotonic() - began - restarted:.0f} s later")  # noqa: T201
        await _ended(children)


async def test_postgres_is_killed_again_and_again(one: Infrastructure, zygote: Zygote, tmp_path: Path) -> None:
    assert one.postgres is not None
    held = False
    with suppress(asyncpg.InterfaceError):  # the database is dropped through a connection that died with the server
        async with system(one.admin_dsn, one.bootstrap, tmp_path) as toy:
            children = await _running(toy, zygote)
            load = Load(toy, 32)
            chance = random.Random(33)
            for _ in range(4):
                await asyncio.sleep(chance.uniform(2, 5))
                await asyncio.to_thread(one.postgres.kill)
                await asyncio.sleep(chance.uniform(0, 3))
                await asyncio.to_thread(one.postgres.start)
                toy.injected["Postgres killed"] += 1
            await load.stop()
            await toy.settled(seconds=120)
            await _ended(children)
            held = True
    assert held


async def test_three_brokers_lose_the_leader(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Replication 3, two must acknowledge: each broker is killed in turn under load, so every leader dies once."""
    with _servers(tmp_path_factory.mktemp("three"), brokers=3) as three:
        assert three.kafka is not None
        async with system(three.admin_dsn, three.bootstrap, tmp_path, replication=3) as toy:
            children = await _running(toy, zygote)
            load = Load(toy, 34)
            for broker in three.kafka.ids:
                await asyncio.sleep(5)
                await asyncio.to_thread(three.kafka.kill, broker)
                toy.injected["a leader killed"] += 1
                before = await toy.count("SELECT count(*) FROM effect")

                async def goes_on(before: int = before) -> bool:
                    return await toy.count("SELECT count(*) FROM effect") > before + 50

                began = monotonic()
                await eventually(goes_on, seconds=90, what="progress on two brokers")
                print(f"broker {broker} dead: effects go on after {monotonic() - began:.0f} s")  # noqa: T201 - the record
                await asyncio.to_thread(three.kafka.restart, broker)
            await load.stop()
            await toy.settled(seconds=120)
            await _ended(children)
