"""Waiting until a day's work is done, on the services' own word: their metrics, the gate, the runs.

Quiet means: every event that a relay has published has been handled by each of its consumers, no outbox holds any, and
nothing new came for a while. Invariant: every wait is bounded, and when it ends without success the error says what was
not done. Counters are compared with those at the start, so that a stack which ran before may be used; a service must not
be restarted while the play runs.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from contracts.catalogue import SERVICES, topics
from prometheus_client.parser import text_string_to_metric_families
from shared.clock import monotonic

from sandbox.demo.stage import Services

_POLL = 0.15
_QUIET_POLLS = 3
_NAMED = 5


class NotSettledError(Exception):
    """Something did not come to rest in time; the text says what."""


@dataclass
class Reading:
    """What the metrics say: events published by topic, handled by (service, topic), waiting by service, stopped consumers."""

    published: Counter[str] = field(default_factory=Counter)
    handled: Counter[tuple[str, str]] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    dead: Counter[tuple[str, str]] = field(default_factory=Counter)
    stopped: list[str] = field(default_factory=list)

    def add(self, service: str, text: str) -> None:
        """Take in one service's /metrics."""
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                topic, value = sample.labels.get("topic", ""), int(sample.value)
                match sample.name:
                    case "encours_relay_published_total":
                        self.published[topic] += value
                    case "encours_consumed_total":
                        self.handled[service, topic] += value
                    case "encours_outbox_depth":
                        self.waiting[service] += value
                    case "encours_dead_letters_total" | "encours_parked_total":
                        self.dead[service, topic] += value
                    case "encours_consumer_stopped" if value:
                        self.stopped.append(f"{service} has stopped {topic}: {sample.labels.get('why')}")


def unfinished(now: Reading, start: Reading) -> list[str]:
    """What is not done, in words; empty when all is quiet."""
    left = [f"{count} events in the outbox of {service}" for service, count in sorted(now.waiting.items()) if count]
    for name, topic in sorted(topics().items()):
        published = now.published[name] - start.published[name]
        for service in sorted(topic.consumers):
            behind = published - (now.handled[service, name] - start.handled[service, name])
            if behind > 0:
                left.append(f"{behind} of {published} {name} not handled by {service}")
    return left


class Settler:
    """Waits. `lag` is how many events were still to be handled when it last looked."""

    def __init__(self, services: Services, *, seconds: float) -> None:
        self._services, self._seconds = services, seconds
        self._start = Reading()
        self.events: Mapping[str, int] = {}
        self.dead_letters = 0
        self.lag = 0

    async def begin(self) -> None:
        """Note where the counters stand."""
        self._start = await self._read()

    async def quiet(self, what: str, tick: Callable[[], None] = lambda: None) -> None:
        """Returns once everything is quiet. Raises NotSettledError, at once when a consumer has stopped."""
        still, before, end = 0, Counter[str](), monotonic() + self._seconds
        while True:
            now = await self._read()
            left = unfinished(now, self._start)
            self.events = {name: now.published[name] - self._start.published[name] for name in sorted(now.published)}
            self.lag = sum(int(line.split()[0]) for line in left)
            self.dead_letters = sum(now.dead.values()) - sum(self._start.dead.values())
            tick()
            if now.stopped:
                raise NotSettledError(f"{what}: {'; '.join(now.stopped[:_NAMED])}")
            still = still + 1 if not left and now.published == before else 0
            if still >= _QUIET_POLLS:
                return
            if monotonic() > end:
                raise NotSettledError(f"{what}: after {self._seconds:.0f} s: {'; '.join(left[:_NAMED]) or 'events keep coming'}")
            before = now.published
            await asyncio.sleep(_POLL)

    async def until(self, what: str, done: Callable[[], Awaitable[str | None]]) -> None:
        """Returns once `done` gives None; it says otherwise what is missing. Raises NotSettledError."""
        end = monotonic() + self._seconds
        while missing := await done():
            if monotonic() > end:
                raise NotSettledError(f"{what}: after {self._seconds:.0f} s: {missing}")
            await asyncio.sleep(_POLL)

    async def payments_looked_at(self, day: date) -> None:
        """No payment waits for its first look."""

        async def missing() -> str | None:
            page = await self._services.matching.get("/v1/payments", status="received", limit=_NAMED)
            return f"{len(page['items'])} or more payments are still `received`" if page["items"] else None

        await self.until(f"matching on {day}", missing)

    async def gate_open(self, day: date) -> None:
        """Dunning's gate is open through `day` for every account."""

        async def missing() -> str | None:
            accounts = (await self._services.dunning.get("/v1/gate"))["accounts"]
            shut = [account for account in accounts if (account.get("open_through") or "") < day.isoformat()]
            return f"the gate is shut for {shut[0]}" if shut else None if accounts else "dunning knows no bank account"

        await self.until(f"gate of {day}", missing)

    async def run_done(self, day: date) -> None:
        """Dunning's run of `day` is done."""

        async def missing() -> str | None:
            run = await self._services.dunning.get(f"/v1/runs/{day}")
            return None if run["state"] == "done" else f"it is {run}"

        await self.until(f"dunning's run of {day}", missing)

    async def _read(self) -> Reading:
        reading = Reading()
        texts = await asyncio.gather(*(self._services.of(name).text("/metrics") for name in SERVICES))
        for name, text in zip(SERVICES, texts, strict=True):
            reading.add(name, text)
        return reading
