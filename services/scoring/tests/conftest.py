"""A migrated database per test module, seen as the service sees it, and events to feed its handlers."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any
from uuid import UUID, uuid5

import pytest
from contracts.customers import CustomerChanged
from contracts.envelope import NAMESPACE, Event
from contracts.fields import CompanyId
from contracts.invoices import Instalment, InvoiceIssued
from contracts.items import AccountBalanceChanged, ItemInstalment, OpenItemChanged, Settled
from scoring.invariants import CHECKS
from scoring.worker import ROUTES, review_due
from shared.db import Database, fetch
from shared.invariants import verify
from shared.jobs import JobContext
from shared.testing.databases import Urls, fresh_database
from shared.testing.events import context, message, published
from shared.testing.fixtures import Infrastructure

NOW = datetime(2026, 6, 15, 9, 0, tzinfo=UTC)
ENTITY = uuid5(NAMESPACE, "entity")


def an_id(*parts: object) -> UUID:
    return uuid5(NAMESPACE, " ".join(map(str, parts)))


@pytest.fixture(scope="module")
async def urls(infrastructure: Infrastructure) -> AsyncIterator[Urls]:
    async with fresh_database(infrastructure.admin_dsn, "scoring") as found:
        yield found


@pytest.fixture(scope="module")
async def database(urls: Urls) -> AsyncIterator[Database]:
    found = Database(urls.app, application_name="test", pool_max=6)
    yield found
    await found.close()


def customer(customer_id: UUID, version: int = 1, **changes: Any) -> CustomerChanged:
    values: dict[str, Any] = {
        "version": version,
        "customer_id": customer_id,
        "source_system": "erp",
        "customer_number": "C-1",
        "status": "confirmed",
        "company_ids": [CompanyId(scheme="0002", value="552100554")],
        "country": "FR",
    }
    return CustomerChanged(**(values | changes))


def item(
    item_id: UUID, customer_id: UUID, version: int = 1, *, amount: int = 10_000, paid_on: date | None = None, **changes: Any
) -> OpenItemChanged:
    due = changes.pop("due", date(2026, 5, 1))
    left = 0 if paid_on else amount
    values: dict[str, Any] = {
        "version": version,
        "item_id": item_id,
        "kind": "invoice",
        "customer_id": customer_id,
        "source_system": "erp",
        "invoice_number": "F-1",
        "currency": "EUR",
        "issue_date": date(2026, 4, 1),
        "original_minor": amount,
        "open_minor": left,
        "disputed_minor": 0,
        "settled": Settled(cash_minor=amount - left),
        "instalments": [ItemInstalment(number=1, due_date=due, amount_minor=amount, open_minor=left)],
        "status": "paid" if paid_on else "open",
        "value_date": paid_on,
    }
    return OpenItemChanged(**(values | changes))


def account(
    customer_id: UUID, version: int = 1, *, open_minor: int, currency: str = "EUR", entity: object = "e1", **changes: Any
) -> AccountBalanceChanged:
    values: dict[str, Any] = {
        "version": version,
        "account_id": an_id("account", customer_id, entity, currency),
        "customer_id": customer_id,
        "currency": currency,
        "open_minor": open_minor,
        "unapplied_minor": 0,
        "unused_credits_minor": 0,
    }
    return AccountBalanceChanged(**(values | changes))


def invoice(invoice_id: UUID, customer_id: UUID, version: int = 1, *, amount: int = 10_000, **changes: Any) -> InvoiceIssued:
    values: dict[str, Any] = {
        "version": version,
        "invoice_id": invoice_id,
        "source_system": "erp",
        "source_id": "1",
        "source_version": 1,
        "invoice_number": "F-1",
        "kind": "invoice",
        "origin": "issued",
        "status": "issued",
        "customer_id": customer_id,
        "customer_number": "C-1",
        "issue_date": date(2026, 4, 1),
        "currency": "EUR",
        "total_minor": amount,
        "tax_minor": 0,
        "prepaid_minor": 0,
        "payable_minor": amount,
        "instalments": [Instalment(number=1, due_date=date(2026, 5, 1), amount_minor=amount)],
    }
    return InvoiceIssued(**(values | changes))


@dataclass
class World:
    """A service's database in the hands of one test, with its own tenant."""

    database: Database
    urls: Urls
    tenant: UUID
    now: datetime = NOW

    def id(self, *parts: object) -> UUID:
        return an_id(*parts)

    async def feed(self, *events: Event, tenant: UUID | None = None) -> None:
        await self.deliver([(tenant or self.tenant, event) for event in events])

    async def deliver(self, events: Sequence[tuple[UUID, Event]]) -> None:
        """Gives events to their handlers as the worker does: one batch and transaction per run of one topic."""
        for kind, run in groupby(events, key=lambda pair: type(pair[1])):
            batch = [message(tenant_id, data) for tenant_id, data in run]
            async with self.database.transaction(*{each.tenant_id for each in batch}) as conn:
                await ROUTES[kind](conn, batch, context(self.now))

    async def review(self, tenant: UUID | None = None) -> None:
        await review_due(JobContext(self.database, self.now, context(self.now).offsets, "", "scoring"), tenant or self.tenant)

    async def rows(self, statement: str, *, tenant: UUID | None = None, **values: Any) -> Sequence[Any]:
        async with self.database.transaction(tenant or self.tenant) as conn:
            return await fetch(conn, statement, **values)

    async def published(self, *names: str) -> list[Any]:
        return [each.data for each in await published(self.urls.owner, *names) if each.tenant_id == self.tenant]

    async def invariants_hold(self) -> None:
        checker = Database(self.urls.check, application_name="check", pool_max=2)
        try:
            async with checker.engine.begin() as conn:
                outcome = await verify(conn, CHECKS)
        finally:
            await checker.close()
        assert all(value is True for value in outcome.values()), outcome

    customer = staticmethod(customer)
    item = staticmethod(item)
    account = staticmethod(account)
    invoice = staticmethod(invoice)


@pytest.fixture
def world(database: Database, urls: Urls, request: pytest.FixtureRequest) -> World:
    return World(database, urls, an_id("tenant", request.node.nodeid))
