"""kill -9 of matching's worker and relay between any two steps; and Postgres killed under load."""

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import contextmanager, suppress

import asyncpg
import pytest
from onemachine.infrastructure import ADMIN_URL, BOOTSTRAP
from onemachine.testing import infrastructure as private
from shared.clock import monotonic
from shared.ids import new_id

pytestmark = [pytest.mark.fault, pytest.mark.timeout(500)]
KILLS_EACH = 7
SEED = os.environ.get("ENCOURS_FAULT_SEED", "20260302")


class Load:
    """Pairs, fed until told to stop: the payment leaves through matching's own relay, the invoice comes with repetitions."""

    def __init__(self, system, make, feed, seed: str, *, at_once: int = 60) -> None:
        self._system, self._make, self._feed, self._at_once = system, make, feed, at_once
        self._chance, self._enough = random.Random(seed), asyncio.Event()
        self.pairs = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        system, tenants = self._system, [new_id(), new_id()]
        held = {tenant: await system.account(tenant) for tenant in tenants}
        sent = []
        first = 0
        while not self._enough.is_set():
            numbers = range(first, first + self._at_once)
            fresh = []
            for tenant in tenants:
                await system.book(held[tenant], [self._feed.transfer(number) for number in numbers])
                fresh += [
                    system.record(
                        self._make.invoice(tenant, f"INV{number:06d}", 10_000, reference=f"REF{number:06d}", customer=f"C{number % 30}")
                    )
                    for number in numbers
                ]
            sent += fresh
            again = self._chance.choices(sent, k=len(fresh) // 5)
            system.injected["repetitions"] += len(again)
            await system.send(self._chance.sample(fresh, len(fresh)) + again)
            first += self._at_once
            self.pairs += len(fresh)
            await asyncio.sleep(0.4)

    async def stop(self) -> int:
        """Ends it and tells how many pairs it fed."""
        self._enough.set()
        await self._task
        return self.pairs


async def _kill(system, role: str, killed: Counter) -> None:
    """Starts the role again and again, to die at the Nth step that it passes."""
    chance = random.Random(f"{SEED} {role}")
    for _ in range(KILLS_EACH):
        child = await system.start(role, failpoint=f"*:{chance.randrange(1, 14)}")
        status = await asyncio.wait_for(child.process.wait(), 60)
        assert status == -signal.SIGKILL, child.tail()
        killed[role] += 1


async def test_everything_is_matched_once_after_kills_of_worker_and_relay(system, make, feed):
    load, killed, began = Load(system, make, feed, SEED), Counter(), monotonic()
    async with asyncio.TaskGroup() as group:
        for role in ("worker", "relay"):
            group.create_task(_kill(system, role, killed))
    print(f"seed {SEED}: {dict(killed)} killed in {monotonic() - began:.0f} s")  # noqa: T201 - the record
    survivors = [await system.start(role) for role in ("worker", "relay")]
    pairs = await load.stop()
    system.injected.update({f"kill -9 of a {role}": count for role, count in killed.items()})
    assert sum(killed.values()) >= 10
    await system.settled(payments=pairs, paid=pairs, seconds=150)
    await system.ended(*survivors)


@contextmanager
def _servers(folder):
    """Servers of our own, whatever the environment names."""
    kept = {name: os.environ.pop(name) for name in (ADMIN_URL, BOOTSTRAP) if name in os.environ}
    try:
        with private(folder) as made:
            yield made
    finally:
        os.environ.update(kept)


async def test_postgres_is_killed_under_load(make, feed, tmp_path_factory):
    held, chance = False, random.Random(64)
    with _servers(tmp_path_factory.mktemp("own")) as own, suppress(asyncpg.InterfaceError):
        # suppressed: the database is dropped through a connection that died with the server
        async with feed.opened(own.admin_dsn, own.bootstrap) as system:
            children = [await system.start(role) for role in ("worker", "relay")]
            await system.joined(1)
            load = Load(system, make, feed, "65")
            for _ in range(4):
                await asyncio.sleep(chance.uniform(3, 6))
                await asyncio.to_thread(own.postgres.kill)
                await asyncio.sleep(chance.uniform(0, 3))
                await asyncio.to_thread(own.postgres.start)
                system.injected["Postgres killed"] += 1
            pairs = await load.stop()
            await system.settled(payments=pairs, paid=pairs, seconds=120)
            await system.ended(*children)
            held = True
    assert held
