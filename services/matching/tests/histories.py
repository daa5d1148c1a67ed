"""Whatever may happen to money and what is owed, in any order and twice: the steps of generated histories.

A step is a name and three numbers, which choose among what is there: so a history shrinks well, and any list of steps is one.
Everything goes the way that users, banks and other services go: over HTTP, as files, as events, as jobs.
"""

import itertools
from datetime import UTC, datetime

from bank_histories import PAYERS, BankSteps
from bankdays import Bank, ahead, job
from contracts.customers import CustomerChanged, CustomerErased, CustomerIdentityChanged, CustomerMerged, CustomerUnmerged
from matching.handlers import customers, late_money, matching
from owed_histories import OwedSteps
from shared.testing.events import message

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
REFUSED = {403, 404, 409, 422}
"""What a step that makes no sense just then is answered."""
TABLES = (
    "payment", "open_item", "account_balance", "allocation", "allocation_exchange", "set_off", "payment_set_off", "ledger_entry", "recall",
    "refund", "expected_payment", "write_off", "write_off_reversal", "settlement", "movement",
)  # fmt: skip


class History(BankSteps, OwedSteps):
    """One tenant with a euro and a dollar account and two customers, and what has happened to it so far."""

    def __init__(self, world, make, camtfile, tenant, client, second):
        self.world, self.make, self.camtfile, self.tenant, self.client, self.second = world, make, camtfile, tenant, client, second
        self.keys = itertools.count()
        self.invoices: list[tuple[str, int, type, dict]] = []
        self.paid: list[tuple[int, dict, str]] = []
        self.customers = {"C1": 1, "C2": 1}
        self.merged = False
        self.plans: dict[object, int] = {}

    async def begin(self):
        entity = self.make.entity_id(self.tenant)
        for currency in ("EUR", "USD"):
            path = f"/v1/hand-work-limits/{entity}/{currency}"
            assert (await self.client.put(path, json={"limit_minor": 300})).status_code == 200
        self.euro = Bank(self.world, self.client, await self.world.account(self.tenant), self.camtfile)
        dollars = await self.world.account(self.tenant, "FR7630006000011234567890286", currency="USD")
        self.dollar = Bank(self.world, self.client, dollars, self.camtfile)
        await self.world.feed(*(self.customer(name) for name in self.customers))
        for name, a, b in (("invoice", 50, 1), ("invoice", 61, 2), ("invoice", 70, 4), ("invoice", 81, 8), ("invoice", 30, 3)):
            await self.step(name, a, b, 1)
        for a, b, c in ((1, 31, 0), (2, 41, 1), (4, 52, 2), (5, 60, 3)):
            await self.step("advice", a, b, c)
        await self.step("matched", 0, 0, 1)
        return self

    async def step(self, name, a, b, c):
        """Does a step and, where `c` is even, the same again, which changes nothing."""
        self.a, self.b, self.c = a, b, c
        again = await getattr(self, name)()
        if c % 2 == 0 and again is not None:
            before = await self.dump()
            await again()
            assert await self.dump() == before, name

    async def dump(self):
        """Everything that says what is owed and what became of money, without the machine's clock."""
        found = {}
        for table in TABLES:
            rows = await self.world.rows(self.tenant, f"SELECT * FROM {table}")  # noqa: S608 - ours
            kept = [{k: v for k, v in row._mapping.items() if not k.endswith(("_at", "entry_id", "looks"))} for row in rows]
            found[table] = sorted(map(str, kept))
        return found

    def customer(self, name):
        who = {"customer_id": self.make.customer_id(self.tenant, name), "source_system": "erp", "customer_number": name}
        return message(self.tenant, CustomerChanged(version=1, status="confirmed", country="FR", **who))

    # --- what steps are made of --------------------------------------------------------------------------------------
    async def once(self, act):
        await act()
        return act

    async def post(self, path, body, who=None):
        """A person's command. Again, it has the same key and the same answer."""
        headers = {"idempotency-key": f"h{next(self.keys)}"}

        async def act():
            answer = await (who or self.client).post(path, json=body, headers=headers)
            assert answer.status_code in {200, 201} | REFUSED, (path, body, answer.text)
            return answer

        return await self.once(act)

    async def pick(self, at, query):
        rows = await self.world.rows(self.tenant, query)
        return rows[at % len(rows)] if rows else None

    async def payment(self, where="true"):
        """One that a step makes sense for; now and then any."""
        return await self.pick(
            self.a,
            "SELECT payment_id, amount_minor, allocated_minor + unapplied_minor AS left_minor, unapplied_minor, currency, end_to_end_id "  # noqa: S608 - ours
            f"FROM payment WHERE source <> 'cash' AND ({where} OR {self.c % 9 == 0}) ORDER BY payment_id",
        )

    async def item(self, where="kind <> 'credit_note' AND open_minor > 0"):
        return await self.pick(
            self.b,
            "SELECT item_id, customer_id, currency, open_minor, written_off_minor, invoice_number FROM open_item "  # noqa: S608 - ours
            f"WHERE {where} OR {self.c % 9 == 0} ORDER BY item_id",
        )

    # --- what people do ----------------------------------------------------------------------------------------------
    async def decided(self, table, path, where):
        one = await self.pick(self.a, f"SELECT {table}_id FROM {table} WHERE {where} ORDER BY 1")  # noqa: S608 - ours
        return await self.post(f"/v1/{path}/{one[0]}/decision", {"approve": self.b % 4 > 0}, self.second) if one else None

    async def allocated(self):
        one, item = (
            await self.payment("unapplied_minor > 0"),
            await self.item("kind <> 'credit_note' AND open_minor + written_off_minor > 0"),
        )
        if one is None or item is None:
            return None
        cut = self.c % 20 if self.c % 4 == 1 else 0
        amount = max(1, min(1 + self.b % 500, one.unapplied_minor, item.open_minor + item.written_off_minor - cut))
        line = {"item_id": str(item.item_id), "amount_minor": amount}
        if item.currency != one.currency:
            line["exchange"] = {"item_amount_minor": max(amount * 9 // 10, 1), "rate": "0.92", "rate_source": "ecb"}
        elif cut:
            line |= {"difference_minor": cut, "reason": ("discount", "bank_charges", "withheld")[self.c % 3]}
        return await self.post(f"/v1/payments/{one.payment_id}/allocations", {"lines": [line]})

    async def late(self):
        """Money for what was given up: all of it, or a part, perhaps with a difference; other steps take it back."""
        one, item = await self.payment("unapplied_minor > 0"), await self.item("written_off_minor > 0")
        if one is None or item is None or item.currency != one.currency:
            return None
        owed = item.open_minor + item.written_off_minor
        amount = max(1, min(one.unapplied_minor, owed, owed if self.b % 3 else 1 + self.b))
        line = {"item_id": str(item.item_id), "amount_minor": amount}
        if self.c % 3 == 1 and owed > amount:
            line |= {"difference_minor": 1, "reason": "bank_charges"}
        return await self.post(f"/v1/payments/{one.payment_id}/allocations", {"lines": [line]})

    async def unmatched(self):
        one, item = await self.payment("allocated_minor > 0"), await self.item("cash_minor > 0")
        body = {"reason": "wrong"} | ({"item_id": str(item.item_id)} if item and self.b % 3 == 0 else {})
        return await self.post(f"/v1/payments/{one.payment_id}/unmatch", body) if one else None

    async def set_apart(self):
        one = await self.payment("unapplied_minor = amount_minor AND confirmation = 'booked'")
        return await self.post(f"/v1/payments/{one.payment_id}/set-apart", {"reason": "interest"}) if one else None

    async def taken_in(self):
        one = await self.payment("return_reason = 'no_receivable'")
        return await self.post(f"/v1/payments/{one.payment_id}/unmatch", {"reason": "wrong"}) if one else None

    async def confirmed(self):
        """A candidate of the review queue, as it is shown."""
        queue = (await self.client.get("/v1/review-queue")).json()["items"]
        shown = [one for one in queue if one["candidates"]]
        if not shown:
            return None
        one = shown[self.a % len(shown)]
        rank = one["candidates"][self.b % len(one["candidates"])]["rank"]
        return await self.post(f"/v1/payments/{one['payment_id']}/confirm", {"candidate": rank, "version": one["version"]})

    async def imputed(self):
        """What names nothing settles what its payer owes in the order of the law."""
        one = await self.payment("unapplied_minor > 0")
        who = {"customer_id": str(self.make.customer_id(self.tenant, f"C{1 + self.b % 2}"))} if self.b % 3 else {}
        return await self.post(f"/v1/payments/{one.payment_id}/imputation", who) if one else None

    async def moved(self):
        one = await self.payment()
        body = {"customer_id": str(self.make.customer_id(self.tenant, f"C{1 + self.b % 2}")), "reason": "theirs"}
        return await self.post(f"/v1/payments/{one.payment_id}/move", body) if one else None

    async def refunded(self):
        """To its payer, alone; or (then another person decides) to somebody else."""
        one = await self.payment("unapplied_minor > 0")
        if one is None:
            return None
        body = {"payment_id": str(one.payment_id), "reason": "back", "creditor_name": "Payer"}
        body |= {"creditor_iban": PAYERS[self.b % 2]} if self.b % 4 == 0 else {}
        body |= {"amount_minor": min(1 + self.b % 300, one.unapplied_minor or 1)} if self.b % 3 else {}
        return await self.post("/v1/refunds", body)

    async def decide_refund(self):
        return await self.decided("refund", "refunds", "status = 'requested'")

    async def refund_cancelled(self):
        one = await self.pick(self.a, "SELECT refund_id FROM refund ORDER BY 1")
        return await self.post(f"/v1/refunds/{one[0]}/cancel", {"reason": "later", "bank_refused": self.b % 2 == 0}) if one else None

    async def refunds_sent(self):
        bank = self.dollar if self.a % 3 == 0 else self.euro
        return await self.post("/v1/refund-files", {"bank_account_id": str(bank.held.bank_account_id), "execution_date": ahead(1)})

    async def refund_booked(self):
        one = await self.pick(
            self.a, "SELECT amount_minor, end_to_end_id, currency FROM refund WHERE status <> 'requested' ORDER BY refund_id"
        )
        if one is None:
            return None
        bank = self.dollar if one.currency == "USD" else self.euro
        return await self.file(bank, (-one.amount_minor, {"ref": f"D{next(self.keys)}", "e2e": one.end_to_end_id}))

    async def explained(self):
        """A return that names nothing; a person names the payment, now and then one of which less is left."""
        one = await self.payment("allocated_minor + unapplied_minor > 0")
        if one is None:
            return None
        bank = self.dollar if one.currency == "USD" else self.euro
        back = min(1 + self.b % 400, one.left_minor or 1)
        await self.file(bank, (-back, {"ref": f"N{next(self.keys)}", "e2e": "NOBODY", "reason": "AC04"}))
        waits = await self.pick(
            self.a, "SELECT movement_id, amount_minor FROM movement WHERE NOT resolved AND kind = 'return' ORDER BY movement_id"
        )
        if waits is None or one.left_minor < -waits.amount_minor:
            return None
        body = {"reason": "the bank's letter", "payment_id": str(one.payment_id)}
        return await self.post(f"/v1/unexplained-movements/{waits.movement_id}/explanation", body)

    async def listed(self):
        """A remittance list of what a payment is, with a deduction or a credit note; some of its numbers may be unknown."""
        one = await self.payment()
        if one is None or not self.invoices:
            return None
        total, cut = one.amount_minor, self.c % 15 * (60 if self.b % 5 == 0 else 1)  # now and then above the limit
        lines = [
            (self.invoices[self.b % len(self.invoices)][0], total - total // 3, cut),
            (f"F-{(self.b + 1) % (len(self.invoices) + 1)}", total // 3, 0),
        ]
        rows = [
            {"document_number": number, "gross_minor": net + off, "deduction_minor": off, "net_minor": net}
            | ({"deduction_reason": ("discount", "commission", "withholding")[self.a % 3]} if off else {})
            for number, net, off in lines
            if net
        ]
        credits_ = [number for number, _, cls, _ in self.invoices if cls is self.make.Credit]
        if credits_ and self.c % 3 == 0:
            off = 1 + self.c % 60
            rows[0] |= {"gross_minor": rows[0]["gross_minor"] + off, "net_minor": rows[0]["net_minor"] + off}
            rows.append({"document_number": credits_[self.a % len(credits_)], "gross_minor": -off, "deduction_minor": 0, "net_minor": -off})
        entity = str(self.make.entity_id(self.tenant))
        body = {
            "entity_id": entity,
            "currency": one.currency,
            "total_minor": total,
            "lines": rows,
            "reference": one.end_to_end_id or "none",
        }
        return await self.post("/v1/remittances", body)

    # --- what the worker does ----------------------------------------------------------------------------------------
    async def matched(self):
        """Payments that wait are looked at, and those that were; late money finds what was written off."""
        await self.world.rows(
            self.tenant, "UPDATE payment SET next_look_at = now() WHERE status <> 'received' AND unapplied_minor > 0 RETURNING 1"
        )
        async with self.world.database.transaction(self.tenant) as conn:
            rows = await self.world.rows(self.tenant, "SELECT tenant_id, payment_id FROM payment WHERE status = 'received' ORDER BY 2")
            await matching.match(conn, [tuple(row) for row in rows], NOW, {})
        await matching.look_at_due(job(self.world), self.tenant)
        await late_money.allocate_late_money(job(self.world), self.tenant)

    async def merge(self):
        """One customer stands for both, or for himself again."""
        self.merged = not self.merged
        self.customers["C1"] += 1
        ids = {"customer_id": self.make.customer_id(self.tenant, "C1"), "into_customer_id": self.make.customer_id(self.tenant, "C2")}
        cls, status = (CustomerMerged, "merged") if self.merged else (CustomerUnmerged, "separate")
        one = message(self.tenant, cls(version=self.customers["C1"], source_system="erp", customer_number="C1", status=status, **ids))
        await self.once(lambda: self.world.feed(one))
        await customers.move_merged(job(self.world), self.tenant)
        return lambda: self.world.feed(one)

    async def known(self):
        """A payer's IBAN is known; or everything that is known of him is forgotten."""
        name = f"C{1 + self.a % 2}"
        self.customers[name] += 1
        who = {"version": self.customers[name], "customer_id": self.make.customer_id(self.tenant, name)}
        if self.b % 3:
            data = CustomerIdentityChanged(name=name, known_ibans=[PAYERS[self.a % 2]], **who)
        else:
            data = CustomerErased(source_system="erp", customer_number=name, erased_on=NOW.date(), **who)
        one = message(self.tenant, data)
        return await self.once(lambda: self.world.feed(one))


STEPS = (
    "invoice", "invoice", "invoice", "change", "change", "write_off", "decide_write_off", "reverse_write_off", "settlement",
    "decide_settlement", "reverse_settlement", "advice", "advice", "advice", "pending", "booked", "booked", "withdrawn", "returned",
    "returned", "recalled", "recalled", "recall_decided", "recall_taken", "allocated", "allocated", "unmatched", "moved", "refunded",
    "set_apart", "taken_in",
    "refunded", "decide_refund", "refund_cancelled", "refunds_sent", "refund_booked", "listed", "total", "total", "total_booked",
    "matched", "matched", "matched", "merge", "known", "confirmed",
    "imputed", "refunds_sent", "refund_reported", "refund_booked", "brought_back", "brought_back", "explained",
    "explained", "planned", "planned", "instalment", "instalment", "late", "late",
)  # fmt: skip
