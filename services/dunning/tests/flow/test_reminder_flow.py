"""The whole service as one process, on a real broker: events in, a mail and ReminderSent out, behind the real gate."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from datetime import date, timedelta

import httpx
import pytest
from contracts.catalogue import topics
from contracts.dunning import ReminderSent
from contracts.envelope import decode, encode, headers
from dunning.handlers.policies import DEFAULT
from dunning_world import SENDER, MailServer, World, morning
from shared.db import Database
from shared.kafka import AIOKafkaConsumer, Producer, create_topics
from shared.testing.databases import Urls, fresh_database
from shared.testing.events import in_lanes
from shared.testing.tokens import public_key_file, token
from shared.testing.waiting import eventually

DUE = date(2025, 3, 1)
DAY = DUE + timedelta(days=7)


async def publish(bootstrap: str, prefix: str, world: World, *messages) -> None:
    producer = Producer(bootstrap, client_id="test")
    try:
        records = []
        for each in messages:
            name = each.envelope.type
            key = f"{world.tenant}:{getattr(each.data, topics()[name].key)}"
            records.append((prefix + name, key.encode(), encode(each.data), headers(each.envelope)))
        await producer.send(in_lanes(records))
    finally:
        await producer.close()


@pytest.fixture
async def urls(infrastructure) -> AsyncIterator[Urls]:
    """A database of this test's own: the service works for every tenant that it finds, other tests' leavings too."""
    async with fresh_database(infrastructure.admin_dsn, "dunning") as found:
        yield found


@pytest.fixture
async def database(urls: Urls) -> AsyncIterator[Database]:
    found = Database(urls.app, application_name="dunning-flow", pool_max=2)
    yield found
    await found.close()


async def test_from_events_to_a_mail_and_its_event(infrastructure, urls, database, mail_server: MailServer, tmp_path) -> None:
    world, prefix = World(database, urls, mail_server), f"t{os.urandom(4).hex()}."
    await create_topics(infrastructure.bootstrap, prefix=prefix, replication=1)
    clock = tmp_path / "clock"
    clock.write_text(morning(DUE).isoformat())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        **urls.environment(),
        "KAFKA_BOOTSTRAP_SERVERS": infrastructure.bootstrap,
        "ENCOURS_TOPIC_PREFIX": prefix,
        "ENCOURS_HTTP_PORT": str(port),
        "ENCOURS_JWT_PUBLIC_KEY_FILE": str(public_key_file(tmp_path)),
        "ENCOURS_CURSOR_SECRET": "c" * 32,
        "ENCOURS_CLOCK_FILE": str(clock),
        "ENCOURS_SMTP_URL": mail_server.transport.url,
        "ENCOURS_LOG_LEVEL": "WARNING",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "dunning", "all", env=environment)
    try:
        bearer = {"authorization": f"Bearer {token(world.tenant, 'dunning:read', 'dunning:write')}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=bearer) as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, seconds=60, what="the service being ready")
            switched = await client.put("/v1/policy", json={**DEFAULT, "sender": SENDER, "enabled": True})
            assert switched.json()["enabled_from"] == DUE.isoformat()
            who, identity = world.customer()
            item = world.item(who.data.customer_id, due=DUE)
            await publish(infrastructure.bootstrap, prefix, world, who, identity, item, world.bank_account())
            clock.write_text(morning(DAY).isoformat())

            async def run() -> dict:
                return (await client.get(f"/v1/runs/{DAY}")).json()

            async def shut() -> bool:
                return (await run())["held"] == {"gate_shut": 1}

            await eventually(shut, what="the item being known, and held by the gate")
            assert [(mail["To"], mail["Subject"], mail["Date"]) for mail in mail_server.mails] == []
            await publish(infrastructure.bootstrap, prefix, world, world.reconciled(DAY - timedelta(days=1)))

            async def done() -> bool:
                return (await run())["state"] == "done"

            await eventually(done, what="the run of the day being done")
            assert (await run())["sent"] == 1
        assert [mail["To"] for mail in mail_server.mails] == ["pay@debtor.example"]
        event = await first_reminder(infrastructure.bootstrap, prefix)
        assert [line.item_id for line in event.items] == [item.data.item_id]
        assert event.as_of == DAY - timedelta(days=1)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def first_reminder(bootstrap: str, prefix: str) -> ReminderSent:
    """The first ReminderSent on the topic."""
    client = AIOKafkaConsumer(prefix + "ReminderSent", bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await client.start()
    try:
        record = await asyncio.wait_for(client.getone(), 30)
        return decode(ReminderSent, record.headers, record.value).data
    finally:
        await client.stop()
