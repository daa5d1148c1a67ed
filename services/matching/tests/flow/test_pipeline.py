"""The whole way over a real broker: a file and an invoice in, InvoicePaid on its topic out; also after kill -9."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import date

import httpx
from contracts.catalogue import topics
from contracts.envelope import decode
from contracts.invoices import Instalment, InvoiceIssued
from contracts.items import InvoicePaid
from matching.invariants import CHECKS
from shared.db import Database
from shared.ids import named_id, new_id
from shared.invariants import verify
from shared.kafka import Producer, TopicPartition, consumer, create_topics
from shared.outbox import Outgoing, publish
from shared.relay import Relay
from shared.testing.databases import fresh_database
from shared.testing.tokens import public_key_file, token
from shared.testing.waiting import eventually

IBAN = "FR7630006000011234567890189"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def service(environment):
    process = subprocess.Popen([sys.executable, "-m", "matching", "all"], env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def invoice(tenant, number, amount):
    return InvoiceIssued(
        version=1,
        invoice_id=named_id("invoice", tenant, number),
        source_system="erp",
        source_id=number,
        source_version=1,
        invoice_number=number,
        kind="invoice",
        origin="issued",
        status="issued",
        customer_id=named_id("customer", tenant, "C1"),
        customer_number="C1",
        issue_date=date(2026, 3, 1),
        currency="EUR",
        total_minor=amount,
        tax_minor=0,
        prepaid_minor=0,
        payable_minor=amount,
        instalments=[Instalment(number=1, due_date=date(2026, 3, 31), amount_minor=amount)],
        payment_reference=number,
    )


async def issue(urls, prefix, bootstrap, tenant, entity, data) -> None:
    """As invoicing would: through an outbox and the relay."""
    database = Database(urls.app, application_name="flow")
    async with database.transaction(tenant) as conn:
        await publish(conn, [Outgoing(tenant, data, entity)])
    await database.close()
    relaying = Database(urls.relay, application_name="flow-relay", pool_max=2)
    relay = Relay(relaying, Producer(bootstrap, client_id="flow"), topic_prefix=prefix)
    task = asyncio.create_task(relay.run())
    await asyncio.sleep(2)
    relay.stop()
    await task
    await relaying.close()


async def test_a_file_pays_an_invoice_over_the_broker(infrastructure, tmp_path, camtfile):
    prefix, tenant = f"m{secrets.token_hex(3)}-", new_id()
    entity, port = named_id("entity", tenant), free_port()
    await create_topics(infrastructure.bootstrap, prefix=prefix, replication=1)
    async with fresh_database(infrastructure.admin_dsn, "matching") as urls, fresh_database(infrastructure.admin_dsn, "matching") as others:
        environment = (
            os.environ
            | urls.environment()
            | {
                "KAFKA_BOOTSTRAP_SERVERS": infrastructure.bootstrap,
                "ENCOURS_TOPIC_PREFIX": prefix,
                "ENCOURS_HTTP_PORT": str(port),
                "ENCOURS_JWT_PUBLIC_KEY_FILE": str(public_key_file(tmp_path)),
                "ENCOURS_CURSOR_SECRET": secrets.token_hex(32),
            }
        )
        headers = {"authorization": f"Bearer {token(tenant, 'bank:write', 'bank:read', 'payments:read')}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10) as client:

            async def ready():
                try:
                    return (await client.get("/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            async def post(number, opening, closing):
                line = camtfile.entry("100.00", ref=f"B{number}", structured=f"REF00{number}")
                data = camtfile.statement(IBAN, opening, closing, line, number=number)
                answer = await client.post("/v1/bank-files", content=data, headers={"content-type": "application/xml"})
                assert answer.json()["statements"][0]["new_payments"] == 1, answer.text

            with service(environment) as process:
                await eventually(ready, seconds=60, what="the service")
                account = {"entity_id": str(entity), "currency": "EUR", "holder_name": "Vendeur", "start_date": "2026-03-01"}
                assert (await client.put(f"/v1/bank-accounts/{IBAN}", json=account)).status_code == 200
                await issue(others, prefix, infrastructure.bootstrap, tenant, entity, invoice(tenant, "REF001", 10_000))
                await post(1, "0.00", "100.00")
                await post(2, "100.00", "200.00")
                process.send_signal(signal.SIGKILL)
            await issue(others, prefix, infrastructure.bootstrap, tenant, entity, invoice(tenant, "REF002", 10_000))
            with service(environment):
                await eventually(ready, seconds=60, what="the service after kill -9")
                paid = await receive(infrastructure.bootstrap, prefix, tenant, 2)
        assert {one.data.invoice_number for one in paid} == {"REF001", "REF002"}
        assert {one.envelope.entityid for one in paid} == {entity}
        database = Database(urls.check, application_name="check", pool_max=2)
        async with database.engine.begin() as conn:
            result = await verify(conn, CHECKS)
        await database.close()
        assert all(value is True for value in result.values()), result


async def receive(bootstrap, prefix, tenant, count):
    """The first messages about a tenant on the topic InvoicePaid."""
    client = consumer(bootstrap, f"{prefix}reader", client_id="reader")
    await client.start()
    found = []
    try:
        partitions = [TopicPartition(f"{prefix}InvoicePaid", number) for number in range(topics()["InvoicePaid"].partitions)]
        client.assign(partitions)
        await client.seek_to_beginning(*partitions)

        async def enough():
            for records in (await client.getmany(timeout_ms=500)).values():
                found.extend(m for r in records if (m := decode(InvoicePaid, r.headers, r.value)).tenant_id == tenant)
            return len({m.envelope.id for m in found}) >= count

        await eventually(enough, seconds=90, what="InvoicePaid")
    finally:
        await client.stop()
    return found
