"""What is settled beyond what was paid: agreed discounts, credit notes in a set, items in another currency."""

from datetime import date

import pytest
from contracts.invoices import DiscountTerm
from decided import iban, identity, ledger, replayed
from matching.domain.statements import Amount
from shared.db import run

DAY = date(2026, 3, 2)


@pytest.mark.parametrize("by", ["engine", "person"])
async def test_a_credit_note_in_a_set_is_netted_and_comes_back_with_it(world, tenant, make, client, by):
    held = await world.account(tenant)
    await world.feed(
        identity(tenant, make, 1),
        *(make.invoice(tenant, f"FA2026-0000{n}", 1_000 * n, customer="C1", due=DAY) for n in (1, 2, 5)),
        make.invoice(tenant, "AV2026-00007", 300, customer="C1", due=DAY, cls=make.Credit),
    )
    if by == "person":
        await client.put("/v1/matching-policy", json={"threshold": 1})
    said = ["FA2026-00001 FA2026-00002 less AV2026-00007"]
    payment = await world.pay(held, 2_700, debtor_iban=iban(1), remittance=said)
    await world.match(tenant)
    if by == "person":
        (waiting,) = (await client.get("/v1/review-queue")).json()["items"]
        first = waiting["candidates"][0]
        assert ([line["amount_minor"] for line in first["lines"]], [one["amount_minor"] for one in first["set_offs"]]) == (
            [700, 2_000],
            [300],
        )
        done = await client.post(
            f"/v1/payments/{payment}/confirm", json={"candidate": 1, "version": waiting["version"]}, headers={"idempotency-key": "c"}
        )
        assert done.status_code == 200, done.text
    items, _, left = await ledger(world, tenant)
    paid = [(row[0], row[1], row[3], row[5]) for row in items]
    assert paid == [
        ("AV2026-00007", 0, 300, None), ("FA2026-00001", 0, 300, 700), ("FA2026-00002", 0, 0, 2_000), ("FA2026-00005", 5_000, 0, None)
    ]  # fmt: skip
    assert left[0][1:] == ("matched", 0)
    await world.holds()
    await replayed(world, tenant)
    undone = await client.post(f"/v1/payments/{payment}/unmatch", json={"reason": "wrong"}, headers={"idempotency-key": "u"})
    assert undone.status_code == 200, undone.text
    assert [(row[1], row[3]) for row in (await ledger(world, tenant))[0]] == [(300, 0), (1_000, 0), (2_000, 0), (5_000, 0)]
    await world.holds()


async def test_an_agreed_discount_is_taken_by_the_terms(world, tenant, make):
    held = await world.account(tenant)
    terms = [DiscountTerm(until=date(2026, 3, 9), percent_bp=300), DiscountTerm(until=date(2026, 3, 20), percent_bp=200)]
    await world.feed(identity(tenant, make, 1), make.invoice(tenant, "FA2026-00001", 10_000, customer="C1", due=DAY, discounts=terms))
    await world.pay(held, 9_700, debtor_iban=iban(1), remittance=["FA2026-00001"], day=date(2026, 3, 4))
    await world.match(tenant)
    assert tuple(await world.one(tenant, "SELECT open_minor, cash_minor, discount_minor FROM open_item")) == (0, 9_700, 300)
    assert await replayed(world, tenant) == {"document_number": 1}
    await world.holds()


async def test_a_retention_that_the_payer_names_leaves_its_percentage_open_and_is_no_discount(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 1), make.invoice(tenant, "FA2026-00001", 33_333, customer="C1", due=DAY))
    await world.pay(held, 31_667, debtor_iban=iban(1), remittance=["FA2026-00001 abzgl. 5 % Sicherheitseinbehalt"])
    await world.match(tenant)
    assert tuple(await world.one(tenant, "SELECT open_minor, cash_minor, discount_minor FROM open_item")) == (1_666, 31_667, 0)
    assert await replayed(world, tenant) == {"document_number": 1}
    await world.holds()


@pytest.mark.parametrize(("amount", "left"), [(9_800, 0), (9_900, 100)])
async def test_a_reference_with_an_agreed_discount_settles_the_whole_item_and_with_another_deduction_a_part(
    world, tenant, make, amount, left
):
    held = await world.account(tenant)
    terms = [DiscountTerm(until=date(2026, 3, 20), percent_bp=200)]
    invoice = make.invoice(tenant, "FA2026-00001", 10_000, customer="C1", due=DAY, discounts=terms, reference="RF18539007547034")
    await world.feed(identity(tenant, make, 1), invoice)
    await world.pay(held, amount, "RF18539007547034", debtor_iban=iban(1))
    await world.match(tenant)
    assert tuple(await world.one(tenant, "SELECT open_minor, cash_minor FROM open_item")) == (left, amount)
    assert (await world.one(tenant, "SELECT status FROM payment"))[0] == "matched"
    await replayed(world, tenant)
    await world.holds()


async def test_what_was_sent_in_the_items_currency_settles_it_at_the_banks_own_rate(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(
        identity(tenant, make, 1),
        *(make.invoice(tenant, f"FA2026-0000{n}", 50_000 * n, customer="C1", due=DAY, currency="USD") for n in (1, 2)),
    )
    said = {"debtor_iban": iban(1), "remittance": ["FA2026-00001 FA2026-00002"]}
    await world.pay(held, 138_001, instructed=Amount(150_000, "USD"), **said)
    await world.match(tenant)
    rows = await world.rows(tenant, "SELECT invoice_number, open_minor, cash_minor FROM open_item ORDER BY 1")
    assert [tuple(row) for row in rows] == [("FA2026-00001", 0, 50_000), ("FA2026-00002", 0, 100_000)]
    parts = await world.rows(tenant, "SELECT amount_minor FROM allocation ORDER BY 1")
    assert [row[0] for row in parts] == [46_000, 92_001]
    assert tuple(await world.one(tenant, "SELECT status, rule FROM payment")) == ("matched", "document_number")
    assert await replayed(world, tenant) == {"document_number": 1}
    await world.holds()


async def test_a_named_item_in_another_currency_is_settled_at_a_rate_near_those_seen_and_not_at_another(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(
        identity(tenant, make, 1),
        *(make.invoice(tenant, f"FA2026-0000{n}", 100_000, customer="C1", due=DAY, currency="USD") for n in range(1, 6)),
    )
    old = "SELECT :tenant, gen_random_uuid(), gen_random_uuid(), 1, 1, 'bank', 0, DATE '2020-01-01' + n FROM generate_series(1, 600) AS n"
    async with world.database.transaction(tenant) as conn:  # more than are looked at: those of years ago are nobody's usual ones
        await run(conn, f"INSERT INTO allocation_exchange {old}", tenant=tenant)
    for n, rate in enumerate((92_000, 92_300, 92_100), 1):
        sent = Amount(100_000, "USD")
        await world.pay(held, rate, debtor_iban=iban(1), remittance=[f"FA2026-0000{n}"], number=n, instructed=sent)
    await world.match(tenant)
    near = await world.pay(held, 92_200, debtor_iban=iban(1), remittance=["FA2026-00004"], number=4)
    far = await world.pay(held, 70_000, debtor_iban=iban(1), remittance=["FA2026-00005"], number=5)
    await world.match(tenant)
    rows = await world.rows(tenant, "SELECT payment_id, status FROM payment WHERE payment_id IN (:near, :far)", near=near, far=far)
    assert {row[0]: row[1] for row in rows} == {near: "matched", far: "unapplied"}
    told = await world.one(tenant, "SELECT rate_source, difference_minor FROM allocation_exchange WHERE payment_id = :near", near=near)
    assert tuple(told) == ("usual", 0)
    async with world.database.transaction(tenant) as conn:
        await run(conn, "DELETE FROM allocation_exchange WHERE item_amount_minor = 1")
    await replayed(world, tenant)
    await world.holds()


async def test_a_discount_that_was_over_long_ago_is_granted_by_a_person_only(world, tenant, make, client):
    held = await world.account(tenant)
    terms = [DiscountTerm(until=date(2026, 3, 9), percent_bp=200)]
    await world.feed(
        identity(tenant, make, 1),
        *(make.invoice(tenant, f"FA2026-0000{n}", 10_000, customer="C1", due=date(2026, 3, 30), discounts=terms) for n in (1, 2)),
    )
    await world.pay(held, 9_800, debtor_iban=iban(1), remittance=["FA2026-00001"], day=date(2026, 3, 11), number=1)
    await world.pay(held, 9_800, debtor_iban=iban(1), remittance=["FA2026-00002"], day=date(2026, 4, 2), number=2)
    await world.match(tenant)
    rows = await world.rows(tenant, "SELECT invoice_number, open_minor, discount_minor FROM open_item ORDER BY 1")
    assert [tuple(row) for row in rows] == [("FA2026-00001", 0, 200), ("FA2026-00002", 10_000, 0)]
    (waiting,) = (await client.get("/v1/review-queue")).json()["items"]
    assert (waiting["reason"], waiting["evidence"]["refused"]) == ("uncertain", "the discount was taken when it was over")
    assert waiting["candidates"][0]["lines"][0]["difference_minor"] == 200
    await replayed(world, tenant)
    await world.holds()
