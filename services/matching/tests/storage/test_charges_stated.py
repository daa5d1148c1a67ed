"""What banks took off on the way, where the bank says what was sent in the account's own currency."""

import pytest
from decided import iban, identity, replayed
from handwork import item
from matching.domain.statements import Amount


@pytest.mark.parametrize(("sent", "left"), [(77_777, 0), (78_000, 77_777), (None, 77_777), (76_527, 77_777)])
async def test_what_was_sent_settles_and_the_difference_is_charges(world, tenant, make, sent, left):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 0), make.invoice(tenant, "RE-2026-1004", 77_777, customer="C0"))
    instructed = Amount(sent, "EUR") if sent else None
    await world.pay(held, 76_527, debtor_iban=iban(0), remittance=["RE-2026-1004"], instructed=instructed)
    await world.match(tenant)
    now = await item(world, tenant, "RE-2026-1004")
    assert now.open_minor == left
    assert now.charges_minor == (1_250 if not left else 0)
    await replayed(world, tenant)
    await world.holds()


async def test_more_than_banks_take_is_for_a_person(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 0), make.invoice(tenant, "RE-2026-1004", 100_000, customer="C0"))
    await world.pay(held, 90_000, debtor_iban=iban(0), remittance=["RE-2026-1004"], instructed=Amount(100_000, "EUR"))
    await world.match(tenant)
    assert (await item(world, tenant, "RE-2026-1004")).charges_minor == 0
    await world.holds()
