import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from invoicing.cli import SERVICE
from invoicing.settings import InvoicingSettings
from shared.db import Database
from shared.ids import new_id
from shared.service import Runtime, api, check, open_runtime
from shared.testing.databases import Urls, fresh_database
from shared.testing.tokens import public_key_file, token

sys.path.insert(0, str(Path(__file__).parent / "storage"))  # for test_imports, whose steps other tests of imports take
sys.path.insert(0, str(Path(__file__).parent))  # for ublfile, the maker of files that several modules use

SCOPES = ("entities:write", "entities:read", "customers:write", "customers:read", "invoices:write", "invoices:read")


@dataclass
class Client:
    """The API as one tenant sees it."""

    http: httpx.AsyncClient
    tenant_id: UUID
    entity_id: UUID

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {token(self.tenant_id, *SCOPES)}"}

    def headers_with(self, *scopes: str) -> dict[str, str]:
        return {"authorization": f"Bearer {token(self.tenant_id, *scopes)}"}

    async def put(self, path: str, body: Any) -> httpx.Response:
        return await self.http.put(path, json=body, headers=self.headers)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.http.get(path, params=params, headers=self.headers)

    async def post(self, path: str, body: Any, *, key: str | None = None, **params: Any) -> httpx.Response:
        headers = {**self.headers, "idempotency-key": key or new_id().hex}
        if isinstance(body, bytes):
            return await self.http.post(path, content=body, params=params, headers={**headers, "content-type": "application/xml"})
        return await self.http.post(path, json=body, params=params, headers=headers)

    def invoice(self, number: str = "F-1", **fields: Any) -> dict[str, Any]:
        return {
            "entity_id": str(self.entity_id),
            "source_system": "sap",
            "source_id": number,
            "source_version": 1,
            "invoice_number": number,
            "kind": "invoice",
            "origin": "issued",
            "customer_number": "C1",
            "issue_date": "2026-03-05",
            "currency": "EUR",
            "total_minor": 12000,
            "tax_minor": 2000,
            "prepaid_minor": 0,
            "payable_minor": 12000,
            "due_date": "2026-04-04",
            **fields,
        }


@pytest.fixture(scope="session")
async def urls(infrastructure) -> AsyncIterator[Urls]:
    async with fresh_database(infrastructure.admin_dsn, "invoicing") as found:
        yield found


@pytest.fixture(scope="session")
async def runtime(urls: Urls, infrastructure, tmp_path_factory) -> AsyncIterator[Runtime]:
    folder: Path = tmp_path_factory.mktemp("invoicing")
    settings = InvoicingSettings(
        database_url=urls.app,
        check_database_url=urls.check,
        kafka_bootstrap_servers=infrastructure.bootstrap,
        jwt_public_key_file=public_key_file(folder),
        cursor_secret="s" * 32,
        documents_dir=folder / "documents",
    )
    found = open_runtime(SERVICE, settings)
    yield found
    await found.database.close()


@pytest.fixture(scope="session")
def database(runtime: Runtime) -> Database:
    return runtime.database


@pytest.fixture(scope="session")
async def http(runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api(runtime)), base_url="http://invoicing.test") as client:
        yield client


@pytest.fixture
def new_client(http: httpx.AsyncClient):
    """Makes a client of a new tenant with one entity and one customer C1."""

    async def make(**entity: Any) -> Client:
        client = Client(http, new_id(), new_id())
        body = {
            "name": "Ateliers Morvan SAS",
            "country": "FR",
            "currency": "EUR",
            "vat_id": "FR40303265045",
            "company_ids": [{"scheme": "0002", "value": "303265045"}],
            **entity,
        }
        answer = await client.put(f"/v1/entities/{client.entity_id}", body)
        assert answer.status_code == 200, answer.text
        answer = await client.put("/v1/customers/sap/C1", {"name": "Kervella", "company_ids": [{"scheme": "0002", "value": "552 100 554"}]})
        assert answer.status_code == 201, answer.text
        return client

    return make


@pytest.fixture
async def client(new_client) -> Client:
    return await new_client()


@pytest.fixture
def checked(runtime: Runtime):
    """Runs the invariants and fails on the first that does not hold."""

    async def verify() -> None:
        wrong = {name: value for name, value in (await check(SERVICE, runtime.settings)).items() if value is not True}
        assert not wrong

    return verify
