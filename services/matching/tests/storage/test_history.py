"""A part of a generated history through the service, day by day, against the truth: the worker decides as `matching evaluate` does."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from contracts.customers import CustomerChanged, CustomerIdentityChanged
from contracts.invoices import CreditNoteIssued, DiscountTerm, Instalment, InvoiceIssued
from matching.domain.statements import Amount, Reference, Transaction
from matching.evaluation.history import History, read_history
from matching.handlers import accounts, allocations, ingest
from matching.handlers import matching as engine
from matching.handlers.payments import unmatch
from matching.storage.limits import set_limit
from shared.testing.events import message
from shared.web.problems import Problem

DATA = Path(__file__).parents[5] / "shared" / "data" / "matching" / "generated"
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
EVERY, DAYS = 60, 130


@dataclass
class Service:
    """The service, fed with a history: a tenant, its account per currency, and who has a virtual IBAN."""

    world: object
    tenant: object
    make: object
    held: dict = field(default_factory=dict)
    virtual: dict = field(default_factory=dict)

    async def open(self, history: History, currencies) -> None:
        for at, currency in enumerate(sorted(currencies)):
            self.held[currency] = await self.world.account(self.tenant, f"FR76{at:023d}", currency=currency)
            async with self.world.database.transaction(self.tenant) as conn:
                await set_limit(conn, self.tenant, self.make.entity_id(self.tenant), currency, 10**12)
        for one in history.customers:
            customer = self.make.customer_id(self.tenant, one.customer_id)
            parent = self.make.customer_id(self.tenant, one.parent_id) if one.parent_id else None
            said = {"source_system": "erp", "customer_number": one.number, "status": "confirmed", "parent_customer_id": parent}
            await self.world.feed(message(self.tenant, CustomerChanged(version=1, customer_id=customer, **said)))
            who = CustomerIdentityChanged(version=1, customer_id=customer, name=one.name, known_ibans=list(one.ibans))
            await self.world.feed(message(self.tenant, who))
            if one.virtual_iban:
                async with self.world.database.transaction(self.tenant) as conn:
                    account = self.held["EUR"]
                    await accounts.add_to_pool(conn, self.tenant, account.iban, [one.virtual_iban])
                    to = {"customer_id": customer, "invoice_id": None, "holder_name": "V", "quarantine_days": 400, "now": NOW}
                    given = await accounts.assign(conn, self.tenant, account.bank_account_id, **to)
                    self.virtual[one.virtual_iban] = given.virtual_iban_id

    def invoice(self, item):
        amount = abs(item.original_minor)
        terms = [DiscountTerm(until=item.discount_until, percent_bp=round(item.discount_percent * 100))] if item.discount_percent else []
        return self.make.invoice(
            self.tenant, item.item_id, amount, customer=item.customer_id, reference=item.reference, due=item.due_date,
            cls=CreditNoteIssued if item.original_minor < 0 else InvoiceIssued, invoice_number=item.number, issue_date=item.issue_date,
            currency=item.currency, order_numbers=list(item.order_numbers), discounts=terms,
            instalments=[Instalment(number=1, due_date=item.due_date, amount_minor=amount)],
        )  # fmt: skip

    async def pay(self, clues):
        """Books a payment and decides on it; returns its id and what it settled of items, set-offs counted."""
        sent = Amount(clues.instructed_minor, clues.instructed_currency) if clues.instructed_minor else None
        one = Transaction(
            kind="payment", credit=True, amount_minor=clues.amount_minor, currency=clues.currency, day=clues.booking_date,
            booking_date=clues.booking_date, value_date=clues.booking_date, bank_reference=str(clues.payment_id),
            references=[Reference("other", clues.structured_reference)] if clues.structured_reference else [], instructed=sent,
            counterparty_name=clues.debtor_name, counterparty_iban=clues.debtor_iban, remittance=list(clues.remittance),
            end_to_end_id=clues.end_to_end_id,
        )  # fmt: skip
        async with self.world.database.transaction(self.tenant) as conn:
            virtual = self.virtual.get(clues.creditor_account)
            (payment,) = await ingest.book_notifications(conn, self.held[clues.currency], [(one, virtual)], NOW)
        async with self.world.database.transaction(self.tenant) as conn:
            await engine.match(conn, [(self.tenant, payment)], NOW, {})
        settled = Counter()
        for item, cents in await self.world.rows(
            self.tenant,
            "SELECT a.item_id, coalesce(x.item_amount_minor, a.amount_minor + a.diff_minor) FROM allocation a "
            "LEFT JOIN allocation_exchange x USING (tenant_id, payment_id, item_id) WHERE a.payment_id = :p "
            "UNION ALL SELECT item_id, amount_minor FROM payment_set_off "
            "WHERE payment_id = :p UNION ALL SELECT credit_item_id, -amount_minor FROM payment_set_off WHERE payment_id = :p",
            p=payment,
        ):
            settled[item] += cents
        return payment, dict(settled)

    async def put_right(self, payment, truth, *, settled) -> None:
        """As a back office does, where it can: what is wrong is undone, what is left is allocated."""
        if settled:
            async with self.world.database.transaction(self.tenant) as conn:
                await unmatch(conn, self.tenant, payment, None, "wrong", NOW)
        lines = [
            allocations.Line(self.make.invoice_id(self.tenant, one.invoice_id), one.cents - one.diff_cents, one.diff_cents, one.reason)
            for one in truth.lines
        ]
        if lines and all(line.amount_minor > 0 for line in lines):
            payer = self.make.customer_id(self.tenant, truth.customer_id)
            with suppress(Problem):
                async with self.world.database.transaction(self.tenant) as conn:
                    await allocations.allocate(conn, self.tenant, payment, lines, customer_id=payer, by="office", now=NOW)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "least"), [("base", 0.84), ("hard", 0.74)])
async def test_the_worker_decides_as_on_the_histories(world, tenant, make, name, least):
    if not DATA.is_dir():
        pytest.skip("the generated histories are not beside this checkout")
    history = read_history(DATA / name)
    chosen = {one.customer_id for one in history.customers[::EVERY]}
    chosen |= {one.customer_id for one in history.customers if one.parent_id in chosen}
    history.customers = [one for one in history.customers if one.customer_id in chosen]
    invoices = [one for one in history.invoices if one.customer_id in chosen]
    payments = [one for one in history.payments if history.truth[str(one.payment_id)].customer_id in chosen]
    payments = [one for one in payments if one.booking_date <= payments[0].booking_date + timedelta(DAYS)]
    service = Service(world, tenant, make)
    await service.open(history, {one.currency for one in payments} | {"EUR"})
    counts = Counter()
    upcoming = iter(invoices)
    following = next(upcoming, None)
    for clues in payments:
        new = []
        while following is not None and following.issue_date <= clues.booking_date:
            new.append(service.invoice(following))
            following = next(upcoming, None)
        await world.feed(*new)
        truth = history.truth[str(clues.payment_id)]
        payment, settled = await service.pay(clues)
        wanted = {make.invoice_id(tenant, one.invoice_id): one.cents for one in truth.lines}
        right = settled == wanted or (truth.no_reference and sorted(settled.values()) == sorted(wanted.values()))
        counts["payments"] += 1
        counts["automatic"] += bool(settled)
        counts["wrong"] += bool(settled) and not right
        if not right:
            await service.put_right(payment, truth, settled=bool(settled))
    print(dict(counts))  # noqa: T201 - the record
    assert counts["payments"] >= 100
    assert counts["automatic"] >= least * counts["payments"], counts
    assert counts["wrong"] <= 0.005 * counts["automatic"] + 1, counts
    await world.holds()
