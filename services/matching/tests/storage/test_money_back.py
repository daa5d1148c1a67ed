"""Money that goes back, over HTTP: refunds of ours, returns of banks, and what banks ask for (camt.056)."""

import itertools

import pytest
from bankdays import FIRST, Bank, ahead, money
from camtfile import camt056
from handwork import item, limit
from lxml import etree

_KEYS = itertools.count()
NS = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}


async def post(client, path, body, key=None):
    return await client.post(path, json=body, headers={"idempotency-key": key or f"b{next(_KEYS)}"})


async def waiting(client):
    """Amounts of what a person has to look at."""
    return sorted(one["amount_minor"] for one in (await client.get("/v1/unexplained-movements")).json()["items"])


async def recall(client, body):
    return await client.post("/v1/recalls", content=body, headers={"content-type": "application/xml"})


async def test_a_refund_is_asked_for_approved_sent_and_closed_by_the_booked_debit(world, tenant, make, client, second, camtfile):
    held = await world.account(tenant)
    bank = Bank(world, client, held, camtfile)
    payment = await world.pay(held, 1_000, debtor_name="Dupont & Fils", debtor_iban="DE89370400440532013000", number=1)
    await world.match(tenant)
    assert (await post(client, "/v1/refunds", {"payment_id": str(payment), "amount_minor": 1_001, "reason": "twice"})).status_code == 409
    asked = (await post(client, "/v1/refunds", {"payment_id": str(payment), "amount_minor": 600, "reason": "paid twice"})).json()
    assert (asked["status"], asked["creditor_iban"]) == ("requested", "DE89370400440532013000")
    assert (await post(client, f"/v1/refunds/{asked['refund_id']}/decision", {"approve": True})).status_code == 403
    assert (await post(second, f"/v1/refunds/{asked['refund_id']}/decision", {"approve": True})).json()["status"] == "approved"
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, refunded_minor, refund_pending_minor FROM payment")) == (400, 600, 600)
    order = {"bank_account_id": str(held.bank_account_id), "execution_date": ahead(1)}
    too_early = await post(client, "/v1/refund-files", order)  # the bank has only told of the money
    assert (too_early.status_code, too_early.json()["code"]) == (409, "nothing-to-send")
    await bank.books((1_000, {"ref": "B1"}))
    answers = [await post(client, "/v1/refund-files", order, "file") for _ in range(2)]
    written = answers[1].json()
    assert (answers[0].status_code, written["refunds"], written["amount_minor"]) == (201, 1, 600)
    assert (await post(client, "/v1/refund-files", order)).status_code == 409  # nothing waits any more
    document = etree.fromstring((await client.get(f"/v1/refund-files/{written['refund_file_id']}")).content)
    assert document.findtext(".//p:CdtTrfTxInf/p:Amt/p:InstdAmt", namespaces=NS) == "6.00"
    assert document.findtext(".//p:PmtInf/p:CtrlSum", namespaces=NS) == "6.00"
    end = document.findtext(".//p:EndToEndId", namespaces=NS)
    await bank.books((-600, {"ref": "D1", "e2e": end}))
    await bank.again()
    assert [r["status"] for r in (await client.get("/v1/refunds")).json()["items"]] == ["paid"]
    told = [m.data for m in await world.events("PaymentRefunded") if m.tenant_id == tenant]
    assert [(t.refunded_minor, t.refund_pending_minor) for t in told] == [(600, 600), (600, 0)]
    await world.holds()


async def test_a_refund_file_is_for_a_day_on_which_a_bank_executes_it(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    await limit(client, tenant, make, 10_000)
    payment = await world.pay(held, 1_000, debtor_name="Dupont", debtor_iban="DE89370400440532013000", number=1)
    await world.match(tenant)
    await Bank(world, client, held, camtfile).books((1_000, {"ref": "B1"}))
    await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "paid twice"})
    body = {"bank_account_id": str(held.bank_account_id)}
    for day in (ahead(-1), "0001-01-01", ahead(361), "9999-12-31"):
        answer = await post(client, "/v1/refund-files", {**body, "execution_date": day})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/execution_date"), day
    assert await world.one(tenant, "SELECT status FROM refund") == ("approved",)  # nothing is sent
    assert (await post(client, "/v1/refund-files", {**body, "execution_date": ahead(0)})).status_code == 201


async def test_what_the_bank_took_back_is_not_refunded_as_well(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    bank = Bank(world, client, held, camtfile)
    await limit(client, tenant, make, 10_000)
    payment = await world.pay(held, 1_000, debtor_name="Dupont", debtor_iban="DE89370400440532013000", end_to_end_id="E-1", number=1)
    await world.match(tenant)
    await bank.books((1_000, {"ref": "B1", "e2e": "E-1"}))
    body = {"payment_id": str(payment), "amount_minor": 600, "reason": "paid twice"}
    refund = (await post(client, "/v1/refunds", body)).json()
    assert refund["status"] == "approved"
    await bank.books((-1_000, {"ref": "R1", "e2e": "E-1", "reason": "AC04"}))
    assert (await client.get("/v1/unexplained-movements")).json()["items"] == []
    order = {"bank_account_id": str(held.bank_account_id), "execution_date": ahead(1)}
    assert (await post(client, "/v1/refund-files", order)).json()["code"] == "nothing-to-send"
    assert await world.one(tenant, "SELECT status FROM refund") == ("cancelled",)
    assert tuple(await world.one(tenant, "SELECT status, returned_minor, refunded_minor FROM payment")) == ("returned", 1_000, 0)
    await world.holds()


async def test_while_a_return_waits_to_be_explained_nothing_that_it_may_be_about_is_refunded(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    bank = Bank(world, client, held, camtfile)
    await limit(client, tenant, make, 10_000)
    payer = {"debtor_name": "Dupont", "debtor_iban": "DE89370400440532013000", "end_to_end_id": "E-1"}
    payments = [await world.pay(held, 1_000, **payer, number=n) for n in (1, 2)]
    await world.match(tenant)
    await bank.books(*((1_000, {"ref": f"B{n}", "e2e": "E-1"}) for n in (1, 2)))
    await post(client, "/v1/refunds", {"payment_id": str(payments[0]), "reason": "paid twice"})
    await bank.books((-1_000, {"ref": "R1", "e2e": "E-1", "reason": "AC04"}))  # of one of the two
    (waiting,) = (await client.get("/v1/unexplained-movements")).json()["items"]
    order = {"bank_account_id": str(held.bank_account_id), "execution_date": ahead(1)}
    assert (await post(client, "/v1/refund-files", order)).json()["code"] == "nothing-to-send"
    body = {"payment_id": str(payments[1]), "reason": "returned", "return_reason": "AC04"}
    assert (await post(client, f"/v1/unexplained-movements/{waiting['movement_id']}/explanation", body)).status_code == 200
    sent = await post(client, "/v1/refund-files", order)
    assert (sent.status_code, sent.json()["amount_minor"]) == (201, 1_000)
    await world.holds()


async def test_a_return_whose_file_comes_before_its_payments_takes_that_back_once_it_is_booked(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    bank = Bank(world, client, held, camtfile)
    await world.feed(make.invoice(tenant, "FA1", 1_000, references=["RF18539007547034"]))
    await bank.brings("053", "30.00", "20.00", bank.entry(-1_000, ref="R1", e2e="E-1", reason="AC04", day="2026-03-05"))
    assert len((await client.get("/v1/unexplained-movements")).json()["items"]) == 1
    paid = [bank.entry(1_000, ref=f"B{n}", e2e=f"E-{n}", structured="RF18539007547034", day="2026-03-04") for n in (1, 2, 3)]
    (booked,) = await bank.brings("053", "0.00", "30.00", *paid)
    assert (booked["new_payments"], booked["returns"]) == (3, 1)
    assert (await client.get("/v1/unexplained-movements")).json()["items"] == []
    await world.match(tenant)
    rows = await world.rows(tenant, "SELECT end_to_end_id, returned_minor, return_reason, allocated_minor FROM payment ORDER BY 1")
    assert tuple(rows[0]) == ("E-1", 1_000, "ac04", 0)
    assert sum(row[3] for row in rows[1:]) == 1_000
    await world.holds()


async def test_a_refund_elsewhere_needs_another_person_and_can_be_taken_back(world, tenant, make, client, second):
    held = await world.account(tenant)
    await limit(client, tenant, make, 10_000)
    payment = await world.pay(held, 1_000, debtor_name="Dupont", debtor_iban="DE89370400440532013000")
    await world.match(tenant)
    body = {"payment_id": str(payment), "amount_minor": 300, "reason": "too much"}
    own = (await post(client, "/v1/refunds", body)).json()
    assert own["status"] == "approved"
    other = (await post(client, "/v1/refunds", {**body, "creditor_iban": "FR7630006000011234567890189"})).json()
    assert other["status"] == "requested"
    assert (await post(second, f"/v1/refunds/{other['refund_id']}/decision", {"approve": False})).json()["status"] == "refused"
    taken = await post(client, f"/v1/refunds/{own['refund_id']}/cancel", {"reason": "not_owed"})
    assert taken.json()["status"] == "cancelled"
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, refunded_minor, status FROM payment")) == (1_000, 0, "unapplied")
    whole = (await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "all of it"})).json()
    assert (whole["status"], whole["amount_minor"]) == ("approved", 1_000)
    assert (await world.one(tenant, "SELECT status FROM payment"))[0] == "refunded"
    await world.holds()


async def test_a_partial_return_unmatches_the_whole_and_says_what_it_means(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await world.pay(held, 1_000, "REF000001", end_to_end_id="E2E-1")
    await world.match(tenant)
    assert (await item(world, tenant, "F-1")).status == "paid"
    line = camtfile.entry("4.00", ref="R1", e2e="E2E-1", credit=False, reason="AM04")
    for _ in range(2):
        answer = await client.post(
            "/v1/bank-files", content=camtfile.statement(held.iban, "10.00", "6.00", line), headers={"content-type": "application/xml"}
        )
        assert answer.status_code == 201, answer.text
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, returned_minor, status FROM payment")) == (600, 400, "unapplied")
    assert (await item(world, tenant, "F-1")).open_minor == 1_000
    assert (await item(world, tenant, "F-1")).value_date is None
    (told,) = [m.data for m in await world.events("PaymentReturned") if m.tenant_id == tenant]
    assert (told.return_reason, told.return_class, told.returned_minor, told.allocations) == ("am04", "soft", 400, [])
    await world.holds()


@pytest.mark.parametrize("reasons", [("AM04", "AM04"), ("AM04", "AC04")])
async def test_parts_of_one_payment_that_go_back_in_one_statement_are_all_taken_until_nothing_is_left(
    world, tenant, make, client, camtfile, reasons
):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await world.pay(held, 1_000, "REF000001", end_to_end_id="E2E-1")
    await world.match(tenant)
    parts = [
        camtfile.entry(amount, ref=f"R{number}", e2e="E2E-1", credit=False, reason=reason)
        for number, (amount, reason) in enumerate(zip(("4.00", "5.00", "1.01"), (*reasons, "AM04"), strict=True))
    ]
    sent = camtfile.statement(held.iban, "10.00", "-0.01", *parts)
    answer = await client.post("/v1/bank-files", content=sent, headers={"content-type": "application/xml"})
    assert answer.json()["statements"][0]["returns"] == 2, answer.text
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, returned_minor, status FROM payment")) == (100, 900, "unapplied")
    assert (await item(world, tenant, "F-1")).open_minor == 1_000
    told = [m.data for m in await world.events("PaymentReturned") if m.tenant_id == tenant]
    assert {one.return_reason for one in told} == {reason.lower() for reason in reasons}
    assert max(one.returned_minor for one in told) == 900
    assert (await world.one(tenant, "SELECT return_reason FROM payment"))[0] == reasons[-1].lower()  # the last one, as over statements
    waiting = await world.rows(tenant, "SELECT amount_minor FROM movement WHERE NOT resolved")
    assert [row[0] for row in waiting] == [-101]
    await world.holds()


async def test_a_return_with_the_banks_fee_takes_the_whole_and_one_that_names_two_waits(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await world.pay(held, 1_000, "REF000001", end_to_end_id="E2E-1", number=1)
    for number in (2, 3):
        await world.pay(held, 500, end_to_end_id="TWICE", number=number)
    await world.match(tenant)
    await limit(client, tenant, make, 300)
    fee = camtfile.entry("13.00", ref="R1", e2e="E2E-1", credit=False, reason="MD06")
    both = camtfile.entry("5.00", ref="R2", e2e="TWICE", credit=False, reason="AC04")
    sent = camtfile.statement(held.iban, "20.00", "2.00", fee, both)
    answer = await client.post("/v1/bank-files", content=sent, headers={"content-type": "application/xml"})
    assert answer.json()["statements"][0]["returns"] == 1, answer.text
    rows = await world.rows(tenant, "SELECT amount_minor, returned_minor, status FROM payment ORDER BY amount_minor DESC, payment_id")
    assert [tuple(row) for row in rows] == [(1_000, 1_000, "returned"), (500, 0, "unapplied"), (500, 0, "unapplied")]
    (told,) = [m.data for m in await world.events("PaymentReturned") if m.tenant_id == tenant]
    assert (told.return_reason, told.return_class) == ("md06", "refund")
    waiting = await world.rows(tenant, "SELECT amount_minor FROM movement WHERE NOT resolved")
    assert [row[0] for row in waiting] == [-500]
    await world.holds()


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


RECALLED = "SELECT unapplied_minor, returned_minor FROM payment"


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
    assert (await settled_at(client), await waiting(client)) == ([(1_000, 400)], [])
    assert (await item(world, tenant, "F-1")).open_minor == 1_000
    assert (await world.one(tenant, "SELECT next_look_at <= now(), unapplied_reason FROM payment")) == (True, "partly_returned")
    told = [m.data for m in await world.events("PaymentUnapplied") if m.tenant_id == tenant][-1]
    assert (told.unapplied_minor, told.returned_minor) == (600, 400)
    await bank.books(back(600, 2))  # the rest, late: a return
    assert tuple(await world.one(tenant, RECALLED)) == (0, 1_000)
    await bank.books(back(600, 3))  # twice: a person looks at it
    assert (tuple(await world.one(tenant, RECALLED)), await waiting(client)) == ((0, 1_000), [-600])
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
    assert (tuple(await world.one(tenant, RECALLED)), await settled_at(client), await waiting(client)) == (money, settled, left)
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


async def test_a_bank_that_takes_less_although_the_recall_was_refused_makes_a_return(world, tenant, client, recalled):
    bank = await recalled("10.00")
    (one,) = (await client.get("/v1/recalls")).json()["items"]
    await post(client, f"/v1/recalls/{one['recall_id']}/decision", {"accept": False})
    assert (await item(world, tenant, "F-1")).status == "paid"
    await bank.books(back(400))
    assert (tuple(await world.one(tenant, RECALLED)), await settled_at(client)) == ((600, 400), [(1_000, None)])
    await world.holds()


@pytest.mark.parametrize(
    ("allowed", "taken", "charges", "waiting"),
    [
        (0, "1000.00", None, [-100_000]),  # whose other 990.00?
        (299, "13.00", None, [-1_300]),
        (300, "13.00", None, []),
        (0, "13.00", "3.00", []),  # the bank says so
        (0, "13.00", "2.99", [-1_300]),
    ],
)
async def test_what_a_return_takes_beyond_its_payment_and_a_fee_is_not_closed_in_silence(
    world, tenant, make, client, camtfile, allowed, taken, charges, waiting
):
    bank = Bank(world, client, await world.account(tenant), camtfile)
    await limit(client, tenant, make, allowed)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await world.pay(bank.held, 1_000, "REF000001", end_to_end_id="E2E-1", number=1)
    await world.match(tenant)
    minor = int(taken.replace(".", ""))
    line = camtfile.entry(taken, ref="R1", e2e="E2E-1", credit=False, reason="MD06", day=FIRST.isoformat())
    if charges:
        said = f'<Chrgs><Rcrd><Amt Ccy="EUR">{charges}</Amt><CdtDbtInd>DBIT</CdtDbtInd></Rcrd></Chrgs>'
        line = line.replace("<RtrInf>", said + "<RtrInf>") if "<RtrInf>" in line else line
        assert said in line
    await bank.brings("053", "5000.00", money(500_000 - minor), line)
    assert [row[0] for row in await world.rows(tenant, "SELECT amount_minor FROM movement WHERE NOT resolved")] == waiting
    assert (await world.one(tenant, "SELECT returned_minor FROM payment"))[0] == (0 if waiting else 1_000)
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
        camt056("E", "0.00"),
        camt056("E", "1e3"),
        camt056("NOTPROVIDED", "1.00"),
    ],
)
async def test_an_unreadable_recall_is_refused(client, body):
    assert (await recall(client, body)).status_code == 422


async def test_a_recall_of_an_unknown_payment_is_told_by_its_number(client):
    answer = await recall(client, camt056("NOBODY", "1.00"))
    assert (answer.status_code, answer.json()) == (201, {"taken": [], "unknown": [1]})
