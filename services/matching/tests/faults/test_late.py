"""A payment older than its looks, whose payer and invoice come at the same moment."""

import asyncio
from datetime import UTC, datetime

import pytest
from contracts.customers import CustomerIdentityChanged
from matching.handlers import matching as engine
from shared.testing.events import context, message

pytestmark = pytest.mark.fault
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
PAYER = "DE89370400440532013000"


async def _exhausted(world, tenant, payment) -> None:
    """Looks at it until no other look is due."""
    for _ in range(4):
        async with world.database.transaction(tenant) as conn:
            await engine.match(conn, [(tenant, payment)], NOW, {}, in_time=True)
    assert (await world.one(tenant, "SELECT next_look_at FROM payment"))[0] is None


async def test_payer_and_invoice_of_an_old_payment_come_at_the_same_moment(world, tenant, make):
    held = await world.account(tenant)
    payment = await world.pay(held, 10_000, debtor_iban=PAYER, remittance=["Facture F-100"])
    await _exhausted(world, tenant, payment)
    customer = make.customer_id(tenant, "C1")
    await world.feed(message(tenant, CustomerIdentityChanged(version=1, customer_id=customer, name="Payeur", known_ibans=[PAYER])))
    async with world.database.transaction(tenant) as issuing:
        await make.keep(issuing, [make.invoice(tenant, "F-100", 10_000)], context(NOW))

        async def look() -> None:
            async with world.database.transaction(tenant) as conn:
                await engine.match(conn, [(tenant, payment)], NOW, {})

        looking = asyncio.create_task(look())  # finds no item yet, then waits for the account that the invoice makes
        await asyncio.sleep(0.5)
        assert not looking.done()
    await looking
    status, due = await world.one(tenant, "SELECT status, next_look_at FROM payment")
    assert status == "matched" or due is not None, "nobody will ever look at this payment again"
