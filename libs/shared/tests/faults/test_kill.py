"""kill -9 between any two steps of workers and relays: every event has exactly one effect and nothing is lost."""

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from shared.clock import monotonic
from shared.testing.fixtures import Infrastructure
from toyservice.harness import System, Zygote, history, system

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("ENCOURS_FAULT_KILLS", "200"))
LANES = 10
"""Systems side by side: the group of a killed worker waits for its session of 10 s to end, and the others use that time."""
STEPS = {
    "worker": ("consumer.in_transaction", "consumer.before_commit", "consumer.after_commit", "consumer.after_offsets"),
    "relay": ("relay.before_send", "relay.after_send", "relay.after_delete"),
}


class Killer:
    """Kills processes of one role again and again: at each failpoint in turn, at any of them, and at any moment at all."""

    def __init__(self, toy: System, zygote: Zygote, role: str, chance: random.Random, killed: Counter[str]) -> None:
        self.toy, self.zygote, self.role, self.chance, self.killed = toy, zygote, role, chance, killed

    async def run(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            plan = self.chance.random()
            steps = STEPS[self.role]
            name = "*" if plan < 0.2 else steps[sum(self.killed.values()) % len(steps)]
            failpoint = "" if plan > 0.8 else f"{name}:{self.chance.randrange(1, 6)}"
            child = await self.zygote.start(self.role, self.toy.environment, self.toy.log(self.role), failpoint=failpoint)
            # without a failpoint it dies at any moment, also while it starts or joins its group
            patience = self.chance.uniform(0.2, 14.0 if self.role == "worker" else 3.0) if not failpoint else 25.0
            try:
                await asyncio.wait_for(child.ended.wait(), patience)
            except TimeoutError:
                failpoint = ""
                await child.end()
            assert child.status == -signal.SIGKILL, child.log.read_text()[-3000:]
            self.killed[f"{self.role} at {name}" if failpoint else f"{self.role} at any moment"] += 1
            if sum(self.killed.values()) >= KILLS:
                enough.set()


async def _feed(toy: System, chance: random.Random, enough: asyncio.Event) -> None:
    first = 1
    while not enough.is_set():
        await toy.feed(history(chance, first, 10), chance=chance)
        first += 10
        await asyncio.sleep(0.4)


async def test_every_event_has_one_effect_after_200_kills(infrastructure: Infrastructure, zygote: Zygote, tmp_path: Path) -> None:
    seed = int(os.environ.get("ENCOURS_FAULT_SEED", "20260105"))
    killed: Counter[str] = Counter()
    enough = asyncio.Event()
    began = monotonic()
    async with AsyncExitStack() as stack:
        toys = [await stack.enter_async_context(system(infrastructure.admin_dsn, infrastructure.bootstrap, tmp_path)) for _ in range(LANES)]
        async with asyncio.TaskGroup() as group:
            for number, toy in enumerate(toys):
                group.create_task(_feed(toy, random.Random(f"{seed} feed {number}"), enough))
                for role in STEPS:
                    group.create_task(Killer(toy, zygote, role, random.Random(f"{seed} {role} {number}"), killed).run(enough))
        print(f"seed {seed}: {sum(killed.values())} kills in {monotonic() - began:.0f} s: {dict(sorted(killed.items()))}")  # noqa: T201
        assert sum(killed.values()) >= KILLS
        survivors = [await zygote.start(role, toy.environment, toy.log(role)) for toy in toys for role in STEPS]
        async with asyncio.TaskGroup() as group:
            for toy in toys:
                group.create_task(toy.settled(seconds=120))
        for child in survivors:
            assert await child.end(signal.SIGTERM) == 0, child.log.read_text()[-3000:]
    for role, steps in STEPS.items():
        for step in steps:
            assert killed[f"{role} at {step}"], f"nobody died at {step}"
