"""What the tests say of the world: events as other services publish them, and dunning's jobs at a moment."""

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import UUID

from aiosmtpd.smtp import SMTP
from contracts.accounts import BankReconciliationAdvanced, CollectionAccountChanged
from contracts.customers import Contact, CustomerChanged, CustomerIdentityChanged
from contracts.dunning import ReminderSent
from contracts.envelope import Event, Message
from contracts.invoices import Instalment, InvoiceIssued
from contracts.items import AccountBalanceChanged, ItemInstalment, OpenItemChanged, Settled
from contracts.payments import AnnouncedItem, PaymentAnnouncementChanged, PaymentUnapplied
from dunning.handlers import dispatches, gate, plans, policies, promises, reminders, runs
from dunning.smtp import Smtp
from dunning.storage.gate import GUARDED
from dunning.worker import ROUTES
from shared.batches import Context
from shared.db import Database, fetch
from shared.jobs import JobContext
from shared.testing.databases import Urls
from shared.testing.events import message, published

SENDER = {"name": "Encours & Co", "email": "receivables@encours.example"}


def new_id() -> UUID:
    """An id nobody else has."""
    return UUID(bytes=os.urandom(16), version=4)


def morning(day: date) -> datetime:
    """Eight o'clock UTC."""
    return datetime(day.year, day.month, day.day, 8, tzinfo=UTC)


class MailServer:
    """A real SMTP server in this process.

    `replies` are given to the next mails' contents, `rcpt` to recipients, then it accepts; `hangs` are recipients whose reply waits
    for `wake`; `mails_each`: after so many mails a connection is told 421 and closed.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.replies: list[str] = []
        self.rcpt: dict[str, str] = {}
        self.hangs: set[str] = set()
        self.wake = asyncio.Event()
        self.mails_each = 0
        self.connections = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()

        def connection() -> SMTP:
            self.connections += 1
            return SMTP(self, hostname="mx.example", enable_SMTPUTF8=False, loop=loop)

        self._server = await loop.create_server(connection, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self.wake.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def transport(self) -> Smtp:
        assert self._server is not None
        return Smtp(f"smtp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}")

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: ARG002, N802 - aiosmtpd's names
        if self.mails_each and session.taken >= self.mails_each:
            server.transport.close()
            return "421 too many mails"
        envelope.mail_from = address
        return "250 ok"

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> list[str]:  # noqa: ARG002, N802 - as above
        session.host_name, session.taken = hostname, 0
        return responses

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: ARG002, N802 - as above
        if address in self.hangs:
            await self.wake.wait()
        if reply := self.rcpt.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ARG002, N802 - as above
        if self.replies and (reply := self.replies.pop(0)):
            return reply
        session.taken += 1
        self.mails.append(message_from_bytes(envelope.original_content, policy=default))  # type: ignore[arg-type]
        return "250 taken"


@dataclass
class FixedOffsets:
    """The topics' ends and our committed positions, as a test says."""

    end: int = 0
    position: int = 0

    async def ends(self, events: Iterable[str], *, prefix: str = "") -> dict[tuple[str, int], int]:
        return {(prefix + name, partition): self.end for name in events for partition in range(6)}

    async def committed(self, group: str) -> dict[tuple[str, int], int]:  # noqa: ARG002 - the true one's signature
        return {(name, partition): self.position for name in GUARDED for partition in range(6)}


@dataclass
class World:
    database: Database
    urls: Urls
    mail_server: MailServer
    tenant: UUID = field(default_factory=new_id)
    entity: UUID = field(default_factory=new_id)
    account: UUID = field(default_factory=new_id)
    offsets: FixedOffsets = field(default_factory=FixedOffsets)
    versions: dict[UUID, int] = field(default_factory=dict)

    # --- events -------------------------------------------------------------------------------------------------------
    def version(self, aggregate: UUID) -> int:
        self.versions[aggregate] = self.versions.get(aggregate, 0) + 1
        return self.versions[aggregate]

    def message(self, event: Event, *, entity: UUID | None = None) -> Message[Any]:
        return message(self.tenant, event, entity_id=entity or self.entity)

    async def feed(self, *messages: Message[Any]) -> None:
        """Events reach dunning, one batch per topic, in the order of their first."""
        by_topic: dict[type, list[Message[Any]]] = {}
        for each in messages:
            by_topic.setdefault(type(each.data), []).append(each)
        for topic, batch in by_topic.items():
            async with self.database.transaction(*{each.tenant_id for each in batch}) as conn:
                await ROUTES[topic](conn, batch, Context(morning(date(2025, 1, 1)), self.offsets, "", "dunning"))  # type: ignore[arg-type]

    def customer(
        self, *, email: str | None = "pay@debtor.example", language: str | None = "en", consent: bool = True
    ) -> list[Message[Any]]:
        customer = new_id()
        contacts = [Contact(role="billing", email=email, consent=consent)] if email else []
        return [
            self.message(
                CustomerChanged(
                    version=1,
                    customer_id=customer,
                    source_system="erp",
                    customer_number="C1",
                    status="confirmed",
                    language=language,
                    country="FR",
                )
            ),
            self.message(CustomerIdentityChanged(version=1, customer_id=customer, name="Debtor <b>SA</b>", contacts=contacts)),
        ]

    def item(
        self,
        customer: UUID,
        *,
        due: date,
        open_minor: int = 100_00,
        original_minor: int = 100_00,
        item_id: UUID | None = None,
        number: str = "F-1",
        disputed_minor: int = 0,
        credited_minor: int = 0,
        value_date: date | None = None,
        currency: str = "EUR",
        kind: Any = "invoice",
        entity: UUID | None = None,
        version: int | None = None,
    ) -> Message[Any]:
        item_id = item_id or new_id()
        return self.message(
            OpenItemChanged(
                version=version or self.version(item_id),
                item_id=item_id,
                kind=kind,
                customer_id=customer,
                source_system="erp",
                invoice_number=number,
                currency=currency,
                issue_date=due - timedelta(days=30),
                original_minor=original_minor,
                open_minor=open_minor,
                disputed_minor=disputed_minor,
                settled=Settled(cash_minor=original_minor - open_minor - credited_minor, credit_minor=credited_minor),
                instalments=[ItemInstalment(number=1, due_date=due, amount_minor=original_minor, open_minor=open_minor)],
                status="open" if open_minor else "paid",
                value_date=value_date,
            ),
            entity=entity,
        )

    def invoice(self, item_id: UUID, customer: UUID, due: date, *, reminder_level: int | None = None) -> Message[Any]:
        return self.message(
            InvoiceIssued(
                version=1,
                invoice_id=item_id,
                source_system="erp",
                source_id=str(item_id),
                source_version=1,
                invoice_number="F-1",
                kind="invoice",
                origin="issued" if reminder_level is None else "opening",
                status="issued",
                customer_id=customer,
                customer_number="C1",
                issue_date=due - timedelta(days=30),
                currency="EUR",
                total_minor=100_00,
                tax_minor=0,
                prepaid_minor=0,
                payable_minor=100_00,
                instalments=[Instalment(number=1, due_date=due, amount_minor=100_00)],
                payment_reference="RF18539007547034",
                payment_account="FR7630006000011234567890189",
                reminder_level=reminder_level,
            )
        )

    def balance(self, customer: UUID, *, unapplied_minor: int = 0, unused_credits_minor: int = 0) -> Message[Any]:
        return self.message(
            AccountBalanceChanged(
                version=self.version(customer),
                account_id=customer,
                customer_id=customer,
                currency="EUR",
                open_minor=0,
                unapplied_minor=unapplied_minor,
                unused_credits_minor=unused_credits_minor,
            )
        )

    def announcement(self, customer: UUID, item: UUID, amount_minor: int) -> Callable[[UUID, int, str], Message[Any]]:
        """Words about one direct debit for an item: call it with the announcement, its version and its status."""

        def says(announcement_id: UUID, version: int, status: Any) -> Message[Any]:
            return self.message(
                PaymentAnnouncementChanged(
                    version=version,
                    announcement_id=announcement_id,
                    customer_id=customer,
                    kind="direct_debit",
                    amount_minor=amount_minor,
                    currency="EUR",
                    expected_on=date(2025, 1, 1),
                    holds_until=date(2025, 1, 8),
                    items=[AnnouncedItem(item_id=item, amount_minor=amount_minor)],
                    status=status,
                )
            )

        return says

    def payment_in_review(
        self, payment: UUID, *, unapplied_minor: int, payer: UUID | None = None, candidates: list[UUID] | None = None
    ) -> Message[Any]:
        return self.message(
            PaymentUnapplied(
                version=self.version(payment),
                payment_id=payment,
                bank_account_id=self.account,
                amount_minor=100_00,
                currency="EUR",
                booking_date=date(2025, 3, 1),
                value_date=date(2025, 3, 1),
                confirmation="booked",
                source="camt.053",
                allocations=[],
                unapplied_minor=unapplied_minor,
                returned_minor=0,
                refunded_minor=0,
                payer_customer_id=payer,
                candidate_customer_ids=candidates or [],
            )
        )

    def bank_account(
        self,
        account: UUID | None = None,
        *,
        entity: UUID | None = None,
        status: Any = "active",
        iban: str | None = "FR7630006000011234567890189",
    ) -> Message[Any]:
        return self.message(
            CollectionAccountChanged(
                version=self.version(account or self.account),
                bank_account_id=account or self.account,
                iban=iban,
                currency="EUR",
                holder_name="Encours & Co",
                start_date=date(2025, 1, 1),
                status=status,
            ),
            entity=entity,
        )

    def reconciled(self, through: date, account: UUID | None = None) -> Message[Any]:
        account = account or self.account
        aggregate = UUID(int=account.int ^ 1)
        return self.message(
            BankReconciliationAdvanced(
                version=self.version(aggregate), bank_account_id=account, booked_through=through, matched_through=through, gaps=[]
            )
        )

    # --- jobs ---------------------------------------------------------------------------------------------------------
    def context(self, now: datetime) -> JobContext:
        return JobContext(self.database, now, self.offsets, "", "dunning")  # type: ignore[arg-type]

    async def switch_on(self, on: date = date(2025, 1, 1), **changes: Any) -> None:
        document = {**policies.DEFAULT, "sender": SENDER, **changes}
        async with self.database.transaction(self.tenant) as conn:
            await policies.change(conn, self.tenant, document, enabled=True, enabled_from=None, by="tester", now=morning(on))

    async def start(self, on: date = date(2025, 1, 1)) -> None:
        """The usual beginning: an account, and the policy switched on."""
        await self.switch_on(on)
        await self.feed(self.bank_account())

    async def debtor(self, due: date, **known: Any) -> tuple[UUID, UUID]:
        """The usual beginning, and a customer who owes an item: the ids of both."""
        await self.start()
        who, identity = self.customer()
        item = self.item(who.data.customer_id, due=due, **known)
        await self.feed(who, identity, item)
        return who.data.customer_id, item.data.item_id

    async def open_gates(self, now: datetime) -> None:
        await gate.open_gates(self.context(now), self.tenant)

    async def decide(self, day: date, *, now: datetime | None = None) -> None:
        """The bank's word through the day before, and the day's decisions."""
        await self.feed(self.reconciled(day - timedelta(days=1)))
        await self.open_gates(now or morning(day))
        await reminders.run_day(self.context(now or morning(day)), self.tenant)

    async def send(self, now: datetime) -> None:
        await dispatches.send_planned(self.context(now), self.tenant, self.mail_server.transport)

    async def day(self, day: date) -> runs.Run:
        """A whole business day."""
        await self.decide(day)
        await self.send(morning(day))
        await promises.judge_promises(self.context(morning(day)), self.tenant)
        await plans.judge_plans(self.context(morning(day)), self.tenant)
        return await self.run(day)

    async def run(self, day: date, now: datetime | None = None) -> runs.Run:
        async with self.database.transaction(self.tenant) as conn:
            return await runs.state_of(conn, self.tenant, day, now or morning(day))

    # --- looking ------------------------------------------------------------------------------------------------------
    async def rows(self, statement: str, **values: Any) -> Any:
        async with self.database.transaction(self.tenant) as conn:
            return await fetch(conn, statement, **values)

    async def told(self) -> list[ReminderSent]:
        """ReminderSent of this tenant, in order."""
        return [each.data for each in await published(self.urls.owner, "ReminderSent") if each.tenant_id == self.tenant]
