"""Remittance lists and announced money over HTTP, whichever comes first; and the review queue."""

import itertools
from datetime import UTC, date, datetime

import pytest
from bankdays import Bank, ahead
from contracts.customers import CustomerMerged
from contracts.dunning import PromiseBroken, PromiseMade
from contracts.invoices import DiscountTerm
from decided import replayed
from matching.handlers import announcements
from matching.storage.parties import set_known_ibans
from shared.jobs import JobContext
from shared.testing.events import context, message

_KEYS = itertools.count()
IBAN_OF_C1 = "FR7630004000031234567890143"
TWO_PERCENT = [DiscountTerm(until=date(2026, 3, 9), percent_bp=200)]


async def post(client, path, body, key=None):
    return await client.post(path, json=body, headers={"idempotency-key": key or f"e{next(_KEYS)}"})


def remittance(make, tenant, total, *lines, **more):
    rows = [
        {"document_number": number, "gross_minor": net + cut, "deduction_minor": cut, "deduction_reason": reason, "net_minor": net}
        for number, net, cut, reason in lines
    ]
    return {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "total_minor": total, "lines": rows, **more}


def into(make, tenant, one, other):
    ids = {"customer_id": make.customer_id(tenant, one), "into_customer_id": make.customer_id(tenant, other)}
    return message(tenant, CustomerMerged(version=2, source_system="erp", customer_number=one, status="merged", **ids))


async def items(world, tenant):
    rows = await world.rows(
        tenant, "SELECT invoice_number, open_minor, cash_minor, discount_minor, credit_minor FROM open_item ORDER BY invoice_number"
    )
    return {row[0]: tuple(row[1:]) for row in rows}


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
    async with world.database.transaction(tenant) as conn:
        await set_known_ibans(conn, [(tenant, make.customer_id(tenant, "C1"))], [(tenant, make.customer_id(tenant, "C1"), IBAN_OF_C1)])
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


async def test_announced_money_is_told_met_and_expires(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    body = {
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "direct_debit",
        "amount_minor": 1_000,
        "currency": "EUR",
        "expected_on": "2026-03-02",
        "reference": "DD-2026-1",
        "lines": [{"item_id": str(make.invoice_id(tenant, "F-2")), "amount_minor": 1_000}],
    }
    first = (await post(client, "/v1/payment-announcements", body)).json()
    assert (first["status"], first["holds_until"]) == ("waiting", "2026-03-07")
    payment = await world.pay(held, 1_000, end_to_end_id="DD-2026-1")
    await world.match(tenant)
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 1_000, "F-2": 0}
    cheque = {
        **body,
        "kind": "cheque",
        "reference": "CHQ-1",
        "lines": [{**body["lines"][0], "item_id": str(make.invoice_id(tenant, "F-1"))}],
    }
    second = (await post(client, "/v1/payment-announcements", cheque)).json()
    for day, status in ((7, "waiting"), (8, "expired")):
        ctx = context(datetime(2026, 3, day, 9, tzinfo=UTC))
        await announcements.expire(JobContext(world.database, ctx.now, ctx.offsets, ctx.topic_prefix, ctx.consumer), tenant)
        assert (await client.get(f"/v1/expected-payments/{second['expected_id']}")).json()["status"] == status
    told = [m.data for m in await world.events("PaymentAnnouncementChanged") if m.tenant_id == tenant]
    assert [(t.kind, t.status, t.payment_id) for t in told] == [
        ("direct_debit", "announced", None),
        ("direct_debit", "received", payment),
        ("cheque", "announced", None),
        ("cheque", "expired", None),
    ]
    assert told[0].items[0].item_id == make.invoice_id(tenant, "F-2")
    assert told[0].holds_until == date(2026, 3, 7)
    assert (
        await post(client, f"/v1/expected-payments/{first['expected_id']}/end", {"status": "cancelled", "reason": "late"})
    ).status_code == 409
    taken = await post(client, f"/v1/expected-payments/{second['expected_id']}/end", {"status": "failed", "reason": "no_funds"})
    assert taken.json()["status"] == "failed"
    await world.holds()


async def test_the_queue_shows_candidates_and_what_is_confirmed_is_learnt(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(
        make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000, customer="C2"), make.invoice(tenant, "F-3", 800)
    )
    iban = "DE89370400440532013000"
    payment = await world.pay(held, 1_000, debtor_iban=iban, debtor_name="Dupont  SA", number=1)
    await world.match(tenant)
    (waiting,) = (await client.get("/v1/review-queue")).json()["items"]
    assert waiting["payment_id"] == str(payment)
    assert {line["invoice_number"] for one in waiting["candidates"] for line in one["lines"]} == {"F-1", "F-2"}
    wrong = next(one for one in waiting["candidates"] if one["lines"][0]["invoice_number"] == "F-2")
    gone = await post(client, f"/v1/payments/{payment}/dismiss", {"item_ids": [wrong["lines"][0]["item_id"]], "reason": "not theirs"})
    assert (gone.status_code, gone.json()["dismissed"]) == (200, 1)
    (waiting,) = (await client.get("/v1/review-queue")).json()["items"]
    (one,) = waiting["candidates"]
    stale = await post(client, f"/v1/payments/{payment}/confirm", {"candidate": one["rank"], "version": waiting["version"] + 1})
    assert stale.status_code == 409
    done = await post(client, f"/v1/payments/{payment}/confirm", {"candidate": one["rank"], "version": waiting["version"]})
    assert (done.status_code, done.json()["status"]) == (200, "matched"), done.text
    late = await post(client, f"/v1/payments/{payment}/confirm", {"candidate": one["rank"], "version": waiting["version"]})
    assert (late.status_code, late.json()["code"]) == (409, "payment-moved-on")  # by somebody who looked at the queue before
    assert (await client.get("/v1/review-queue")).json()["items"] == []
    aliases = await world.rows(tenant, "SELECT kind, value, customer_id FROM payer_alias ORDER BY kind")
    one = make.customer_id(tenant, "C1")
    assert [tuple(row) for row in aliases] == [("iban", iban, one), ("name", "DUPONT SA", one)]
    # the same payer again: the customer is known now
    await world.pay(held, 800, debtor_iban=iban, debtor_name="DUPONT SA", remittance=["F-3"], number=2)
    await world.match(tenant)
    assert (await items(world, tenant))["F-3"][0] == 0
    await world.holds()


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


@pytest.mark.parametrize(("together", "merged"), [(False, False), (True, False), (True, True)])
async def test_both_parts_of_a_promise_have_its_items_as_candidates_and_a_person_confirms_them(
    world, tenant, make, client, together, merged
):
    """The second goes on where the first, which waits, would end; whoever the promise's customer is by now."""
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", minor) for n, minor in ((1, 10_000), (2, 7_013), (3, 4_007))))
    async with world.database.transaction(tenant) as conn:
        await set_known_ibans(conn, [(tenant, make.customer_id(tenant, "C1"))], [(tenant, make.customer_id(tenant, "C1"), IBAN_OF_C1)])
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


async def test_an_announcement_without_items_says_who_pays_and_the_rules_go_on(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 400))
    body = {
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "transfer",
        "amount_minor": 700,
        "currency": "EUR",
        "expected_on": "2026-03-02",
        "reference": "WIRE-7",
    }
    assert (await post(client, "/v1/payment-announcements", body)).status_code == 201
    payment = await world.pay(held, 700, end_to_end_id="WIRE-7")
    await world.match(tenant)
    row = await world.one(tenant, "SELECT status, payer_customer_id FROM payment")
    assert tuple(row) == ("unapplied", make.customer_id(tenant, "C1"))
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (listed["status"], listed["payment_id"]) == ("received", str(payment))
    balances = (await client.get("/v1/balances")).json()["items"]
    assert [(one["open_minor"], one["unapplied_minor"]) for one in balances] == [(1_400, 700)]
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


async def test_what_is_expected_for_an_entity_that_is_not_there_is_refused(world, tenant, make, client):
    await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "G-1", 1_000, entity="without an account"))
    nobody, invoiced = str(make.entity_id(tenant, "nobody")), str(make.entity_id(tenant, "without an account"))
    listed = remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None), reference="R-1")
    announced = {
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "cheque",
        "amount_minor": 1_000,
        "currency": "EUR",
        "expected_on": "2026-03-02",
    }
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 1_000}
    settled = {
        **{name: announced[name] for name in ("customer_id", "currency")},
        "kind": "netting",
        "value_date": "2026-03-02",
        "proof": {"reference": "N-1"},
        "lines": [line],
    }
    file = {"content": b"document_number;net\nF-1;10,00\n", "headers": {"content-type": "text/csv"}}
    answers = [
        await post(client, "/v1/remittances", {**listed, "entity_id": nobody}),
        await post(client, "/v1/payment-announcements", {**announced, "entity_id": nobody}),
        await client.post("/v1/remittances/file", params={"entity_id": nobody, "currency": "EUR"}, **file),
        await post(client, "/v1/settlements", {**settled, "entity_id": nobody}),
    ]
    said = [(answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) for answer in answers]
    assert said == [(422, "entity-unknown", "/entity_id")] * 3 + [(422, "item-elsewhere", "/lines/0")]
    assert (await client.get("/v1/expected-payments")).json()["items"] == (await client.get("/v1/settlements")).json()["items"] == []
    known = await post(client, "/v1/payment-announcements", {**announced, "entity_id": invoiced})
    assert known.status_code == 201, known.text


async def test_the_same_cheque_announced_twice_is_one_until_it_is_over(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    body = {
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "cheque",
        "amount_minor": 1_000,
        "currency": "EUR",
        "expected_on": "2026-03-02",
        "holds_until": "2026-06-30",
        "reference": "CHQ 0004711",
    }
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 1_000}

    async def announced(**more):
        answer = await post(client, "/v1/payment-announcements", {**body, "lines": [line], **more})
        assert answer.status_code == 201, answer.text
        return answer.json()["expected_id"]

    first = await announced()
    assert await announced(reference="chq-0004711", expected_on="2026-03-04", holds_until=None) == first
    others = [await announced(kind="transfer"), await announced(reference="CHQ 0004712"), await announced(amount_minor=1_001, lines=[])]
    assert len({first, *others}) == 4
    told = [m.data.announcement_id for m in await world.events("PaymentAnnouncementChanged") if m.tenant_id == tenant]
    assert sorted(map(str, told)) == sorted([first, *others])
    await post(client, f"/v1/expected-payments/{first}/end", {"status": "failed", "reason": "no_funds"})
    second = await announced()  # presented again
    assert second != first
    await post(client, f"/v1/expected-payments/{others[0]}/end", {"status": "cancelled", "reason": "twice"})
    await world.pay(held, 1_000, remittance=["CHQ-0004711"])
    await world.match(tenant)
    assert (await client.get(f"/v1/expected-payments/{second}")).json()["status"] == "received"
    assert await announced() == second
    assert await announced(expected_on="2026-04-02") not in {first, second, *others}
    await world.holds()


@pytest.mark.parametrize("kind", ["list", "announcement"])
async def test_what_is_said_after_its_money_went_back_waits_for_that_which_comes_again(world, tenant, make, client, camtfile, kind):
    bank = Bank(world, client, await world.account(tenant), camtfile)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await world.pay(bank.held, 1_000, end_to_end_id="CHQ-0001", number=1)
    await world.match(tenant)
    await bank.books((1_000, {"ref": "B1", "e2e": "CHQ-0001"}))
    await bank.books((-1_000, {"ref": "R1", "e2e": "CHQ-0001", "reason": "AM04"}))
    item = str(make.invoice_id(tenant, "F-1"))
    announced = {
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "cheque",
        "amount_minor": 1_000,
        "currency": "EUR",
        "expected_on": "2026-03-20",
        "reference": "CHQ-0001",
        "lines": [{"item_id": item, "amount_minor": 1_000}],
    }
    listed = remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None), reference="CHQ-0001")
    path, body = ("/v1/remittances", listed) if kind == "list" else ("/v1/payment-announcements", announced)
    said = (await post(client, path, body)).json()
    assert (said["status"], said["payment_id"]) == ("waiting", None)
    again = await world.pay(bank.held, 1_000, end_to_end_id="CHQ-0001", number=2)
    await world.match(tenant)
    shown = (await client.get(f"/v1/expected-payments/{said['expected_id']}")).json()
    assert (shown["status"], shown["payment_id"], await items(world, tenant)) == ("received", str(again), {"F-1": (0, 1_000, 0, 0)})
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
    await world.holds()


async def test_an_announced_item_may_come_later_but_is_never_another_entitys(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "G-1", 1_000, entity="sister"))
    body = {
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "transfer",
        "amount_minor": 1_000,
        "currency": "EUR",
        "expected_on": "2026-03-02",
        "reference": "WIRE-9",
    }
    theirs, later = ({"item_id": str(make.invoice_id(tenant, number)), "amount_minor": 1_000} for number in ("G-1", "F-2"))
    answer = await post(client, "/v1/payment-announcements", {**body, "lines": [theirs]})
    assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (422, "item-elsewhere", "/lines/0/item_id")
    row = {"item_id": theirs["item_id"], "gross_minor": 1_000, "net_minor": 1_000}
    answer = await post(client, "/v1/remittances", {**remittance(make, tenant, 1_000), "lines": [row]})
    assert (answer.status_code, answer.json()["code"]) == (422, "item-elsewhere")
    assert (await post(client, "/v1/payment-announcements", {**body, "lines": [later]})).status_code == 201
    await world.pay(held, 1_000, end_to_end_id="WIRE-9")
    await world.match(tenant)
    await world.feed(make.invoice(tenant, "F-2", 1_000))
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 1_000, "F-2": 0, "G-1": 1_000}
    await world.holds()
