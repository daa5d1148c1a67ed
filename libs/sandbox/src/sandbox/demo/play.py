"""One day of the play: what the ERP, the debtors and their banks do, through the public APIs alone.

Invariants: nothing is retried by hand; what a service refuses though it is right, or takes though it is wrong, is noted
in words and fails the play at its end; the business clock moves forward only, and each statement comes after its day's work.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path

from shared.clock import machine_now, monotonic
from shared.days import BUSINESS_ZONE

from sandbox import camt
from sandbox.actions import Customer, Day, Dispute, Document, Promise, Transfer
from sandbox.bank import Bank, Order
from sandbox.bureau import Subject
from sandbox.client import ApiError
from sandbox.demo.settle import Settler
from sandbox.demo.stage import Services, Stage
from sandbox.erp import SOURCE_SYSTEM, Erp
from sandbox.webhooks import signed
from sandbox.world import World

_AT_ONCE = 8
_MORNING, _EVENING = time(8), time(20)
_XML = {"content-type": "application/xml"}
_FILE = {"content-type": "application/octet-stream"}  # XML or PDF: told apart by content
_CSV = {"content-type": "text/csv"}
_IMPORT_SECONDS = 60.0
_LATE_PARTNER_FAILS = 3
_TOLD_AGAIN_EVERY = 10  # days: the bank sends the whole statement a second time
_POLICY = {
    "steps": [
        {"code": "courtesy", "level": 1, "days_from_due": -3, "template": "courtesy"},
        {"code": "reminder", "level": 2, "days_from_due": 5, "template": "reminder"},
        {"code": "second_reminder", "level": 3, "days_from_due": 15, "template": "second_reminder"},
        {"code": "formal_notice", "level": 4, "days_from_due": 30, "template": "formal_notice"},
    ],
    "minimum_minor": {"EUR": 1_000, "USD": 1_000},
}


@dataclass
class Told:
    """What was sent so far, and what went wrong with it."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    """Every document that was taken, in its newest version."""
    cancelled: set[str] = field(default_factory=set)


class Play:
    """The play of one world on one stage."""

    def __init__(self, world: World, stage: Stage, services: Services, settler: Settler) -> None:
        self.world, self.told = world, Told()
        self._stage, self._services, self._settler = stage, services, settler
        self._virtual_ibans: dict[str, str] = {}
        self.erp = Erp(world, tenant_id=stage.tenant_id, entity_id=stage.entity_id, virtual_ibans=self._virtual_ibans)
        first = world.days[0].date
        self.banks = {
            currency: Bank(iban=iban, currency=currency, holder=world.seller.party.name, first_day=first, opening_minor=1_000_000)
            for currency, iban in world.seller.accounts
        }
        self.references: dict[str, tuple[str, str]] = {}
        """Currency and AcctSvcrRef of each executed transfer."""
        self._customers = {customer.number: customer for customer in world.customers}
        self._disputes: dict[str, str] = {}
        self._limited = False
        self.receiver = f"partner-{stage.tenant_id}"
        """The partner's webhook receiver in the sandbox."""

    async def open(self) -> None:
        """Before the first day: seller, accounts, customers, virtual IBANs, a partner's subscription. Raises ApiError."""
        first = self.world.days[0].date
        self.set_clock(first, _MORNING)
        services, holder = self._services, self.world.seller.party.name
        await services.invoicing.put(f"/v1/entities/{self._stage.entity_id}", self.erp.entity())
        await services.invoicing.post(f"/v1/import-mappings/{SOURCE_SYSTEM}", self.erp.csv_mapping())
        for currency, iban in self.world.seller.accounts:
            body = {"entity_id": str(self._stage.entity_id), "currency": currency, "holder_name": holder, "start_date": first.isoformat()}
            await services.matching.put(f"/v1/bank-accounts/{iban}", body)
        await at_once(
            services.invoicing.put(f"/v1/customers/{SOURCE_SYSTEM}/{customer.number}", self.erp.customer(customer))
            for customer in self.world.customers
        )
        await self._assign_virtual_ibans(holder)
        subscription = await services.partners.post(
            "/v1/subscriptions",
            {
                "url": f"{self._stage.urls['sandbox']}/receiver/{self.receiver}",
                "events": ["InvoicePaid", "ReminderSent", "CreditHoldPlaced"],
            },
        )
        await services.sandbox.put(
            f"/receiver/{self.receiver}", {"secret": subscription["secret"], "fail": _LATE_PARTNER_FAILS, "status": 503}
        )

    async def play(self, day: Day, tick: Callable[[str], None]) -> None:
        """One day, to its end. Raises NotSettledError, UnavailableError."""
        index = (day.date - self.world.days[0].date).days
        tick("dunning's morning")
        if index == 1:
            await self._switch_dunning_on(day.date)
        self.set_clock(day.date, _MORNING)
        if index >= 1:
            await self._settler.run_done(day.date)
        tick("documents")
        await self._documents(day)
        tick("payments")
        await self._payments(day)
        tick("disputes, promises, bureau")
        await self._talk(day)
        tick("statements")
        self.set_clock(day.date, _EVENING)
        await self._statements(day.date, index)
        await self._settler.payments_looked_at(day.date)
        await self._settler.quiet(f"end of {day.date}", lambda: tick("end of day"))
        await self._settler.gate_open(day.date)

    def set_clock(self, day: date, at: time) -> None:
        """Move the business clock of all services; the file is replaced as a whole, so that nobody reads half a moment."""
        moment = datetime.combine(day, at, BUSINESS_ZONE)
        new = self._stage.clock_file.with_name(f"{self._stage.clock_file.name}.new")
        Path(new).write_text(moment.isoformat(), "ascii")
        new.replace(self._stage.clock_file)

    async def _assign_virtual_ibans(self, holder: str) -> None:
        """One for each customer who pays to one, and one for each invoice that has its own; all printed on the invoices."""
        iban = self.world.seller.account("EUR")
        wishes = [
            (customer.number, "customer_id", self.erp.customer_id(customer.number))
            for customer in self.world.customers
            if customer.pays_to == "virtual_iban"
        ]
        wishes += [
            (document.number, "invoice_id", self.erp.invoice_id(document.number))
            for document in self.world.documents()
            if document.own_virtual_iban
        ]
        if not wishes:
            return
        pool = (await self._services.sandbox.get("/bank/virtual-ibans", count=len(wishes)))["ibans"]
        await self._services.matching.post(f"/v1/bank-accounts/{iban}/virtual-ibans/pool", {"ibans": pool})
        self.banks["EUR"].open_virtual_ibans(pool)
        account = {account["iban"]: account["bank_account_id"] async for account in self._services.matching.pages("/v1/bank-accounts")}[
            iban
        ]

        async def assign(number: str, what: str, owner: object) -> None:
            body = {"bank_account_id": account, what: str(owner), "holder_name": holder}
            self._virtual_ibans[number] = (await self._services.matching.post("/v1/virtual-ibans", body))["virtual_iban"]

        await at_once(assign(*wish) for wish in wishes)

    async def _switch_dunning_on(self, day: date) -> None:
        sender = {"name": self.world.seller.party.name, "email": "receivables@seller.example"}
        await self._services.dunning.put("/v1/policy", {"enabled": True, "enabled_from": day.isoformat(), "sender": sender, **_POLICY})

    async def _documents(self, day: Day) -> None:
        invoicing = self._services.invoicing
        documents = [*day.documents, *day.changes]
        by_json = [document for document in documents if document.channel == "json"]
        for at in range(0, len(by_json), 1000):
            part = by_json[at : at + 1000]
            answer = await invoicing.post("/v1/invoices/batch", {"invoices": [self.erp.invoice(document) for document in part]})
            for result in answer["results"]:
                document = part[result["index"]]
                if result["status"] == "refused":
                    self._wrong(f"{document.number} was refused", str(result.get("problem")))
                else:
                    self._taken(document)
        await self._csv([document for document in documents if document.channel == "csv"])
        await at_once(self._file(document) for document in documents if document.channel not in {"json", "csv"})
        for bad in day.bad_documents:
            if bad.document.channel != "json":
                sent = invoicing.send(f"/v1/invoices/files?source_system={SOURCE_SYSTEM}", self.erp.file(bad.document, bad.fault), _FILE)
            else:
                sent = invoicing.post("/v1/invoices", self.erp.bad_invoice(bad))
            await self._must_refuse(f"{bad.document.number} with {bad.fault} by {bad.document.channel}", sent)
        for cancellation in day.cancellations:
            done = invoicing.post(f"/v1/invoices/{self.erp.invoice_id(cancellation.number)}/cancel", {"reason": cancellation.reason})
            if await self._must_take(f"cancellation of {cancellation.number}", done):
                self.told.cancelled.add(cancellation.number)

    async def _csv(self, documents: list[Document]) -> None:
        """The day's CSV file, imported by the mapping that was written before the first day."""
        if not documents:
            return
        invoicing = self._services.invoicing
        run = await invoicing.send(f"/v1/imports?mapping={SOURCE_SYSTEM}", self.erp.csv(documents), _CSV)
        until = monotonic() + _IMPORT_SECONDS
        while run["state"] in {"waiting", "running"} and monotonic() < until:
            await asyncio.sleep(0.1)
            run = await invoicing.get(f"/v1/imports/{run['import_id']}")
        if (run["state"], run["accepted"]) != ("done", len(documents)):
            self._wrong("the day's CSV file", await invoicing.text(f"/v1/imports/{run['import_id']}/errors") or str(run))
            return
        for document in documents:
            self._taken(document)

    async def _file(self, document: Document) -> None:
        content = self.erp.file(document)
        sent = self._services.invoicing.send(f"/v1/invoices/files?source_system={SOURCE_SYSTEM}", content, _FILE)
        if await self._must_take(f"{document.number} as {document.channel}", sent):
            self._taken(document)

    async def _payments(self, day: Day) -> None:
        for transfer in day.transfers:
            customer, bank = self._customers[transfer.customer_number], self.banks[transfer.currency]
            order = self._order(transfer, customer, day.date)
            booked = bank.accept(order, notice=transfer.notice, twice=transfer.notified_twice)
            self.references[transfer.transfer_id] = (transfer.currency, booked.reference)
            self.told.counts["transfers"] += 1
        for gone in day.returns:
            currency, reference = self.references[gone.transfer_id]
            self.banks[currency].give_back(reference, day=day.date, reason=gone.reason)
            self.told.counts["returns"] += 1
        for bank in self.banks.values():
            await at_once(self._notify(body, copy) for copy, body in enumerate(bank.notifications()))
            for message in bank.camt054(machine_now()):
                await self._bank_file(message, "camt.054", {"booked", "duplicate"})

    def _order(self, transfer: Transfer, customer: Customer, day: date) -> Order:
        own = self._virtual_ibans.get(transfer.to_invoice) if transfer.to_invoice else None
        return Order(
            debtor_name=customer.party.name,
            debtor_iban=customer.iban,
            to_iban=own or self._virtual_ibans.get(customer.number) or self.banks[transfer.currency].account.iban,
            amount_minor=transfer.amount_minor,
            day=day,
            end_to_end_id=transfer.end_to_end_id,
            structured_reference=transfer.structured_reference,
            remittance=transfer.remittance,
        )

    async def _notify(self, body: dict[str, object], copy: int) -> None:
        message_id = f"{body['bank_reference']}-{copy}"
        content, headers = signed(body, secret=self._stage.webhook_secret, message_id=message_id, moment=machine_now())
        if await self._must_take(
            f"notification {message_id}", self._services.matching.send("/v1/payments", content, headers, key=message_id)
        ):
            self.told.counts["notifications"] += 1

    async def _bank_file(self, content: bytes, what: str, verdicts: set[str]) -> None:
        try:
            answer = await self._services.matching.send("/v1/bank-files", content, _XML)
        except ApiError as error:
            self._wrong(f"{what} was refused", str(error))
            return
        self.told.counts[what] += 1
        for statement in answer["statements"]:
            if statement["verdict"] not in verdicts:
                self._wrong(f"{what} {statement.get('statement_id')} was {statement['verdict']}", str(statement.get("reason")))

    async def _statements(self, day: date, index: int) -> None:
        """Each account's statement; once a broken one first, and now and then the same one twice."""
        for bank in self.banks.values():
            content = bank.statement(day, machine_now())
            if index == len(self.world.days) // 3 and bank.account.currency == "EUR":
                await self._bank_file(camt.with_wrong_balance(content), "broken camt.053", {"rejected"})
            await self._bank_file(content, "camt.053", {"booked"})
            if index % _TOLD_AGAIN_EVERY == 0:
                await self._bank_file(content, "repeated camt.053", {"booked", "duplicate"})

    async def _talk(self, day: Day) -> None:
        await at_once(self._dispute(dispute) for dispute in day.disputes)
        for resolution in day.resolutions:
            dispute_id = self._disputes.get(resolution.number)
            if dispute_id is not None:
                body = {"resolution": resolution.resolution}
                if await self._must_take(
                    f"resolution of {resolution.number}", self._services.dunning.post(f"/v1/disputes/{dispute_id}/resolve", body)
                ):
                    self.told.counts["resolutions"] += 1
        await at_once(self._promise(promise) for promise in day.promises)
        for news in day.bureau_news:
            customer = self._customers[news.customer_number]
            _, number = (customer.party.company_ids or (("vat", customer.party.vat_id),))[0]
            connect_id = Subject(customer.party.country, number).connect_id
            await self._services.sandbox.put(f"/bureau/v1/simulation/{connect_id}", {"since": day.date.isoformat(), "score": news.score})
            if not self._limited:  # the credit manager reads the news and acts on the first such customer at once
                limit = {"limit_minor": 100, "currency": customer.currency, "reason": "the bureau's score fell to the worst band"}
                path = f"/v1/customers/{self.erp.customer_id(customer.number)}/limit"
                self._limited = await self._must_take(f"limit of {customer.number}", self._services.scoring.put(path, limit))

    async def _dispute(self, dispute: Dispute) -> None:
        body = {
            "item_id": str(self.erp.invoice_id(dispute.number)),
            "amount_minor": dispute.amount_minor,
            "currency": self.told.documents[dispute.number].currency,
            "reason": dispute.reason,
        }
        try:
            self._disputes[dispute.number] = (await self._services.dunning.post("/v1/disputes", body))["dispute_id"]
        except ApiError as error:
            self._wrong(f"dispute about {dispute.number} was refused", str(error))
            return
        self.told.counts["disputes"] += 1

    async def _promise(self, promise: Promise) -> None:
        document = self.told.documents[promise.number]
        body = {
            "customer_id": str(self.erp.customer_id(document.customer_number)),
            "item_ids": [str(self.erp.invoice_id(promise.number))],
            "amount_minor": promise.amount_minor,
            "currency": document.currency,
            "due_on": promise.due_on.isoformat(),
        }
        if await self._must_take(f"promise about {promise.number}", self._services.dunning.post("/v1/promises", body)):
            self.told.counts["promises"] += 1

    def _taken(self, document: Document) -> None:
        self.told.documents[document.number] = document
        self.told.counts[document.kind if document.version == 1 else "changes"] += 1

    async def _must_take(self, what: str, sent: Awaitable[object]) -> bool:
        try:
            await sent
        except ApiError as error:
            self._wrong(f"{what} was refused", str(error))
            return False
        return True

    async def _must_refuse(self, what: str, sent: Awaitable[object]) -> None:
        try:
            await sent
        except ApiError as error:
            if error.status in {400, 404, 409, 422}:
                self.told.counts["refused"] += 1
            else:
                self._wrong(f"{what} was answered wrongly", str(error))
        else:
            self._wrong(f"{what} was taken", "it had to be refused")

    def _wrong(self, what: str, why: str) -> None:
        self.told.wrong.append(f"{what}: {why}")


async def at_once(work: Iterable[Awaitable[object]]) -> None:
    """Everything, a few at a time. Raises what the first failure raised, after the others of its time have ended."""
    queue = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Awaitable[object]) -> None:
        async with queue:
            await each

    for result in await asyncio.gather(*(one(each) for each in work), return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
