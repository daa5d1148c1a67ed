"""The service's true processes: API, worker and relay in one, over a real broker, stopped by SIGTERM."""

import os
import signal
import socket
import subprocess
import sys
from datetime import date
from uuid import UUID

import httpx
from contracts.items import OpenItemChanged, Settled
from shared.db import Database
from shared.ids import new_id
from shared.kafka import create_topics
from shared.outbox import Outgoing, publish
from shared.testing.databases import fresh_database
from shared.testing.events import published
from shared.testing.tokens import public_key_file, token
from shared.testing.waiting import eventually

SCOPES = ("entities:write", "customers:write", "invoices:write", "invoices:read")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def test_invoice_goes_out_and_its_balance_comes_back(infrastructure, tmp_path):
    prefix, port, tenant, entity = f"t{new_id().hex[-8:]}.", free_port(), new_id(), new_id()
    await create_topics(infrastructure.bootstrap, prefix=prefix, replication=1)
    async with fresh_database(infrastructure.admin_dsn, "invoicing") as urls:
        environment = {
            **os.environ,
            **urls.environment(),
            "KAFKA_BOOTSTRAP_SERVERS": infrastructure.bootstrap,
            "ENCOURS_TOPIC_PREFIX": prefix,
            "ENCOURS_HTTP_PORT": str(port),
            "ENCOURS_JWT_PUBLIC_KEY_FILE": str(public_key_file(tmp_path)),
            "ENCOURS_CURSOR_SECRET": "s" * 32,
            "ENCOURS_DOCUMENTS_DIR": str(tmp_path / "documents"),
        }
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", "invoicing", "all"], env=environment, stdout=log, stderr=log)  # noqa: ASYNC220
        headers = {"authorization": f"Bearer {token(tenant, *SCOPES)}"}
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as http:
                await _through(http, urls, tenant, entity)
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(30)
        assert status == 0, (tmp_path / "log").read_text()


async def _through(http: httpx.AsyncClient, urls, tenant: UUID, entity: UUID) -> None:
    async def ready() -> bool:
        try:
            return (await http.get("/ready")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(ready, seconds=60, what="the service")
    seller = {"name": "Morvan", "country": "FR", "currency": "EUR"}
    assert (await http.put(f"/v1/entities/{entity}", json=seller)).status_code == 200
    invoice = {
        "entity_id": str(entity),
        "source_system": "sap",
        "source_id": "F-1",
        "source_version": 1,
        "invoice_number": "F-1",
        "customer_number": "C1",
        "issue_date": "2026-03-05",
        "currency": "EUR",
        "total_minor": 12000,
        "payable_minor": 12000,
    }
    answer = await http.post("/v1/invoices", json=invoice, headers={"idempotency-key": "1"})
    assert answer.status_code == 201, answer.text
    body = answer.json()

    async def sent() -> bool:
        return not await published(urls.owner)

    await eventually(sent, what="the relay")
    said = OpenItemChanged(
        version=1,
        item_id=UUID(body["invoice_id"]),
        kind="invoice",
        customer_id=UUID(body["customer_id"]),
        source_system="sap",
        invoice_number="F-1",
        currency="EUR",
        issue_date=date(2026, 3, 5),
        original_minor=12000,
        open_minor=7000,
        disputed_minor=0,
        settled=Settled(cash_minor=5000),
        instalments=[],
        status="open",
    )
    # what matching would send, by way of this service's own relay
    database = Database(urls.app, application_name="test")
    async with database.transaction(tenant) as conn:
        await publish(conn, [Outgoing(tenant, said, entity)])
    await database.close()

    async def arrived() -> bool:
        return (await http.get(f"/v1/invoices/{body['invoice_id']}")).json()["open_minor"] == 7000

    await eventually(arrived, seconds=60, what="the balance")
