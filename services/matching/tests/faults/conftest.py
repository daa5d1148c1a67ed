"""What matching's fault tests stand on: a system of its own (database, topics, real processes), what feeds it, and the verdict.

Every test ends in `System.settled`: all that was to be paid is, no payment is left over, the bank accounts are reconciled, the
outbox is empty, what was published is on its topics without a gap and in order, and `shared.invariants.verify` finds nothing.
"""

import asyncio
import os
import secrets
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient  # noqa: TID251 - the tests look at the group itself
from contracts.catalogue import events, topics
from contracts.envelope import Message, decode, encode
from matching.domain.statements import Entry, Reference, Statement, Transaction
from matching.handlers import files, ingest
from matching.handlers.accounts import put_account
from matching.invariants import CHECKS
from shared.clock import machine_now, monotonic
from shared.db import Database
from shared.failures import is_unavailable
from shared.ids import named_id
from shared.invariants import verify
from shared.kafka import KafkaError, Producer, TopicPartition, consumer, create_topics
from shared.outbox import Outgoing, headers_for, unfold
from shared.testing.databases import Urls, fresh_database
from shared.testing.events import Record, in_lanes
from shared.testing.waiting import eventually

IBAN = "FR7630006000011234567890189"
DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SLICE = 1_000


def transfer(number: int, amount: int = 10_000, **more) -> Transaction:
    """What a bank says of money that came in; by default it names REFnnnnnn."""
    fields = {"structured_reference": f"REF{number:06d}", "bank_reference": f"B{number}", "end_to_end_id": f"E{number}"} | more
    reference, iban = fields.pop("structured_reference"), fields.pop("debtor_iban", None)
    return Transaction(
        kind="payment", credit=True, amount_minor=amount, currency="EUR", day=DAY, booking_date=DAY, value_date=DAY,
        references=[Reference("other", reference)] if reference else [], counterparty_iban=iban, **fields,
    )  # fmt: skip


class Child:
    """One process of matching."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def tail(self) -> str:
        return self.log.read_text()[-3000:]

    async def end(self, number: int = signal.SIGKILL) -> int:
        """Ends it, where it still lives, and returns its status."""
        if self.alive:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 40)


class System:
    """Matching with a database and topics of its own, on servers that others may share."""

    def __init__(self, urls: Urls, bootstrap: str, prefix: str, folder: Path) -> None:
        self.urls, self.bootstrap, self.prefix, self.folder = urls, bootstrap, prefix, folder
        self.database = Database(urls.app, application_name="bank", pool_max=4)
        self.producer = Producer(bootstrap, client_id="erp")
        self.children: list[Child] = []
        self.injected: Counter[str] = Counter()
        self._statements: Counter = Counter()
        self._balances: Counter = Counter()
        self.environment = urls.environment() | {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "ENCOURS_TOPIC_PREFIX": prefix,
            "ENCOURS_CURSOR_SECRET": "c" * 32,
            "ENCOURS_HTTP_PORT": "0",
        }

    # processes

    async def start(self, role: str, *, failpoint: str = "") -> Child:
        """A new process of matching in this role; it dies of SIGKILL at the failpoint, where one is named."""
        log = self.folder / f"{self.prefix}{role}-{len(self.children)}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "matching", role),
                env=os.environ | self.environment | {"ENCOURS_FAILPOINT": failpoint},
                stdout=output,
                stderr=output,
            )
        child = Child(process, log)
        self.children.append(child)
        return child

    async def joined(self, workers: int) -> None:
        """Waits until so many workers share the topics: each is two members, one for payments, one for what others tell."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()

        async def stable() -> bool:
            try:
                (answer,) = await admin.describe_consumer_groups([self.prefix + "matching"])
            except KafkaError:  # a new cluster has no coordinator yet
                return False
            _, _, state, _, _, found, *_ = answer.groups[0]
            return state == "Stable" and len(found) == 2 * workers

        try:
            await eventually(stable, seconds=60, what=f"{workers} workers in the group")
        finally:
            await admin.close()

    async def ended(self, *children: Child) -> None:
        """They live, and leave in order."""
        for child in children:
            assert child.alive, child.tail()
            assert await child.end(signal.SIGTERM) == 0, child.tail()

    # what comes in

    async def _insist(self, work):
        """Does it again while the database is away."""
        end = monotonic() + 120
        while True:
            try:
                return await work()
            except Exception as error:
                if not is_unavailable(error) or monotonic() > end:
                    raise
                await asyncio.sleep(0.2)

    async def account(self, tenant):
        """The tenant's bank account; every tenant has the same IBAN."""

        async def put():
            async with self.database.transaction(tenant) as conn:
                return await put_account(
                    conn, tenant, IBAN, entity_id=self.entity(tenant), currency="EUR", holder_name="Vendeur", start_date=DAY
                )

        return await self._insist(put)

    @staticmethod
    def entity(tenant):
        """The tenant's legal entity: that of the invoices that `make` makes."""
        return named_id("entity", tenant, "seller")

    async def book(self, held, transfers) -> None:
        """Statements of the bank with these transfers; PaymentReceived waits in the outbox. Booked once, however often it is tried."""
        for first in range(0, len(transfers), 5_000):
            lines = transfers[first : first + 5_000]
            number, opening = self._statements[held.tenant_id], self._balances[held.tenant_id]
            closing = opening + sum(line.amount_minor for line in lines)
            statement = Statement(
                kind="camt.053", identification=f"S{number}", number=str(number), sequence=number, account=IBAN, currency="EUR",
                first_day=DAY, last_day=DAY, opening_minor=opening, closing_minor=closing,
            )  # fmt: skip
            entries = [
                statement.add(Entry(signed_minor=line.amount_minor, currency="EUR", status="booked", transactions=[line])) for line in lines
            ]

            async def put(statement=statement, entries=entries, number=number):
                async with self.database.transaction(held.tenant_id) as conn:
                    return await files.book_statement(conn, held, statement, entries, f"{number:064x}", NOW)

            booked = await self._insist(put)
            assert booked.verdict in {"booked", "duplicate"}, booked
            self._statements[held.tenant_id] += 1
            self._balances[held.tenant_id] = closing

    async def notify(self, held, one: Transaction):
        """A signed notification of one transfer, as the API takes it."""
        async with self.database.transaction(held.tenant_id) as conn:
            return (await ingest.book_notifications(conn, held, [(one, None)], NOW))[0]

    async def taken(self) -> list[Record]:
        """What waits in the outbox, taken out of it: the test is the relay and chooses the moment. No relay may run."""
        conn = await asyncpg.connect(self.urls.owner)
        rows = await conn.fetch("WITH gone AS (DELETE FROM outbox RETURNING *) SELECT topics, batches FROM gone ORDER BY id")
        await conn.close()
        return [(self.prefix + topic, key.encode(), value, headers) for row in rows for topic, key, value, headers in unfold(*row)]

    def record(self, message: Message) -> Record:
        """A message of another service as its relay would send it."""
        out = Outgoing(message.tenant_id, message.data, message.envelope.entityid)
        topic, key, texts = headers_for(out, at=machine_now().isoformat(), trace="")
        return self.prefix + topic, key.encode(), encode(message.data), [(name, text.encode()) for name, text in texts.items()]

    async def send(self, records: list[Record]) -> None:
        """Puts records on the topics, in their order per key."""
        for first in range(0, len(records), SLICE):
            await self.producer.send(in_lanes(records[first : first + SLICE]))

    # what came of it

    async def rows(self, query: str):
        """From the database as the role that sees every tenant; tries while the server is away."""
        end = monotonic() + 60
        while True:
            try:
                conn = await asyncpg.connect(self.urls.check, timeout=10)
                try:
                    return await conn.fetch(query)
                finally:
                    await conn.close()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if monotonic() > end:
                    raise
                await asyncio.sleep(0.5)

    async def count(self, query: str) -> int:
        """One number."""
        return int((await self.rows(query))[0][0])

    async def matched(self, *, payments: int, paid: int, seconds: float) -> None:
        """Waits until so many payments are there and matched whole, and so many items paid; says what is left when they are not."""

        async def all_of_them() -> bool:
            (row,) = await self.rows(
                "SELECT (SELECT count(*) FILTER (WHERE status = 'matched') FROM payment), "
                "(SELECT count(*) FILTER (WHERE status = 'paid') FROM open_item)"
            )
            return tuple(row) == (payments, paid)

        try:
            await eventually(all_of_them, seconds=seconds, what="every payment matched")
        except AssertionError:
            left = await self.rows("SELECT status, unapplied_reason, looks, count(*) FROM payment GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")
            items = await self.rows("SELECT status, count(*) FROM open_item GROUP BY 1")
            dead = await self.rows("SELECT event, reason, count(*) FROM dead_letter GROUP BY 1, 2 LIMIT 5")
            raise AssertionError(f"not all matched after {seconds} s: {left}; {items}; dead letters {dead}") from None

    async def settled(self, *, payments: int, paid: int, seconds: float = 90.0) -> None:
        """Waits for it, then holds tables, topics and invariants against each other. Prints what was injected."""
        await self.matched(payments=payments, paid=paid, seconds=seconds)

        async def reconciled() -> bool:
            return not await self.rows(
                "SELECT 1 FROM (SELECT tenant_id, bank_account_id, count(*) AS n, max(last_day) AS day FROM statement GROUP BY 1, 2) s "
                "LEFT JOIN reconciliation r USING (tenant_id, bank_account_id) "
                "WHERE (r.statements, r.matched_through) IS DISTINCT FROM (s.n, s.day) OR r.next_booked_through IS NOT NULL"
            )

        async def left() -> bool:
            return await self.count("SELECT count(*) FROM outbox") == 0

        await eventually(reconciled, seconds=90, what="every bank account reconciled")
        await eventually(left, seconds=90, what="the outbox empty")
        crossed = await self.count(
            "SELECT count(*) FROM allocation a JOIN payment p USING (tenant_id, payment_id) JOIN open_item i USING (tenant_id, item_id) "
            "WHERE right(p.bank_reference, -1) <> CAST(CAST(right(i.invoice_number, 6) AS int) AS text)"
        )
        assert crossed == 0, f"{crossed} allocations join a payment with another one's invoice"
        await self._told()
        database = Database(self.urls.check, application_name="verify", pool_max=2)
        async with database.engine.begin() as conn:
            result = await verify(conn, CHECKS)
        await database.close()
        assert set(result.values()) == {True}, result
        print(f"injected {dict(self.injected)}; {payments} payments matched, {paid} items paid, {len(result)} invariants hold")  # noqa: T201 - the record

    async def _told(self) -> None:
        """Topics say what tables say: versions first seen in order and without a gap, InvoicePaid one event per item."""
        for event, table, key in (("OpenItemChanged", "open_item", "item_id"), ("AccountBalanceChanged", "account_balance", "account_id")):
            seen: dict = {}
            for message in await self.messages(event):
                identity, version = (message.tenant_id, getattr(message.data, key)), message.data.version
                assert version <= seen.get(identity, 0) + 1, f"{event} {identity}: version {version} came after {seen.get(identity, 0)}"
                seen[identity] = max(version, seen.get(identity, 0))
            kept = {(row[0], row[1]): row[2] for row in await self.rows(f"SELECT tenant_id, {key}, version FROM {table}")}  # noqa: S608 - ours
            assert seen == kept, event
        paid: dict = {}
        for message in await self.messages("InvoicePaid"):
            identity = message.tenant_id, message.data.item_id
            paid.setdefault(identity, {}).setdefault(message.data.version, set()).add((message.envelope.id, encode(message.data)))
        assert set(paid) == {tuple(row) for row in await self.rows("SELECT tenant_id, item_id FROM open_item WHERE status = 'paid'")}
        assert all(len(versions) == 1 and all(len(told) == 1 for told in versions.values()) for versions in paid.values())

    @asynccontextmanager
    async def reading(self, event: str):
        """A consumer of a whole topic from its beginning, and the offsets at which it ends now."""
        client = consumer(self.bootstrap, f"{self.prefix}reader", client_id="reader")
        await client.start()
        try:
            partitions = [TopicPartition(self.prefix + event, number) for number in range(topics()[event].partitions)]
            client.assign(partitions)
            ends = await client.end_offsets(partitions)
            await client.seek_to_beginning(*partitions)
            yield client, ends
        finally:
            await client.stop()

    async def messages(self, event: str) -> list[Message]:
        """Every message of a topic, in order per key."""
        found = []
        async with self.reading(event) as (client, ends):
            while any([await client.position(partition) < end for partition, end in ends.items()]):
                for records in (await client.getmany(timeout_ms=500)).values():
                    found += [decode(events()[event], record.headers, record.value) for record in records]
        return found

    async def close(self) -> None:
        """Nothing of it goes on."""
        for child in self.children:
            await child.end()
        await self.producer.close()
        await self.database.close()


@asynccontextmanager
async def opened(folder: Path, admin_dsn: str, bootstrap: str):
    """A system with an empty, migrated database and topics of its own."""
    prefix = f"f{secrets.token_hex(3)}-"
    await create_topics(bootstrap, prefix=prefix, replication=1)
    async with fresh_database(admin_dsn, "matching") as urls:
        system = System(urls, bootstrap, prefix, folder)
        try:
            yield system
        finally:
            await system.close()


@pytest.fixture
async def system(infrastructure, tmp_path):
    """One on the session's servers."""
    async with opened(tmp_path, infrastructure.admin_dsn, infrastructure.bootstrap) as made:
        yield made


@pytest.fixture
def feed(tmp_path):
    """Helpers that tests cannot import, for test folders are no packages."""
    return SimpleNamespace(transfer=transfer, opened=partial(opened, tmp_path))
