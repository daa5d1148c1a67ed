"""Promises of dunning, and the money that is for them."""

from datetime import date

import pytest
from bankdays import job
from contracts.dunning import PromiseBroken, PromiseMade
from decided import replayed
from expecting import IBAN_OF_C1, into, items, known, post, remittance
from matching.handlers.matching import look_at_due
from matching.storage.parties import set_known_ibans
from shared.testing.events import message


async def test_a_promise_is_met_by_its_payer_and_amount_and_ends_with_dunnings_word(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000) for n in (1, 2, 3)))
    iban = "DE89370400440532013000"
    async with world.database.transaction(tenant) as conn:
        await set_known_ibans(conn, [(tenant, make.customer_id(tenant, "C1"))], [(tenant, make.customer_id(tenant, "C1"), iban)])

    def promise(cls, number, version, status, amount):
        item = make.invoice_id(tenant, f"F-{number}")
        return message(
            tenant,
            cls(
                version=version,
                promise_id=item,
                customer_id=make.customer_id(tenant, "C1"),
                item_ids=[item],
                amount_minor=amount,
                currency="EUR",
                due_on=date(2026, 3, 31),
                status=status,
            ),
        )

    await world.feed(
        promise(PromiseMade, 2, 1, "open", 700), promise(PromiseBroken, 3, 2, "broken", 600), promise(PromiseMade, 3, 1, "open", 600)
    )
    await world.pay(held, 700, debtor_iban=iban, number=1)
    await world.pay(held, 600, debtor_iban=iban, number=2)  # that promise was broken before it was heard of
    await world.match(tenant)
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 1_000, "F-2": 300, "F-3": 1_000}
    rules = await world.rows(tenant, "SELECT amount_minor, rule FROM payment ORDER BY 1")
    assert (rules[1][0], rules[1][1]) == (700, "promise")
    assert (await world.one(tenant, "SELECT status FROM expected_payment"))[0] == "received"
    await world.holds()


@pytest.mark.parametrize(("number", "paid"), [("F-2", {"F-1": 1_000, "F-2": 0}), ("F-1", {"F-1": 1_000, "F-2": 1_000})])
async def test_a_list_of_what_was_promised_decides_and_one_of_something_else_is_another(world, tenant, make, client, number, paid):
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000) for n in (1, 2)))
    await known(world, tenant, make)
    customer = make.customer_id(tenant, "C1")
    promise = PromiseMade(
        version=1,
        promise_id=make.invoice_id(tenant, "the promise"),
        customer_id=customer,
        item_ids=[make.invoice_id(tenant, "F-2")],
        amount_minor=1_000,
        currency="EUR",
        due_on=date(2026, 3, 31),
        status="open",
    )
    await world.feed(message(tenant, promise))
    listed = remittance(make, tenant, 1_000, (number, 1_000, 0, None), payer_customer_id=str(customer))
    assert (await post(client, "/v1/remittances", listed)).status_code == 201
    await world.pay(held, 1_000, debtor_iban=IBAN_OF_C1)
    await world.match(tenant)
    assert {name: row[0] for name, row in (await items(world, tenant)).items()} == paid
    await world.holds()


@pytest.mark.parametrize("named", [True, False])
async def test_a_promise_that_comes_after_its_money_meets_what_waits_of_just_its_amount(world, tenant, make, client, named):
    """Though its customer was merged into another meanwhile; where it names no item the payer alone is known by it."""
    held = await world.account(tenant)
    customer = make.customer_id(tenant, "C1")
    await world.feed(make.invoice(tenant, "F-1", 2_000), make.invoice(tenant, "F-2", 2_000), into(make, tenant, "C1", "C2"))
    await known(world, tenant, make)
    for number, amount in enumerate((1_200, 1_201, 1_200)):
        iban = IBAN_OF_C1 if number < 2 else "DE89370400440532013000"
        await world.pay(held, amount, debtor_iban=iban, number=number, remittance=["MERCI"])
    await world.feed(make.invoice(tenant, "F-9", 9_000, customer="C9"))
    theirs = str(await world.pay(held, 1_200, number=9))
    assert (
        await post(client, f"/v1/payments/{theirs}/move", {"customer_id": str(make.customer_id(tenant, "C9")), "reason": "theirs"})
    ).is_success
    await world.match(tenant)
    for _ in range(4):  # it has had all of its looks
        await world.rows(tenant, "UPDATE payment SET next_look_at = now() WHERE next_look_at IS NOT NULL RETURNING 1")
        await look_at_due(job(world), tenant)
    item_ids = [make.invoice_id(tenant, "F-2")] if named else []
    promise = PromiseMade(
        version=1, promise_id=make.invoice_id(tenant, "P"), customer_id=customer, item_ids=item_ids, amount_minor=1_200, currency="EUR",
        due_on=date(2026, 3, 31), status="open",
    )  # fmt: skip
    await world.feed(message(tenant, promise))
    woken = await world.rows(tenant, "SELECT amount_minor, looks FROM payment WHERE next_look_at IS NOT NULL")
    assert [tuple(row) for row in woken] == [(1_200, 0)] * 2  # as if they were new, and no others
    await look_at_due(job(world), tenant)
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert listed["status"] == "received"
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {
        "F-1": 2_000,
        "F-2": 800 if named else 2_000,
        "F-9": 9_000,
    }
    left = {one["payment_id"]: one["unapplied_minor"] for one in (await client.get("/v1/payments")).json()["items"]}
    assert left.pop(listed["payment_id"]) == (0 if named else 1_200)
    assert sorted(left.values()) == [1_200, 1_200, 1_201]  # another amount, another payer's, and nobody's
    await world.holds()


@pytest.mark.parametrize(("together", "merged"), [(False, False), (True, False), (True, True)])
async def test_both_parts_of_a_promise_have_its_items_as_candidates_and_a_person_confirms_them(
    world, tenant, make, client, together, merged
):
    """The second goes on where the first, which waits, would end; whoever the promise's customer is by now."""
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", minor) for n, minor in ((1, 10_000), (2, 7_013), (3, 4_007))))
    await known(world, tenant, make)
    promise = PromiseMade(
        version=1, promise_id=make.invoice_id(tenant, "P"), customer_id=make.customer_id(tenant, "C1"), amount_minor=11_020,
        item_ids=[make.invoice_id(tenant, f"F-{n}") for n in (3, 2)], currency="EUR", due_on=date(2026, 3, 31), status="open",
    )  # fmt: skip
    await world.feed(message(tenant, promise))
    if merged:
        await world.feed(into(make, tenant, "C1", "C2"))
    parts = []
    for number, amount in enumerate((5_000, 6_020)):
        parts.append(await world.pay(held, amount, debtor_iban=IBAN_OF_C1, number=number))
        if not together:
            await world.match(tenant)
    await world.match(tenant)
    queue = {one["payment_id"]: one for one in (await client.get("/v1/review-queue")).json()["items"]}
    shown = [[one for one in queue[str(part)]["candidates"] if "promise" in one["evidence"]] for part in parts]
    assert [[[(line["invoice_number"], line["amount_minor"]) for line in one["lines"]] for one in each] for each in shown] == [
        [[("F-2", 5_000)]],
        [[("F-2", 2_013), ("F-3", 4_007)]],
    ]
    told = [one["evidence"]["promise"] for each in shown for one in each]
    assert [(one["amount_minor"], one["waits_minor"], one["due_on"]) for one in told] == [
        (11_020, 0, "2026-03-31"), (11_020, 5_000, "2026-03-31"),
    ]  # fmt: skip
    for part, each in zip(parts, shown, strict=True):
        body = {"candidate": each[0]["rank"], "version": queue[str(part)]["version"]}
        confirmed = await client.post(f"/v1/payments/{part}/confirm", json=body, headers={"idempotency-key": f"c{part}"})
        assert confirmed.status_code == 200, confirmed.text
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 10_000, "F-2": 0, "F-3": 0}
    await replayed(world, tenant)
    await world.holds()
