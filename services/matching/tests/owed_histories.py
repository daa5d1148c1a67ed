"""What becomes of what is owed in generated histories (`histories`): invoices, plans, write-offs, and what is settled beside the bank.

Each step does what `History.a`, `b` and `c` choose, and returns how to do just the same again, or nothing.
"""

import itertools
from datetime import date
from typing import Any

from bank_histories import PAYERS
from contracts.dunning import PaymentPlanAgreed, PaymentPlanCancelled, PlanInstalment, PlanItem
from contracts.invoices import InvoiceIssued
from shared.testing.events import message


class OwedSteps:
    """The steps of two customers' invoices."""

    a: int
    b: int
    c: int
    world: Any
    make: Any
    tenant: Any
    euro: Any
    keys: itertools.count
    invoices: list[tuple[str, int, type, dict]]
    paid: list[tuple[int, dict, str]]
    plans: dict[object, int]
    item: Any
    pick: Any
    post: Any
    once: Any
    file: Any
    matched: Any
    decided: Any

    async def invoice(self):
        number = f"F-{len(self.invoices)}"
        credits_ = self.make.invoice_id(self.tenant, f"F-{self.c % len(self.invoices)}") if self.invoices and self.b % 3 == 0 else None
        cls = self.make.Credit if self.b % 3 == 0 else InvoiceIssued
        more = {"customer": f"C{1 + self.a % 2}", "currency": "USD" if self.b % 7 == 1 else "EUR"}
        more |= {"credited_invoice_id": credits_} if credits_ else {"reference": f"REF{len(self.invoices):06}"} if self.b % 3 else {}
        one = self.make.invoice(self.tenant, number, 100 + self.a * 7 % 900, cls=cls, **more)
        self.invoices.append((number, 1, cls, more))
        return await self.once(lambda: self.world.feed(one))

    async def change(self):
        """Another amount, customer or currency; or the invoice is cancelled, or no longer."""
        if not self.invoices:
            return None
        at = self.a % len(self.invoices)
        number, version, cls, more = self.invoices[at]
        if self.c % 3 == 0:
            more = {**more, "customer": f"C{1 + self.b % 2}"}
        if self.c % 11 == 0:
            more = {**more, "currency": "USD" if more["currency"] == "EUR" else "EUR"}
        self.invoices[at] = (number, version + 1, cls, more)
        kind = {"kind": "credit_note" if cls is self.make.Credit else "invoice"}
        wanted = self.make.Cancelled if self.b % 3 == 0 else self.make.Changed
        one = self.make.invoice(self.tenant, number, self.b * 13 % 1_000, cls=wanted, version=version + 1, **more, **kind)
        return await self.once(lambda: self.world.feed(one))

    async def planned(self):
        """Dunning's word about a plan of up to two items of one customer: agreed, going on, or ended; now and then an old one."""
        items = await self.world.rows(
            self.tenant,
            "SELECT item_id, invoice_number, open_minor FROM open_item WHERE kind <> 'credit_note' AND currency = 'EUR' AND open_minor > 1 "
            "AND customer_id = :customer ORDER BY item_id LIMIT 2",
            customer=self.make.customer_id(self.tenant, f"C{1 + self.a % 2}"),
        )
        if not items:
            return None
        plan = self.make.invoice_id(self.tenant, f"plan {self.a % 3}")
        version = self.plans[plan] = max(1, self.plans.get(plan, 0) + (1 if self.b % 4 else -1))
        total = sum(one.open_minor for one in items)
        parts = (total // 3, total - total // 3)
        cls, status = (PaymentPlanAgreed, "active") if self.c % 5 else (PaymentPlanCancelled, "cancelled")
        data = cls(
            version=version,
            payment_plan_id=plan,
            customer_id=self.make.customer_id(self.tenant, f"C{1 + self.a % 2}"),
            currency="EUR",
            agreed_on=date(2026, 3, 2),
            grace_days=0,
            items=[
                PlanItem(item_id=one.item_id, invoice_number=one.invoice_number, amount_minor=one.open_minor, left_minor=one.open_minor)
                for one in items
            ],
            instalments=[
                PlanInstalment(number=at, due_on=date(2026, 3 + at, 1), amount_minor=part, open_minor=part)
                for at, part in enumerate(parts, 1)
            ],
            status=status,
        )
        word = message(self.tenant, data, entity_id=self.make.entity_id(self.tenant))
        return await self.once(lambda: self.world.feed(word))

    async def instalment(self):
        """A payer pays what a plan expects, or nearly; the next look finds it."""
        one = await self.pick(self.b, "SELECT amount_minor FROM expected_payment WHERE kind = 'plan_instalment' ORDER BY expected_id")
        if one is None:
            return None
        number = len(self.paid)
        more = {"ref": f"B{number}", "e2e": f"E{number}", "iban": PAYERS[self.a % 2]}
        self.paid.append((max(one.amount_minor - self.c % 4 // 3, 1), more, "EUR"))
        await self.file(self.euro, (self.paid[-1][0], more))
        return await self.matched()

    async def write_off(self):
        one = await self.item()
        amount = {"amount_minor": min(1 + self.a % 400, one.open_minor or 1)} if one and self.a % 3 else {}
        return await self.post("/v1/write-offs", {"item_id": str(one.item_id), "reason": "goodwill"} | amount) if one else None

    async def decide_write_off(self):
        return await self.decided("write_off", "write-offs", "status = 'requested'")

    async def reverse_write_off(self):
        one = await self.pick(self.a, "SELECT write_off_id FROM write_off ORDER BY 1")
        body = {"reason": "mistake"} | ({"amount_minor": 1 + self.b % 200} if self.b % 2 else {})
        return await self.post(f"/v1/write-offs/{one[0]}/reverse", body) if one else None

    async def settlement(self):
        one = await self.item()
        if one is None:
            return None
        amount = min(1 + self.a % 400, one.open_minor or 1)
        body = {
            "kind": "netting" if self.a % 2 else "cash", "entity_id": str(self.make.entity_id(self.tenant)), "currency": one.currency,
            "customer_id": str(one.customer_id), "value_date": "2026-03-02", "proof": {"reference": f"N{next(self.keys)}"},
            "lines": [{"item_id": str(one.item_id), "amount_minor": amount}],
        }  # fmt: skip
        return await self.post("/v1/settlements", body)

    async def decide_settlement(self):
        return await self.decided("settlement", "settlements", "status = 'requested'")

    async def reverse_settlement(self):
        one = await self.pick(self.a, "SELECT settlement_id FROM settlement ORDER BY 1")
        return await self.post(f"/v1/settlements/{one[0]}/reverse", {"reason": "mistake"}) if one else None
