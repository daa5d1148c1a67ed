"""A payment and its invoice released at the same moment on two workers; and two tenants that use the same numbers."""

import os
import random

import pytest
from contracts.customers import CustomerIdentityChanged
from shared.clock import monotonic
from shared.ids import named_id, new_id
from shared.testing.events import message

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]
PAIRS = int(os.environ.get("ENCOURS_FAULT_PAIRS", "10000"))
AT_ONCE = 250
"""Pairs that are released together: a quarter of a batch, so that each half may come first."""


async def test_payments_and_invoices_released_at_the_same_moment_all_meet(system, make, feed):
    tenant, chance = new_id(), random.Random(61)
    await system.book(await system.account(tenant), [feed.transfer(number) for number in range(PAIRS)])
    payments = [one for one in await system.taken() if one[0].endswith("PaymentReceived")]
    invoices = [
        system.record(make.invoice(tenant, f"INV{number:06d}", 10_000, reference=f"REF{number:06d}", customer=f"C{number % 300}"))
        for number in range(PAIRS)
    ]
    children = [await system.start(role) for role in ("worker", "worker", "relay")]
    await system.joined(2)
    began = monotonic()
    for first in range(0, PAIRS, AT_ONCE):
        together = payments[first : first + AT_ONCE] + invoices[first : first + AT_ONCE]
        await system.send(chance.sample(together, len(together)))
    released = monotonic()
    system.injected["pairs released at the same moment"] += PAIRS
    await system.settled(payments=PAIRS, paid=PAIRS, seconds=90)
    looks = {row[0]: row[1] for row in await system.rows("SELECT looks, count(*) FROM payment GROUP BY 1 ORDER BY 1")}
    print(  # noqa: T201 - the record
        f"released in {released - began:.0f} s, all matched, published and checked {monotonic() - released:.0f} s later; "
        f"payments by number of looks: {looks}"
    )
    assert any(count > 1 for count in looks), "no payment came before its invoice: nothing was put to the test"
    await system.ended(*children)


async def test_two_tenants_with_equal_numbers_references_and_payers_in_one_batch(system, make, feed):
    """Even their customers' and invoices' ids are the same. The first is paid whole; of the second only every other invoice."""
    first, second = new_id(), new_id()
    pairs, chance = 600, random.Random(62)
    customers = [named_id("customer", first, number) for number in range(20)]
    ibans = [f"DE{number:020d}" for number in range(20)]
    names = [f"{chr(ord('A') + number) * 6} SARL" for number in range(20)]  # a payer with neither name nor number is not always sure enough
    invoices, payments = [], 0
    for tenant, base, step in ((first, 10_000, 1), (second, 20_000, 2)):
        transfers = []
        for number in range(pairs):
            payer, amount = number % 20, base + number
            invoices.append(
                make.invoice(
                    tenant,
                    f"INV{number:06d}",
                    amount,
                    reference=f"REF{number:06d}",
                    customer_id=customers[payer],
                    invoice_id=named_id("invoice", first, number),
                )
            )
            # by structured reference, by the number in the text and who pays, by amount and who pays
            named = [{}, {"remittance": [f"Facture INV{number:06d}"]}, {"remittance": ["merci"]}][number % 3]
            clue = {"counterparty_name": names[payer]} | ({"structured_reference": None} if named else {})
            if number % step == 0:
                transfers.append(feed.transfer(number, amount, debtor_iban=ibans[payer], end_to_end_id=None, **named, **clue))
        await system.book(await system.account(tenant), transfers)
        payments += len(transfers)
    identities = [
        message(tenant, CustomerIdentityChanged(version=1, customer_id=customers[payer], name=names[payer], known_ibans=[ibans[payer]]))
        for tenant in (first, second)
        for payer in range(20)
    ]
    records = [one for one in await system.taken() if one[0].endswith("PaymentReceived")]
    records += [system.record(one) for one in [*invoices, *identities]]
    children = [await system.start(role) for role in ("worker", "worker", "relay")]
    await system.joined(2)
    await system.send(chance.sample(records, len(records)))
    system.injected["pairs of two tenants with the same numbers"] += 2 * pairs
    await system.settled(payments=payments, paid=payments, seconds=120)
    rules = {row[0]: row[1] for row in await system.rows("SELECT rule, count(*) FROM allocation GROUP BY 1")}
    assert set(rules) == {"structured_reference", "document_number", "exact_amount"}, rules
    kept = await system.rows(
        "SELECT tenant_id, CAST(right(invoice_number, 6) AS int) AS number, original_minor, cash_minor, status FROM open_item"
    )
    assert len(kept) == 2 * pairs
    for tenant, number, original, cash, status in kept:
        paid = tenant == first or number % 2 == 0
        assert original == (10_000 if tenant == first else 20_000) + number
        assert (cash, status) == ((original, "paid") if paid else (0, "open")), (tenant, number)
    for one in await system.messages("PaymentMatched"):
        base = 10_000 if one.tenant_id == first else 20_000
        assert [part.amount_minor for part in one.data.allocations] == [
            base + int(part.invoice_number[3:]) for part in one.data.allocations
        ]
    await system.ended(*children)
