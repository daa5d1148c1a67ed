"""What a debtor's list deducts beyond terms and limit stays open, and the decision says so; whichever comes first, however often."""

import itertools
import random
from datetime import date

import pytest
from contracts.invoices import DiscountTerm
from handwork import limit
from matching.domain.statements import Amount
from shared.ids import new_id

_KEYS = itertools.count()
REASONS = ("discount", "commission", "bank_charges", "rounding", "withholding", "dispute")
TWO_PERCENT = [DiscountTerm(until=date(2026, 3, 9), percent_bp=200)]


async def send(client, make, tenant, reference, *lines, **more):
    """Posts a list of (number, net, deduction, reason)."""
    rows = [
        {"document_number": number, "gross_minor": net + cut, "deduction_minor": cut, "deduction_reason": reason, "net_minor": net}
        for number, net, cut, reason in lines
    ]
    body = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "reference": reference, "lines": rows, **more}
    body = {"total_minor": sum(net for _, net, _, _ in lines), **body}
    answer = await client.post("/v1/remittances", json=body, headers={"idempotency-key": f"d{next(_KEYS)}"})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def items(world, tenant):
    rows = await world.rows(tenant, "SELECT invoice_number, open_minor, cash_minor, discount_minor, charges_minor FROM open_item")
    return {row[0]: tuple(row[1:]) for row in rows}


async def refused(client, payment):
    """The lines that the latest decision leaves to a person, with their reasons."""
    shown = (await client.get(f"/v1/payments/{payment}")).json()
    return {one["line"]: one["why"] for one in shown["decisions"][-1]["evidence"].get("refused", [])}


@pytest.mark.parametrize("first", ["list", "money"])
async def test_a_cent_does_not_close_an_invoice_by_calling_the_rest_a_discount(world, tenant, make, client, first):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_140, reference="REF000001", discounts=TWO_PERCENT))
    for step in ("list", "money") if first == "list" else ("money", "list"):
        if step == "list":
            await send(client, make, tenant, "TRX-1", ("F-1", 1, 1_139, "discount"))
        else:
            payment = await world.pay(held, 1, "REF000001", end_to_end_id="TRX-1")
            await world.match(tenant)
    assert await items(world, tenant) == {"F-1": (1_139, 1, 0, 0)}
    shown = (await client.get(f"/v1/payments/{payment}")).json()
    assert (shown["status"], shown["unapplied_minor"]) == ("matched", 0)
    assert (await refused(client, payment))[0].startswith("1139 of 1139 minor units are beyond the item's terms")
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (listed["status"], listed["payment_id"]) == ("received", str(payment))
    told = [m for m in await world.events("PaymentUnmatched") if m.tenant_id == tenant]
    assert told == []  # where the money stands as the list wants it, nothing is undone
    await send(client, make, tenant, "TRX-1", ("F-1", 1, 1_139, "discount"))
    assert (await client.get(f"/v1/payments/{payment}")).json() == shown
    await world.holds()


@pytest.mark.parametrize("form", ["psp", "card", "factor"])
async def test_a_commission_needs_the_limit_of_the_items_currency(world, tenant, make, client, form):
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, discounts=TWO_PERCENT) for n in (1, 2)))
    await limit(client, tenant, make, 500, "USD")
    await send(client, make, tenant, "PAYOUT-1", ("F-1", 985, 15, "commission"), form=form)
    one = await world.pay(held, 985, end_to_end_id="PAYOUT-1", number=1)
    await world.match(tenant)
    assert await refused(client, one) == {
        0: "15 of 15 minor units are beyond the item's terms and above what one person may give away alone: they stay open"
    }
    await limit(client, tenant, make, 15)
    await send(client, make, tenant, "PAYOUT-2", ("F-2", 985, 15, "commission"), form=form)
    two = await world.pay(held, 985, end_to_end_id="PAYOUT-2", number=2)
    await world.match(tenant)
    assert await refused(client, two) == {}
    assert await items(world, tenant) == {"F-1": (15, 985, 0, 0), "F-2": (0, 985, 0, 15)}
    await world.holds()


async def test_the_limit_is_for_all_lists_of_an_item_and_for_what_people_forgive_of_it(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000, discounts=TWO_PERCENT), make.invoice(tenant, "F-2", 10_000))
    await limit(client, tenant, make, 100)
    written = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "goodwill", "amount_minor": 20}
    assert (await write_off(client, written)) == "booked"
    cuts = [("A", 61, "discount"), ("B", 40, "commission"), ("C", 20, "withholding"), ("D", 41, "rounding")]
    for name, cut, reason in cuts:  # the terms offer 21 of the 61
        await send(client, make, tenant, f"LIST-{name}", ("F-1", 1_000, cut, reason), ("F-2", 500 + ord(name), 0, None))
    paid = [await world.pay(held, 1_500 + ord(name), end_to_end_id=f"LIST-{name}", number=name) for name, _, _ in cuts]
    await world.match(tenant)  # all of them in one batch
    given = await world.rows(tenant, "SELECT payment_id, sum(diff_minor) FROM allocation GROUP BY 1")
    assert {row[0]: row[1] for row in given} == dict(zip(paid, [61, 40, 0, 0], strict=True))
    assert [list(await refused(client, payment)) for payment in paid] == [[], [], [0], [0]]
    assert await write_off(client, {**written, "amount_minor": 1}) == "requested"
    await send(client, make, tenant, "LIST-E", ("F-1", 980, 20, "discount"))  # what the terms offer needs no limit
    last = await world.pay(held, 980, end_to_end_id="LIST-E", number="E")
    await world.match(tenant)
    assert await refused(client, last) == {}
    await world.holds()


@pytest.mark.parametrize(("most", "left", "forgiven"), [(30, 0, 50), (29, 31, 19)])
async def test_a_discount_of_an_item_that_is_paid_in_full_is_measured_on_the_item(world, tenant, make, client, most, left, forgiven):
    """Two per cent of 1,000 are 20 of the 50, and the other 30 are within the limit or not; what is granted counts so from then on."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 2_000, discounts=TWO_PERCENT), make.invoice(tenant, "F-2", 1_000, discounts=TWO_PERCENT))
    await limit(client, tenant, make, most)
    await send(client, make, tenant, "LIST-A", ("F-2", 950, 50, "discount"))
    payment = await world.pay(held, 950, end_to_end_id="LIST-A", number="A")
    await world.match(tenant)
    assert (await items(world, tenant))["F-2"] == (left, 950, forgiven, 0)
    assert list(await refused(client, payment)) == ([0] if left else [])
    for number, net, cut in ((1, 950, 50), (2, 980, 20)):  # the second one's 20 are the terms'
        await send(client, make, tenant, f"PART-{number}", ("F-1", net, cut, "discount"))
        await world.pay(held, net, end_to_end_id=f"PART-{number}", number=number)
    await world.match(tenant)
    assert (await items(world, tenant))["F-1"] == (left, 1_930, forgiven + 20, 0)
    written = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "goodwill", "amount_minor": 1}
    if left:
        assert await write_off(client, written) == "booked"  # nothing is given away beyond the terms so far
    await world.holds()


async def write_off(client, body):
    answer = await client.post("/v1/write-offs", json=body, headers={"idempotency-key": f"d{next(_KEYS)}"})
    assert answer.status_code == 201, answer.text
    return answer.json()["status"]


async def test_what_is_deducted_in_full_is_granted_with_the_items_money_or_named(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000) for n in (1, 2, 3)))
    await limit(client, tenant, make, 1_000)
    lines = [("F-1", 985, 0, None), ("F-2", 0, 1_000, "discount"), ("F-1", 0, 15, "bank_charges"), ("F-3", 0, 1_000, "dispute")]
    await send(client, make, tenant, "TRX-1", *lines)
    payment = await world.pay(held, 985, end_to_end_id="TRX-1")
    await world.match(tenant)
    assert await items(world, tenant) == {"F-1": (0, 985, 0, 15), "F-2": (1_000, 0, 0, 0), "F-3": (1_000, 0, 0, 0)}
    assert await refused(client, payment) == {1: "nothing is paid of the item: what is deducted of it in full is for a person to write off"}
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (listed["status"], listed["missing"]) == ("received", [])
    await world.holds()


async def test_a_list_that_waits_for_an_item_grants_each_item_once(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await limit(client, tenant, make, 20)
    await send(
        client, make, tenant, "TRX-1", ("F-1", 985, 15, "commission"), ("F-2", 485, 15, "commission"), ("F-2", 490, 10, "commission")
    )
    await world.pay(held, 1_960, end_to_end_id="TRX-1")
    await world.match(tenant)
    await world.feed(make.invoice(tenant, "F-2", 1_000))
    assert await items(world, tenant) == {"F-1": (0, 985, 0, 15), "F-2": (10, 975, 0, 15)}
    (payment,) = (await client.get("/v1/payments")).json()["items"]
    assert list(await refused(client, payment["payment_id"])) == [2]
    await world.holds()


async def test_a_list_says_all_that_was_refused_of_it_whenever_its_items_came(world, tenant, make, client):
    """One line when the money came, another one when its item came, one that a person has undone in between, one that is carried out."""
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000) for n in (1, 2)))
    lines = [("F-1", 985, 15, "commission"), ("F-2", 1_000, 0, None), ("F-3", 0, 1_000, "bank_charges"), ("F-4", 980, 20, "discount")]
    lines += [("F-5", 1_000, 0, None), ("F-6", 1_000, 0, None)]
    listed = await send(client, make, tenant, "TRX-1", *lines)
    assert listed["refused"] == []
    payment = await world.pay(held, 4_965, end_to_end_id="TRX-1")
    await world.match(tenant)

    async def shown():
        detail = (await client.get(f"/v1/expected-payments/{listed['expected_id']}")).json()
        return {one["line"]: one["why"][:28] for one in detail["refused"]}

    beyond, full, undone = "{} of {} minor units are beyond", "nothing is paid of the item:", "a person has undone that"
    one = beyond.format(15, 15)[:28]
    assert await shown() == {0: one}
    item = {"item_id": str(make.invoice_id(tenant, "F-2")), "reason": "wrong"}
    answer = await client.post(f"/v1/payments/{payment}/unmatch", json=item, headers={"idempotency-key": f"d{next(_KEYS)}"})
    assert answer.status_code == 200, answer.text
    await world.feed(make.invoice(tenant, "F-3", 1_000), make.invoice(tenant, "F-4", 1_000))
    assert await shown() == {0: one, 1: undone, 2: full, 3: beyond.format(20, 20)[:28]}
    await world.feed(make.invoice(tenant, "F-5", 1_000))
    await limit(client, tenant, make, 1_000)  # nobody grants afterwards what was refused
    await world.feed(make.invoice(tenant, "F-6", 1_000))
    assert await shown() == {0: one, 1: undone, 2: full, 3: beyond.format(20, 20)[:28]}
    assert {at: why[:28] for at, why in (await refused(client, payment)).items()} == await shown()
    await world.holds()


async def test_nothing_is_deducted_of_an_item_in_another_currency_and_that_is_said(world, tenant, make, client):
    held = await world.account(tenant, "DE89370400440532013000", currency="USD")
    await world.feed(make.invoice(tenant, "F-1", 1_000, discounts=TWO_PERCENT))
    await limit(client, tenant, make, 1_000)
    await send(client, make, tenant, "TRX-1", ("F-1", 1_050, 21, "discount"), rate="0.9333", rate_currency="EUR", currency="USD")
    payment = await world.pay(held, 1_050, end_to_end_id="TRX-1", instructed=Amount(980, "EUR"))
    await world.match(tenant)
    assert await items(world, tenant) == {"F-1": (20, 980, 0, 0)}
    assert await refused(client, payment) == {0: "the item is in another currency: what is deducted of it stays open"}
    await world.holds()


async def test_whatever_lists_and_people_do_no_item_is_forgiven_more_than_its_terms_and_the_limit(world, make, client_of):
    forgiven = 0
    for seed in range(10):
        tenant, dice = new_id(), random.Random(seed)
        client = await client_of(tenant)
        held = await world.account(tenant)
        percent, most = dice.choice([0, 200, 500]), dice.choice([0, 30, 150])
        terms = [DiscountTerm(until=date(2026, 2, dice.choice([20, 27])), percent_bp=percent)] if percent else []
        taken = percent / 10_000 if terms and terms[0].until.day > 20 else 0  # five days late, or twelve
        await world.feed(*(make.invoice(tenant, f"F-{n}", 3_000, reference=f"REF00000{n}", discounts=terms) for n in (1, 2)))
        await limit(client, tenant, make, most)
        for n in range(8):
            lines = [
                (f"F-{dice.randint(1, 2)}", dice.randint(1, 900), dice.choice([0, 5, 18, 60, 400]), dice.choice(REASONS))
                for _ in range(dice.randint(1, 3))
            ]
            total = sum(net for _, net, _, _ in lines)
            for step in dice.sample(("list", "money"), 2):
                if step == "list":
                    await send(client, make, tenant, f"LIST-{n}", *lines)
                else:
                    said = {"end_to_end_id": f"LIST-{n}"} if dice.random() < 0.5 else {"remittance": [f"LIST-{n}"]}
                    payment = await world.pay(held, total, dice.choice([None, lines[0][0].replace("F-", "REF00000")]), number=n, **said)
                    if dice.random() < 0.7:
                        await world.match(tenant)
            if dice.random() < 0.3:
                await client.post(
                    f"/v1/payments/{payment}/unmatch", json={"reason": "wrong"}, headers={"idempotency-key": f"d{next(_KEYS)}"}
                )
            if dice.random() < 0.5:
                body = {"item_id": str(make.invoice_id(tenant, lines[0][0])), "reason": "goodwill", "amount_minor": dice.randint(1, 60)}
                await client.post("/v1/write-offs", json=body, headers={"idempotency-key": f"d{next(_KEYS)}"})
        await world.match(tenant)
        given = await world.rows(
            tenant,
            "SELECT item_id, sum(diff_minor), sum(CASE WHEN diff_reason = 'discount' THEN amount_minor + diff_minor ELSE 0 END), "
            "count(*), (SELECT written_off_minor FROM open_item i WHERE i.item_id = a.item_id) FROM allocation a GROUP BY 1",
        )
        for _, differences, settled, times, written in given:
            assert differences + written <= most + taken * int(settled) + (times / 2 if taken else 0), seed
            forgiven += int(differences)
        await world.holds()
    assert forgiven
