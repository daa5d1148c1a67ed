"""What banks do in generated histories (`histories`): they tell of money, book it, take it back, ask for it, and send totals.

Each step does what `History.a`, `b` and `c` choose, and returns how to do just the same again, or nothing.
"""

import itertools
from typing import Any

from bankdays import Bank
from camtfile import camt056, pain002

PAYERS = ("DE89370400440532013000", "FR7630004000031234567890143")
XML = {"content-type": "application/xml"}


class BankSteps:
    """The steps of a euro and a dollar account."""

    a: int
    b: int
    c: int
    euro: Bank
    dollar: Bank
    client: Any
    keys: itertools.count
    invoices: list
    paid: list[tuple[int, dict, str]]
    payment: Any
    item: Any
    pick: Any
    matched: Any
    once: Any

    async def file(self, bank, *lines):
        await bank.books(*lines)
        sent = bank.files[-1:]
        return lambda: bank.again(sent)

    async def told(self):
        """What a bank tells of money that came in, and by which name it calls it: each time another payment."""
        number = len(self.paid)
        more, amount = {"ref": f"B{number}", "e2e": f"E{number}", "iban": PAYERS[self.a % 2]}, 100 + self.b * 11 % 900
        item = await self.item("open_minor > 0") if self.b % 3 == 0 else None
        if item is not None:  # paid whole, or nearly
            more["text"], amount = f"invoice {item.invoice_number}", max(item.open_minor - self.c % 4 * 5, 1)
        elif self.invoices and self.b % 2:
            more["structured"] = f"REF{self.c % len(self.invoices):06}"
        self.paid.append((amount, more, "USD" if self.a % 5 == 0 else "EUR"))
        return self.paid[-1]

    async def advice(self):
        amount, more, currency = await self.told()
        bank = self.dollar if currency == "USD" else self.euro
        await bank.tells(bank.entry(amount, **more))
        sent = bank.files[-1:]
        return lambda: bank.again(sent)

    async def pending(self):
        amount, more, currency = await self.told()
        return await self.file(self.dollar if currency == "USD" else self.euro, (amount, {**more, "status": "PDNG"}))

    async def booked(self):
        """One that was told of before, booked before or not; or a new one."""
        amount, more, currency = self.paid[self.a % len(self.paid)] if self.paid and self.b % 4 else await self.told()
        return await self.file(self.dollar if currency == "USD" else self.euro, (amount, more))

    async def withdrawn(self):
        bank = self.dollar if self.a % 5 == 0 else self.euro
        await self.matched()  # what nobody has looked at yet is not withdrawn
        await bank.goes_on()
        return lambda: bank.again(bank.files[-1:])

    async def returned(self):
        """All of a payment or a part of what is left of it; a debit by its name that is none of that waits for a person."""
        one = await self.payment("allocated_minor + unapplied_minor > 0")
        if one is None:
            return None
        amount = one.amount_minor if self.b % 3 == 0 and one.left_minor >= one.amount_minor else min(1 + self.b % 300, one.left_minor or 1)
        how = {"reversal": True} if self.c % 3 == 0 else {"reason": ("AM04", "MD06", "AC04")[self.b % 3]}
        bank = self.dollar if one.currency == "USD" else self.euro
        return await self.file(bank, (-amount, {"ref": f"R{next(self.keys)}", "e2e": one.end_to_end_id or "?", **how}))

    async def brought_back(self):
        """A return is reversed, or the creditor's bank returns a refund; or more or something else is, and waits for a person."""
        one = await self.pick(
            self.a,
            "SELECT end_to_end_id, currency, returned_minor AS minor, true AS reversal FROM payment WHERE returned_minor > 0 UNION ALL "
            "SELECT end_to_end_id, currency, amount_minor, false FROM refund ORDER BY 1",
        )
        if one is None or one.end_to_end_id is None:
            return None
        how = {"reversal": True} if one.reversal else {"reason": "AC04"}
        bank = self.dollar if one.currency == "USD" else self.euro
        amount = one.minor if self.b % 3 else 1 + self.b % one.minor
        return await self.file(bank, (amount, {"ref": f"V{next(self.keys)}", "e2e": one.end_to_end_id, **how}))

    async def recalled(self):
        one = await self.payment("allocated_minor + unapplied_minor > 0")
        if one is None or one.end_to_end_id is None or one.currency != "EUR":
            return None
        minor = one.amount_minor if self.b % 2 else 1 + self.b % (one.left_minor or 1)
        body = camt056(one.end_to_end_id, f"{minor // 100}.{minor % 100:02}", case=f"C{next(self.keys)}")

        async def act():
            answer = await self.client.post("/v1/recalls", content=body, headers=XML)
            assert answer.status_code == 201, answer.text

        return await self.once(act)

    async def refund_reported(self):
        one = await self.pick(self.a, "SELECT end_to_end_id FROM refund WHERE status <> 'requested' ORDER BY refund_id")
        if one is None:
            return None
        body = pain002("FILE-1", (one[0], ("RJCT", "ACSP", "RJCT")[self.b % 3], "AC04"))

        async def act():
            answer = await self.client.post("/v1/refund-reports", content=body, headers=XML)
            assert answer.status_code == 201, answer.text

        return await self.once(act)

    async def recall_decided(self):
        one = await self.pick(self.a, "SELECT recall_id FROM recall ORDER BY 1")
        return await self.post(f"/v1/recalls/{one[0]}/decision", {"accept": self.b % 3 == 0}, self.second) if one else None

    async def recall_taken(self):
        """The bank books what it asked for, or less of it, whatever was answered."""
        one = await self.pick(
            self.a,
            "SELECT r.amount_minor, p.end_to_end_id, r.status, p.allocated_minor + p.unapplied_minor AS left_minor FROM recall r "
            "JOIN payment p USING (tenant_id, payment_id) ORDER BY recall_id",
        )
        if one is None or (one.status not in {"open", "accepted"} and one.left_minor < one.amount_minor):
            return None
        amount = one.amount_minor if self.b % 3 else 1 + self.b % one.amount_minor
        return await self.file(self.euro, (-amount, {"ref": f"R{next(self.keys)}", "e2e": one.end_to_end_id, "reason": "FRAD"}))

    async def total(self):
        """A total whose details are of 4.00 and 6.00; or details of one that was booked, all or one of them."""
        number = f"T{self.a % 3}"
        head = (
            '<Ntry><Amt Ccy="EUR">10.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt>'
            f"<AcctSvcrRef>{number}</AcctSvcrRef><NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>"
        )
        details = [
            f"<TxDtls><Refs><AcctSvcrRef>{number}-{part}</AcctSvcrRef></Refs>"
            f'<Amt Ccy="EUR">{part}.00</Amt><CdtDbtInd>CRDT</CdtDbtInd></TxDtls>'
            for part in (4, 6)
        ]
        if self.b % 3 == 0 and self.c % 3:
            head = head.replace("10.00", "4.00").replace("<NbOfTxs>2", "<NbOfTxs>1")
        told = [details, details[:1], []][0 if self.b % 3 == 1 else 1 if self.b % 3 == 0 and self.c % 3 else 2]
        entry = head + "".join(told) + "</NtryDtls></Ntry>"
        if told:
            await self.euro.tells(entry)
        else:
            self.euro.balance += 1_000
            await self.euro.brings("053", f"{(self.euro.balance - 1_000) / 100:.2f}", f"{self.euro.balance / 100:.2f}", entry)
        sent = self.euro.files[-1:]
        return lambda: self.euro.again(sent)

    async def total_booked(self):
        found = (await self.client.get("/v1/batch-totals")).json()["items"]
        path = f"/v1/batch-totals/{found[self.a % len(found)]['batch_total_id']}/booking" if found else None
        return await self.post(path, {"reason": "no details"}) if path else None
