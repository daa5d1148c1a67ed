"""What the fault tests stand on: a toy system of its own (database, topics, processes), events for it, and the verdict.

Every test ends in `System.settled`: all that was fed has exactly one effect, the outbox is empty, what was published is on
the topics without a gap, and `shared.invariants.verify` finds nothing.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition  # noqa: TID251 - the tests look at the topics themselves
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # noqa: TID251
from contracts.catalogue import topics
from contracts.dunning import ReminderSent
from contracts.envelope import Event, encode
from contracts.payments import PaymentReceived
from shared.clock import machine_now, monotonic
from shared.db import Database
from shared.ids import named_id
from shared.invariants import verify
from shared.kafka import Producer
from shared.outbox import Outgoing, headers_for
from shared.settings import Settings
from shared.testing.databases import Urls, fresh_database
from shared.testing.events import Record, in_lanes
from shared.testing.waiting import eventually

from toyservice.service import CHECKS

TENANTS = tuple(named_id("tenant", UUID(int=number)) for number in range(3))
ACCOUNTS = tuple(UUID(int=number) for number in range(1, 6))
TOPICS = ("PaymentReceived", "ReminderSent", "BankReconciliationAdvanced", "KpiMeasured")
DAY = date(2026, 1, 5)
AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
TESTS = Path(__file__).parents[1]


def payment(number: int, version: int = 1, amount: int = 100) -> PaymentReceived:
    """A payment; its account follows from its number, so that it never changes."""
    return PaymentReceived(
        payment_id=UUID(int=number),
        version=version,
        bank_account_id=ACCOUNTS[number % len(ACCOUNTS)],
        amount_minor=amount,
        currency="EUR",
        booking_date=DAY,
        value_date=DAY,
        confirmation="booked",
        source="camt.053",
        allocations=[],
        unapplied_minor=amount,
        returned_minor=0,
        refunded_minor=0,
    )


def reminder(number: int) -> ReminderSent:
    """A reminder; its customer follows from its number."""
    return ReminderSent(
        reminder_id=UUID(int=number),
        customer_id=UUID(int=number % 7),
        step="first",
        level=1,
        channel="email",
        currency="EUR",
        items=[],
        interest_minor=0,
        compensation_minor=0,
        as_of=DAY,
        sent_at=AT,
    )


def record(tenant: UUID, data: Event, *, prefix: str = "") -> Record:
    """An event as its producer's relay would send it."""
    topic, key, texts = headers_for(Outgoing(tenant, data), at=machine_now().isoformat(), trace="")
    return prefix + topic, key.encode(), encode(data), [(name, text.encode()) for name, text in texts.items()]


@dataclass
class Fed:
    """What was put on the topics, and so what must come of it: the highest version of each payment, each reminder once."""

    payments: dict[tuple[UUID, UUID], tuple[int, int]] = field(default_factory=dict)
    reminders: set[tuple[UUID, UUID]] = field(default_factory=set)

    def add(self, tenant: UUID, data: Event) -> None:
        """Notes an event that must have its effect."""
        if isinstance(data, PaymentReceived):
            key = (tenant, data.payment_id)
            self.payments[key] = max(self.payments.get(key, (0, 0)), (data.version, data.amount_minor))
        elif isinstance(data, ReminderSent):
            self.reminders.add((tenant, data.reminder_id))


def history(chance: random.Random, first: int, count: int) -> list[tuple[UUID, Event]]:
    """Payments in up to three versions and reminders of all tenants, which use the same numbers; shuffled."""
    found: list[tuple[UUID, Event]] = []
    for number in range(first, first + count):
        for tenant in TENANTS:
            found += [(tenant, payment(number, version, chance.randrange(1, 500))) for version in range(1, chance.randrange(2, 5))]
            found.append((tenant, reminder(number)))
    # 666 is the amount that the toy refuses; none is drawn here
    chance.shuffle(found)
    return found


class Child:
    """One process of the toy."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self.status: int | None = None
        self.ended = asyncio.Event()

    def tell(self, number: int) -> None:
        """Sends a signal, where it still lives."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def end(self, number: int = signal.SIGKILL) -> int:
        """Ends it and returns its status."""
        self.tell(number)
        await asyncio.wait_for(self.ended.wait(), 40)
        assert self.status is not None
        return self.status


class Zygote:
    """The process that all of the toy's processes are forked from."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._children: dict[int, Child] = {}
        self._ended: dict[int, int] = {}
        self._lock = asyncio.Lock()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls) -> "Zygote":
        """Starts it; the first fork waits for its imports."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "toyservice.zygote",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        return cls(process)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "pid" in told:
                self._started.put_nowait(told["pid"])
            else:
                self._ended[told["ended"]] = told["status"]
                self._settle(told["ended"])

    def _settle(self, pid: int) -> None:
        if pid in self._ended and pid in self._children:
            child = self._children.pop(pid)
            child.status = self._ended.pop(pid)
            child.ended.set()

    async def start(self, role: str, environment: dict[str, str], log: Path, *, failpoint: str = "") -> Child:
        """A new process in this role."""
        order = {"argv": [role], "env": environment, "log": str(log), "failpoint": failpoint}
        assert self._process.stdin is not None
        async with self._lock:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await self._process.stdin.drain()
            pid = await asyncio.wait_for(self._started.get(), 60)
        child = self._children[pid] = Child(pid, log)
        self._settle(pid)
        return child

    async def close(self) -> None:
        """Ends it and every child that still lives."""
        for child in list(self._children.values()):
            child.tell(signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), 20)
        await self._reader


class System:
    """One toy with a database and topics of its own, on servers that others may share."""

    def __init__(self, urls: Urls, bootstrap: str, prefix: str, folder: Path) -> None:
        self.urls = urls
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.folder = folder
        self.fed = Fed()
        self.injected: Counter[str] = Counter()
        self.sent: list[Record] = []
        self.producer = Producer(bootstrap, client_id="feeder")
        self.environment = {
            **urls.environment(),
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "ENCOURS_TOPIC_PREFIX": prefix,
            "ENCOURS_CURSOR_SECRET": "x" * 32,
            "ENCOURS_HTTP_PORT": "0",
            "ENCOURS_BATCH_MAX": "200",
        }

    @property
    def settings(self) -> Settings:
        """The same settings for parts that run in the test's own process."""
        return Settings(
            database_url=self.urls.app,
            relay_database_url=self.urls.relay,
            owner_database_url=self.urls.owner,
            check_database_url=self.urls.check,
            kafka_bootstrap_servers=self.bootstrap,
            topic_prefix=self.prefix,
            cursor_secret="x" * 32,
            http_port=0,
            batch_max=200,
        )

    def log(self, name: str) -> Path:
        """Where a process of this name writes."""
        return self.folder / f"{self.prefix}{name}.log"

    async def feed(self, events: Iterable[tuple[UUID, Event]], *, chance: random.Random | None = None) -> None:
        """Puts events on the topics. With `chance`, repetitions follow: of some of these events and of earlier ones."""
        records = []
        for tenant, data in events:
            self.fed.add(tenant, data)
            # a repetition is the same record, with the same ce_time: what a relay sends twice
            records.append(record(tenant, data, prefix=self.prefix))
        self.sent += records
        if chance is not None:
            again = chance.choices(records, k=len(records) // 10) + chance.choices(self.sent, k=len(records) // 10)
            self.injected["repetitions"] += len(again)
            records += again
        await self.send(records)

    async def send(self, records: list[Record]) -> None:
        """Puts records on the topics; tries until the broker has them."""
        end = monotonic() + 180
        while True:
            try:
                await self.producer.send(in_lanes(records))
            except OSError:
                raise
            except Exception:
                if monotonic() > end:
                    raise
                await asyncio.sleep(0.5)
            else:
                return

    async def count(self, query: str) -> int:
        """One number from the database, seen by the role that sees every tenant; tries while the server is away."""
        for _ in range(60):
            try:
                conn = await asyncpg.connect(self.urls.check, timeout=10)
                try:
                    return int(await conn.fetchval(query))
                finally:
                    await conn.close()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.5)
        raise AssertionError("the database did not come back")

    async def applied(self) -> bool:
        """Whether everything fed has come into effect and everything published has left."""
        return (
            await self.count("SELECT count(*) FROM effect") >= len(self.fed.reminders)
            and await self.count("SELECT count(*) FROM payment") >= len(self.fed.payments)
            and await self.count("SELECT sum(version) FROM payment") >= sum(version for version, _ in self.fed.payments.values())
            and await self.count("SELECT count(*) FROM outbox") == 0
        )

    async def settled(self, *, seconds: float = 90.0, dead_letters: int = 0) -> None:
        """Waits until all is applied, then holds the result against what was fed. Prints what was injected."""
        await eventually(self.applied, seconds=seconds, what=f"{self.prefix}: every event applied and the outbox empty")
        conn = await asyncpg.connect(self.urls.check)
        try:
            payments = {
                (row["tenant_id"], row["payment_id"]): (row["version"], row["amount_minor"])
                for row in await conn.fetch("SELECT * FROM payment")
            }
            effects = [(row["tenant_id"], row["event_id"]) for row in await conn.fetch("SELECT tenant_id, event_id FROM effect")]
            accounts = {(row["tenant_id"], row["account_id"]): row["version"] for row in await conn.fetch("SELECT * FROM account")}
            dead = await conn.fetchval("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL")
        finally:
            await conn.close()
        assert payments == self.fed.payments
        assert len(effects) == len(set(effects)) == len(self.fed.reminders)
        assert dead == dead_letters
        assert set((await self.verify()).values()) == {True}
        await self._published(accounts)
        print(f"injected {dict(self.injected)}; {len(payments)} payments, {len(effects)} reminders hold")  # noqa: T201 - the record

    async def verify(self) -> dict[str, bool | str]:
        """The invariants, on the database."""
        database = Database(self.urls.check, application_name="verify", pool_max=2)
        try:
            async with database.engine.begin() as conn:
                return await verify(conn, CHECKS)
        finally:
            await database.close()

    async def _published(self, accounts: dict[tuple[UUID, UUID], int]) -> None:
        """Each account's versions are on its topic from 1 on without a gap, each first seen in order; each reminder's figure is there."""
        seen: dict[tuple[UUID, UUID], int] = {}
        for key, value in await self.records("BankReconciliationAdvanced"):
            tenant, _, account = key.decode().partition(":")
            version = json.loads(value)["version"]
            identity = (UUID(tenant), UUID(account))
            assert version <= seen.get(identity, 0) + 1, f"{identity}: version {version} came after {seen.get(identity, 0)}"
            seen[identity] = max(version, seen.get(identity, 0))
        assert seen == accounts
        figures = {(key.decode().partition(":")[0], json.loads(value)["entity_id"]) for key, value in await self.records("KpiMeasured")}
        assert figures == {(str(tenant), str(identity)) for tenant, identity in self.fed.reminders}

    async def records(self, event: str) -> list[tuple[bytes, bytes]]:
        """Every record of a topic, in order per partition."""
        client = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False, isolation_level="read_committed")
        await client.start()
        try:
            partitions = [TopicPartition(self.prefix + event, number) for number in range(topics()[event].partitions)]
            client.assign(partitions)
            await client.seek_to_beginning()
            ends = await client.end_offsets(partitions)
            found: list[tuple[bytes, bytes]] = []
            while any([await client.position(tp) < ends[tp] for tp in partitions]):
                for batch in (await client.getmany(timeout_ms=500)).values():
                    found += [(each.key, each.value) for each in batch]
            return found
        finally:
            await client.stop()

    async def close(self) -> None:
        """Closes the feeder."""
        await self.producer.close()


@asynccontextmanager
async def system(admin_dsn: str, bootstrap: str, folder: Path, *, replication: int = 1) -> AsyncIterator[System]:
    """A new system: database at head, and the four topics that the toy needs."""
    prefix = f"toy{os.getpid()}-{os.urandom(3).hex()}-"
    await create(bootstrap, prefix, replication)
    async with fresh_database(admin_dsn, "toyservice") as urls:
        made = System(urls, bootstrap, prefix, folder)
        try:
            yield made
        finally:
            await made.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([prefix + name for name in TOPICS])
    finally:
        await admin.close()


async def create(bootstrap: str, prefix: str, replication: int) -> None:
    """The toy's topics alone: the whole catalogue would take longer than the tests."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        settings: dict[str, Any] = {"min.insync.replicas": str(max(1, replication - 1))}
        await admin.create_topics(
            [NewTopic(prefix + name, topics()[name].partitions, replication, topic_configs=settings) for name in TOPICS]
        )
    finally:
        await admin.close()


def consumed(records: Iterable[Record]) -> list[ConsumerRecord]:
    """Records as a consumer receives them, without a broker in between: partition 0, offsets from 0."""
    return [
        ConsumerRecord(topic, 0, offset, 0, 0, key, value, None, len(key), len(value), tuple(record_headers))
        for offset, (topic, key, value, record_headers) in enumerate(records)
    ]
