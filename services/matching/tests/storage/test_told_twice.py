"""One payment that the bank tells of in several ways, before and when it books it, in reports, advices and statements."""

import pytest
from bankdays import Bank
from handwork import item

UETR = "a8e2b7a4-0d58-4b29-9a35-0f6cdb3c6a11"


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    return Bank(world, client, await world.account(tenant), camtfile)


async def payments(world, tenant):
    query = "SELECT confirmation, CAST(booking_date AS text), amount_minor FROM payment ORDER BY booking_date, amount_minor"
    return [tuple(row) for row in await world.rows(tenant, query)]


@pytest.mark.parametrize("ref", ["N1", None])
async def test_what_is_booked_a_day_after_it_was_notified_is_one_payment_in_an_overlapping_statement_too(world, tenant, bank, ref):
    await bank.tells(bank.entry(1_000, ref=ref, e2e="E1", day="2026-03-02"))
    booked = (1_000, {"ref": "N1", "e2e": "E1", "day": "2026-03-03"})
    await bank.books(booked)
    assert await payments(world, tenant) == [("booked", "2026-03-03", 1_000)]
    bank.balance = 0  # a statement of both days
    await bank.books(booked, (500, {"ref": "N2", "day": "2026-03-04"}))
    assert await payments(world, tenant) == [("booked", "2026-03-03", 1_000), ("booked", "2026-03-04", 500)]
    told = [m.data for m in await world.events("PaymentReceived") if m.tenant_id == tenant and m.data.confirmation == "booked"]
    assert {str(one.booking_date) for one in told} == {"2026-03-03", "2026-03-04"}
    await world.holds()


async def test_a_statement_that_says_nothing_but_the_end_to_end_id_tells_of_what_another_has_booked(world, tenant, bank):
    await bank.books((1_000, {"ref": "N1", "e2e": "E1"}))
    bank.balance = 0
    await bank.books((1_000, {"e2e": "E1"}), (1_000, {"e2e": "E1"}))  # and of another that is just like it
    assert len(await payments(world, tenant)) == 2
    await bank.again()
    assert len(await payments(world, tenant)) == 2
    await world.holds()


async def test_a_payment_with_three_references_of_the_bank_is_known_by_its_uetr(world, tenant, make, bank):
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))

    def told(ref, day, **more):
        entry = bank.entry(1_000, ref=ref, structured="REF000001", day=day, **more)
        return entry.replace("<Refs>", f"<Refs><UETR>{UETR}</UETR>")

    await bank.tells(told("I1", "2026-03-02", status="PDNG"))
    await bank.tells(told("N1", "2026-03-02"))
    assert await payments(world, tenant) == [("notified", "2026-03-02", 1_000)]
    await world.match(tenant)
    for _ in range(2):
        await bank.brings("053", "0.00", "10.00", told("B1", "2026-03-03"))
    assert await payments(world, tenant) == [("booked", "2026-03-03", 1_000)]
    assert (await item(world, tenant, "F-1")).status == "paid"
    assert (await world.one(tenant, "SELECT bank_reference FROM payment"))[0] == "B1"
    await world.holds()


@pytest.mark.parametrize("final", ["053", "054"])
async def test_what_a_pending_entry_does_not_say_is_heard_later_and_matched(world, tenant, make, bank, final):
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await bank.tells(bank.entry(1_000, ref="N1", status="PDNG"))
    await world.match(tenant)
    row = "SELECT status, confirmation, structured_reference, debtor_iban, end_to_end_id FROM payment"
    assert tuple(await world.one(tenant, row)) == ("unapplied", "notified", None, None, None)
    said = bank.entry(1_000, ref="N1", e2e="E1", structured="REF000001", iban="DE89370400440532013000")
    await bank.brings(final, "0.00", "10.00", said)
    await world.match(tenant)  # it is due for another look
    status = "booked" if final == "053" else "notified"
    assert tuple(await world.one(tenant, row)) == ("matched", status, "REF000001", "DE89370400440532013000", "E1")
    assert (await item(world, tenant, "F-1")).status == "paid"
    await bank.again()
    assert len(await payments(world, tenant)) == 1
    await world.holds()
