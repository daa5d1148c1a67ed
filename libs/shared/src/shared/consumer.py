"""The consumer loop: each topic is read ahead and handled batch by batch. A process has one or two (`service.make_workers`).

The loop takes from the client whatever has come and lines it up by topic; each topic with something in line has one task
that hands batches to `shared.batches` and notes how far it came; offsets are committed beside the next batches.

Invariants:
- offsets are committed after the transaction, only for partitions this worker still owns, and only as far as it handled;
- topics are read side by side: a slow one holds up none of the others, and has at most two polls' records in line;
- when partitions move, what is in line is forgotten: whoever gets them next begins where the offsets are;
- `earliest` is for a first start only: an offset that was lost or is out of range stops its topic with an alert.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, NoOffsetForPartitionError, OffsetOutOfRangeError

from shared import metrics
from shared.batches import RETRY_SECONDS_MAX, Batches
from shared.clock import machine_now, monotonic
from shared.db import Database, fetch, run
from shared.failpoints import failpoint
from shared.failures import is_unavailable
from shared.kafka import AIOKafkaConsumer, ConsumerRecord, KafkaError, TopicPartition, offsets_of
from shared.kafka import consumer as new_consumer
from shared.logging import log

DRAIN_SECONDS = 20.0
COMMIT_SECONDS = 0.05
"""How long offsets may wait for more of them: what a crash repeats is known by its version or its inbox row."""
COMMIT_SECONDS_MAX = 4.0
"""How long an end or a rebalance waits for the last commit."""

Lanes = dict[TopicPartition, list[ConsumerRecord]]


class Worker:
    """Consumes topics of a service, all that it handles unless `topics` names some, until told to stop."""

    def __init__(
        self,
        batches: Batches,
        database: Database,
        *,
        bootstrap_servers: str,
        topic_prefix: str = "",
        batch_max: int = 1000,
        topics: Sequence[str] | None = None,
    ) -> None:
        self._batches = batches
        self._database = database
        self._servers = bootstrap_servers
        self._prefix = topic_prefix
        self._group = topic_prefix + batches.name
        self.topics = tuple(topics or batches.topics)
        self._batch_max = batch_max
        self._stop = batches.stopping
        self._lines: dict[str, Lanes] = {}
        self._revoked = 0
        """How often what was in line was forgotten."""
        self._room = asyncio.Event()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._reached: dict[TopicPartition, int] = {}
        self._uncommitted = asyncio.Event()
        self._committing = asyncio.Lock()
        self._commits: set[asyncio.Task[None]] = set()
        self._blocked: set[TopicPartition] = set()
        self._refused: Exception | None = None
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
            client = new_consumer(self._servers, self._group, client_id=self._batches.name)
            committing = asyncio.create_task(self._commit_beside(client))
            try:
                await client.start()
                await self._batches.load_parked()
                client.subscribe([self._prefix + name for name in self.topics], listener=_Rebalance(self, client))
                if down:
                    log.info("worker_up_again")
                    down, wait = False, 0.2
                await self._consume(client, committing)
            except Exception as error:
                if not (isinstance(error, KafkaError) or is_unavailable(error)):
                    raise
                if not down:
                    log.warning("worker_down", why=type(error).__name__, detail=str(error)[:200])
                    down = True
                self.ready.clear()
                await self._batches.pause(wait)
                wait = min(wait * 2, RETRY_SECONDS_MAX)
            finally:
                try:
                    await self.drain(client)
                finally:
                    for task in (committing, *self._commits):
                        task.cancel()
                    await client.stop()  # leaves the group
        await self._batches.close()

    async def _consume(self, client: AIOKafkaConsumer, committing: asyncio.Task[None]) -> None:
        while not self._stop.is_set():
            self.last_poll = monotonic()
            await self._batches.look_at_parked()
            if self._refused is not None:
                error, self._refused = self._refused, None
                raise error
            if committing.done():
                committing.result()
            taken, polled = await self._poll(client)
            if taken != self._revoked:
                continue  # of an assignment that has ended: behind them are gaps, and they come again
            for tp, records in polled.items():
                if records:
                    self._lines.setdefault(tp.topic, {}).setdefault(tp, []).extend(records)
            self._reap()
            for topic, lanes in self._lines.items():
                if lanes and topic not in self._busy:
                    self._busy[topic] = asyncio.create_task(self._topic(topic), name=topic)

    async def _poll(self, client: AIOKafkaConsumer) -> tuple[int, Lanes]:
        """What has come of the topics that have room in their line, and how often partitions had been revoked when it was taken.

        A poll may outlast a rebalance, and then gives records of the new assignment, so it counts when it takes, not before or after.
        """

        async def take() -> tuple[int, Lanes]:
            polled = await client.getmany(*wanted, timeout_ms=250, max_records=self._batch_max)
            return self._revoked, polled  # nothing ran in between

        full = {topic for topic, lanes in self._lines.items() if sum(map(len, lanes.values())) >= self._batch_max}
        wanted = [tp for tp in client.assignment() if tp not in self._blocked and tp.topic not in full]
        nothing: tuple[int, Lanes] = (self._revoked, {})
        if not wanted:
            await self._batches.pause(0.05)
            return nothing
        poll = asyncio.ensure_future(take())
        try:
            if full:  # to be read again as soon as there is room; a poll that is called off has taken nothing yet
                self._room.clear()
                room = asyncio.ensure_future(self._room.wait())
                await asyncio.wait((poll, room), return_when=asyncio.FIRST_COMPLETED)
                room.cancel()
                if not poll.done():
                    poll.cancel()
                    await asyncio.wait((poll,))
                    if poll.cancelled():
                        return nothing
            return await poll
        except (IllegalStateError, NoOffsetForPartitionError):
            return nothing  # a rebalance is under way: the partition went, or `assigned` has not positioned (or blocked) it yet
        except OffsetOutOfRangeError as error:
            for tp in error.args[0]:
                self._block(tp, "offset_out_of_range")
            return nothing
        finally:
            poll.cancel()  # where this task itself is cancelled

    def _reap(self) -> None:
        for topic, task in list(self._busy.items()):
            if task.done():
                del self._busy[topic]
                if not task.cancelled():  # by `drain`: its records come again
                    task.result()

    async def drain(self, client: AIOKafkaConsumer) -> None:
        """Forgets what is in line, waits for the batches in hand, at most DRAIN_SECONDS, and commits how far they came.

        What is not done by then is abandoned uncommitted.
        """
        self._revoked += 1
        self._lines.clear()
        try:
            if self._busy:
                busy = dict(self._busy)
                done, late = await asyncio.wait(busy.values(), timeout=DRAIN_SECONDS)
                for task in late:
                    log.warning("drain_timed_out", topic=task.get_name())
                    task.cancel()
                if late:
                    await asyncio.wait(late)
                for topic, task in busy.items():
                    if self._busy.get(topic) is task:
                        del self._busy[topic]
                for task in done:
                    if not task.cancelled() and (error := task.exception()) and not is_unavailable(error):
                        raise error
        finally:
            last = asyncio.create_task(self._commit(client))
            # not called off where the broker is away: aiokafka's own tasks wait for the same futures and would never join again
            self._commits.add(last)
            last.add_done_callback(self._commits.discard)
            await asyncio.wait((last,), timeout=COMMIT_SECONDS_MAX)
            self._reached.clear()

    async def _topic(self, topic: str) -> None:
        """A topic's batches, one after the other, as long as there is something in line."""
        name = topic.removeprefix(self._prefix)
        while not self._stop.is_set() and (lanes := self._take(topic)):
            started = monotonic()
            records = [record for lane in lanes.values() for record in lane]
            await self._batches.handle(name, records)
            await failpoint("consumer.after_commit")
            self._reached.update({tp: lane[-1].offset + 1 for tp, lane in lanes.items()})
            self._uncommitted.set()
            metrics.CONSUMED.labels(name).inc(len(records))
            metrics.BATCH_SECONDS.labels(name).observe(monotonic() - started)
            newest = max(record.timestamp for record in records) / 1000
            metrics.CONSUMER_LAG_SECONDS.labels(name).set(max(0.0, machine_now().timestamp() - newest))

    def _take(self, topic: str) -> Lanes:
        """The next batch of a topic: of each partition in turn, what has waited longest."""
        lanes = self._lines.get(topic, {})
        taken: Lanes = {}
        left = self._batch_max
        for tp in list(lanes):
            lane = lanes.pop(tp)
            taken[tp] = lane[:left]
            if len(lane) > left:
                lanes[tp] = lane[left:]
            left -= len(taken[tp])
            if not left:
                break
        self._room.set()
        return taken

    async def _commit_beside(self, client: AIOKafkaConsumer) -> None:
        """Commits offsets while the next batches are in hand."""
        while True:
            await self._uncommitted.wait()
            self._uncommitted.clear()
            await self._commit(client)
            await failpoint("consumer.after_offsets")
            await asyncio.sleep(COMMIT_SECONDS)

    async def _commit(self, client: AIOKafkaConsumer) -> None:
        async with self._committing:  # an older one must not overtake
            ours = client.assignment()
            reached = {tp: offset for tp, offset in self._reached.items() if tp in ours}
            self._reached.clear()
            if not reached:
                return
            try:
                await client.commit(reached)
            except (KafkaError, IllegalStateError) as error:
                # the group moved on: somebody else gets these records again, and versions and inbox make that harmless
                log.info("offset_commit_refused", why=type(error).__name__)

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
            rows = await fetch(conn, "SELECT topic, partition FROM consumer_start WHERE consumer = :consumer", consumer=self._batches.name)
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
                    consumer=self._batches.name,
                    now=machine_now(),
                    topics=[tp.topic for tp in new],
                    parts=[tp.partition for tp in new],
                )
        # the client takes an answer of a broker that has the group's offsets not in hand yet (it has just taken over) for "none"
        for tp, offset in (await offsets_of(self._servers, self._group, lost)).items():
            if offset is None:
                self._block(tp, "offset_lost")
            else:
                client.seek(tp, offset)
        self.ready.set()

    def refuse(self, error: Exception) -> None:
        """Something failed inside a rebalance: the loop gives the client up and joins again."""
        self._refused = error


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Before partitions move, the batches in hand are finished and committed; afterwards new ones are positioned."""

    def __init__(self, worker: Worker, client: AIOKafkaConsumer) -> None:
        self._worker = worker
        self._client = client

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - aiokafka names them
        try:
            await self._worker.drain(self._client)
        except Exception as error:  # noqa: BLE001 - aiokafka would swallow it: the loop raises it
            self._worker.refuse(error)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        try:
            await self._worker.assigned(self._client, assigned)
        except Exception as error:  # noqa: BLE001 - as above
            self._worker.refuse(error)


def lag(ends: Mapping[tuple[str, int], int], committed: Mapping[tuple[str, int], int]) -> Counter[str]:
    """Records per topic that a group has still to handle."""
    left: Counter[str] = Counter()
    for (topic, partition), end in ends.items():
        left[topic] += max(0, end - committed.get((topic, partition), 0))
    return left
