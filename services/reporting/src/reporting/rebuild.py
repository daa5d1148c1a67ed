"""The read models anew from the topics, beside the running service: compared with the live ones, or put in their place.

The new rows grow in a schema of their own, made by the service's own handlers from the first record of every topic on. Then
writers of the live tables wait for a moment (readers do not), the last records are read, and in one transaction the live
rows that differ are replaced. No group is joined and no offset committed; nothing goes into the outbox.

Invariants:
- when the tables are exchanged, the new ones hold every record that the live ones can have seen: what the worker has not
  committed yet comes to it again, and versions make that harmless;
- a comparison is made at one moment, with the worker caught up: neither side has seen what the other has not;
- what was measured (days, key figures) was decided at its moment and is not touched.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from contracts.catalogue import events
from contracts.envelope import ContractError, Message, decode
from shared.batches import Context
from shared.clock import BusinessClock
from shared.consumer import lag
from shared.db import Database, run
from shared.failures import is_unavailable
from shared.kafka import AIOKafkaConsumer, Offsets, TopicPartition, consumer
from shared.settings import Settings
from sqlalchemy.ext.asyncio import AsyncConnection

from reporting.storage import rebuilt
from reporting.tables import READ_MODELS
from reporting.worker import ROUTES

BATCH = 1_000
NEARLY = 10_000
"""So few records behind, the rest is read while writers wait."""
TRIES = 60


class RebuildError(Exception):
    """The rebuild cannot go on. The text says why."""


class SideDatabase(Database):
    """The service's database with the new tables in front of the live ones."""

    @asynccontextmanager
    async def transaction(self, *tenants: UUID) -> AsyncIterator[AsyncConnection]:
        """One transaction in the scope of some tenants, on the new tables."""
        async with super().transaction(*tenants) as conn:
            await run(conn, f"SET LOCAL search_path TO {rebuilt.SCHEMA}, public")
            yield conn


class Reader:
    """Reads topics from their first record on, through the service's handlers."""

    def __init__(self, client: AIOKafkaConsumer, database: Database, context: Context) -> None:
        self._client = client
        self._database = database
        self._context = context
        self.read = 0
        self.refused: list[str] = []
        """Records that could not be handled, as in the live service's dead letters: topic, partition, offset, reason."""

    async def start(self, ends: dict[tuple[str, int], int]) -> None:
        """Takes all partitions and goes to their beginnings."""
        partitions = [TopicPartition(*at) for at in ends]
        self._client.assign(partitions)
        for at, offset in (await self._client.beginning_offsets(partitions)).items():
            self._client.seek(at, offset)

    async def positions(self) -> dict[tuple[str, int], int]:
        """The next offset of every partition."""
        return {(at.topic, at.partition): await self._client.position(at) for at in self._client.assignment()}

    async def read_to(self, ends: dict[tuple[str, int], int]) -> None:
        """Handles every record before `ends`, and none after."""
        while True:
            positions = await self.positions()
            behind = [TopicPartition(*at) for at, end in ends.items() if positions[at] < end]
            if not behind:
                return
            polled = await self._client.getmany(*behind, timeout_ms=500, max_records=BATCH)
            topics: dict[str, list[Any]] = {}
            for at, records in polled.items():
                end = ends[(at.topic, at.partition)]
                topics.setdefault(at.topic, []).extend(record for record in records if record.offset < end)
                if records and records[-1].offset >= end:
                    self._client.seek(at, end)
            for topic, records in topics.items():
                await self._handle(topic, records)

    async def _handle(self, topic: str, records: Sequence[Any]) -> None:
        event = events()[topic.removeprefix(self._context.topic_prefix)]
        batch = []
        for record in records:
            if record.value is None:
                continue
            try:
                batch.append((decode(event, record.headers, record.value), record))
            except ContractError as error:
                self._refuse(record, error)
        self.read += len(records)
        if batch:
            await self._apply(batch)

    async def _apply(self, batch: list[tuple[Message[Any], Any]]) -> None:
        messages = [message for message, _ in batch]
        try:
            async with self._database.transaction(*{message.tenant_id for message in messages}) as conn:
                await ROUTES[type(messages[0].data)](conn, messages, self._context)
        except Exception as error:
            if is_unavailable(error):
                raise
            if len(batch) == 1:
                self._refuse(batch[0][1], error)
                return
            middle = len(batch) // 2
            await self._apply(batch[:middle])
            await self._apply(batch[middle:])

    def _refuse(self, record: Any, error: Exception) -> None:
        self.refused.append(f"{record.topic} {record.partition} {record.offset}: {type(error).__name__}")


async def rebuild(settings: Settings, *, compare: bool) -> int:
    """Rebuilds the read models and compares them with the live ones or replaces those; prints one JSON object.

    Returns the exit status: 1 where a comparison finds differences. Raises SystemExit where it cannot be done.
    """
    if settings.owner_database_url is None:
        raise SystemExit("ENCOURS_OWNER_DATABASE_URL is not set: the new tables are made and exchanged by the role that owns them")
    owner = Database(settings.owner_database_url.get_secret_value(), application_name="encours-reporting-rebuild", pool_max=3)
    try:
        async with _alone(owner):
            await rebuilt.prepare(owner)
            try:
                result = await _build(settings, owner, compare=compare)
            finally:
                await rebuilt.drop(owner)
    except RebuildError as error:
        raise SystemExit(f"reporting rebuild: {error}") from None
    finally:
        await owner.close()
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 1 if compare and result["different"] else 0


async def _build(settings: Settings, owner: Database, *, compare: bool) -> dict[str, Any]:
    names, prefix = sorted(event.__name__ for event in ROUTES), settings.topic_prefix
    group = f"{prefix}reporting"
    offsets = Offsets(settings.kafka_bootstrap_servers)
    side = SideDatabase(settings.database_url.get_secret_value(), application_name="encours-reporting-rebuild", pool_max=2)
    client = consumer(settings.kafka_bootstrap_servers, f"{group}-rebuild", client_id="reporting-rebuild")
    reader = Reader(client, side, Context(BusinessClock(settings.clock_file).now(), offsets, prefix, f"{group}-rebuild"))
    try:
        await client.start()
        ends = await offsets.ends(names, prefix=prefix)
        await reader.start(ends)
        while lag(ends, await reader.positions()).total() > NEARLY:
            await reader.read_to(ends)
            ends = await offsets.ends(names, prefix=prefix)
        for _ in range(TRIES):
            async with owner.engine.begin() as conn:
                await rebuilt.hold_writers(conn)
                ends = await offsets.ends(names, prefix=prefix)
                if not compare or not lag(ends, await offsets.committed(group)).total():
                    await reader.read_to(ends)
                    different = {table.name: found for table in READ_MODELS if (found := await rebuilt.differences(conn, table))}
                    replaced = {} if compare else {table.name: await rebuilt.replace(conn, table) for table in READ_MODELS}
                    return {
                        "read": reader.read,
                        "refused": len(reader.refused),
                        "first_refused": reader.refused[: rebuilt.SHOWN],
                        "different": different,
                        "replaced": replaced,
                    }
            await asyncio.sleep(0.5)
        raise RebuildError("the worker does not catch up with its topics: compare while it runs and little comes in")
    finally:
        await client.stop()
        await side.close()
        await offsets.close()


@asynccontextmanager
async def _alone(owner: Database) -> AsyncIterator[None]:
    async with owner.engine.connect() as raw:
        conn = await raw.execution_options(isolation_level="AUTOCOMMIT")
        if not await rebuilt.alone(conn):
            raise RebuildError("another rebuild is running")
        try:
            yield
        finally:
            await raw.invalidate()  # the session goes, and the lock with it
