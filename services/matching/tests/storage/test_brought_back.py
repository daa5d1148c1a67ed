"""What went out and comes back: a refund that the creditor's bank returns, a return that is reversed; and what fits nothing waits."""

import itertools

import pytest
from bankdays import Bank, ahead
from handwork import item, limit, refunded

_KEYS = itertools.count()


async def post(client, path, body):
    return await client.post(path, json=body, headers={"idempotency-key": f"c{next(_KEYS)}"})


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    return Bank(world, client, await world.account(tenant), camtfile)


async def waiting(client):
    """Amounts of what a person has to look at."""
    first = (await client.get("/v1/unexplained-movements", params={"limit": 1})).json()
    rest = (await client.get("/v1/unexplained-movements", params={"cursor": first["next_cursor"]})).json() if first["next_cursor"] else None
    return sorted(one["amount_minor"] for one in first["items"] + (rest["items"] if rest else []))


async def test_a_refund_that_the_creditors_bank_returns_is_unapplied_again(world, client, tenant, make, bank):
    end = await refunded(world, client, tenant, make, bank)
    amounts = "SELECT unapplied_minor, refunded_minor, refund_pending_minor, unapplied_reason, status FROM payment"
    await bank.books((600, {"ref": "D0", "e2e": end, "reason": "AC04"}))  # before it went out: for a person to look at
    assert tuple(await world.one(tenant, amounts))[:3] == (400, 600, 600)
    # in one statement, and the credit first
    await bank.books((600, {"ref": "D2", "e2e": end, "reason": "AC04"}), (-600, {"ref": "D1", "e2e": end}))
    assert tuple(await world.one(tenant, amounts)) == (1_000, 0, 0, "refund_returned", "unapplied")
    assert await waiting(client) == [600]
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["returned"]
    told = [m.data for m in await world.events("PaymentRefunded") if m.tenant_id == tenant]
    assert [(t.refunded_minor, t.refund_pending_minor) for t in told] == [(600, 600), (0, 0)]
    await bank.again()
    assert tuple(await world.one(tenant, amounts))[:3] == (1_000, 0, 0)
    await world.holds()


@pytest.mark.parametrize("kind", ["other", "reversal"])
async def test_a_refund_whose_return_is_imported_before_its_debit_ends_as_in_the_usual_order(world, client, tenant, make, bank, kind):
    end = await refunded(world, client, tenant, make, bank)
    said = {"reason": "AC04"} if kind == "other" else {"reversal": True}
    await bank.books((600, {"ref": "D2", "e2e": end, **said}), (500, {"ref": "D3", "e2e": end, "reason": "AC04"}))
    assert await waiting(client) == [500, 600]
    await bank.books((-600, {"ref": "D1", "e2e": end}))
    await bank.again()
    assert await waiting(client) == [500]  # which fits nothing
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["returned"]
    money = "SELECT unapplied_minor, refunded_minor, refund_pending_minor, unapplied_reason, status, next_look_at <= now() FROM payment"
    assert tuple(await world.one(tenant, money)) == (1_000, 0, 0, "refund_returned", "unapplied", True)
    told = [m.data for m in await world.events("PaymentRefunded") if m.tenant_id == tenant]
    assert [(t.refunded_minor, t.refund_pending_minor) for t in told] == [(600, 600), (0, 0)]
    await bank.books((600, {"ref": "D4", "e2e": end, **said}))  # twice
    assert await waiting(client) == [500, 600]
    await world.holds()


async def test_a_refund_comes_back_though_nothing_but_its_end_to_end_id_says_so(world, client, tenant, make, bank):
    end = await refunded(world, client, tenant, make, bank)
    await bank.books((-600, {"ref": "D1", "e2e": end}))
    await bank.tells(bank.entry(600, ref="D2", e2e=end))  # which waits for the statement
    (booked,) = await bank.books((600, {"ref": "D2", "e2e": end}), (600, {"ref": "P2", "e2e": "REFUND-" + "0" * 28}))
    assert booked["new_payments"] == 1  # that is none of ours
    await bank.again()
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["returned"]
    rows = await world.rows(tenant, "SELECT amount_minor, unapplied_minor, refunded_minor FROM payment ORDER BY amount_minor")
    assert [tuple(row) for row in rows] == [(600, 600, 0), (1_000, 1_000, 0)]
    await bank.books((600, {"ref": "D3", "e2e": end}))  # twice
    assert await waiting(client) == [600]
    await world.holds()


async def test_what_was_notified_as_a_payment_is_no_refund_that_comes_back_as_well(world, client, tenant, make, bank):
    end = await refunded(world, client, tenant, make, bank)
    await bank.books((-600, {"ref": "D1", "e2e": end}))
    await world.pay(bank.held, 600, end_to_end_id=end, number=2)
    await bank.books((600, {"ref": "B2", "e2e": end}))
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["paid"]
    rows = await world.rows(tenant, "SELECT amount_minor, unapplied_minor, confirmation FROM payment ORDER BY amount_minor")
    assert [tuple(row) for row in rows] == [(600, 600, "booked"), (1_000, 400, "booked")]
    await world.holds()


@pytest.mark.parametrize("said", [{}, {"e2e": 16}, {"capitals": True}, {"e2e": "OTHER"}, {"twice": True}])
async def test_a_refund_that_only_the_text_of_its_debit_names_is_paid(world, client, tenant, make, bank, said):
    end = await refunded(world, client, tenant, make, bank)
    broken = f"REFUND {end[:20].upper()} {end[20:].upper()}" + (f" and REFUND-{'0' * 28}" if "twice" in said else "")
    given = end.upper() if "capitals" in said else end[: said["e2e"]] if isinstance(said.get("e2e"), int) else said.get("e2e")
    await bank.books((-600, {"ref": "D1", "e2e": given, "text": broken}))
    paid = said in ({}, {"e2e": 16}, {"capitals": True})
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["paid" if paid else "sent"]
    await bank.books((600, {"ref": "D2", "text": broken, "reason": "AC04"}))
    await bank.again()
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["returned" if paid else "sent"]
    await world.holds()


async def test_what_names_a_refund_that_it_does_not_fit_waits_for_a_person(world, client, tenant, make, bank):
    end = await refunded(world, client, tenant, make, bank)
    await bank.books((-500, {"ref": "D1", "e2e": end}), (-600, {"ref": "D2", "e2e": end}), (-600, {"ref": "D3", "e2e": end}))
    assert await waiting(client) == [-600, -500]
    await bank.books((-20, {"ref": "X1", "e2e": "SOMETHING-ELSE"}))  # what is none of ours waits for nobody
    assert await waiting(client) == [-600, -500]
    assert tuple(await world.one(tenant, "SELECT refunded_minor, refund_pending_minor FROM payment")) == (600, 0)
    await world.holds()


async def test_what_is_left_of_a_payment_that_was_returned_in_part_before_it_was_heard_of_is_matched(world, client, tenant, make, bank):
    await world.feed(make.invoice(tenant, "F-1", 700, reference="REF000001"))
    await bank.books((1_000, {"ref": "P1", "e2e": "E1", "structured": "REF000001"}), (-300, {"ref": "R1", "e2e": "E1", "reason": "AM04"}))
    row = await world.one(tenant, "SELECT status, unapplied_minor, returned_minor FROM payment")
    assert tuple(row) == ("unapplied", 700, 300)
    await world.match(tenant)
    assert (await item(world, tenant, "F-1")).status == "paid"
    await world.holds()


async def test_a_return_that_is_reversed_gives_the_payment_its_money_again(world, client, tenant, make, bank):
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await bank.books((1_000, {"ref": "P1", "e2e": "E1", "structured": "REF000001"}))
    await world.match(tenant)
    await bank.books((-1_000, {"ref": "R1", "e2e": "E1", "reason": "AM04"}))
    assert (await item(world, tenant, "F-1")).status == "open"
    await bank.books((1_500, {"ref": "R2", "e2e": "E1", "reversal": True}), (1_000, {"ref": "R3", "e2e": "E1", "reversal": True}))
    row = await world.one(tenant, "SELECT unapplied_minor, returned_minor, return_reason, unapplied_reason FROM payment")
    assert tuple(row) == (1_000, 0, None, "return_reversed")
    assert await waiting(client) == [1_500]  # more than was ever returned
    await world.match(tenant)  # it is due for another look
    assert (await item(world, tenant, "F-1")).status == "paid"
    await bank.again()
    assert (await item(world, tenant, "F-1")).status == "paid"
    await world.holds()


async def test_a_return_that_is_reversed_in_parts_comes_back_in_parts(world, tenant, bank):
    await world.pay(bank.held, 1_000, end_to_end_id="E1", number=1)
    await world.match(tenant)
    await bank.books((-600, {"ref": "R1", "e2e": "E1", "reason": "AM04"}))
    for number, left in ((2, 600), (3, 800), (4, 1_000)):
        await bank.books((200, {"ref": f"R{number}", "e2e": "E1", "reversal": True}))
        assert (await world.one(tenant, "SELECT unapplied_minor FROM payment"))[0] == left
        await world.holds()


async def test_a_reference_that_is_used_again_on_another_day_is_another_return(world, tenant, bank):
    for number in (1, 2):
        await world.pay(bank.held, 1_000, end_to_end_id=f"E{number}", number=number)
    await world.match(tenant)
    for number in (1, 2):
        await bank.books((-1_000, {"ref": "0001", "e2e": f"E{number}", "reason": "AC04"}))
    await bank.again()
    assert [row[0] for row in await world.rows(tenant, "SELECT returned_minor FROM payment")] == [1_000, 1_000]
    await world.holds()


@pytest.mark.parametrize(("reversed_on", "fits"), [("2026-03-05", True), ("2026-03-03", False)])
async def test_a_reversal_that_is_imported_before_its_return_gives_the_money_back_but_no_older_one(
    world, client, tenant, bank, reversed_on, fits
):
    await world.pay(bank.held, 1_000, end_to_end_id="E1", number=1)
    await world.match(tenant)
    credit = bank.entry(1_000, ref="R2", e2e="E1", reversal=True, day=reversed_on)
    await bank.brings("053", "20.00", "30.00", credit)
    assert await waiting(client) == [1_000]
    await bank.brings("053", "30.00", "20.00", bank.entry(-1_000, ref="R1", e2e="E1", reason="AM04", day="2026-03-04"))
    await bank.again()
    assert await waiting(client) == ([] if fits else [1_000])
    money = "SELECT unapplied_minor, returned_minor, unapplied_reason FROM payment"
    assert tuple(await world.one(tenant, money)) == ((1_000, 0, "return_reversed") if fits else (0, 1_000, None))
    await world.holds()


async def explain(client, amount, **said):
    """Says what the movement of that amount that waits is about."""
    (one,) = [each for each in (await client.get("/v1/unexplained-movements")).json()["items"] if each["amount_minor"] == amount]
    return await post(client, f"/v1/unexplained-movements/{one['movement_id']}/explanation", {"reason": "the bank's letter", **said})


@pytest.mark.parametrize(("amount", "left"), [(-1_000, 0), (-600, 400), (-1_015, 0)])
async def test_a_return_that_names_nothing_takes_the_payment_that_a_person_names(world, client, tenant, make, bank, amount, left):
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await bank.books((1_000, {"ref": "P1", "e2e": "E1", "structured": "REF000001"}))
    await world.match(tenant)
    (payment,) = [str(row[0]) for row in await world.rows(tenant, "SELECT payment_id FROM payment")]
    await bank.books((amount, {"ref": "R1", "e2e": "NOBODY", "reason": "AC04"}))
    assert await waiting(client) == [amount]
    answer = await explain(client, amount, payment_id=payment, return_reason="AC04")
    assert answer.status_code == 200, answer.text
    assert answer.json()["moved_minor"] == left - 1_000
    row = await world.one(tenant, "SELECT unapplied_minor, allocated_minor, returned_minor, return_reason FROM payment")
    assert tuple(row) == (left, 0, 1_000 - left, "ac04")
    assert (await item(world, tenant, "F-1")).status == "open"
    assert await waiting(client) == []
    again = await post(client, f"/v1/unexplained-movements/{answer.json()['movement_id']}/explanation", {"reason": "again"})
    assert (again.status_code, again.json()["code"]) == (409, "movement-resolved")
    await bank.again()
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, returned_minor FROM payment")) == (left, 1_000 - left)
    await world.holds()


async def test_money_that_comes_again_is_the_payments_as_far_as_a_bank_returned_it(world, client, tenant, bank):
    await world.pay(bank.held, 1_000, end_to_end_id="E1", number=1)
    await world.match(tenant)
    (payment,) = [str(row[0]) for row in await world.rows(tenant, "SELECT payment_id FROM payment")]
    await bank.books((-600, {"ref": "R1", "e2e": "E1", "reason": "AM04"}))
    await bank.books((700, {"ref": "R2", "e2e": "E1", "reversal": True}))
    refused = await explain(client, 700, payment_id=payment)
    assert (refused.status_code, refused.json()["code"]) == (409, "payment-not-returned")
    unknown = await explain(client, 700, payment_id="00000000-0000-4000-8000-000000000000")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "payment-unknown")
    assert (await explain(client, 700)).json()["moved_minor"] == 0  # a fee that the bank gave back with it: told to nobody's account
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, returned_minor FROM payment")) == (400, 600)
    assert await waiting(client) == []
    await world.holds()


async def test_nothing_can_go_back_of_a_payment_of_which_nothing_is_left(world, client, tenant, bank):
    await world.pay(bank.held, 1_000, end_to_end_id="E1", number=1)
    await world.match(tenant)
    (payment,) = [str(row[0]) for row in await world.rows(tenant, "SELECT payment_id FROM payment")]
    await bank.books((-1_000, {"ref": "R1", "e2e": "E1", "reason": "AC04"}), (-1_000, {"ref": "R2", "e2e": "E1", "reason": "AC04"}))
    refused = await explain(client, -1_000, payment_id=payment)
    assert (refused.status_code, refused.json()["code"]) == (409, "payment-has-nothing-left")
    assert await waiting(client) == [-1_000]
    await world.holds()


async def test_what_was_refunded_and_is_returned_as_well_is_no_fee_of_the_banks(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    bank = Bank(world, client, held, camtfile)
    await limit(client, tenant, make, 10_000)  # one person may give away more than what goes out twice
    payment = await world.pay(held, 1_000, debtor_name="Dupont", debtor_iban="DE89370400440532013000", end_to_end_id="E-1", number=1)
    await world.match(tenant)
    await bank.books((1_000, {"ref": "B1", "e2e": "E-1"}))
    refund = (await post(client, "/v1/refunds", {"payment_id": str(payment), "amount_minor": 600, "reason": "too much"})).json()
    order = {"bank_account_id": str(held.bank_account_id), "execution_date": ahead(1)}
    assert (await post(client, "/v1/refund-files", order)).status_code == 201
    await bank.books((-600, {"ref": "D1", "e2e": refund["end_to_end_id"]}))
    await bank.books((-1_000, {"ref": "R1", "e2e": "E-1", "reason": "MD06"}))
    [waits] = (await client.get("/v1/unexplained-movements")).json()["items"]
    assert (waits["amount_minor"], waits["reference"]) == (-1_000, "R1")
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, returned_minor, refunded_minor FROM payment")) == (400, 0, 600)
    await bank.books((-400, {"ref": "R2", "e2e": "E-1", "reason": "MD06"}))  # what is left may go back by itself
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, returned_minor, refunded_minor FROM payment")) == (0, 400, 600)
    await world.holds()


async def test_a_refund_that_comes_back_less_a_fee_is_unapplied_whole_and_the_fee_is_ours(world, tenant, make, client, bank):
    end = await refunded(world, client, tenant, make, bank)
    await bank.books((-600, {"ref": "D1", "e2e": end}))
    await bank.books((550, {"ref": "C1", "e2e": end, "reason": "AC04"}))
    [waits] = (await client.get("/v1/unexplained-movements")).json()["items"]
    payment = (await world.one(tenant, "SELECT payment_id FROM payment"))[0]
    said = {"reason": "the creditor's bank kept its fee", "payment_id": str(payment)}
    path = f"/v1/unexplained-movements/{waits['movement_id']}/explanation"
    await limit(client, tenant, make, 49)
    refused = await post(client, path, said)
    assert (refused.status_code, refused.json()["code"]) == (403, "difference-above-limit")
    await limit(client, tenant, make, 50)
    done = await post(client, path, said)
    assert (done.status_code, done.json()["moved_minor"]) == (200, 600), done.text
    assert await waiting(client) == []
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, refunded_minor, unapplied_reason FROM payment")) == (
        1_000,
        0,
        "refund_returned",
    )
    assert (await world.one(tenant, "SELECT status FROM refund"))[0] == "returned"
    rows = await world.rows(
        tenant,
        "SELECT ledger, sum(minor) FROM (SELECT debit AS ledger, amount_minor AS minor FROM ledger_entry UNION ALL "
        "SELECT credit, -amount_minor FROM ledger_entry) l GROUP BY 1 HAVING sum(minor) <> 0 ORDER BY 1",
    )
    assert [(row[0], int(row[1])) for row in rows] == [("bank", 950), ("charges", 50), ("unapplied", -1_000)]
    await world.holds()


@pytest.mark.parametrize("sent_again", [False, True])
async def test_a_refund_that_went_out_with_a_fee_is_paid_and_the_fee_is_ours(world, tenant, make, client, bank, sent_again):
    end = await refunded(world, client, tenant, make, bank)
    await bank.books((-612, {"ref": "D1", "e2e": end}))
    (payment,) = await world.one(tenant, "SELECT payment_id FROM payment")
    await limit(client, tenant, make, 11)
    refused = await explain(client, -612, payment_id=str(payment))
    assert (refused.status_code, refused.json()["code"]) == (403, "difference-above-limit")
    await limit(client, tenant, make, 12)
    done = await explain(client, -612, payment_id=str(payment))
    assert (done.status_code, done.json()["moved_minor"]) == (200, -600), done.text
    assert await waiting(client) == []
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["paid"]
    amounts = "SELECT unapplied_minor, returned_minor, refunded_minor, refund_pending_minor FROM payment"
    assert tuple(await world.one(tenant, amounts)) == (400, 0, 600, 0)
    if sent_again:
        await bank.books((600, {"ref": "C1", "e2e": end, "reason": "AC04"}))
        assert tuple(await world.one(tenant, amounts)) == (1_000, 0, 0, 0)
    rows = await world.rows(
        tenant,
        "SELECT ledger, sum(minor) FROM (SELECT debit AS ledger, amount_minor AS minor FROM ledger_entry UNION ALL "
        "SELECT credit, -amount_minor FROM ledger_entry) l GROUP BY 1 HAVING sum(minor) <> 0 ORDER BY 1",
    )
    left = 1_000 if sent_again else 400
    assert [(row[0], int(row[1])) for row in rows] == [("bank", left - 12), ("charges", 12), ("unapplied", -left)]
    params = {"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2036-12-31"}
    assert "Frais sur remboursement" in (await client.get("/v1/ledger-export", params=params)).text
    await world.holds()
