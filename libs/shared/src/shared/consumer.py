"""The consumer loop: one per worker process, one transaction per topic's batch.

The order of a batch: take a poll's records of one topic over all its partitions; decode and check each row; then in ONE
transaction claim facts in the inbox, run the handler on what is left, store dead letters; commit; then commit offsets.

Invariants:
- an effect and the note that it happened (version, inbox row, dead letter) commit together, so a crash at any moment
  repeats a delivery and never an effect;
- offsets are committed after the transaction, only for partitions this worker still owns, and only as far as it handled;
- poison is found by bisecting and put aside alone; what is unavailable is tried again, pausing its topic only;
- topics are read side by side: a slow one holds up none of the others;
- `earliest` is for a first start only: an offset that was lost or is out of range stops its topic with an alert.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from aiokafka import ConsumerRebalanceListener, ConsumerRecord
from aiokafka.errors import IllegalStateError, NoOffsetForPartitionError, OffsetOutOfRangeError
from contracts.catalogue import topics
from contracts.envelope import ContractError, Event, Message, attributes, decode
from opentelemetry.trace import SpanKind
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import deadletters, inbox, metrics
from shared.clock import BusinessClock, machine_now, monotonic
from shared.db import Database, fetch, run
from shared.deadletters import DeadLetter
from shared.failpoints import failpoint
from shared.failures import is_unavailable, told
from shared.kafka import AIOKafkaConsumer, KafkaError, Offsets, TopicPartition
from shared.kafka import consumer as new_consumer
from shared.logging import log
from shared.telemetry import links, tracer
from shared.web.problems import stack

RETRY_SECONDS_MAX = 10.0
DRAIN_SECONDS = 20.0
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


class Worker:
    """Consumes a service's topics until told to stop."""

    def __init__(
        self,
        name: str,
        database: Database,
        routes: Routes,
        *,
        bootstrap_servers: str,
        topic_prefix: str = "",
        clock: BusinessClock,
        batch_max: int = 1000,
    ) -> None:
        self.name = name
        self._database = database
        self._routes = {event.__name__: (event, handler) for event, handler in routes.items()}
        self._servers = bootstrap_servers
        self._prefix = topic_prefix
        self._clock = clock
        self._batch_max = batch_max
        self._offsets = Offsets(bootstrap_servers)
        self._stop = asyncio.Event()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._blocked: set[TopicPartition] = set()
        self._refused: Exception | None = None
        self._dead: dict[UUID, deque[float]] = {}
        self._parked: set[UUID] = set()
        self._parked_read = 0.0
        self.ready = asyncio.Event()
        self.last_poll = monotonic()

    def stop(self) -> None:
        """Stop fetching, finish the batches in hand, commit, leave the group."""
        self._stop.set()

    async def run(self) -> None:
        """Consumes until `stop`. Raises WorkerStoppedError when too many tenants' messages cannot be handled."""
        wait = 0.2
        down = False
        while not self._stop.is_set():
            client = new_consumer(self._servers, self._prefix + self.name, client_id=self.name)
            try:
                await client.start()
                await self._load_parked()
                client.subscribe([self._prefix + name for name in self._routes], listener=_Rebalance(self, client))
                if down:
                    log.info("worker_up_again")
                    down, wait = False, 0.2
                await self._consume(client)
            except Exception as error:
                if not (isinstance(error, KafkaError) or is_unavailable(error)):
                    raise
                if not down:
                    log.warning("worker_down", why=type(error).__name__, detail=str(error)[:200])
                    down = True
                self.ready.clear()
                await self._sleep(wait)
                wait = min(wait * 2, RETRY_SECONDS_MAX)
            finally:
                try:
                    await self.drain()
                finally:
                    await client.stop()  # leaves the group
        await self._offsets.close()

    async def _consume(self, client: AIOKafkaConsumer) -> None:
        while not self._stop.is_set():
            self.last_poll = monotonic()
            if self._parked and self.last_poll - self._parked_read > PARKED_READ_SECONDS:
                await self._load_parked()
            self._reap()
            if self._refused is not None:
                error, self._refused = self._refused, None
                raise error
            for topic, partitions in (await self._poll(client)).items():
                self._busy[topic] = asyncio.create_task(self._topic(client, topic, partitions), name=topic)

    async def _poll(self, client: AIOKafkaConsumer) -> dict[str, dict[TopicPartition, list[ConsumerRecord]]]:
        """Records of the topics that no batch is in hand of, by topic and partition."""
        idle = [tp for tp in client.assignment() if tp not in self._blocked and tp.topic not in self._busy]
        if not idle:
            await self._any_done(0.2)
            return {}
        poll = asyncio.ensure_future(client.getmany(*idle, timeout_ms=250, max_records=self._batch_max))
        try:
            # a topic is to be read again as soon as its batch is done; a poll that is called off has taken nothing yet
            await asyncio.wait((poll, *self._busy.values()), return_when=asyncio.FIRST_COMPLETED)
            if not poll.done():
                poll.cancel()
                await asyncio.wait((poll,))
                if poll.cancelled():
                    return {}
            polled = poll.result()
        except (IllegalStateError, NoOffsetForPartitionError):
            return {}  # a rebalance is under way: the partition went, or `assigned` has not positioned (or blocked) it yet
        except OffsetOutOfRangeError as error:
            for tp in error.args[0]:
                self._block(tp, "offset_out_of_range")
            return {}
        finally:
            poll.cancel()  # where this task itself is cancelled
        by_topic: dict[str, dict[TopicPartition, list[ConsumerRecord]]] = {}
        for tp, records in polled.items():
            if records:
                by_topic.setdefault(tp.topic, {})[tp] = records
        return by_topic

    def _reap(self) -> None:
        for topic, task in list(self._busy.items()):
            if task.done():
                del self._busy[topic]
                if not task.cancelled():  # by `drain`: its records come again
                    task.result()

    async def _any_done(self, seconds: float) -> None:
        if self._busy:
            await asyncio.wait(self._busy.values(), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        else:
            await self._sleep(seconds)

    async def drain(self) -> None:
        """Waits for the batches in hand, at most DRAIN_SECONDS; what is not done by then is abandoned uncommitted."""
        if not self._busy:
            return
        done, late = await asyncio.wait(self._busy.values(), timeout=DRAIN_SECONDS)
        for task in late:
            log.warning("drain_timed_out", topic=task.get_name())
            task.cancel()
        if late:
            await asyncio.wait(late)
        self._busy.clear()
        for task in done:
            if not task.cancelled() and (error := task.exception()) and not is_unavailable(error):
                raise error

    async def _topic(self, client: AIOKafkaConsumer, topic: str, partitions: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        """One topic's batch: handled, then its offsets committed."""
        name = topic.removeprefix(self._prefix)
        started = monotonic()
        records = [record for lane in partitions.values() for record in lane]
        await self.handle(name, records)
        await failpoint("consumer.after_commit")
        ours = client.assignment()
        try:
            if reached := {tp: lane[-1].offset + 1 for tp, lane in partitions.items() if tp in ours}:
                await client.commit(reached)
        except (KafkaError, IllegalStateError) as error:
            # the group moved on: somebody else gets these records again, and versions and inbox make that harmless
            log.info("offset_commit_refused", topic=name, why=type(error).__name__)
        await failpoint("consumer.after_offsets")
        metrics.CONSUMED.labels(name).inc(len(records))
        metrics.BATCH_SECONDS.labels(name).observe(monotonic() - started)
        newest = max(record.timestamp for record in records) / 1000
        metrics.CONSUMER_LAG_SECONDS.labels(name).set(max(0.0, machine_now().timestamp() - newest))

    async def handle(self, name: str, records: Sequence[ConsumerRecord]) -> None:
        """Handles records of one topic to the end: applied, skipped as known, or put aside as dead letters."""
        event, _ = self._routes[name]
        # only facts go through the inbox, which forgets
        oldest = machine_now() - inbox.KEPT if topics()[name].kind == "fact" else None
        items: list[_Item] = []
        dead: list[DeadLetter] = []
        for record in records:
            if record.value is None:
                continue  # a tombstone: erasure travels as an event of its own
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
            await self._sleep(wait)
            if self._stop.is_set():
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
                if self._stop.is_set() or not is_unavailable(error):
                    raise
                await self._sleep(wait)
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

    async def _load_parked(self) -> None:
        """Parked tenants, as the dead letters tell; one whose parked letters were all replayed is free again."""
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

    def _block(self, tp: TopicPartition, why: str) -> None:
        self._blocked.add(tp)
        metrics.CONSUMER_STOPPED.labels(tp.topic, why).set(1)
        log.error("topic_stopped", topic=tp.topic, partition=tp.partition, why=why)

    async def assigned(self, client: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        """Positions newly assigned partitions: where the group left off, or at the start on a first start only."""
        partitions = list(partitions)
        self._blocked.difference_update(partitions)
        committed = {tp: await client.committed(tp) for tp in partitions}
        fresh = [tp for tp, offset in committed.items() if offset is None]
        async with self._database.transaction() as conn:
            rows = await fetch(conn, "SELECT topic, partition FROM consumer_start WHERE consumer = :consumer", consumer=self.name)
            started = {(row.topic, row.partition) for row in rows}
            lost = [tp for tp in fresh if (tp.topic, tp.partition) in started]
            first = [tp for tp in fresh if (tp.topic, tp.partition) not in started]
            if first:
                beginnings = await client.beginning_offsets(first)
                for tp, offset in beginnings.items():
                    client.seek(tp, offset)
                await client.commit(dict(beginnings))
            if new := [tp for tp in partitions if (tp.topic, tp.partition) not in started]:
                await run(
                    conn,
                    "INSERT INTO consumer_start (consumer, topic, partition, started_at) "
                    "SELECT :consumer, topic, part, :now FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[])) AS t(topic, part) "
                    "ON CONFLICT DO NOTHING",
                    consumer=self.name,
                    now=machine_now(),
                    topics=[tp.topic for tp in new],
                    parts=[tp.partition for tp in new],
                )
        for tp in lost:
            self._block(tp, "offset_lost")
        self.ready.set()

    def refuse(self, error: Exception) -> None:
        """Something failed inside a rebalance: the loop gives the client up and joins again."""
        self._refused = error

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Before partitions move, the batches in hand are finished and committed; afterwards new ones are positioned."""

    def __init__(self, worker: Worker, client: AIOKafkaConsumer) -> None:
        self._worker = worker
        self._client = client

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - aiokafka names them
        try:
            await self._worker.drain()
        except Exception as error:  # noqa: BLE001 - aiokafka would swallow it: the loop raises it
            self._worker.refuse(error)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        try:
            await self._worker.assigned(self._client, assigned)
        except Exception as error:  # noqa: BLE001 - as above
            self._worker.refuse(error)


def _tenant(record: ConsumerRecord) -> UUID | None:
    """The tenant named in the headers of a record that cannot be decoded, where that much can be read."""
    try:
        return UUID(attributes(record.headers).get("tenantid", ""))
    except (ContractError, ValueError):
        return None


def lag(ends: Mapping[tuple[str, int], int], committed: Mapping[tuple[str, int], int]) -> Counter[str]:
    """Records per topic that a group has still to handle."""
    left: Counter[str] = Counter()
    for (topic, partition), end in ends.items():
        left[topic] += max(0, end - committed.get((topic, partition), 0))
    return left
