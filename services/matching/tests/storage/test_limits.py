"""What hand work may not do, over HTTP: pass a limit in slices, revive what was cancelled, leave the calendar, touch what is another's."""

import asyncio
import itertools

import httpx
import pytest
from bankdays import ahead
from contracts.dunning import DisputeOpened
from handwork import limit
from shared.ids import new_id
from shared.money import MAX_MINOR
from shared.service import api
from shared.testing.events import message
from shared.testing.tokens import token

_KEYS = itertools.count()
PAYER = {"debtor_name": "Payeur SA", "debtor_iban": "FR7630004000031234567890143"}


async def post(client, path, body, key=None):
    return await client.post(path, json=body, headers={"idempotency-key": key or f"l{next(_KEYS)}"})


def said(answer):
    """The status, the code and the first place that a refusal names."""
    body = answer.json()
    return answer.status_code, body.get("code"), (body.get("errors") or [{}])[0].get("pointer")


async def test_a_limit_is_not_passed_in_slices(world, tenant, make, client, second):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000), make.invoice(tenant, "F-2", 10_000))
    await limit(client, tenant, make, 1_000)
    one = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "goodwill", "amount_minor": 400}
    states = [(await post(client, "/v1/write-offs", one)).json() for _ in range(3)]
    assert [state["status"] for state in states] == ["booked", "booked", "requested"]
    approved = await post(second, f"/v1/write-offs/{states[2]['write_off_id']}/decision", {"approve": True})
    assert approved.json()["status"] == "booked"  # by two: it takes nothing of what one may do alone
    assert (await post(client, "/v1/write-offs", {**one, "amount_minor": 200})).json()["status"] == "booked"
    reversed_ = await post(second, f"/v1/write-offs/{states[0]['write_off_id']}/reverse", {"reason": "paid"})
    assert (reversed_.json()["status"], reversed_.json()["decided_by"]) == ("reversed", "tester")
    assert (await post(client, "/v1/write-offs", one)).json()["status"] == "booked"  # what was taken back is free again
    payment = str(await world.pay(held, 5_000, number=1, **PAYER))
    await world.match(tenant)
    back = {"payment_id": payment, "reason": "paid twice", "amount_minor": 600}
    states = await asyncio.gather(*(post(client, "/v1/refunds", back) for _ in range(4)))
    assert sorted(state.json()["status"] for state in states) == ["approved", "requested", "requested", "requested"]
    line = {"item_id": str(make.invoice_id(tenant, "F-2")), "amount_minor": 100, "difference_minor": 600, "reason": "bank_charges"}
    path = f"/v1/payments/{payment}/allocations"
    assert (await post(client, path, {"lines": [line]})).status_code == 200
    assert said(await post(client, path, {"lines": [line]}))[:2] == (403, "difference-above-limit")
    await world.holds()


async def test_write_offs_and_differences_of_an_item_count_together(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000), make.invoice(tenant, "F-2", 10_000))
    await limit(client, tenant, make, 1_000)
    given = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "goodwill", "amount_minor": 600}
    assert (await post(client, "/v1/write-offs", given)).json()["status"] == "booked"
    paths = [f"/v1/payments/{await world.pay(held, 5_000 + n, number=n, **PAYER)}/allocations" for n in range(2)]
    await world.match(tenant)
    line = {"item_id": given["item_id"], "amount_minor": 100, "difference_minor": 401, "reason": "tolerance"}
    assert said(await post(client, paths[0], {"lines": [line]}))[:2] == (403, "difference-above-limit")
    other = {**line, "item_id": str(make.invoice_id(tenant, "F-2")), "difference_minor": 700}
    assert (await post(client, paths[0], {"lines": [other]})).status_code == 200
    assert said(await post(client, paths[1], {"lines": [other]}))[:2] == (403, "difference-above-limit")  # of another payment, too
    more = {**given, "item_id": other["item_id"], "amount_minor": 301}
    assert (await post(client, "/v1/write-offs", more)).json()["status"] == "requested"
    assert (await post(client, "/v1/write-offs", {**more, "amount_minor": 300})).json()["status"] == "booked"
    await world.holds()


async def test_a_difference_of_exchange_is_not_passed_in_slices(world, tenant, make, client):
    held = await world.account(tenant, "DE89370400440532013000", currency="USD")
    await world.feed(make.invoice(tenant, "F-1", 100_000), make.invoice(tenant, "F-2", 100_000))
    payment = await world.pay(held, 216_000)
    await world.match(tenant)
    await limit(client, tenant, make, 200)
    rate = {"item_amount_minor": 100_000, "rate": "0.9245", "rate_source": "ecb"}  # loses 154 each time
    first, other = (
        {"item_id": str(make.invoice_id(tenant, number)), "amount_minor": 108_000, "exchange": rate} for number in ("F-1", "F-2")
    )
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [first]})).status_code == 200
    assert said(await post(client, f"/v1/payments/{payment}/allocations", {"lines": [other]}))[:2] == (403, "difference-above-limit")
    await world.holds()


async def test_differences_of_exchange_of_an_item_count_with_all_that_was_forgiven_of_it(world, tenant, make, client):
    """By whichever payment: one that loses no more than the limit may be followed by any number of such."""
    held = await world.account(tenant, "DE89370400440532013000", currency="USD")
    await world.feed(make.invoice(tenant, "F-1", 100_000))
    paths = [f"/v1/payments/{await world.pay(held, 1_000 + n, number=n)}/allocations" for n in range(2)]
    await world.match(tenant)
    await limit(client, tenant, make, 200)
    item = str(make.invoice_id(tenant, "F-1"))
    rate = {"item_amount_minor": 1_045, "rate": "0.9245", "rate_source": "ecb"}  # loses 121 each time
    lines = [{"lines": [{"item_id": item, "amount_minor": 1_000, "exchange": rate}]} for _ in paths]
    assert (await post(client, paths[0], lines[0])).status_code == 200
    assert said(await post(client, paths[1], lines[1]))[:2] == (403, "difference-above-limit")
    gone = {"item_id": item, "reason": "goodwill", "amount_minor": 80}
    assert (await post(client, "/v1/write-offs", gone)).json()["status"] == "requested"
    assert (await post(client, "/v1/write-offs", {**gone, "amount_minor": 79})).json()["status"] == "booked"
    await world.holds()


async def test_what_was_cancelled_owes_nothing_whatever_was_given_up_of_it(world, tenant, make, client):
    held = await world.account(tenant)
    numbers = ("F-1", "F-2")
    await world.feed(*(make.invoice(tenant, number, 10_000, reference=f"REF00000{number[-1]}") for number in numbers))
    await limit(client, tenant, make, 10_000)
    gone = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "goodwill", "amount_minor": 1_000}
    write_off = (await post(client, "/v1/write-offs", gone)).json()["write_off_id"]
    netted = {
        "kind": "netting",
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "currency": "EUR",
        "value_date": "2026-03-02",
        "proof": {"reference": "N-1"},
        "lines": [{"item_id": str(make.invoice_id(tenant, "F-2")), "amount_minor": 4_000}],
    }
    settlement = (await post(client, "/v1/settlements", netted)).json()["settlement_id"]
    await world.feed(*(make.invoice(tenant, number, 10_000, version=2, cls=make.Cancelled) for number in numbers))
    payment = str(await world.pay(held, 1_000, "REF000001", number=1))
    await world.match(tenant)
    taken_back = await post(client, f"/v1/write-offs/{write_off}/reverse", {"reason": "wrong"})
    assert said(taken_back)[:2] == (409, "write-off-not-booked")  # it was with the invoice
    late = {"lines": [{"item_id": gone["item_id"], "amount_minor": 1_000}]}
    assert said(await post(client, f"/v1/payments/{payment}/allocations", late))[:2] == (409, "item-cancelled")
    assert (await post(client, f"/v1/settlements/{settlement}/reverse", {"reason": "wrong"})).status_code == 200
    rows = await world.rows(tenant, "SELECT open_minor, close_cause FROM open_item")
    assert {tuple(row) for row in rows} == {(0, "cancelled")}
    await world.holds()


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("write-offs", {"item_id": "F-9", "reason": "goodwill"}, (404, "item-unknown", "/item_id")),
        ("write-offs", {"item_id": "A-1", "reason": "goodwill"}, (422, "item-is-credit", "/item_id")),
        ("write-offs", {"item_id": "F-1", "reason": "goodwill", "amount_minor": MAX_MINOR}, (409, "item-has-less", "/amount_minor")),
        ("write-offs", {"item_id": "F-1", "reason": "goodwill", "amount_minor": 0}, (422, "validation-failed", "/amount_minor")),
        ("write-offs", {"item_id": "F-1", "reason": "goodwill", "amount_minor": 10**18}, (422, "validation-failed", "/amount_minor")),
        ("refunds", {"payment_id": "nobody", "reason": "x"}, (404, "payment-unknown", "/payment_id")),
        ("refunds", {"payment_id": "mine", "reason": "x", "amount_minor": 5_001}, (409, "payment-has-less", "/amount_minor")),
        ("refunds", {"payment_id": "mine", "reason": "x", "amount_minor": -1}, (422, "validation-failed", "/amount_minor")),
        ("refunds", {"payment_id": "mine", "reason": "x"}, (422, "creditor-unknown", "/creditor_name")),
        ("settlements", {"value_date": "9999-12-31"}, (422, "value-date-ahead", "/value_date")),
        ("settlements", {"currency": "USD"}, (422, "item-elsewhere", "/lines/0")),
        ("settlements", {"lines": [{"item_id": "F-1", "amount_minor": 10_001}]}, (409, "item-has-less", "/lines/0")),
        (
            "settlements",
            {"lines": [{"item_id": n, "amount_minor": 10**18 - 1} for n in ("F-1", "A-1")]},
            (422, "amount-too-large", "/lines"),
        ),
        ("payment-announcements", {"holds_until": "2026-01-01"}, (422, "holds-too-short", "/holds_until")),
        ("payment-announcements", {"holds_until": "2026-07-30"}, (422, "holds-too-long", "/holds_until")),
        ("payment-announcements", {"expected_on": ahead(367)}, (422, "expected-ahead", "/expected_on")),
        ("payment-announcements", {"expected_on": "9999-12-31"}, (422, "expected-ahead", "/expected_on")),
        ("payment-announcements", {"customer_id": "nobody"}, (404, "customer-unknown", "/customer_id")),
    ],
)
async def test_a_refusal_names_its_place_and_changes_nothing(world, tenant, make, client, path, body, expected):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000), make.invoice(tenant, "A-1", 500, cls=make.Credit))
    mine = str(await world.pay(held, 5_000, number=1))
    await world.match(tenant)
    before = await world.rows(tenant, "SELECT count(*) FROM ledger_entry")
    us = {"entity_id": str(make.entity_id(tenant)), "customer_id": str(make.customer_id(tenant, "C1")), "currency": "EUR"}
    whole = {
        "settlements": us
        | {"kind": "netting", "value_date": "2026-03-02", "proof": {"reference": "P"}, "lines": [{"item_id": "F-1", "amount_minor": 5}]},
        "payment-announcements": us | {"kind": "cheque", "amount_minor": 5, "expected_on": "2026-03-31"},
    }.get(path, {}) | body

    def named(value):
        if isinstance(value, list):
            return [named(one) for one in value]
        if isinstance(value, dict):
            return {name: named(one) for name, one in value.items()}
        if value in ("F-1", "F-9", "A-1"):
            return str(make.invoice_id(tenant, value))
        return {"mine": mine, "nobody": str(new_id())}.get(value, value) if isinstance(value, str) else value

    assert said(await post(client, f"/v1/{path}", named(whole))) == expected
    assert await world.rows(tenant, "SELECT count(*) FROM ledger_entry") == before
    assert await world.rows(tenant, "SELECT 1 FROM settlement UNION ALL SELECT 1 FROM refund UNION ALL SELECT 1 FROM write_off") == []


async def test_the_last_day_of_the_calendar_is_a_day_like_any_other(tenant, make, client, world):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000))
    await world.pay(held, 10_000, number=1)
    us = {"entity_id": str(make.entity_id(tenant)), "customer_id": str(make.customer_id(tenant, "C1")), "currency": "EUR"}
    announced = {**us, "kind": "cheque", "amount_minor": 5}
    for day, far, status in (("0001-01-01", "0001-01-01", 422), ("9999-12-31", ahead(366), 201)):  # nothing holds reminders for ever
        answer = await post(client, "/v1/payment-announcements", {**announced, "expected_on": far})
        assert answer.status_code == status, answer.text
        period = {"entity_id": us["entity_id"], "first": day, "last": "9999-12-31"}
        assert (await client.get("/v1/ledger-export", params=period)).status_code == 200


async def test_two_persons_at_once_and_another_tenant(world, tenant, make, client, second):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 4_000), make.invoice(tenant, "F-2", 4_000))
    payment = str(await world.pay(held, 4_000, number=1, **PAYER))
    await world.match(tenant)
    await limit(client, tenant, make, 100_000)
    both = (client, second)
    there = f"/v1/payments/{payment}"
    lines = [{"lines": [{"item_id": str(make.invoice_id(tenant, number)), "amount_minor": 4_000}]} for number in ("F-1", "F-2")]
    answers = await asyncio.gather(
        *(post(person, f"{there}/allocations", body) for person, body in zip(both, lines, strict=True)),
        *(post(person, "/v1/refunds", {"payment_id": payment, "reason": "x", "amount_minor": 4_000}) for person in both),
        *(post(person, f"{there}/move", {"customer_id": str(make.customer_id(tenant, "C1")), "reason": "r"}) for person in both),
    )
    assert sorted(answer.status_code for answer in answers[:4])[1:] == [409, 409, 409]  # the money goes one way
    assert {answer.status_code for answer in answers[4:]} == {200}
    await world.holds()
    other = new_id()
    headers = {"authorization": f"Bearer {token(other, 'payments:write', 'payments:read', 'bank:write')}"}
    transport = httpx.ASGITransport(app=api(world.runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://matching.test", headers=headers) as stranger:
        theirs = str(await world.pay(await world.account(other, "FR7612345987650123456789014"), 500, number=2))
        item = str(make.invoice_id(tenant, "F-2"))
        tried = [
            (f"{there}/allocations", lines[1]),
            (f"{there}/move", {"customer_id": str(make.customer_id(tenant, "C1")), "reason": "r"}),
            (f"{there}/unmatch", {"reason": "r"}),
            ("/v1/refunds", {"payment_id": payment, "reason": "x"}),
            ("/v1/write-offs", {"item_id": item, "reason": "goodwill"}),
            (f"/v1/payments/{theirs}/allocations", {"lines": [{"item_id": item, "amount_minor": 5}]}),
            (f"/v1/payments/{theirs}/move", {"customer_id": str(make.customer_id(tenant, "C1")), "reason": "r"}),
        ]
        assert [(await post(stranger, path, body)).status_code for path, body in tried] == [404] * len(tried)
    await world.holds()


async def test_more_than_any_balance_holds_is_refused_and_changes_nothing(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000))
    pays = [await world.pay(held, MAX_MINOR, number=n) for n in range(10)]
    await world.match(tenant)
    body = {"customer_id": str(make.customer_id(tenant, "C1")), "reason": "theirs"}
    *nine, then = [await post(client, f"/v1/payments/{payment}/move", body) for payment in pays]
    assert ({one.status_code for one in nine}, then.status_code, then.json()["code"]) == ({200}, 409, "balance-too-large")
    told = (await client.get("/v1/statistics/matching")).json()
    assert told["amount_minor"] == {"EUR": 10 * MAX_MINOR}
    await world.holds()


async def test_disputes_beyond_all_amounts_hold_no_invoice_back(world, tenant, make):
    item = make.invoice_id(tenant, "F-1")
    for _ in range(2):
        said = {"item_id": item, "customer_id": make.customer_id(tenant, "C1"), "currency": "EUR", "reason": "price", "status": "open"}
        await world.feed(message(tenant, DisputeOpened(version=1, dispute_id=new_id(), amount_minor=MAX_MINOR, **said)))
    await world.feed(make.invoice(tenant, "F-1", 10_000))
    assert tuple(await world.one(tenant, "SELECT open_minor, contested_minor FROM open_item")) == (10_000, MAX_MINOR)
    await world.holds()
