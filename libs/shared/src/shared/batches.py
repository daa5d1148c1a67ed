"""What a worker does with records of one topic: all of them in one transaction, or each where it belongs.

The order: decode and check each record; then in ONE transaction claim facts in the inbox, run the handler on what is left,
store dead letters; commit.

Invariants:
- an effect and the note that it happened (version, inbox row, dead letter) commit together, so a crash at any moment
  repeats a delivery and never an effect;
- poison is found by bisecting and put aside alone; what is unavailable is tried again until it is there;
- a tenant that poisons is parked: its messages are put aside unread, and nobody else notices.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.catalogue import topics
from contracts.envelope import ContractError, Event, Message, attributes, decode, done_by
from opentelemetry.trace import SpanKind
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import deadletters, inbox, metrics
from shared.clock import BusinessClock, machine_now, monotonic
from shared.db import Database, fetch
from shared.deadletters import DeadLetter
from shared.failpoints import failpoint
from shared.failures import is_unavailable, told
from shared.kafka import ConsumerRecord, Offsets
from shared.logging import log
from shared.telemetry import links, tracer
from shared.web.problems import stack

RETRY_SECONDS_MAX = 10.0
PARK_AFTER = 100
"""Dead letters of one tenant within PARK_WINDOW_SECONDS that park the tenant."""
PARK_WINDOW_SECONDS = 600.0
PARKED_READ_SECONDS = 30.0
PARKED_TENANTS_MAX = 5
"""More parked tenants than this look like a fault of ours: the worker stops."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler may use beside its connection. `now` is the business clock, read once per transaction."""

    now: datetime
    offsets: Offsets
    topic_prefix: str
    consumer: str


Handler = Callable[[AsyncConnection, Sequence[Message[Any]], Context], Awaitable[None]]
"""Handles new messages of one topic: loads, decides, stores, publishes; commits nothing."""
Routes = Mapping[type[Event], Handler]


class WorkerStoppedError(Exception):
    """The worker gave up because too much cannot be handled: a person has to look."""


@dataclass(slots=True)
class _Item:
    record: ConsumerRecord
    message: Message[Any]


class Batches:
    """A service's handlers, and what happens to what they cannot handle."""

    def __init__(
        self, name: str, database: Database, routes: Routes, *, offsets: Offsets, topic_prefix: str = "", clock: BusinessClock
    ) -> None:
        self.name = name
        self.topics = tuple(event.__name__ for event in routes)
        self.stopping = asyncio.Event()
        """Set by whoever wants an end: waiting for what is unavailable is given up then."""
        self._database = database
        self._routes = {event.__name__: (event, handler) for event, handler in routes.items()}
        self._offsets = offsets
        self._prefix = topic_prefix
        self._clock = clock
        self._dead: dict[UUID, deque[float]] = {}
        self._parked: set[UUID] = set()
        self._parked_read = 0.0

    async def handle(self, name: str, records: Sequence[ConsumerRecord]) -> None:
        """Handles records of one topic to the end: applied, skipped as known, or put aside as dead letters."""
        event, _ = self._routes[name]
        # only facts go through the inbox, which forgets
        oldest = machine_now() - inbox.KEPT if topics()[name].kind == "fact" else None
        done = done_by(self.name)
        items: list[_Item] = []
        dead: list[DeadLetter] = []
        for record in records:
            if record.value is None or done in record.headers:
                continue  # a tombstone (erasure travels as an event of its own), or what we told and did at once
            try:
                message = decode(event, record.headers, record.value)
            except (ContractError, RecursionError) as error:  # the latter: JSON nested beyond reason
                dead.append(self._letter(name, record, str(error)))
                continue
            if oldest is not None and message.envelope.time < oldest:
                dead.append(self._letter(name, record, "older than the inbox remembers", message))
            elif self._parked and message.tenant_id in self._parked:
                dead.append(self._letter(name, record, "its tenant is parked", message, parked=True))
            else:
                items.append(_Item(record, message))
        if dead:
            await self._put_aside(name, dead)
        if items:
            with tracer.start_as_current_span(
                f"process {name}",
                kind=SpanKind.CONSUMER,
                links=links(item.message.envelope.traceparent for item in items if item.message.envelope.traceparent),
                attributes={
                    "messaging.system": "kafka",
                    "messaging.operation.name": "process",
                    "messaging.destination.name": name,
                    "messaging.consumer.group.name": self.name,
                    "messaging.batch.message_count": len(items),
                },
            ):
                await self._apply(name, items)

    async def _apply(self, name: str, items: list[_Item]) -> None:
        """Applies items in one transaction; bisects when the database or the handler refuses them."""
        wait = 0.05
        while True:
            refused: Exception
            try:
                await self.transact(name, [item.message for item in items])
            except Exception as error:  # noqa: BLE001 - told apart below: unavailable, or poison to be found by bisecting
                refused = error
            else:
                return
            if not is_unavailable(refused):
                break
            metrics.BATCH_RETRIES.labels(name).inc()
            log.warning("batch_waits", topic=name, why=type(refused).__name__, detail=str(refused)[:200])
            if await self.pause(wait):
                raise refused
            wait = min(wait * 2, RETRY_SECONDS_MAX)
        if len(items) > 1:
            middle = len(items) // 2
            await self._apply(name, items[:middle])
            await self._apply(name, items[middle:])
            return
        log.error("poison", topic=name, stack=stack(refused))
        await self._put_aside(name, [self._letter(name, items[0].record, told(refused), items[0].message)])

    async def transact(self, name: str, messages: Sequence[Message[Any]], *, replayed: Sequence[int] = ()) -> None:
        """The one transaction: inbox (facts), handler, notes of replayed dead letters."""
        _, handler = self._routes[name]
        async with self._database.transaction(*{message.tenant_id for message in messages}) as conn:
            fresh = list(messages)
            if topics()[name].kind == "fact":
                fresh = await inbox.claim(conn, self.name, messages)
                metrics.INBOX_DUPLICATES.labels(name).inc(len(messages) - len(fresh))
            await failpoint("consumer.in_transaction")
            if fresh:
                await handler(conn, fresh, Context(self._clock.now(), self._offsets, self._prefix, self._prefix + self.name))
            if replayed:
                await deadletters.replayed(conn, replayed)
            await failpoint("consumer.before_commit")

    async def replay(self, letters: Sequence[DeadLetter]) -> int:
        """Runs dead letters through their handlers, one transaction each; returns how many worked."""
        worked = 0
        for letter in letters:
            event, _ = self._routes[letter.event]
            try:
                message = decode(event, letter.headers, letter.value or b"")
                await self.transact(letter.event, [message], replayed=[letter.id])
            except Exception as error:  # noqa: BLE001 - it stays where it is, with its reason told
                log.warning("replay_failed", id=letter.id, topic=letter.event, why=told(error)[:300])
            else:
                worked += 1
        return worked

    async def _put_aside(self, name: str, letters: list[DeadLetter]) -> None:
        """Stores dead letters (retrying outages until told to stop: nothing is dropped), then looks at the limits."""
        wait = 0.05
        while True:
            try:
                async with self._database.transaction() as conn:
                    await deadletters.put(conn, self.name, letters)
            except Exception as error:
                if self.stopping.is_set() or not is_unavailable(error):
                    raise
                await self.pause(wait)
                wait = min(wait * 2, RETRY_SECONDS_MAX)
            else:
                break
        now = monotonic()
        for letter in letters:
            (metrics.PARKED if letter.parked else metrics.DEAD_LETTERS).labels(name).inc()
            log.error("dead_letter", topic=name, partition=letter.partition, offset=letter.offset, reason=letter.reason[:300])
            if letter.parked or letter.tenant_id is None:
                continue
            times = self._dead.setdefault(letter.tenant_id, deque(maxlen=PARK_AFTER))
            times.append(now)
            if len(times) == PARK_AFTER and now - times[0] < PARK_WINDOW_SECONDS:
                self._parked.add(letter.tenant_id)
                log.error("tenant_parked", tenant=str(letter.tenant_id))
        if len(self._parked) > PARKED_TENANTS_MAX:
            raise WorkerStoppedError(f"{len(self._parked)} tenants are parked: this looks like a fault of ours")

    async def close(self) -> None:
        """Closes what handlers had opened."""
        await self._offsets.close()

    async def pause(self, seconds: float) -> bool:
        """Waits, at most until somebody wants an end; returns whether somebody does."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def look_at_parked(self) -> None:
        """Reads from time to time who is parked: one whose parked letters were all replayed is free again."""
        if self._parked and monotonic() - self._parked_read > PARKED_READ_SECONDS:
            await self.load_parked()

    async def load_parked(self) -> None:
        """Who is parked, as the dead letters tell."""
        async with self._database.transaction() as conn:
            rows = await fetch(
                conn,
                "SELECT DISTINCT tenant_id FROM dead_letter WHERE consumer = :consumer AND parked AND replayed_at IS NULL",
                consumer=self.name,
            )
        self._parked = {row.tenant_id for row in rows}
        self._parked_read = monotonic()

    def _letter(
        self, name: str, record: ConsumerRecord, reason: str, message: Message[Any] | None = None, *, parked: bool = False
    ) -> DeadLetter:
        tenant = message.tenant_id if message else _tenant(record)
        return DeadLetter(
            event=name,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            reason=reason,
            parked=parked,
            tenant_id=tenant,
        )


def _tenant(record: ConsumerRecord) -> UUID | None:
    """The tenant named in the headers of a record that cannot be decoded, where that much can be read."""
    try:
        return UUID(attributes(record.headers).get("tenantid", ""))
    except (ContractError, ValueError):
        return None
