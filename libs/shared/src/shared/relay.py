"""The relay: publishes the outbox.

Invariants:
- rows are sent in id order per key, a batch after the one before was acknowledged, and removed only then, by a statement that
  reads on: a crash in between publishes again, and every consumer tolerates that;
- behind a full batch more is waiting: it is read and made ready while the broker takes that one;
- one relay per service: it holds an advisory lock on the connection that reads and removes the rows, so whoever lost the
  lock cannot remove anything;
- schema and size were checked when the row went in, so a send fails only for the broker's sake: the same rows are sent
  again, in the same order, by a new producer.

It is woken by the commits of its own process, or by a NOTIFY that other processes send after theirs, and looks by itself from
time to time.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from opentelemetry.trace import SpanKind
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import metrics
from shared.clock import machine_now, monotonic
from shared.db import Database, fetch, records, run, script
from shared.failpoints import failpoint
from shared.failures import UnavailableError, is_unavailable
from shared.kafka import Producer
from shared.logging import log
from shared.recordbatches import records_in
from shared.telemetry import links, tracer

BATCH = 2_000
IDLE_SECONDS_MIN, IDLE_SECONDS_MAX = 0.005, 0.2
RETRY_SECONDS_MAX = 5.0
NOTIFY_SECONDS = 0.005
MEASURE_SECONDS = 5.0  # counting a long queue reads it
CLEAN_SECONDS = 5.0
_CLEAN = "VACUUM (SKIP_LOCKED, TRUNCATE off) outbox"
"""What was removed is cleared away at once: autovacuum comes by once a minute, and by then the table is hundreds of megabytes that each
row goes through anew (a vacuum took ten times as long, too). A server that does not let us only warns, and autovacuum remains."""
CHANNEL = "outbox"
_NOTIFY = f"BEGIN; SET LOCAL synchronous_commit = off; NOTIFY {CHANNEL}; COMMIT"  # a hint need not reach the disk
_LOCK = 0x656E636F757273  # "encours": one relay per database
# a row that was sent and one that is read are never the same: both parts of the statement see the table as it was before
_TAKE = (
    "WITH removed AS (DELETE FROM outbox WHERE id = ANY(CAST(:sent AS bigint[]))) "
    "SELECT id, topics, partitions, batches, trace FROM ("
    "SELECT *, sum(events) OVER (ORDER BY id) - events AS before FROM outbox "
    "WHERE id NOT IN (SELECT unnest(CAST(:known AS bigint[]))) ORDER BY id LIMIT :rows) AS waiting WHERE before < :batch ORDER BY id"
)
ROWS = 500
"""How many rows are read at once; BATCH events, and those of the row that reaches so many, are sent at once."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of the outbox, ready to be sent. `traces` are the changes they come from."""

    ids: list[int]
    lanes: dict[tuple[str, int], list[bytes]]
    topics: Counter[str]
    traces: dict[str, None]


class Notifier:
    """Wakes the relay of another process: one NOTIFY for the commits of NOTIFY_SECONDS, sent after them.

    Within the transactions it would make their commits wait for each other. It is only a hint: the relay looks by itself.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._awake = asyncio.Event()
        self._stop = asyncio.Event()

    def wake(self) -> None:
        """Something was committed."""
        self._awake.set()

    def stop(self) -> None:
        """Leave."""
        self._stop.set()
        self._awake.set()

    async def run(self) -> None:
        """Notifies until `stop`."""
        while not self._stop.is_set():
            await self._awake.wait()
            try:
                async with self._database.engine.connect() as conn:
                    while not self._stop.is_set():
                        self._awake.clear()
                        await script(conn, _NOTIFY)
                        await asyncio.sleep(NOTIFY_SECONDS)
                        await self._awake.wait()
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.info("notifier_waits", why=type(error).__name__)
                await asyncio.sleep(1.0)


class Relay:
    """Publishes one service's outbox until told to stop."""

    def __init__(self, database: Database, producer: Producer, *, topic_prefix: str = "", batch: int = BATCH) -> None:
        self._database = database
        self._producer = producer
        self._prefix = topic_prefix
        self._batch = batch
        self._awake = asyncio.Event()
        self._stop = asyncio.Event()
        self._sent: list[int] = []
        """Ids of rows that the broker has and the database still holds."""
        self._ahead: _Batch | None = None
        self._removed = False
        """Whether rows went since the table was cleared the last time."""
        self.published = 0

    def wake(self) -> None:
        """Something was committed: look at the outbox now."""
        self._awake.set()

    def stop(self) -> None:
        """Finish the round and leave."""
        self._stop.set()
        self._awake.set()

    async def run(self) -> None:
        """Publishes until `stop`; outages of the database or the broker are waited for."""
        wait = IDLE_SECONDS_MIN
        down = False
        while not self._stop.is_set():
            try:
                async with self._database.engine.connect() as raw:
                    conn = await raw.execution_options(isolation_level="AUTOCOMMIT")
                    if not (await fetch(conn, "SELECT pg_try_advisory_lock(:lock) AS held", lock=_LOCK))[0].held:
                        await self._back_off(1.0)
                        continue
                    cleaning = asyncio.create_task(self._clean_up())
                    try:
                        if down:
                            log.info("relay_up_again")
                            down = False
                        wait = IDLE_SECONDS_MIN
                        # a plan made while the outbox is small reads the whole table and is kept; rows are to be read in their order
                        await run(conn, "SET enable_seqscan = off")
                        await run(conn, "SET enable_bitmapscan = off")
                        await run(conn, "SET enable_sort = off")
                        await self._listen(conn)
                        await self._serve(conn)
                    finally:
                        cleaning.cancel()
                        await asyncio.gather(cleaning, return_exceptions=True)
                        await raw.invalidate()  # the session goes, and the lock with it
            except Exception as error:
                if not (is_unavailable(error) or isinstance(error, DBAPIError)):
                    raise
                metrics.RELAY_FAILURES.inc()
                if not down:
                    log.warning("relay_down", why=type(error).__name__, detail=str(error)[:200])
                    down = True
                await self._back_off(wait)
                wait = min(wait * 2, RETRY_SECONDS_MAX)
        await self._producer.close()

    async def _listen(self, conn: AsyncConnection) -> None:
        """Has the commits of other processes wake us. Raises UnavailableError when the connection has gone."""
        driver: Any = (await conn.get_raw_connection()).driver_connection
        try:
            await driver.add_listener(CHANNEL, lambda *_: self.wake())
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise UnavailableError(f"listening: {type(error).__name__}") from error

    async def _clean_up(self) -> None:
        """Clears away what was removed, on a connection of its own: after a long outage that takes minutes, and nothing waits for it."""
        while not self._stop.is_set():
            await self._back_off(CLEAN_SECONDS)
            if not self._removed:
                continue
            self._removed = False
            try:
                async with self._database.engine.connect() as raw:
                    await script(await raw.execution_options(isolation_level="AUTOCOMMIT"), _CLEAN)
            except Exception as error:  # noqa: BLE001 - told of and tried again; autovacuum does it meanwhile
                log.warning("outbox_not_cleared", why=type(error).__name__, detail=str(error)[:200])

    async def _serve(self, conn: AsyncConnection) -> None:
        idle = IDLE_SECONDS_MIN
        retry = IDLE_SECONDS_MIN
        measured = 0.0
        self._sent, self._ahead = [], None  # what another session sent and did not remove is sent again
        while not self._stop.is_set():
            self._awake.clear()
            if monotonic() - measured > MEASURE_SECONDS:
                measured = monotonic()
                await self._measure(conn)
            try:
                sent = await self.round(conn)
                retry = IDLE_SECONDS_MIN
            except UnavailableError as error:
                metrics.RELAY_FAILURES.inc()
                if retry == IDLE_SECONDS_MIN:
                    log.warning("broker_down", detail=str(error))
                await self._back_off(retry := min(retry * 2, RETRY_SECONDS_MAX))
                continue
            if sent:
                idle = IDLE_SECONDS_MIN
                continue
            metrics.OUTBOX_DEPTH.set(0)
            metrics.OUTBOX_OLDEST_SECONDS.set(0)
            await self._sleep(idle)
            idle = min(idle * 2, IDLE_SECONDS_MAX)
        await self._take(conn, 0)

    async def round(self, conn: AsyncConnection) -> int:
        """Publishes what waits, about one batch, and removes the batch before; returns how many events were sent."""
        batch, self._ahead = self._ahead or await self._take(conn, self._batch), None
        if not batch.ids:
            return 0
        done, ahead = await asyncio.gather(self._send(batch), self._look_ahead(conn, batch), return_exceptions=True)
        if done is not None:
            raise done
        if isinstance(ahead, BaseException):
            raise ahead
        self._sent += batch.ids
        self._ahead = ahead
        self.published += batch.topics.total()
        return batch.topics.total()

    async def _look_ahead(self, conn: AsyncConnection, batch: _Batch) -> _Batch | None:
        """What is behind a full batch, where there is something."""
        if batch.topics.total() < self._batch and len(batch.ids) < ROWS:
            return None
        ahead = await self._take(conn, self._batch, under_way=batch.ids)
        return ahead if ahead.ids else None

    async def _send(self, batch: _Batch) -> None:
        with tracer.start_as_current_span(
            "send outbox",
            kind=SpanKind.PRODUCER,
            links=links(batch.traces),
            attributes={"messaging.batch.message_count": batch.topics.total()},
        ):
            await failpoint("relay.before_send")
            await self._producer.send(batch.lanes)
            await failpoint("relay.after_send")
        for topic, count in batch.topics.items():
            metrics.RELAY_PUBLISHED.labels(topic).inc(count)

    async def _take(self, conn: AsyncConnection, batch: int, *, under_way: Iterable[int] = ()) -> _Batch:
        """The next rows of about so many events; those that were sent before are removed."""
        rows = await records(conn, _TAKE, sent=self._sent, known=[*self._sent, *under_way], batch=batch, rows=ROWS)
        if self._sent:
            self._sent, self._removed = [], True
            await failpoint("relay.after_delete")
        taken = _Batch([], {}, Counter(), {})
        for row_id, topics, partitions, batches, trace in rows:
            for topic, partition, built in zip(topics, partitions, batches, strict=True):
                taken.lanes.setdefault((self._prefix + topic, partition), []).append(built)
                taken.topics[topic] += records_in(built)
            taken.ids.append(row_id)
            taken.traces[trace] = None
        return taken

    async def _measure(self, conn: AsyncConnection) -> None:
        row = (
            await fetch(
                conn,
                "SELECT coalesce(sum(events), 0) AS depth, min(created_at) AS oldest "
                "FROM (SELECT events, created_at FROM outbox ORDER BY id LIMIT 50000) AS o",
            )
        )[0]
        oldest: datetime | None = row.oldest
        metrics.OUTBOX_DEPTH.set(row.depth)
        metrics.OUTBOX_OLDEST_SECONDS.set((machine_now() - oldest).total_seconds() if oldest else 0)

    async def _back_off(self, seconds: float) -> None:
        """Waits while something is away; no commit shortens that."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._awake.wait(), seconds)
        except TimeoutError:
            return
        if not self._stop.is_set():
            self._awake.clear()
