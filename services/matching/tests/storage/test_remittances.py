"""Remittance lists over HTTP and their money, whichever comes first."""

import asyncio
from datetime import date

import pytest
from bankdays import ahead, job
from decided import replayed
from expecting import IBAN_OF_C1, TWO_PERCENT, into, items, known, post, remittance
from matching.handlers.matching import look_at_due
from shared.db import fetch
from shared.testing.waiting import eventually


@pytest.mark.parametrize("first", ["list", "money"])
async def test_a_list_decides_whichever_comes_first(world, tenant, make, client, first):
    held = await world.account(tenant)
    # the amount alone would say F-9: what the payer names goes before it
    await world.feed(
        make.invoice(tenant, "F-9", 1_430, customer="C1"),
        make.invoice(tenant, "F-1", 1_000, discounts=TWO_PERCENT),
        make.invoice(tenant, "F-2", 500),
        make.invoice(tenant, "A-1", 50, cls=make.Credit),
    )
    body = remittance(make, tenant, 1_430, ("F-1", 980, 20, "discount"), ("F-2", 500, 0, None), ("A-1", -50, 0, None), reference="TRX 4711")
    for step in ("list", "money") if first == "list" else ("money", "list"):
        if step == "list":
            answers = [await post(client, "/v1/remittances", body, "list") for _ in range(2)]
            assert [a.status_code for a in answers] == [201, 201], answers[0].text
        else:
            await world.pay(held, 1_430, remittance=["LISTE TRX4711 DU 2.3."])
            await world.match(tenant)
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (listed["status"], listed["missing"]) == ("received", [])
    assert await items(world, tenant) == {
        "A-1": (0, 0, 0, 50),
        "F-1": (0, 930, 20, 50),  # the credit note goes to the first line that has room for it
        "F-2": (0, 500, 0, 0),
        "F-9": (1_430, 0, 0, 0),
    }
    (status, payment_id) = await world.one(tenant, "SELECT status, payment_id FROM payment")
    assert status == "matched"
    await world.holds()
    undone = await post(client, f"/v1/payments/{payment_id}/unmatch", {"reason": "another list"})
    assert undone.status_code == 200, undone.text
    assert await items(world, tenant) == {
        "A-1": (50, 0, 0, 0),
        "F-1": (1_000, 0, 0, 0),
        "F-2": (500, 0, 0, 0),
        "F-9": (1_430, 0, 0, 0),
    }
    await world.holds()


async def test_a_refused_recall_restores_a_list_with_its_credit_note(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, discounts=TWO_PERCENT), make.invoice(tenant, "A-1", 50, cls=make.Credit))
    body = remittance(make, tenant, 930, ("F-1", 980, 20, "discount"), ("A-1", -50, 0, None), reference="LIST-9")
    await post(client, "/v1/remittances", body)
    await world.pay(held, 930, end_to_end_id="LIST-9")
    await world.match(tenant)
    paid = await items(world, tenant)
    assert paid == {"A-1": (0, 0, 0, 50), "F-1": (0, 930, 20, 50)}
    asked = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.056.001.08"><FIToFIPmtCxlReq><Undrlyg><TxInf><CxlId>C</CxlId>'
        '<OrgnlEndToEndId>LIST-9</OrgnlEndToEndId><OrgnlIntrBkSttlmAmt Ccy="EUR">9.30</OrgnlIntrBkSttlmAmt></TxInf></Undrlyg>'
        "</FIToFIPmtCxlReq></Document>"
    )
    taken = (await client.post("/v1/recalls", content=asked, headers={"content-type": "application/xml"})).json()["taken"]
    assert await items(world, tenant) == {"A-1": (50, 0, 0, 0), "F-1": (1_000, 0, 0, 0)}
    await world.holds()
    kept = await post(client, f"/v1/recalls/{taken[0]['recall_id']}/decision", {"accept": False})
    assert kept.json()["status"] == "refused", kept.text
    assert await items(world, tenant) == paid
    await world.holds()


async def test_a_list_undoes_what_a_rule_had_put_elsewhere_but_not_what_a_person_said(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 700, reference="REF000001"), make.invoice(tenant, "F-2", 700, customer="C2"))
    await world.pay(held, 700, "REF000001", end_to_end_id="E2E-77")
    await world.match(tenant)
    assert (await items(world, tenant))["F-1"][0] == 0
    body = remittance(make, tenant, 700, ("F-2", 700, 0, None), reference="E2E-77")
    assert (await post(client, "/v1/remittances", body)).json()["status"] == "received"
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 700, "F-2": 0}
    again = remittance(make, tenant, 700, ("F-1", 700, 0, None), reference="E2E-77")
    assert (await post(client, "/v1/remittances", again)).json()["status"] == "waiting"
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 700, "F-2": 0}
    await world.holds()


async def test_a_parent_pays_for_subsidiaries_and_a_line_waits_for_its_invoice(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "FA-1001", 300, customer="C1"))
    body = remittance(make, tenant, 1_000, ("FA-1001", 300, 0, None), ("FA-1002", 700, 0, None), reference="GROUP-PAY-7", form="parent")
    assert (await post(client, "/v1/remittances", body)).json()["status"] == "waiting"
    await world.pay(held, 1_000, end_to_end_id="GROUP-PAY-7")
    await world.match(tenant)
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (listed["status"], listed["missing"]) == ("partly", ["FA1002"])
    assert tuple(await world.one(tenant, "SELECT allocated_minor, unapplied_reason FROM payment")) == (300, "remittance_misses_items")
    await world.feed(make.invoice(tenant, "FA-1002", 700, customer="C2"))
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (listed["status"], (await world.one(tenant, "SELECT status FROM payment"))[0]) == ("received", "matched")
    await world.holds()


@pytest.mark.parametrize("order", [("note", "money"), ("money", "note")])
async def test_a_credit_note_that_a_list_deducts_is_set_off_whichever_comes_first(world, tenant, make, client, order):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 500))
    lines = [("F-1", 1_000, 0, None), ("F-2", 500, 0, None), ("A-7", -200, 0, None)]
    listed = await post(client, "/v1/remittances", remittance(make, tenant, 1_300, *lines, reference="TRX 4711"))
    path = f"/v1/expected-payments/{listed.json()['expected_id']}"
    for step in order:
        if step == "note":
            await world.feed(make.invoice(tenant, "A-7", 200, cls=make.Credit))
        else:
            await world.pay(held, 1_300, remittance=["TRX 4711"])
            await world.match(tenant)
        if (step, order[0]) == ("money", "money"):
            shown = (await client.get(path)).json()
            assert (shown["status"], shown["missing"]) == ("partly", ["A7"])
            await world.match(tenant)  # delivered again
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"A-7": 0, "F-1": 0, "F-2": 0}
    shown = (await client.get(path)).json()
    assert (shown["status"], shown["missing"]) == ("received", [])
    await world.holds()


async def test_a_list_whose_item_will_not_come_is_ended_and_the_rest_of_its_payment_looked_at(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "FA-1001", 300), make.invoice(tenant, "FA-1020", 700, reference="REF000001"))
    body = remittance(make, tenant, 1_000, ("FA-1001", 300, 0, None), ("FA-1002", 700, 0, None), reference="TRX-1")
    path = f"/v1/expected-payments/{(await post(client, '/v1/remittances', body)).json()['expected_id']}"
    payment = await world.pay(held, 1_000, "REF000001", end_to_end_id="TRX-1")
    await world.match(tenant)
    await look_at_due(job(world), tenant)
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"FA-1001": 0, "FA-1020": 700}
    failed = await post(client, f"{path}/end", {"status": "failed", "reason": "typo"})
    assert (failed.status_code, failed.json()["code"]) == (409, "expected-payment-over")
    ended = await post(client, f"{path}/end", {"status": "cancelled", "reason": "typo"})
    assert (ended.json()["status"], ended.json()["payment_id"]) == ("cancelled", str(payment))
    await look_at_due(job(world), tenant)
    assert {one[0] for one in (await items(world, tenant)).values()} == {0}
    await world.feed(make.invoice(tenant, "FA-1002", 700))
    assert (await items(world, tenant))["FA-1002"][0] == 700
    await world.holds()


async def test_who_ends_a_list_waits_for_its_payment_before_the_list(world, tenant, make, client):
    """As whoever carries it out does: else each of the two would wait for the other."""
    held = await world.account(tenant)
    body = remittance(make, tenant, 1_000, ("FA-1002", 1_000, 0, None), reference="TRX-1")
    path = f"/v1/expected-payments/{(await post(client, '/v1/remittances', body)).json()['expected_id']}"
    await world.pay(held, 1_000, end_to_end_id="TRX-1")
    await world.match(tenant)

    async def waits():
        return await world.rows(tenant, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")

    async with world.database.transaction(tenant) as other:
        await fetch(other, "SELECT 1 FROM payment FOR UPDATE")
        ending = asyncio.create_task(post(client, f"{path}/end", {"status": "cancelled", "reason": "typo"}))
        await eventually(waits, seconds=10, what="who ends it")
        assert await fetch(other, "SELECT 1 FROM expected_payment FOR UPDATE SKIP LOCKED")
    assert (await ending).json()["status"] == "cancelled"


async def test_two_equal_lists_decide_nothing_and_a_wrong_one_is_refused_with_its_line(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 700), make.invoice(tenant, "F-2", 700))
    for number in ("F-1", "F-2"):
        await post(client, "/v1/remittances", remittance(make, tenant, 700, (number, 700, 0, None), reference="SAME-1"))
    await world.pay(held, 700, end_to_end_id="SAME-1")
    await world.match(tenant)
    (waits,) = (await client.get("/v1/review-queue")).json()["items"]
    assert (waits["reason"], waits["rule"]) == ("ambiguous", "none")
    ids = sorted(one["expected_id"] for one in (await client.get("/v1/expected-payments")).json()["items"])
    assert waits["evidence"]["expected_payments"] == {
        "fit": ids,
        "why": "several expected payments fit it equally well: none of them decides",
    }
    await replayed(world, tenant)
    wrong = remittance(make, tenant, 700, ("F-1", 600, 0, None))
    wrong["lines"][0]["gross_minor"] = 601
    answer = await post(client, "/v1/remittances", wrong)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/lines/0")
    await world.holds()


async def test_a_file_is_taken_once_and_refused_where_it_is_none(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "FA-1", 1_000))
    query = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "reference": "CHQ-9", "form": "cheque_deposit"}
    data = b"document_number;net\nFA-1;10,00\n"
    for _ in range(2):
        answer = await client.post("/v1/remittances/file", params=query, content=data, headers={"content-type": "text/csv"})
        assert (answer.status_code, answer.json()["amount_minor"]) == (201, 1_000), answer.text
    assert len((await client.get("/v1/expected-payments")).json()["items"]) == 1
    await world.pay(held, 1_000, remittance=["REMISE CHQ-9"])
    await world.match(tenant)
    assert (await items(world, tenant))["FA-1"][0] == 0
    for content, kind, status in [(b"x", "text/csv", 422), (data, "text/plain", 415)]:
        answer = await client.post("/v1/remittances/file", params=query, content=content, headers={"content-type": kind})
        assert answer.status_code == status
    await world.holds()


async def test_a_list_that_is_sent_again_is_one_list_and_takes_no_later_payment(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "FA-2026-001", 700), make.invoice(tenant, "FA-2026-002", 700))
    payer = {"payer_customer_id": str(make.customer_id(tenant, "C1"))}
    body = remittance(make, tenant, 700, ("FA-2026-001", 700, 0, None), reference="TRX 4712", document_number="ADVICE-1", **payer)
    first = await post(client, "/v1/remittances", body)
    assert first.json()["status"] == "waiting"
    await world.pay(held, 700, remittance=["TRX-4712"], number=1)
    await world.match(tenant)
    again = await post(
        client, "/v1/remittances", {**body, "reference": "trx-4712", "document_number": "ADVICE-2"}
    )  # sent by mail once more
    assert (again.json()["expected_id"], again.json()["status"]) == (first.json()["expected_id"], "received")
    assert len((await client.get("/v1/expected-payments")).json()["items"]) == 1
    await known(world, tenant, make)
    later = await world.pay(held, 700, debtor_iban=IBAN_OF_C1, remittance=["FA-2026-002"], number=2)
    await world.match(tenant)
    shown = (await client.get(f"/v1/payments/{later}")).json()
    assert [one["invoice_number"] for one in shown["allocations"]] == ["FA-2026-002"]
    # the same lines of another deposit are another list
    query = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "form": "cheque_deposit"}
    for reference in ("CHQ-1", "CHQ-2"):
        params = {**query, "reference": reference}
        data = b"document_number;net\nFA-1;10,00\n"
        answer = await client.post("/v1/remittances/file", params=params, content=data, headers={"content-type": "text/csv"})
        assert answer.status_code == 201, answer.text
    assert len((await client.get("/v1/expected-payments")).json()["items"]) == 3
    await world.holds()


async def test_what_a_person_has_undone_of_a_list_that_waits_for_an_item_stays_undone(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    body = remittance(make, tenant, 1_500, ("F-1", 1_000, 0, None), ("F-2", 500, 0, None), reference="TRX 4711")
    listed = (await post(client, "/v1/remittances", body)).json()
    payment = await world.pay(held, 1_500, remittance=["TRX4711"])
    await world.match(tenant)
    assert (await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "wrong"})).status_code == 200
    await world.feed(make.invoice(tenant, "F-2", 500))
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 1_000, "F-2": 0}
    shown = (await client.get(f"/v1/payments/{payment}")).json()
    assert (shown["unapplied_minor"], shown["unapplied_reason"]) == (1_000, "remittance_differs")
    assert shown["decisions"][-1]["evidence"]["refused"] == [{"line": 0, "why": "a person has undone that"}]
    assert (await client.get(f"/v1/expected-payments/{listed['expected_id']}")).json()["status"] == "received"
    await world.holds()


async def test_a_list_that_misses_something_is_looked_at_again_beside_others(world, tenant, make, client):
    """Another look that finds nothing has no decision of its own: its version would be the next one's."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), *(make.invoice(tenant, f"G-{n}", 100 + n) for n in range(3)))
    body = remittance(make, tenant, 1_500, ("F-1", 1_000, 0, None), ("F-2", 500, 0, None), reference="TRX 4711")
    assert (await post(client, "/v1/remittances", body)).status_code == 201
    await world.pay(held, 1_500, remittance=["TRX4711"], number=1)
    await world.match(tenant)
    for n in range(3):
        body = remittance(make, tenant, 100 + n, (f"G-{n}", 100 + n, 0, None), reference=f"TRX 900{n}")
        assert (await post(client, "/v1/remittances", body)).status_code == 201
        await world.pay(held, 100 + n, remittance=[f"TRX900{n}"], number=10 + n)
        await world.match(tenant)
    await world.feed(make.invoice(tenant, "F-2", 500))
    assert {one[0] for one in (await items(world, tenant)).values()} == {0}
    decided = "SELECT d.payment_version FROM payment p JOIN decision d USING (tenant_id, payment_id) WHERE p.amount_minor = 1500 ORDER BY 1"
    assert [row[0] for row in await world.rows(tenant, decided)] == [2, 3]
    await world.holds()


async def test_a_credit_note_that_is_cancelled_is_no_part_of_its_list_any_more(world, tenant, make, client):
    held = await world.account(tenant)
    credit = {"cls": make.Credit, "credited_invoice_id": make.invoice_id(tenant, "F-1")}
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "A-1", 50, cls=make.Credit))
    body = remittance(make, tenant, 450, ("F-1", 500, 0, None), ("A-1", -50, 0, None), reference="TRX 4711")
    assert (await post(client, "/v1/remittances", body)).status_code == 201
    payment = await world.pay(held, 450, remittance=["TRX4711"])
    await world.match(tenant)
    assert (await items(world, tenant))["A-1"] == (0, 0, 0, 50)
    await world.feed(make.invoice(tenant, "A-1", 50, version=2, **{**credit, "cls": make.Cancelled}, kind="credit_note"))
    await world.holds()
    await world.feed(make.invoice(tenant, "A-1", 50, version=3, **{**credit, "cls": make.Changed}, kind="credit_note"))
    assert (await items(world, tenant))["A-1"] == (0, 0, 0, 50)  # by the invoice that it names now, not by the list
    assert (await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "wrong"})).status_code == 200
    assert await items(world, tenant) == {"A-1": (0, 0, 0, 50), "F-1": (950, 0, 0, 50)}
    await world.holds()


async def test_a_list_of_a_payer_who_was_merged_means_what_the_survivor_owes_and_has_paid(world, tenant, make, client):
    """Of two items of one number it means his own; what rules have put on another item of his it undoes."""
    held = await world.account(tenant)
    other = make.invoice(tenant, "G-1", 700, customer="C3", invoice_number="F-1")
    await world.feed(make.invoice(tenant, "F-1", 700), other, make.invoice(tenant, "F-2", 1_000, reference="REF000002"))
    await world.feed(make.invoice(tenant, "F-3", 1_000, customer="C3"), into(make, tenant, "C1", "C2"))
    payer = {"payer_customer_id": str(make.customer_id(tenant, "C1"))}
    await post(client, "/v1/remittances", remittance(make, tenant, 700, ("F-1", 700, 0, None), reference="TRX-1111", **payer))
    await world.pay(held, 700, end_to_end_id="TRX-1111", number=1)
    late = await world.pay(held, 1_000, "REF000002", remittance=["AVIS TRX-2222"], number=2, day=date.fromisoformat(ahead(0)))
    await world.match(tenant)
    rows = await world.rows(tenant, "SELECT item_id FROM open_item WHERE open_minor = 0")
    assert {row[0] for row in rows} == {make.invoice_id(tenant, "F-1"), make.invoice_id(tenant, "F-2")}
    body = remittance(make, tenant, 1_000, ("F-3", 1_000, 0, None), reference="TRX-2222", **payer)
    said = (await post(client, "/v1/remittances", body)).json()
    assert (said["status"], said["payment_id"]) == ("received", str(late))
    assert (await items(world, tenant))["F-3"][0] == 0
    payers = {row[0] for row in await world.rows(tenant, "SELECT payer_customer_id FROM payment")}
    assert payers == {make.customer_id(tenant, "C2")}
    for customer in ("C1", "C2"):
        found = await client.get("/v1/expected-payments", params={"customer_id": str(make.customer_id(tenant, customer))})
        assert len(found.json()["items"]) == 2
    other = await client.get("/v1/expected-payments", params={"customer_id": str(make.customer_id(tenant, "C3"))})
    assert other.json()["items"] == []
    await world.holds()


@pytest.mark.parametrize("first", ["list", "money"])
async def test_a_payment_settles_all_items_of_a_list_and_its_events_name_those_that_they_have_room_for(world, tenant, make, client, first):
    held = await world.account(tenant)
    numbers = [f"FA-2026-{n:04}-{'é' * 60}" for n in range(400)]
    await world.feed(*(make.invoice(tenant, number, 100, customer=f"C{n % 7}") for n, number in enumerate(numbers)))
    body = remittance(make, tenant, 40_100, *((number, 100, 0, None) for number in [*numbers, "F-LATER"]), reference="PAYOUT-1", form="psp")
    for step in ("list", "money") if first == "list" else ("money", "list"):
        if step == "list":
            answer = await post(client, "/v1/remittances", body)
            assert answer.status_code == 201, answer.text
        else:
            payment = await world.pay(held, 40_100, end_to_end_id="PAYOUT-1")
            await world.match(tenant)
    await world.feed(make.invoice(tenant, "F-LATER", 100))
    shown = (await client.get(f"/v1/payments/{payment}")).json()
    assert (shown["status"], shown["unapplied_minor"], len(shown["allocations"])) == ("matched", 0, 401)
    listed = (await client.get(f"/v1/expected-payments/{answer.json()['expected_id']}")).json()
    assert (listed["status"], listed["refused"]) == ("received", [])
    told = [m.data for m in await world.events("PaymentMatched") if m.tenant_id == tenant]
    assert [len(one.allocations) + one.further_allocations for one in told] == [400, 401]
    assert all(150 < len(one.allocations) < 400 for one in told)
    ids = [one["item_id"] for one in shown["allocations"]]
    assert [str(one.item_id) for one in told[-1].allocations] == sorted(ids)[: len(told[-1].allocations)]
    await world.holds()


async def test_a_list_that_is_written_otherwise_says_the_same(world, tenant, make, client):
    await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 500))
    lines = [("F-1", 1_000, 0, None), ("F-2", 480, 20, "discount")]
    first = await post(client, "/v1/remittances", remittance(make, tenant, 1_480, *lines, reference="TRX-1"))
    other = [("f2", 480, 20, "discount"), ("F 1", 1_000, 0, None)]
    query = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "reference": "trx 1"}
    data = b"document_number;gross;deduction;deduction_reason;net\nF-2;5,00;0,20;discount;4,80\nF-1;10,00;;;10,00\n"
    answers = [
        await post(client, "/v1/remittances", remittance(make, tenant, 1_480, *other, reference="TRX-1")),
        await client.post("/v1/remittances/file", params=query, content=data, headers={"content-type": "text/csv"}),
    ]
    assert [(one.status_code, one.json()["expected_id"]) for one in answers] == [(201, first.json()["expected_id"])] * 2
    others = [("F-1", 1_000, 0, None), ("F-2", 480, 20, "bonus")]
    other = await post(client, "/v1/remittances", remittance(make, tenant, 1_480, *others, reference="TRX-1"))
    assert other.json()["expected_id"] != first.json()["expected_id"]


async def test_a_list_that_no_payment_could_be_is_refused(world, tenant, make, client):
    """It says neither a reference nor who pays, or is of more than any amount."""
    await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    query = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR"}
    file = {"params": query, "headers": {"content-type": "text/csv"}}
    huge = b"document_number;net\nF-1;9999999999999999,99\nF-2;9999999999999999,99\n"
    answers = [
        await post(client, "/v1/remittances", remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None))),
        await client.post("/v1/remittances/file", content=b"document_number;net\nF-1;10,00\n", **file),
        await client.post("/v1/remittances/file", content=huge, **file),
    ]
    assert [(one.status_code, one.json()["code"]) for one in answers] == [
        (422, "payment-unnamed"),
        (422, "payment-unnamed"),
        (422, "remittance-differs"),
    ]
    assert answers[0].json()["errors"][0]["pointer"] == "/reference"
    payer = {"payer_customer_id": str(make.customer_id(tenant, "C1"))}
    assert (await post(client, "/v1/remittances", remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None), **payer))).status_code == 201
