"""Payments that bear several structured references, as ISO 20022 lets a payer give one for each of his invoices."""

import pytest
from bankdays import Bank
from handwork import item


@pytest.fixture
async def bank(world, tenant, make, client, camtfile):
    """A bank, and two items of 600.00 and 400.00 with references."""
    for number, amount in ((1, 60_000), (2, 40_000)):
        await world.feed(make.invoice(tenant, f"F-{number}", amount, reference=f"REF00000{number}"))
    return Bank(world, client, await world.account(tenant), camtfile)


async def left(world, tenant):
    return [(await item(world, tenant, f"F-{number}")).open_minor for number in (1, 2)]


async def test_each_reference_names_an_item(world, tenant, bank):
    await bank.books((100_000, {"ref": "B1", "structured": ["REF000001", "REF000002"]}))
    await world.match(tenant)
    assert await left(world, tenant) == [0, 0]
    assert [tuple(row) for row in await world.rows(tenant, "SELECT structured_reference, remittance FROM payment")] == [
        (None, ["REF000001", "REF000002"])
    ]
    await world.holds()


@pytest.mark.parametrize("amount", [60_000, 90_000, 120_000])
async def test_what_does_not_come_to_all_that_is_named_is_for_a_person(world, tenant, bank, amount):
    await bank.books((amount, {"ref": "B1", "structured": ["REF000001", "REF000002"]}))
    await world.match(tenant)
    assert await left(world, tenant) == [60_000, 40_000]
    await world.holds()


async def test_the_same_reference_twice_is_one(world, tenant, bank):
    await bank.books((25_000, {"ref": "B1", "structured": ["REF000001", "REF000001"]}))
    await world.match(tenant)
    assert await left(world, tenant) == [35_000, 40_000]
    await world.holds()
