"""A migrated database per module, and short ways to make what matching is fed with."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import httpx
import pytest
from contracts.invoices import CreditNoteIssued, Instalment, InvoiceCancelled, InvoiceChanged, InvoiceIssued
from contracts.payments import PaymentReceived
from matching.cli import SERVICE
from matching.domain.statements import Reference, Transaction
from matching.handlers import accounts, ingest
from matching.handlers.invoices import keep_invoices
from matching.handlers.matching import match_payments
from matching.invariants import CHECKS
from matching.settings import MatchingSettings
from matching.storage.bank import BankAccount
from matching.storage.books import ChangedError
from shared.clock import machine_now
from shared.db import Database, fetch
from shared.ids import named_id, new_id
from shared.invariants import verify
from shared.service import Runtime, api, open_runtime
from shared.testing.databases import Urls, fresh_database
from shared.testing.events import context, message, published
from shared.testing.tokens import public_key_file, token

sys.path.insert(0, str(Path(__file__).parent))  # for modules that several test files share

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = date(2026, 3, 2)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
IBAN = "FR7630006000011234567890189"


@dataclass
class World:
    """One database of matching, seen from outside and inside."""

    urls: Urls
    runtime: Runtime

    @property
    def database(self) -> Database:
        return self.runtime.database

    async def account(
        self, tenant: UUID, iban: str = IBAN, *, entity: str = "seller", currency: str = "EUR", start: date = date(2026, 1, 1)
    ) -> BankAccount:
        async with self.database.transaction(tenant) as conn:
            held = await accounts.put_account(
                conn, tenant, iban, entity_id=entity_id(tenant, entity), currency=currency, holder_name="Vendeur SA", start_date=start
            )
        assert held is not None
        return held

    async def pay(self, held: BankAccount, amount: int, reference: str | None = None, **more) -> UUID:
        """One notified payment, stored and published, not yet matched."""
        more = {"bank_reference": f"B{more.pop('number', machine_now().timestamp())}", **more}
        day = more.pop("day", DAY)
        one = Transaction(
            kind="payment",
            credit=True,
            amount_minor=amount,
            currency=held.currency,
            day=day,
            booking_date=day,
            value_date=DAY,
            references=[Reference("other", reference)] if reference else [],
            counterparty_name=more.pop("debtor_name", None),
            counterparty_iban=more.pop("debtor_iban", None),
            **more,
        )
        virtual = None
        async with self.database.transaction(held.tenant_id) as conn:
            if one.virtual_iban:
                rows = await fetch(conn, "SELECT virtual_iban_id FROM virtual_iban WHERE iban = :iban", iban=one.virtual_iban)
                virtual = rows[0][0]
            return (await ingest.book_notifications(conn, held, [(one, virtual)], NOW))[0]

    async def feed(self, *messages) -> None:
        """Hands messages, in their order, to the handlers that the worker would choose, a batch per run of one type."""
        batch = []
        for one in [*messages, None]:
            if batch and (one is None or type(one.data) is not type(batch[0].data)):
                await self.handled(*{m.tenant_id for m in batch}, by=SERVICE.routes[type(batch[0].data)], given=(batch, context(NOW)))
                batch = []
            if one is not None:
                batch.append(one)

    async def handled(self, *tenants: UUID, by, given) -> None:
        """One transaction of a handler, and another one for as long as something is changed beside it, as the worker does."""
        while True:
            try:
                async with self.database.transaction(*tenants) as conn:
                    await by(conn, *given)
            except ChangedError:
                await asyncio.sleep(0.01)
            else:
                return

    async def match(self, *tenants: UUID) -> None:
        """Matches every payment that waits."""
        waiting = [m for m in await self.events("PaymentReceived") if m.tenant_id in tenants]
        await self.feed(*waiting)

    async def events(self, *names: str):
        return await published(self.urls.owner, *names)

    async def rows(self, tenant: UUID, query: str, **values):
        async with self.database.transaction(tenant) as conn:
            return await fetch(conn, query, **values)

    async def one(self, tenant: UUID, query: str, **values):
        (row,) = await self.rows(tenant, query, **values)
        return row

    async def holds(self) -> None:
        """Every invariant of the service holds."""
        database = Database(self.urls.check, application_name="check", pool_max=2)
        try:
            async with database.engine.begin() as conn:
                result = await verify(conn, CHECKS)
        finally:
            await database.close()
        assert all(value is True for value in result.values()), {k: v for k, v in result.items() if v is not True}


def entity_id(tenant: UUID, name: str = "seller") -> UUID:
    return named_id("entity", tenant, name)


def customer_id(tenant: UUID, name: str) -> UUID:
    return named_id("customer", tenant, "erp", name)


def invoice_id(tenant: UUID, number: str) -> UUID:
    return named_id("invoice", tenant, number)


def invoice(
    tenant: UUID,
    number: str,
    amount: int,
    *,
    customer: str = "C1",
    reference: str | None = None,
    version: int = 1,
    cls=InvoiceIssued,
    due: date = date(2026, 3, 6),
    entity: str = "seller",
    **more,
):
    """A message about an invoice; `number` names it."""
    fields = {
        "version": version,
        "invoice_id": invoice_id(tenant, number),
        "source_system": "erp",
        "source_id": number,
        "source_version": version,
        "invoice_number": number,
        "kind": "credit_note" if cls is CreditNoteIssued else "invoice",
        "origin": "issued",
        "status": "cancelled" if cls is InvoiceCancelled else "issued",
        "customer_id": customer_id(tenant, customer),
        "customer_number": customer,
        "issue_date": date(2026, 3, 1),
        "currency": "EUR",
        "total_minor": amount,
        "tax_minor": 0,
        "prepaid_minor": 0,
        "payable_minor": amount,
        "instalments": [Instalment(number=1, due_date=due, amount_minor=amount)],
        "payment_reference": reference,
    }
    return message(tenant, cls(**(fields | more)), entity_id=entity_id(tenant, entity))


@pytest.fixture(scope="module")
async def world(infrastructure, tmp_path_factory, request) -> AsyncIterator[World]:
    """Where a module of tests has a `CLOCK`, that is the business moment, else the machine's."""
    clock = None
    if moment := getattr(request.module, "CLOCK", None):
        clock = tmp_path_factory.mktemp("clock") / "now"
        clock.write_text(moment.isoformat())
    async with fresh_database(infrastructure.admin_dsn, "matching") as urls:
        settings = MatchingSettings(
            database_url=urls.app,
            kafka_bootstrap_servers=infrastructure.bootstrap,
            webhook_secret=SECRET,
            cursor_secret="0123456789abcdef0123456789abcdef",
            jwt_public_key_file=public_key_file(tmp_path_factory.mktemp("keys")),
            clock_file=clock,
        )
        runtime = open_runtime(SERVICE, settings)
        yield World(urls, runtime)
        await runtime.database.close()


@pytest.fixture
def now() -> datetime:
    """The business moment of the tests."""
    return NOW


@pytest.fixture
def tenant() -> UUID:
    """A tenant that no other test has."""

    return new_id()


@pytest.fixture
async def client(world, tenant) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=api(world.runtime))
    scopes = ("bank:write", "bank:read", "payments:write", "payments:read")
    headers = {"authorization": f"Bearer {token(tenant, *scopes)}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://matching.test", headers=headers) as found:
        yield found


@pytest.fixture
async def second(world, tenant) -> AsyncIterator[httpx.AsyncClient]:
    """Another person of the same tenant."""
    headers = {"authorization": f"Bearer {token(tenant, 'payments:write', 'payments:read', subject='second')}"}
    transport = httpx.ASGITransport(app=api(world.runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://matching.test", headers=headers) as found:
        yield found


@pytest.fixture
async def client_of(world) -> AsyncIterator:
    """Makes clients: one of any tenant, person and scope."""
    async with AsyncExitStack() as open_clients:
        transport = httpx.ASGITransport(app=api(world.runtime))

        async def make(tenant, *, subject="tester", scopes=("bank:write", "bank:read", "payments:write", "payments:read")):
            headers = {"authorization": f"Bearer {token(tenant, *scopes, subject=subject)}"}
            return await open_clients.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://matching.test", headers=headers)
            )

        yield make


make = SimpleNamespace(
    NOW=NOW,
    invoice=invoice,
    entity_id=entity_id,
    customer_id=customer_id,
    invoice_id=invoice_id,
    keep=keep_invoices,
    match=match_payments,
    Changed=InvoiceChanged,
    Cancelled=InvoiceCancelled,
    Credit=CreditNoteIssued,
    Received=PaymentReceived,
)


@pytest.fixture(name="make")
def make_fixture():
    return make


@pytest.fixture(scope="session")
def camtfile():
    """The helper module beside this folder (test folders are no packages)."""
    spec = importlib.util.spec_from_file_location("camtfile", Path(__file__).parent / "camtfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
