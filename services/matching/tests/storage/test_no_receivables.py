"""Money that nobody owed: what a person sets apart, and what follows from it for the next one like it."""

import pytest
from bankdays import Bank
from camtfile import camt056
from decided import iban, identity, look, replayed
from expecting import remittance
from handwork import post

TAX = {"name": "FINANZAMT MITTE", "text": "UST ERSTATTUNG"}
LEFT = "SELECT entity_id, debit, credit, amount_minor FROM ledger_entry WHERE 'other_receipts' IN (debit, credit) ORDER BY at, entry_id"


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    return Bank(world, client, await world.account(tenant), camtfile)


async def pays(world, tenant, bank, *lines):
    """Books lines (an amount and what is said of it) and lets them be decided on; returns their ids."""
    first = len(bank.files) * 1_000
    await bank.books(*((amount, {"ref": f"T{first + n}", "day": "2026-03-02", **more}) for n, (amount, more) in enumerate(lines)))
    await world.match(tenant)
    rows = await world.rows(tenant, "SELECT bank_reference, payment_id FROM payment")
    known = {row[0]: row[1] for row in rows}
    return [known[f"T{first + n}"] for n in range(len(lines))]


async def set_apart(client, payment, reason="tax"):
    return await post(client, f"/v1/payments/{payment}/set-apart", {"reason": reason})


async def stands(world, tenant, payment):
    row = await world.one(
        tenant, "SELECT status, return_reason, unapplied_minor, unapplied_reason, rule FROM payment WHERE payment_id = :id", id=payment
    )
    return tuple(row)[:4]


APART, UNKNOWN = ("returned", "no_receivable", 0, None), "unknown_party"


async def learnt(world, tenant, client, bank, times):
    """So many were set apart by a person."""
    for payment in await pays(world, tenant, bank, *[(100 + n, TAX) for n in range(times)]):
        assert (await set_apart(client, payment)).status_code == 200


async def test_what_a_person_sets_apart_leaves_the_books_and_the_queue(world, tenant, client, bank, make):
    (payment,) = await pays(world, tenant, bank, (50_000, TAX))
    assert [one["payment_id"] for one in (await client.get("/v1/review-queue")).json()["items"]] == [str(payment)]
    answer = await set_apart(client, payment)
    assert (answer.status_code, answer.json()["status"], answer.json()["unapplied_minor"]) == (200, "returned", 0), answer.text
    assert (await client.get("/v1/review-queue")).json()["items"] == []
    assert await stands(world, tenant, payment) == APART
    (told,) = [one.data for one in await world.events("PaymentReturned") if one.tenant_id == tenant]
    assert (told.payment_id, told.returned_minor, told.return_reason) == (payment, 50_000, "no_receivable")
    assert [tuple(row)[1:] for row in await world.rows(tenant, LEFT)] == [("unapplied", "other_receipts", 50_000)]
    again = await set_apart(client, payment)  # by somebody else, who has not seen it
    assert (again.status_code, again.json()["version"]) == (200, answer.json()["version"])
    assert [row.times for row in await world.rows(tenant, "SELECT times FROM payer_alias")] == [1]
    await world.holds()


@pytest.mark.parametrize("times", [17, 18])
async def test_the_next_one_follows_once_enough_were_set_apart(world, tenant, client, bank, times):
    """(18 + 1) / (18 + 2) is the 0.95 that what is learnt has to be sure of."""
    await learnt(world, tenant, client, bank, times)
    (next_one,) = await pays(world, tenant, bank, (77_700, TAX))
    if times < 18:
        assert (await stands(world, tenant, next_one))[0] == "unapplied"
    else:
        assert await stands(world, tenant, next_one) == APART
        assert [row.rule for row in await world.rows(tenant, "SELECT rule FROM decision WHERE payment_id = :id", id=next_one)] == [
            "no_receivable"
        ]
        assert (await replayed(world, tenant))["no_receivable"] == 1
    await world.holds()


async def test_those_that_wait_follow_as_well(world, tenant, client, bank):
    waiting = await pays(world, tenant, bank, *[(100 + n, TAX) for n in range(20)], (5_000, {"name": "SOMEBODY ELSE"}))
    for _ in range(4):  # for so long that nobody looks any more by himself
        await look(world, tenant)
    for payment in waiting[:18]:
        assert (await set_apart(client, payment)).status_code == 200
    await look(world, tenant)
    assert [await stands(world, tenant, payment) for payment in waiting[18:20]] == [APART, APART]
    assert (await stands(world, tenant, waiting[20]))[0] == "unapplied"
    await world.holds()


async def test_unmatching_brings_it_back_and_forgets_what_was_learnt(world, tenant, client, bank):
    await learnt(world, tenant, client, bank, 18)
    (automatic,) = await pays(world, tenant, bank, (77_700, TAX))
    undone = await post(client, f"/v1/payments/{automatic}/unmatch", {"reason": "a customer of that name"})
    assert (undone.status_code, undone.json()["unapplied_minor"]) == (200, 77_700), undone.text
    await look(world, tenant)
    assert await stands(world, tenant, automatic) == ("unapplied", None, 77_700, UNKNOWN)
    (next_one,) = await pays(world, tenant, bank, (88_800, TAX))
    assert await stands(world, tenant, next_one) == ("unapplied", None, 88_800, UNKNOWN)
    assert [tuple(row)[1:] for row in await world.rows(tenant, LEFT)][-1] == ("other_receipts", "unapplied", 77_700)
    again = await post(client, f"/v1/payments/{automatic}/unmatch", {"reason": "a customer of that name"})
    assert again.status_code == 404
    await world.holds()


async def test_what_names_an_item_or_comes_from_a_customer_is_not_set_apart(world, tenant, client, bank, make):
    await learnt(world, tenant, client, bank, 18)
    await world.feed(make.invoice(tenant, "F-100234", 9_900), make.invoice(tenant, "F-2", 5_000, customer="C2", reference="REF000002"))
    named, referenced, plain = await pays(
        world,
        tenant,
        bank,
        (9_900, {**TAX, "text": "F-100234"}),
        (1_234, {**TAX, "structured": "REF000002"}),
        (66_600, TAX),
    )
    assert (await stands(world, tenant, named))[1] is None
    assert (await stands(world, tenant, referenced))[0] == "matched"
    assert await stands(world, tenant, plain) == APART
    await world.feed(identity(tenant, make, 1, name="Finanzamt Mitte"))  # who owes us, too
    (other,) = await pays(world, tenant, bank, (55_500, TAX))
    assert (await stands(world, tenant, other))[0] == "unapplied"
    await world.holds()


async def test_what_is_on_a_customers_account_stays_his_payment_and_is_set_apart_by_a_person_alone(world, tenant, client, bank, make):
    await learnt(world, tenant, client, bank, 18)
    await world.feed(identity(tenant, make, 1, name="Dupont SARL"))
    (payment,) = await pays(world, tenant, bank, (50_000, {"name": "DUPONT SARL", "iban": iban(1), "text": "INTERETS"}))
    customer = make.customer_id(tenant, "C1")
    payer = "SELECT payer_customer_id, candidate_customer_ids FROM payment WHERE payment_id = :id"
    assert (await world.one(tenant, payer, id=payment))[0] == customer
    assert (await set_apart(client, payment)).status_code == 200
    assert await stands(world, tenant, payment) == APART
    assert tuple(await world.one(tenant, payer, id=payment)) == (customer, None)
    assert {row[0] for row in await world.rows(tenant, "SELECT unapplied_minor FROM account_balance")} == {0}
    undone = await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "his after all"})
    assert (undone.status_code, undone.json()["unapplied_minor"]) == (200, 50_000)
    assert (await world.one(tenant, payer, id=payment))[0] == customer
    await world.holds()


async def test_what_a_person_moved_to_a_customer_is_not_set_apart_by_itself(world, tenant, client, bank, make):
    await world.feed(make.invoice(tenant, "F-1", 600))
    (payment,) = await pays(world, tenant, bank, (1_000, TAX))
    moved = await post(client, f"/v1/payments/{payment}/move", {"customer_id": str(make.customer_id(tenant, "C1")), "reason": "his"})
    assert moved.status_code == 200, moved.text
    await learnt(world, tenant, client, bank, 18)
    await look(world, tenant)
    assert (await stands(world, tenant, payment))[0] == "unapplied"
    assert (await set_apart(client, payment)).status_code == 200
    assert await stands(world, tenant, payment) == APART
    await world.holds()


async def test_what_says_the_reference_of_a_list_is_not_set_apart(world, tenant, client, bank, make):
    await learnt(world, tenant, client, bank, 18)
    await world.feed(make.invoice(tenant, "F-1", 5_000))
    listed = await post(client, "/v1/remittances", remittance(make, tenant, 5_000, ("F-1", 5_000, 0, None), reference="TRX 4711"))
    assert listed.status_code == 201, listed.text
    says, plain = await pays(world, tenant, bank, (4_999, {**TAX, "text": "TRX 4711"}), (66_600, TAX))
    assert await stands(world, tenant, says) == ("unapplied", None, 4_999, "remittance_differs")
    assert await stands(world, tenant, plain) == APART
    assert (await replayed(world, tenant))["no_receivable"] == 2
    await world.holds()


async def test_a_decision_says_how_many_were_set_apart_and_by_whom(world, tenant, client, bank):
    await learnt(world, tenant, client, bank, 17)
    told = "SELECT evidence FROM decision WHERE payment_id = :id ORDER BY decided_at DESC LIMIT 1"
    (waits,) = await pays(world, tenant, bank, (77_700, TAX))
    (reading,) = (await world.one(tenant, told, id=waits))[0]["candidates"]
    assert (reading["customer_id"], reading["confidence"], reading["evidence"]) == (None, round(18 / 19, 6), {"set_apart": 17})
    assert "moved_by" not in reading  # nothing that the model weighs did
    assert (await set_apart(client, waits)).status_code == 200
    assert (await world.one(tenant, told, id=waits))[0] == {"by": "tester"}
    (follows,) = await pays(world, tenant, bank, (88_800, TAX))
    (reading,) = (await world.one(tenant, told, id=follows))[0]["candidates"]
    assert reading["evidence"] == {"set_apart": 18}
    await world.holds()


async def test_what_is_notified_is_set_apart_once_it_is_booked(world, tenant, client, bank):
    await learnt(world, tenant, client, bank, 18)
    await bank.tells(bank.entry(77_700, ref="N1", day="2026-03-02", **TAX))
    await world.match(tenant)
    (payment,) = [row[0] for row in await world.rows(tenant, "SELECT payment_id FROM payment WHERE bank_reference = 'N1'")]
    assert await stands(world, tenant, payment) == ("unapplied", None, 77_700, UNKNOWN)
    refused = await set_apart(client, payment)
    assert (refused.status_code, refused.json()["code"]) == (409, "payment-not-booked")
    await bank.books((77_700, {"ref": "N1", "day": "2026-03-02", **TAX}))
    await look(world, tenant)
    assert await stands(world, tenant, payment) == APART
    await world.holds()


async def test_only_all_of_a_payment_is_set_apart(world, tenant, client, bank, make):
    await world.feed(make.invoice(tenant, "F-1", 600, reference="REF000001"))
    (payment,) = await pays(world, tenant, bank, (1_000, {"structured": "REF000001"}))
    refused = await set_apart(client, payment)
    assert (refused.status_code, refused.json()["code"]) == (409, "payment-not-free")
    undone = await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "no receivable"})
    assert undone.status_code == 200
    done = await set_apart(client, payment)  # whose it was taken for, too
    assert done.status_code == 200, done.text
    assert await stands(world, tenant, payment) == APART
    balances = await world.rows(tenant, "SELECT unapplied_minor FROM account_balance")
    assert {row[0] for row in balances} == {0}
    assert (await set_apart(client, make.customer_id(tenant, "C1"))).status_code == 404
    await world.holds()


async def test_one_that_was_set_apart_is_moved_to_nobody(world, tenant, client, bank, make):
    """It taught its payer's account and name as the customer's, beside that they are nobody's, and moved no money."""
    await world.feed(make.invoice(tenant, "F-1", 600))
    (payment,) = await pays(world, tenant, bank, (1_000, TAX))
    assert (await set_apart(client, payment)).status_code == 200
    moved = await post(client, f"/v1/payments/{payment}/move", {"customer_id": str(make.customer_id(tenant, "C1")), "reason": "his"})
    assert (moved.status_code, moved.json()["code"]) == (409, "payment-set-apart")
    assert len(await world.rows(tenant, "SELECT 1 FROM payer_alias")) == 1
    assert await stands(world, tenant, payment) == APART
    await world.holds()


@pytest.mark.parametrize("taken", [50_000, 20_000])
async def test_what_the_bank_takes_back_of_one_that_was_set_apart_has_gone(world, tenant, client, bank, taken):
    """It stood in other receipts for ever, though the bank had it, and the return could not even be explained by it."""
    (payment,) = await pays(world, tenant, bank, (50_000, {**TAX, "e2e": "E-1"}))
    assert (await set_apart(client, payment)).status_code == 200
    await bank.books((-taken, {"ref": "R1", "e2e": "E-1", "reason": "AC04"}))
    assert (await client.get("/v1/unexplained-movements")).json()["items"] == []
    status = "returned" if taken == 50_000 else "unapplied"
    assert (await stands(world, tenant, payment))[:3] == (status, "ac04", 50_000 - taken)
    assert [tuple(row)[1:] for row in await world.rows(tenant, LEFT)] == [
        ("unapplied", "other_receipts", 50_000),
        ("other_receipts", "unapplied", 50_000),
    ]
    undone = await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "a receivable"})
    assert undone.status_code == 404  # nothing of it is left to take in
    await world.holds()


async def test_one_that_was_set_apart_is_recalled(world, tenant, client, bank):
    (payment,) = await pays(world, tenant, bank, (50_000, {**TAX, "e2e": "E-1"}))
    assert (await set_apart(client, payment)).status_code == 200
    told = await client.post("/v1/recalls", content=camt056("E-1", "500.00"), headers={"content-type": "application/xml"})
    assert [one["payment_id"] for one in told.json()["taken"]] == [str(payment)], told.text
    assert await stands(world, tenant, payment) == ("returned", "frad", 0, None)
    await world.holds()
    decided = await post(client, f"/v1/recalls/{told.json()['taken'][0]['recall_id']}/decision", {"accept": False})
    assert decided.status_code == 200, decided.text
    assert (await stands(world, tenant, payment))[:3] == ("unapplied", None, 50_000)
    await world.holds()
