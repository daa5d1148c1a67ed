"""A database of reporting, its API, and a small ledger to tell it of."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from contracts.accounts import BankReconciliationAdvanced, CollectionAccountChanged
from contracts.envelope import Event, Message
from contracts.invoices import InvoiceIssued
from contracts.items import AccountBalanceChanged, ItemInstalment, OpenItemChanged, Settled
from contracts.payments import PaymentUnapplied
from reporting.cli import SERVICE
from reporting.settings import Settings
from reporting.worker import ROUTES
from shared.db import Database
from shared.ids import named_id, new_id
from shared.service import Runtime, api, open_runtime
from shared.testing import tokens
from shared.testing.databases import Urls, fresh_database
from shared.testing.events import context, message
from shared.testing.fixtures import Infrastructure

NOW = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
async def urls(infrastructure: Infrastructure) -> AsyncIterator[Urls]:
    async with fresh_database(infrastructure.admin_dsn, "reporting") as found:
        yield found


@pytest.fixture(scope="module")
async def database(urls: Urls) -> AsyncIterator[Database]:
    found = Database(urls.app, application_name="test", pool_max=4)
    yield found
    await found.close()


@pytest.fixture(scope="module")
def settings(urls: Urls, infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("reporting")
    clock = folder / "clock"
    clock.write_text(NOW.isoformat(), "ascii")
    return Settings(
        database_url=urls.app,
        owner_database_url=urls.owner,
        check_database_url=urls.check,
        kafka_bootstrap_servers=infrastructure.bootstrap,
        topic_prefix=f"t{new_id().hex}.",
        jwt_public_key_file=tokens.public_key_file(folder),
        cursor_secret="s" * 32,
        clock_file=clock,
    )


@pytest.fixture(scope="module")
async def runtime(settings: Settings) -> AsyncIterator[Runtime]:
    found = open_runtime(SERVICE, settings)
    yield found
    await found.database.close()


@pytest.fixture(scope="module")
async def client(runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=api(runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://reporting") as found:
        yield found


@pytest.fixture
def tenant() -> UUID:
    return new_id()


@pytest.fixture(scope="session")
def apply() -> Callable[..., Any]:
    """Runs messages of one topic through their handler, in one transaction."""

    async def run(database: Database, *messages: Message[Any]) -> None:
        async with database.transaction(*{each.tenant_id for each in messages}) as conn:
            await ROUTES[type(messages[0].data)](conn, messages, context(NOW))

    return run


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., Any]:
    """The rows of a table of one tenant, without its id, as the tables' owner sees them."""

    async def read(url: str, table: str, tenant_id: UUID) -> list[dict[str, Any]]:
        conn = await asyncpg.connect(url)
        try:
            await conn.execute("SELECT set_config('app.tenants', $1, false)", f"{{{tenant_id}}}")
            found = await conn.fetch(f"SELECT * FROM {table} WHERE tenant_id = $1", tenant_id)  # noqa: S608 - names of ours
        finally:
            await conn.close()
        dicts = [{name: value for name, value in row.items() if name != "tenant_id"} for row in found]
        return sorted(dicts, key=str)

    return read


class Ledger:
    """One tenant's events, with plain values for what a test does not care about."""

    def __init__(self, tenant_id: UUID, name: str = "first") -> None:
        self.tenant_id = tenant_id
        self.entity_id = named_id("entity", tenant_id, name)
        self.bank_account_id = named_id("bank_account", tenant_id, name)

    def id(self, name: str) -> UUID:
        return named_id("test", self.tenant_id, name)

    def _message(self, data: Event) -> Message[Event]:
        return message(self.tenant_id, data, entity_id=self.entity_id)

    def item(
        self,
        name: str,
        customer: str,
        *parts: tuple[str, int],
        kind: str = "invoice",
        disputed: int = 0,
        paid: int = 0,
        version: int = 1,
        currency: str = "EUR",
        issued: str = "2026-01-05",
    ) -> Message[Event]:
        """`parts` are (due date, open amount); `paid` was paid beside."""
        still = sum(amount for _, amount in parts)
        return self._message(
            OpenItemChanged(
                version=version,
                item_id=self.id(name),
                kind=kind,  # type: ignore[arg-type] # one of its literals
                customer_id=self.id(customer),
                source_system="erp",
                invoice_number=name,
                currency=currency,
                issue_date=date.fromisoformat(issued),
                original_minor=still + paid,
                open_minor=still,
                disputed_minor=disputed,
                settled=Settled(cash_minor=paid),
                instalments=[
                    ItemInstalment(number=number, due_date=date.fromisoformat(due), amount_minor=amount, open_minor=amount)
                    for number, (due, amount) in enumerate(parts, 1)
                ],
                status="open" if still else "paid",
            )
        )

    def balance(self, customer: str, *, owes: int, unapplied: int = 0, credits_: int = 0, version: int = 1) -> Message[Event]:
        return self._message(
            AccountBalanceChanged(
                version=version,
                account_id=self.id("account " + customer),
                customer_id=self.id(customer),
                currency="EUR",
                open_minor=owes,
                unapplied_minor=unapplied,
                unused_credits_minor=credits_,
            )
        )

    def payment(
        self, name: str, amount: int, *, payer: str | None = None, booked: str = "2026-06-01", candidates: tuple[str, ...] = ()
    ) -> Message[Event]:
        """A payment none of which has an item."""
        return self._message(
            PaymentUnapplied(
                version=2,
                payment_id=self.id(name),
                bank_account_id=self.bank_account_id,
                amount_minor=amount,
                currency="EUR",
                booking_date=date.fromisoformat(booked),
                value_date=date.fromisoformat(booked),
                confirmation="booked",
                source="camt.053",
                allocations=[],
                unapplied_minor=amount,
                returned_minor=0,
                refunded_minor=0,
                payer_customer_id=self.id(payer) if payer else None,
                unapplied_reason="no_reference",
                candidate_customer_ids=[self.id(each) for each in candidates],
            )
        )

    def invoice(self, name: str, amount: int, *, issued: str, customer: str = "c1") -> Message[Event]:
        day = date.fromisoformat(issued)
        return self._message(
            InvoiceIssued(
                version=1,
                invoice_id=self.id(name),
                source_system="erp",
                source_id=name,
                source_version=1,
                invoice_number=name,
                kind="invoice",
                origin="issued",
                status="issued",
                customer_id=self.id(customer),
                customer_number=customer,
                issue_date=day,
                currency="EUR",
                total_minor=amount,
                tax_minor=0,
                prepaid_minor=0,
                payable_minor=amount,
                instalments=[],
            )
        )

    def account(self) -> Message[Event]:
        return self._message(
            CollectionAccountChanged(
                version=1,
                bank_account_id=self.bank_account_id,
                iban="FR7630006000011234567890189",
                currency="EUR",
                holder_name="Seller",
                start_date=date(2026, 1, 1),
                status="active",
            )
        )

    def word(self, through: str, *, version: int = 1) -> Message[Event]:
        """The bank has spoken up to a day."""
        day = date.fromisoformat(through)
        return self._message(
            BankReconciliationAdvanced(
                version=version, bank_account_id=self.bank_account_id, booked_through=day, matched_through=day, gaps=[]
            )
        )


@pytest.fixture(scope="session")
def ledger() -> type[Ledger]:
    return Ledger
