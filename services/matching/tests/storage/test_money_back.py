"""Money that goes back, over HTTP: refunds of ours, and returns of banks."""

import pytest
from bankdays import FIRST, Bank, ahead, money
from handwork import item, limit, post, unexplained
from iso20022 import valid

NS = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}


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
    document = valid((await client.get(f"/v1/refund-files/{written['refund_file_id']}")).content)
    assert document.findtext(".//p:CdtTrfTxInf/p:Amt/p:InstdAmt", namespaces=NS) == "6.00"
    assert document.findtext(".//p:PmtInf/p:CtrlSum", namespaces=NS) == "6.00"
    end = document.findtext(".//p:EndToEndId", namespaces=NS)
    await bank.books((-600, {"ref": "D1", "e2e": end}))
    await bank.again()
    assert [r["status"] for r in (await client.get("/v1/refunds")).json()["items"]] == ["paid"]
    told = [m.data for m in await world.events("PaymentRefunded") if m.tenant_id == tenant]
    assert [(t.refunded_minor, t.refund_pending_minor) for t in told] == [(600, 600), (600, 0)]
    await world.holds()


@pytest.mark.parametrize("moved", [600, 599])
async def test_a_debit_that_names_a_refund_before_it_is_approved_is_not_paid_once_more(
    world, tenant, make, client, second, camtfile, moved
):
    """Somebody has sent it at the bank by hand."""
    held = await world.account(tenant)
    bank = Bank(world, client, held, camtfile)
    payment = await world.pay(held, 1_000, debtor_name="Dupont", debtor_iban="DE89370400440532013000", number=1)
    await world.match(tenant)
    asked = (await post(client, "/v1/refunds", {"payment_id": str(payment), "amount_minor": 600, "reason": "paid twice"})).json()
    await bank.books((1_000, {"ref": "B1"}), (-moved, {"ref": "D1", "e2e": asked["end_to_end_id"]}))
    assert await unexplained(client) == [-moved]
    approved = (await post(second, f"/v1/refunds/{asked['refund_id']}/decision", {"approve": True})).json()
    order = {"bank_account_id": str(held.bank_account_id), "execution_date": ahead(1)}
    sent = await post(client, "/v1/refund-files", order)
    assert (sent.status_code, sent.json()["code"]) == (409, "nothing-to-send")
    pending = (await world.one(tenant, "SELECT refund_pending_minor FROM payment"))[0]
    same = moved == 600
    assert (approved["status"], pending, await unexplained(client)) == (("paid", 0, []) if same else ("approved", 600, [-599]))
    told = [m.data for m in await world.events("PaymentRefunded") if m.tenant_id == tenant]
    assert [(t.refunded_minor, t.refund_pending_minor) for t in told] == [(600, pending)]
    await bank.again()
    await world.holds()


async def test_names_of_which_nothing_can_be_written_for_the_bank_are_refused(world, tenant, make, client, second, camtfile):
    held = await world.account(tenant)
    bank = Bank(world, client, held, camtfile)
    payment = await world.pay(held, 1_000, debtor_name="東京 株式会社", debtor_iban="DE89370400440532013000", number=1)
    await world.match(tenant)
    await bank.books((1_000, {"ref": "B1"}))
    body = {"payment_id": str(payment), "reason": "paid twice"}
    for named in ({}, {"creditor_name": "!!!"}):
        answer = await post(client, "/v1/refunds", body | named)
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"], error["pointer"]) == (422, "creditor-name-unwritable", "/creditor_name"), named
    refund = (await post(client, "/v1/refunds", {**body, "creditor_name": "Tōkyō KK & Fils"})).json()
    assert (await post(second, f"/v1/refunds/{refund['refund_id']}/decision", {"approve": True})).json()[
        "creditor_name"
    ] == "Tōkyō KK & Fils"
    order = {"bank_account_id": str(held.bank_account_id), "execution_date": ahead(1)}
    holder = {"entity_id": str(held.entity_id), "currency": "EUR", "start_date": "2026-01-01"}
    for name, code in (("売り手", "holder-name-unwritable"), ("Verkäufer", None)):
        assert (await client.put(f"/v1/bank-accounts/{held.iban}", json={**holder, "holder_name": name})).status_code == 200
        answer = await post(client, "/v1/refund-files", order)
        assert answer.json().get("code") == code
    document = valid((await client.get(f"/v1/refund-files/{answer.json()['refund_file_id']}")).content)
    assert [one.text for one in document.iterfind(".//{*}PmtInf//{*}Nm")] == ["Verkaufer", "Tokyo KK + Fils"]


@pytest.mark.parametrize(
    ("payer", "named", "lacking"),
    [
        ({"debtor_name": None, "debtor_iban": None}, {}, ["/creditor_name", "/creditor_iban"]),
        ({"debtor_name": None, "debtor_iban": None}, {"creditor_name": "Dupont"}, ["/creditor_iban"]),
        ({"debtor_name": None}, {}, ["/creditor_name"]),
        ({"debtor_iban": "37040044/532013000"}, {}, ["/creditor_iban"]),
        ({"debtor_iban": "DE00370400440532013000"}, {}, ["/creditor_iban"]),
    ],
)
async def test_what_is_not_known_of_a_creditor_is_asked_for_at_each_place(world, tenant, client, payer, named, lacking):
    known = {"debtor_name": "Dupont", "debtor_iban": "DE89370400440532013000"}
    payment = str(await world.pay(await world.account(tenant), 600, **known | payer))
    answer = await post(client, "/v1/refunds", {"payment_id": payment, "reason": "paid twice", **named})
    assert (answer.status_code, answer.json()["code"]) == (422, "creditor-unknown")
    assert [error["pointer"] for error in answer.json()["errors"]] == lacking
    assert await world.rows(tenant, "SELECT 1 FROM refund") == []


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
    other = (await post(client, "/v1/refunds", {**body, "creditor_iban": "NL91ABNA0417164300"})).json()
    assert other["status"] == "requested"
    assert (await post(second, f"/v1/refunds/{other['refund_id']}/decision", {"approve": False})).json()["status"] == "refused"
    taken = await post(client, f"/v1/refunds/{own['refund_id']}/cancel", {"reason": "not_owed"})
    assert taken.json()["status"] == "cancelled"
    assert (await world.one(tenant, "SELECT next_look_at <= now() FROM payment"))[0]  # what came for it meanwhile may have it
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, refunded_minor, status FROM payment")) == (1_000, 0, "unapplied")
    whole = (await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "all of it"})).json()
    assert (whole["status"], whole["amount_minor"]) == ("approved", 1_000)
    assert (await world.one(tenant, "SELECT status FROM payment"))[0] == "refunded"
    await world.holds()


async def test_nothing_is_refunded_to_an_account_of_our_own(world, tenant, make, client):
    held = await world.account(tenant)
    other = (await world.account(tenant, "BE71096123456769")).iban
    virtual = "DE89370400440532013000"
    assert (await client.post(f"/v1/bank-accounts/{other}/virtual-ibans/pool", json={"ibans": [virtual]})).json() == {"added": 1}
    await limit(client, tenant, make, 10_000)
    payment = await world.pay(held, 1_000, debtor_name="Encours SARL", debtor_iban=other)  # a transfer between two of ours
    await world.match(tenant)
    body = {"payment_id": str(payment), "reason": "too much"}
    for named in ({}, {"creditor_iban": held.iban}, {"creditor_iban": other}, {"creditor_iban": virtual}):
        answer = await post(client, "/v1/refunds", body | named)
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"], error["pointer"]) == (422, "creditor-is-ours", "/creditor_iban"), named
    assert await world.rows(tenant, "SELECT 1 FROM refund") == []
    elsewhere = await post(client, "/v1/refunds", body | {"creditor_iban": "NL91ABNA0417164300"})
    assert (elsewhere.status_code, elsewhere.json()["status"]) == (201, "requested")


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


@pytest.mark.parametrize("by", ["TxId", "AcctSvcrRef"])
async def test_a_return_that_names_its_payment_by_more_than_an_end_to_end_id_takes_no_other_back(world, tenant, client, camtfile, by):
    bank = Bank(world, client, await world.account(tenant), camtfile)
    for number in (1, 2):  # payers use an EndToEndId again
        await world.pay(bank.held, 1_000, end_to_end_id="E-1", transaction_id=f"TX-{number}", number=number)
    await world.match(tenant)
    name = {"TxId": "<TxId>TX-2</TxId>", "AcctSvcrRef": ""}[by]
    for number in (1, 2):  # and twice: nothing is left of it, and the other is not meant
        line = bank.entry(-1_000, ref="B2" if by == "AcctSvcrRef" else f"R{number}", e2e="E-1", reason="AC04", day=f"2026-03-0{number + 3}")
        await bank.brings("053", "50.00", "40.00", line.replace("</Refs>", f"{name}</Refs>"))
        rows = await world.rows(tenant, "SELECT transaction_id, returned_minor FROM payment ORDER BY 1")
        assert [tuple(row) for row in rows] == [("TX-1", 0), ("TX-2", 1_000)]
    assert [one["amount_minor"] for one in (await client.get("/v1/unexplained-movements")).json()["items"]] == [-1_000]
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


async def test_what_goes_outside_sepa_is_in_a_file_of_its_own_and_waits_no_longer_for_it(world, tenant, make, client, camtfile):
    bank = Bank(world, client, await world.account(tenant), camtfile)
    await limit(client, tenant, make, 10_000)
    payers = ("DE89370400440532013000", "TR330006100519786457841326", "RS35260005601001611379")
    for number, iban in enumerate(payers, 1):
        payment = await world.pay(bank.held, 100 * number, debtor_name="Dupont", debtor_iban=iban, number=number)
        await world.match(tenant)
        await bank.books((100 * number, {"ref": f"B{number}"}))
        assert (await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "twice"})).json()["status"] == "approved"
    order = {"bank_account_id": str(bank.held.bank_account_id), "execution_date": ahead(1)}
    answers = [await post(client, "/v1/refund-files", order) for _ in range(3)]
    assert [(one.status_code, one.json().get("amount_minor")) for one in answers] == [(201, 400), (201, 200), (409, None)]
    files = [valid((await client.get(f"/v1/refund-files/{one.json()['refund_file_id']}")).content) for one in answers[:2]]
    levels = [one.findtext(".//p:PmtInf/p:PmtTpInf/p:SvcLvl/p:Cd", namespaces=NS) for one in files]
    assert (levels, [len(one.findall(".//p:CdtTrfTxInf", NS)) for one in files]) == (["SEPA", None], [2, 1])
    await world.holds()
