"""What banks ask back (camt.056), over HTTP: until it is decided, settled, refused."""

import pytest
from bankdays import Bank, ahead
from camtfile import camt056
from handwork import item, limit, post, unexplained

RECALLED = "SELECT unapplied_minor, returned_minor FROM payment"


async def recall(client, body):
    return await client.post("/v1/recalls", content=body, headers={"content-type": "application/xml"})


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_recall_takes_the_money_out_until_it_is_decided(world, tenant, make, client, camtfile, accepted):
    held = await world.account(tenant)
    await limit(client, tenant, make, 1_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await world.pay(held, 1_000, "REF000001", end_to_end_id="E2E-1")
    await world.match(tenant)
    paid = tuple(await item(world, tenant, "F-1"))
    answers = [await recall(client, camt056("E2E-1", "10.00")) for _ in range(2)]
    assert [(a.status_code, len(a.json()["taken"])) for a in answers] == [(201, 1)] * 2
    given = answers[0].json()["taken"][0]
    assert (given["status"], given["reason"]) == ("open", "frad")
    assert (await item(world, tenant, "F-1")).open_minor == 1_000
    (told,) = [m.data for m in await world.events("PaymentReturned") if m.tenant_id == tenant]
    assert (told.return_class, told.returned_minor) == ("cancellation", 1_000)
    path = f"/v1/recalls/{given['recall_id']}/decision"
    assert (await post(client, path, {"accept": accepted})).status_code == 200
    if accepted:
        line = camtfile.entry("10.00", ref="R1", e2e="E2E-1", credit=False, reason="FRAD")
        await client.post(
            "/v1/bank-files", content=camtfile.statement(held.iban, "10.00", "0.00", line), headers={"content-type": "application/xml"}
        )
        assert [r["status"] for r in (await client.get("/v1/recalls")).json()["items"]] == ["settled"]
        assert (await world.one(tenant, "SELECT status FROM payment"))[0] == "returned"
        assert (await post(client, path, {"accept": False})).status_code == 409
    else:
        assert tuple(await item(world, tenant, "F-1")) == paid
    await world.holds()


@pytest.fixture
async def recalled(world, tenant, make, client, camtfile):
    """A bank, and an item of 10.00 that was paid, of which it asks something back."""
    bank = Bank(world, client, await world.account(tenant), camtfile)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await world.pay(bank.held, 1_000, "REF000001", end_to_end_id="E2E-1", number=1)
    await world.match(tenant)
    await bank.books((1_000, {"ref": "B1", "e2e": "E2E-1"}))

    async def of(*amounts):
        for amount in amounts:
            assert (await recall(client, camt056("E2E-1", amount, case=amount))).json()["taken"][0]["settled_minor"] is None
        return bank

    return of


async def settled_at(client):
    """Of each recall how much was asked and how much taken, the largest first."""
    found = [(one["amount_minor"], one["settled_minor"]) for one in (await client.get("/v1/recalls")).json()["items"]]
    return sorted(found, reverse=True)


def back(amount, number=1, **more):
    return -amount, {"ref": f"R{number}", "e2e": "E2E-1", "reason": "FRAD", **more}


async def test_what_a_bank_did_not_take_of_a_recall_is_the_payments_again(world, tenant, client, recalled):
    bank = await recalled("10.00")
    await bank.books(back(400))
    await bank.again()
    assert tuple(await world.one(tenant, RECALLED)) == (600, 400)
    assert (await settled_at(client), await unexplained(client)) == ([(1_000, 400)], [])
    assert (await item(world, tenant, "F-1")).open_minor == 1_000
    assert (await world.one(tenant, "SELECT next_look_at <= now(), unapplied_reason FROM payment")) == (True, "partly_returned")
    told = [m.data for m in await world.events("PaymentUnapplied") if m.tenant_id == tenant][-1]
    assert (told.unapplied_minor, told.returned_minor) == (600, 400)
    await bank.books(back(600, 2))  # the rest, late: a return
    assert tuple(await world.one(tenant, RECALLED)) == (0, 1_000)
    await bank.books(back(600, 3))  # twice: a person looks at it
    assert (tuple(await world.one(tenant, RECALLED)), await unexplained(client)) == ((0, 1_000), [-600])
    await world.holds()


@pytest.mark.parametrize(
    ("asked", "debits", "money", "settled", "left"),
    [
        (["6.00"], [1_000], (0, 1_000), [(600, 600)], []),  # and what the bank took beyond goes back
        (["6.00"], [800], (200, 800), [(600, 600)], []),
        (["6.00"], [1_013], (0, 1_000), [(600, 600)], []),  # its fee
        (["6.00"], [1_014], (400, 600), [(600, None)], [-1_014]),  # more than a fee, within one person's limit
        (["10.00"], [600, 400], (0, 1_000), [(1_000, 600)], []),  # in two parts
        (["10.00"], [600, 600], (400, 600), [(1_000, 600)], [-600]),  # twice
        (["6.00"], [600, 600], (400, 600), [(600, 600)], [-600]),
        (["6.00", "4.00"], [1_000], (0, 1_000), [(600, 600), (400, 400)], []),
        (["6.00", "4.00"], [400], (0, 1_000), [(600, None), (400, 400)], []),  # which is exactly the one
        (["6.00", "3.00"], [700], (300, 700), [(600, 600), (300, 100)], []),
    ],
)
async def test_a_debit_of_another_amount_settles_the_recalls_of_what_it_names(
    world, tenant, make, client, recalled, asked, debits, money, settled, left
):
    bank = await recalled(*asked)
    await limit(client, tenant, make, 13)
    await bank.books(*(back(amount, number) for number, amount in enumerate(debits)))
    await bank.again()
    assert (tuple(await world.one(tenant, RECALLED)), await settled_at(client), await unexplained(client)) == (money, settled, left)
    await world.holds()


async def test_a_debit_that_may_be_of_another_payment_settles_no_recall(world, tenant, client, recalled):
    bank = await recalled("10.00")
    await world.pay(bank.held, 400, end_to_end_id="E2E-1", number=2)  # payers use it again
    await world.match(tenant)
    await bank.books((400, {"ref": "B2", "e2e": "E2E-1"}))
    await bank.books(back(400))
    rows = await world.rows(tenant, RECALLED + " ORDER BY amount_minor")
    assert [tuple(row) for row in rows] == [(0, 400), (0, 1_000)]
    assert await settled_at(client) == [(1_000, None)]
    await world.holds()


async def test_of_two_recalls_with_one_end_to_end_id_a_debit_settles_that_of_the_payment_which_it_names(world, tenant, client, camtfile):
    bank = Bank(world, client, await world.account(tenant), camtfile)
    for number in (1, 2):
        await world.pay(bank.held, 1_000, end_to_end_id="E2E-1", transaction_id=f"TX-{number}", number=number)
    await world.match(tenant)
    for number in (1, 2):
        body = camt056("E2E-1", "10.00", case=f"C{number}").replace(
            b"<OrgnlIntrBk", f"<OrgnlTxId>TX-{number}</OrgnlTxId><OrgnlIntrBk".encode()
        )
        assert len((await recall(client, body)).json()["taken"]) == 1
    line = bank.entry(-1_000, ref="R1", e2e="E2E-1", reason="FRAD", day="2026-03-05")
    await bank.brings("053", "50.00", "40.00", line.replace("</Refs>", "<TxId>TX-2</TxId></Refs>"))
    found = {one["cancellation_id"]: one["status"] for one in (await client.get("/v1/recalls")).json()["items"]}
    assert found == {"C1": "open", "C2": "settled"}
    await world.holds()


async def test_a_bank_that_takes_less_although_the_recall_was_refused_makes_a_return(world, tenant, client, recalled):
    bank = await recalled("10.00")
    (one,) = (await client.get("/v1/recalls")).json()["items"]
    await post(client, f"/v1/recalls/{one['recall_id']}/decision", {"accept": False})
    assert (await item(world, tenant, "F-1")).status == "paid"
    await bank.books(back(400))
    assert (tuple(await world.one(tenant, RECALLED)), await settled_at(client)) == ((600, 400), [(1_000, None)])
    await world.holds()


async def test_above_the_limit_another_person_accepts_a_recall_too(world, tenant, make, client, second):
    """What one person alone has given back of the payment counts, by whatever way it went."""
    held = await world.account(tenant)
    await limit(client, tenant, make, 500)
    payment = await world.pay(held, 1_000, end_to_end_id="E2E-1", debtor_name="Dupont", debtor_iban="DE89370400440532013000")
    await world.match(tenant)
    refund = await post(client, "/v1/refunds", {"payment_id": str(payment), "amount_minor": 100, "reason": "back"})
    assert refund.json()["status"] == "approved"
    first, rest = [(await recall(client, camt056("E2E-1", amount, case=amount))).json()["taken"][0] for amount in ("4.00", "1.00")]
    assert (await post(client, f"/v1/recalls/{first['recall_id']}/decision", {"accept": True})).json()["status"] == "accepted"
    path = f"/v1/recalls/{rest['recall_id']}/decision"
    asked = [await post(client, path, {"accept": True}, "first") for _ in range(2)]
    assert [(a.json()["status"], a.json()["requested_by"], a.json()["decided_by"]) for a in asked] == [("requested", "tester", None)] * 2
    again = await post(client, path, {"accept": True})
    assert (again.status_code, again.json()["code"]) == (403, "four-eyes")
    assert (await post(second, path, {"accept": True})).json()["status"] == "accepted"
    assert {one["status"] for one in (await client.get("/v1/recalls", params={"status": "accepted"})).json()["items"]} == {"accepted"}
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, returned_minor, refunded_minor FROM payment")) == (400, 500, 100)
    await world.holds()


@pytest.mark.parametrize(("meanwhile", "after"), [("reason", (390, 600)), ("currency", (1_000, 0)), ("exchange", (908, 100))])
async def test_a_refused_recall_restores_what_may_still_meet(world, tenant, make, client, meanwhile, after):
    """Meanwhile the item was forgiven something for another reason, or its invoice is in another currency."""
    held = await world.account(tenant)
    await limit(client, tenant, make, 100)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    payment = await world.pay(held, 990, end_to_end_id="E2E-1")
    await world.match(tenant)

    async def allocate(amount, **more):
        line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": amount, **more}
        answer = await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})
        assert answer.status_code == 200, answer.text

    await allocate(500, difference_minor=10, reason="discount")
    given = (await recall(client, camt056("E2E-1", "4.00"))).json()["taken"][0]
    if meanwhile == "reason":
        await allocate(100, difference_minor=10, reason="bank_charges")
    else:
        await world.feed(make.invoice(tenant, "F-1", 1_000, currency="USD", version=2, cls=make.Changed))
    if meanwhile == "exchange":
        await allocate(100, exchange={"item_amount_minor": 92, "rate": "0.92", "rate_source": "ecb"})
    answer = await post(client, f"/v1/recalls/{given['recall_id']}/decision", {"accept": False})
    assert answer.status_code == 200, answer.text
    allocated = (await world.one(tenant, "SELECT allocated_minor FROM payment"))[0]
    assert ((await item(world, tenant, "F-1")).open_minor, allocated) == after
    await world.holds()


@pytest.mark.parametrize(("meanwhile", "forgiven"), [(0, 50), (40, 40)])
async def test_a_refused_recall_restores_no_deduction_that_would_pass_the_limit_by_now(world, tenant, make, client, meanwhile, forgiven):
    held = await world.account(tenant)
    await limit(client, tenant, make, 50)
    await world.feed(make.invoice(tenant, "F-1", 5_000))
    line = {"document_number": "F-1", "gross_minor": 1_000, "deduction_minor": 50, "deduction_reason": "commission", "net_minor": 950}
    listed = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "total_minor": 950, "reference": "LIST-9", "lines": [line]}
    assert (await post(client, "/v1/remittances", listed)).status_code == 201
    await world.pay(held, 950, end_to_end_id="LIST-9")
    await world.match(tenant)
    given = (await recall(client, camt056("LIST-9", "9.50"))).json()["taken"][0]
    if meanwhile:
        body = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "goodwill", "amount_minor": meanwhile}
        assert (await post(client, "/v1/write-offs", body)).json()["status"] == "booked"
    assert (await post(client, f"/v1/recalls/{given['recall_id']}/decision", {"accept": False})).status_code == 200
    found = await item(world, tenant, "F-1")
    assert (found.cash_minor, found.charges_minor + found.written_off_minor) == (950, forgiven)
    await world.holds()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a/>",
        b"<!DOCTYPE a><a/>",
        ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a>' + camt056("E2E-1", "10.00").decode()).encode("utf-16"),
        camt056("E", "0.00"),
        camt056("E", "1e3"),
        camt056("NOTPROVIDED", "1.00"),
    ],
)
async def test_an_unreadable_recall_is_refused(client, body):
    assert (await recall(client, body)).status_code == 422


@pytest.mark.parametrize("known", ["TX-1", "97ed4827-7b6f-4491-a06f-b548d5a7512d"])
async def test_a_recall_names_its_payment_by_either_of_its_transaction_ids(world, tenant, client, known):
    held = await world.account(tenant)
    payment = await world.pay(held, 1_000, transaction_id=known, end_to_end_id="E2E-1", number=1)
    await world.pay(held, 1_000, transaction_id="TX-2", end_to_end_id="E2E-1", number=2)  # payers use it again
    await world.match(tenant)
    ids = b"<OrgnlTxId>TX-1</OrgnlTxId><OrgnlUETR>97ed4827-7b6f-4491-a06f-b548d5a7512d</OrgnlUETR><OrgnlIntrBk"
    body = camt056("E2E-1", "10.00").replace(b"<OrgnlIntrBk", ids)
    answers = [(await recall(client, body)).json() for _ in range(2)]
    assert [one["payment_id"] for one in answers[0]["taken"]] == [str(payment)]
    assert answers[1] == answers[0]
    again = camt056("E2E-1", "10.00", case="C2").replace(b"<OrgnlIntrBk", ids)  # nothing is left of it, and the other is not meant
    assert (await recall(client, again)).json() == {"taken": [], "unknown": [1]}
    await world.holds()


async def test_a_recall_of_an_unknown_payment_is_told_by_its_number(client):
    answer = await recall(client, camt056("NOBODY", "1.00"))
    assert (answer.status_code, answer.json()) == (201, {"taken": [], "unknown": [1]})


async def test_what_was_refunded_and_is_recalled_as_well_is_no_fee_of_the_banks(world, tenant, make, client, camtfile):
    """6.00 were refunded, the bank asks 4.00 back, and takes 10.00: 6.00 of them have gone out already."""
    bank = Bank(world, client, await world.account(tenant), camtfile)
    await limit(client, tenant, make, 10_000)  # one person may give away more than what goes out twice
    payer = {"debtor_name": "Dupont", "debtor_iban": "DE89370400440532013000", "end_to_end_id": "E2E-1"}
    payment = await world.pay(bank.held, 1_000, number=1, **payer)
    await world.match(tenant)
    await bank.books((1_000, {"ref": "B1", "e2e": "E2E-1"}))
    refund = (await post(client, "/v1/refunds", {"payment_id": str(payment), "amount_minor": 600, "reason": "too much"})).json()
    order = {"bank_account_id": str(bank.held.bank_account_id), "execution_date": ahead(1)}
    assert (await post(client, "/v1/refund-files", order)).status_code == 201
    await bank.books((-600, {"ref": "D1", "e2e": refund["end_to_end_id"]}))
    assert len((await recall(client, camt056("E2E-1", "4.00"))).json()["taken"]) == 1
    await bank.books(back(1_000))
    assert (await settled_at(client), await unexplained(client)) == ([(400, None)], [-1_000])
    await bank.books(back(400, 2))
    assert await settled_at(client) == [(400, 400)]
    await world.holds()


@pytest.mark.parametrize(("asked", "accepted"), [("10.00", True), ("10.00", False), ("4.01", False)])
async def test_a_refund_that_was_not_sent_yet_is_taken_back_before_a_bank_has_the_money(
    world, tenant, make, client, camtfile, asked, accepted
):
    bank = Bank(world, client, await world.account(tenant), camtfile)
    await limit(client, tenant, make, 10_000)
    payer = {"debtor_name": "Dupont", "debtor_iban": "DE89370400440532013000", "end_to_end_id": "E2E-1"}
    payment = await world.pay(bank.held, 1_000, number=1, **payer)
    await world.match(tenant)
    await bank.books((1_000, {"ref": "B1", "e2e": "E2E-1"}))
    assert (await post(client, "/v1/refunds", {"payment_id": str(payment), "amount_minor": 600, "reason": "back"})).json()[
        "status"
    ] == "approved"
    answers = [(await recall(client, camt056("E2E-1", asked))).json() for _ in range(2)]
    assert answers[1] == answers[0]
    (given,) = answers[0]["taken"]
    order = {"bank_account_id": str(bank.held.bank_account_id), "execution_date": ahead(1)}
    assert (await post(client, "/v1/refund-files", order)).json()["code"] == "nothing-to-send"
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["cancelled"]
    money = "SELECT unapplied_minor, returned_minor, refunded_minor, refund_pending_minor FROM payment"
    assert tuple(await world.one(tenant, money)) == (1_000 - given["amount_minor"], given["amount_minor"], 0, 0)
    await post(client, f"/v1/recalls/{given['recall_id']}/decision", {"accept": accepted})
    if accepted:
        await bank.books(back(1_000))
    assert tuple(await world.one(tenant, money)) == ((0, 1_000, 0, 0) if accepted else (1_000, 0, 0, 0))
    assert (await settled_at(client), await unexplained(client)) == ([(given["amount_minor"], 1_000 if accepted else None)], [])
    await world.holds()


@pytest.mark.parametrize(
    ("asked", "debit", "moved", "money", "settled"),
    [
        (["10.00"], 1_000, -1_000, (0, 1_000), [(1_000, 1_000)]),
        (["10.00"], 400, -400, (600, 400), [(1_000, 400)]),
        (["6.00"], 1_000, -1_000, (0, 1_000), [(600, 600)]),  # and what it took beyond
        (["6.00"], 1_013, -1_000, (0, 1_000), [(600, 600)]),  # its fee
        (["6.00", "4.00"], 400, -400, (0, 1_000), [(600, None), (400, 400)]),  # which is exactly the one
    ],
)
async def test_a_debit_that_names_nothing_settles_the_recalls_of_the_payment_that_a_person_names(
    world, tenant, client, recalled, asked, debit, moved, money, settled
):
    bank = await recalled(*asked)
    for one in (await client.get("/v1/recalls")).json()["items"]:
        await post(client, f"/v1/recalls/{one['recall_id']}/decision", {"accept": True})
    await bank.books((-debit, {"ref": "X1", "reason": "FRAD"}))
    (waits,) = (await client.get("/v1/unexplained-movements")).json()["items"]
    (payment,) = await world.one(tenant, "SELECT payment_id FROM payment")
    said = {"reason": "what they asked back", "payment_id": str(payment), "return_reason": "FRAD"}
    answer = await post(client, f"/v1/unexplained-movements/{waits['movement_id']}/explanation", said)
    assert (answer.status_code, answer.json().get("moved_minor")) == (200, moved), answer.text
    assert (tuple(await world.one(tenant, RECALLED)), await settled_at(client), await unexplained(client)) == (money, settled, [])
    await world.holds()


GROUP = "<Undrlyg><OrgnlGrpInfAndCxl><OrgnlMsgId>MSG-7</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId>{}</OrgnlGrpInfAndCxl>"


@pytest.mark.parametrize(
    ("group", "named", "beside", "taken"),
    [
        ("<GrpCxl>true</GrpCxl>", False, False, False),
        ("<GrpCxl>1</GrpCxl>", False, True, False),
        ("<NbOfTxs>2</NbOfTxs><GrpCxl>true</GrpCxl>", True, False, False),
        ("<NbOfTxs>1</NbOfTxs><GrpCxl>true</GrpCxl>", True, False, True),
        ("<GrpCxl>true</GrpCxl>", True, False, True),
        ("<NbOfTxs>1</NbOfTxs><GrpCxl>false</GrpCxl>", True, False, True),
    ],
)
async def test_a_whole_group_is_asked_back_only_by_the_names_of_its_payments(world, tenant, client, recalled, group, named, beside, taken):
    await recalled()
    told = camt056("E2E-1", "10.00").decode()
    whole = GROUP.format(group)
    told = told.replace("<Undrlyg>", whole if named else whole + "</Undrlyg>" + ("<Undrlyg>" if beside else ""), 1)
    if not named and not beside:
        told = told[: told.index("<TxInf>")] + "</FIToFIPmtCxlReq></Document>"
    answer = await recall(client, told.encode())
    assert answer.status_code == (201 if taken else 422), answer.text
    if not taken:
        assert answer.json()["code"] == "recall-unreadable"
        assert all(word in answer.json()["detail"] for word in ("MSG-7", "GrpCxl", "ask the bank"))
    assert (await item(world, tenant, "F-1")).open_minor == (1_000 if taken else 0)
