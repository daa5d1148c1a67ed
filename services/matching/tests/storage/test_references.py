"""What a structured reference says that is several items', or nobody's."""

import pytest


async def test_a_reference_of_several_items_says_who_paid_where_they_are_one_customers(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(
        *(make.invoice(tenant, number, 1_000, reference="AAA1") for number in ("F-1", "F-2")),
        *(make.invoice(tenant, f"G-{customer}", 2_000, reference="BBB2", customer=customer) for customer in ("C1", "C2")),
    )
    pays = [await world.pay(held, amount, reference) for amount, reference in ((1_000, "AAA1"), (2_000, "BBB2"))]
    await world.match(tenant)
    rows = [
        await world.one(
            tenant, "SELECT status, unapplied_reason, payer_customer_id IS NOT NULL FROM payment WHERE payment_id = :id", id=one
        )
        for one in pays
    ]
    assert [tuple(row) for row in rows] == [("unapplied", "ambiguous", True), ("unapplied", "ambiguous", False)]
    await world.holds()


@pytest.mark.parametrize("others", [0, 8])
@pytest.mark.parametrize("reference", ["REF000003", "REF000012", "REF000020", "REF00002"])
async def test_a_reference_one_digit_away_is_another_invoices(world, tenant, make, reference, others):
    """In a sequence it is the next one, whose invoice may be on its way."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-2", 100, reference="REF000002", customer="C2"))
    for number in range(50, 50 + others):
        await world.feed(make.invoice(tenant, f"F-{number}", 100, reference=f"REF0000{number}", customer=f"C{number % 3}"))
    await world.pay(held, 100, reference, number=1)
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT allocated_minor FROM payment")).allocated_minor == 0
    await world.feed(make.invoice(tenant, "F-3", 100, reference=reference, customer="C5"))
    await world.match(tenant)
    (paid,) = await world.rows(tenant, "SELECT i.invoice_number FROM allocation JOIN open_item i USING (tenant_id, item_id)")
    assert paid.invoice_number == "F-3"


async def test_a_reference_whose_check_digits_are_wrong_is_mistyped(world, tenant, make):
    """ISO 11649: RF18539007547034 is right, RF18539007547035 is nobody's."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-2", 12_345, reference="RF18539007547034", customer="C2"))
    await world.pay(held, 12_345, "RF18539007547035", number=1)
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT allocated_minor FROM payment")).allocated_minor == 12_345
