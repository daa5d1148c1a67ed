"""A notified payment that no statement had is withdrawn and comes after all: what really went back in between stays gone."""

import itertools

import pytest
from bankdays import Bank, ahead
from handwork import limit
from shared.ids import new_id


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    return Bank(world, client, await world.account(tenant), camtfile)


async def test_what_was_really_returned_of_it_stays_returned(world, tenant, make, bank):
    await world.feed(make.invoice(tenant, "F-1", 10_000, reference="REF000001"))
    await world.pay(bank.held, 10_000, "REF000001", end_to_end_id="E1", number=1)
    await world.match(tenant)
    await bank.books((-4_000, {"ref": "R1", "e2e": "E1", "reason": "AM04"}))
    await world.match(tenant)
    await bank.goes_on()
    query = "SELECT allocated_minor + unapplied_minor, returned_minor, withdrawn_minor, return_reason, confirmation FROM payment"
    assert tuple(await world.one(tenant, query)) == (0, 10_000, 6_000, "am04", "notified")
    await bank.books((10_000, {"ref": "B1", "e2e": "E1"}))
    assert tuple(await world.one(tenant, query)) == (6_000, 4_000, 0, "am04", "booked")
    await world.holds()


async def test_an_approved_refund_of_it_is_taken_back_before_it_is_sent(world, tenant, make, client, bank):
    await limit(client, tenant, make, 10_000)
    payment = await world.pay(bank.held, 10_000, debtor_name="Dupont", debtor_iban="DE89370400440532013000", number=1)
    await world.match(tenant)
    body = {"payment_id": str(payment), "reason": "twice"}
    given = await client.post("/v1/refunds", json=body, headers={"idempotency-key": "r"})
    assert given.json()["status"] == "approved", given.text
    await bank.goes_on()
    query = "SELECT unapplied_minor, refunded_minor, refund_pending_minor, withdrawn_minor, confirmation FROM payment"
    assert tuple(await world.one(tenant, query)) == (0, 0, 0, 10_000, "notified")
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["cancelled"]
    last = [m.data for m in await world.events("PaymentReturned") if m.tenant_id == tenant][-1]
    assert (last.returned_minor, last.refunded_minor, last.refund_pending_minor) == (10_000, 0, 0)
    await bank.books((10_000, {"ref": "B1"}))
    assert tuple(await world.one(tenant, query)) == (10_000, 0, 0, 0, "booked")
    order = {"bank_account_id": str(bank.held.bank_account_id), "execution_date": ahead(1)}
    assert (await client.post("/v1/refund-files", json=order, headers={"idempotency-key": "f"})).status_code == 409
    await world.holds()


async def test_in_any_order_of_what_happens_to_it_no_money_is_made(world, camtfile, client_of):
    """Each happens once to its own tenant's payment, in every order; then the bank brings all of its files again."""
    orders = list(itertools.permutations(("part", "withdrawn", "booked", "reversed")))
    banks = []
    for _ in orders:
        tenant = new_id()
        banks.append(Bank(world, await client_of(tenant), await world.account(tenant), camtfile))
        await world.pay(banks[-1].held, 10_000, end_to_end_id="E1", number=1)
    await world.match(*(bank.held.tenant_id for bank in banks))
    for order, bank in zip(orders, banks, strict=True):
        tenant = bank.held.tenant_id
        for step in order:
            match step:
                case "part":
                    await bank.books((-4_000, {"ref": "R1", "e2e": "E1", "reason": "AM04"}))
                case "reversed":
                    await bank.books((-10_000, {"ref": "R2", "e2e": "E1", "reversal": True}))
                case "booked":
                    await bank.books((10_000, {"ref": "B1", "e2e": "E1"}))
                case "withdrawn":
                    await bank.goes_on()
            await truth(world, tenant, order)
        before = await truth(world, tenant, order)
        await bank.again()
        await world.pay(bank.held, 10_000, end_to_end_id="E1", number=1)
        assert await truth(world, tenant, order) == before, order
    await world.holds()


async def truth(world, tenant, order):
    """The payment, which has come in and gone out as the booked lines say that are taken as its own."""
    payment = await world.one(tenant, "SELECT unapplied_minor, returned_minor, withdrawn_minor, confirmation, version FROM payment")
    gone = await world.rows(tenant, "SELECT amount_minor FROM movement WHERE resolved AND kind = 'return'")
    taken = min(-sum(row[0] for row in gone), 10_000)
    assert payment.returned_minor - payment.withdrawn_minor == taken, (order, payment)
    assert payment.unapplied_minor == 10_000 - taken - payment.withdrawn_minor, (order, payment)
    assert payment.confirmation == "notified" or not payment.withdrawn_minor, (order, payment)
    return tuple(payment)
