"""Payments for several invoices whose structured remittance (ISO 20022) names each: by its reference, or its number and what it gets."""

import pytest
from bankdays import Bank
from decided import iban, identity, replayed
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


async def test_each_document_gets_what_is_remitted_for_it(world, tenant, make, bank):
    """From an account that is known to be the customer's."""
    await world.feed(
        identity(tenant, make, 0),
        *(
            make.invoice(tenant, f"FA2026-3000{number}", amount, customer="C0")
            for number, amount in ((1, 100_000), (2, 50_000), (3, 9_000))
        ),
    )
    said = [("FA2026-30001", "732.00"), ("FA2026-30002", "500.00")]
    await bank.books((123_200, {"ref": "B1", "structured": said, "iban": iban(0)}))
    await world.match(tenant)
    assert [(await item(world, tenant, f"FA2026-3000{number}")).open_minor for number in (1, 2, 3)] == [26_800, 0, 9_000]
    await replayed(world, tenant)
    await world.holds()
