"""What the law makes of a payment that names nothing: asked for by a person, or by itself after the days that an entity has set."""

import asyncio
import itertools
from collections import Counter
from datetime import date, timedelta

import pytest
from contracts.customers import CustomerChanged, CustomerIdentityChanged
from contracts.invoices import Instalment
from expecting import into
from matching.handlers import imputation
from matching.handlers.imputation import impute_waiting
from shared.jobs import JobContext
from shared.kafka import Offsets
from shared.testing.events import message

_KEYS = itertools.count()
PAYER = "DE89370400440532013000"
LAW = "Code civil, art. 1342-10 and 1343-1"


async def debtor(world, tenant, make, *, country="FR", number="C1", iban=PAYER):
    """A customer whose country and IBAN are known."""
    customer = make.customer_id(tenant, number)
    await world.feed(
        message(
            tenant,
            CustomerChanged(
                version=1, customer_id=customer, source_system="erp", customer_number=number, status="confirmed", country=country
            ),
        ),
        message(tenant, CustomerIdentityChanged(version=1, customer_id=customer, name="Dupont SA", known_ibans=[iban])),
    )


async def post(client, path, body):
    return await client.post(path, json=body, headers={"idempotency-key": f"i{next(_KEYS)}"})


async def opened(world, tenant):
    rows = await world.rows(tenant, "SELECT invoice_number, open_minor FROM open_item ORDER BY 1")
    return dict(tuple(row) for row in rows)


async def run_job(world, tenant, now):
    await impute_waiting(JobContext(world.database, now, Offsets("localhost:1"), "", "matching"), tenant)


async def set_up(world, tenant, make):
    """Two debts of 1,000 and 500, the smaller one the older, and an unapplied payment of 700 that names nothing."""
    held = await world.account(tenant)
    await world.feed(
        make.invoice(tenant, "F-1", 1_000, due=date(2026, 2, 20)),
        make.invoice(tenant, "F-2", 500, due=date(2026, 1, 20)),
    )
    payment = await world.pay(held, 700, debtor_iban=PAYER)
    await world.match(tenant)
    return payment


async def test_a_person_sees_what_the_law_makes_of_a_payment_and_has_it_done(world, tenant, make, client):
    await debtor(world, tenant, make)
    payment = await set_up(world, tenant, make)
    seen = await client.get(f"/v1/payments/{payment}/imputation")
    assert seen.status_code == 200, seen.text
    told = seen.json()
    assert (told["country"], told["law"], told["unapplied_minor"]) == ("FR", LAW, 700)
    assert [(line["due_date"], line["amount_minor"]) for line in told["lines"]] == [("2026-01-20", 500), ("2026-02-20", 200)]
    assert await opened(world, tenant) == {"F-1": 1_000, "F-2": 500}
    done = await post(client, f"/v1/payments/{payment}/imputation", {"version": told["version"]})
    assert done.status_code == 200, done.text
    assert (done.json()["status"], done.json()["unapplied_minor"]) == ("matched", 0)
    assert await opened(world, tenant) == {"F-1": 800, "F-2": 0}
    decision = (await client.get(f"/v1/payments/{payment}")).json()["decisions"][-1]
    assert (decision["rule"], decision["evidence"]["law"], decision["evidence"]["country"]) == ("imputation", LAW, "FR")
    assert [line["amount_minor"] for line in decision["evidence"]["items"]] == [500, 200]
    again = await post(client, f"/v1/payments/{payment}/imputation", {"version": told["version"]})
    assert (again.status_code, again.json()["code"]) == (409, "nothing-unapplied")
    await world.holds()


async def test_instalments_are_debts_of_their_own_and_what_is_more_than_all_stays_unapplied(world, tenant, make, client):
    await debtor(world, tenant, make)
    held = await world.account(tenant)
    parts = [
        Instalment(number=1, due_date=date(2026, 1, 5), amount_minor=400),
        Instalment(number=2, due_date=date(2026, 4, 5), amount_minor=600),
    ]
    await world.feed(make.invoice(tenant, "F-1", 1_000, instalments=parts), make.invoice(tenant, "F-2", 300, due=date(2026, 2, 1)))
    payment = await world.pay(held, 1_350, debtor_iban=PAYER)
    await world.match(tenant)
    lines = (await client.get(f"/v1/payments/{payment}/imputation")).json()["lines"]
    assert [(line["due_date"], line["amount_minor"]) for line in lines] == [("2026-01-05", 400), ("2026-02-01", 300), ("2026-04-05", 600)]
    done = await post(client, f"/v1/payments/{payment}/imputation", {})
    assert (done.json()["unapplied_minor"], done.json()["unapplied_reason"]) == (50, "overpaid")
    await world.holds()


@pytest.mark.parametrize(
    ("country", "customer", "status", "code"),
    [("IT", None, 422, "law-unknown"), (None, None, 422, "country-unknown"), ("FR", "C9", 404, "customer-unknown")],
)
async def test_what_is_not_known_is_refused_and_changes_nothing(world, tenant, make, client, country, customer, status, code):
    await debtor(world, tenant, make, country=country)
    payment = await set_up(world, tenant, make)
    body = {"customer_id": str(make.customer_id(tenant, customer))} if customer else {}
    answer = await post(client, f"/v1/payments/{payment}/imputation", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await opened(world, tenant) == {"F-1": 1_000, "F-2": 500}
    assert (await post(client, f"/v1/payments/{make.customer_id(tenant, 'none')}/imputation", {})).status_code == 404


async def test_a_payer_whom_nobody_knows_is_named_by_the_person(world, tenant, make, client):
    await debtor(world, tenant, make)
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    payment = await world.pay(held, 700, debtor_iban="FR7612345987650123456789014")
    await world.match(tenant)
    refused = await post(client, f"/v1/payments/{payment}/imputation", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "payer-unknown")
    done = await post(client, f"/v1/payments/{payment}/imputation", {"customer_id": str(make.customer_id(tenant, "C1"))})
    assert (done.status_code, done.json()["payer_customer_id"]) == (200, str(make.customer_id(tenant, "C1")))
    assert await opened(world, tenant) == {"F-1": 300}
    learnt = await world.rows(tenant, "SELECT value, customer_id FROM payer_alias")
    assert [tuple(row) for row in learnt] == [("FR7612345987650123456789014", make.customer_id(tenant, "C1"))]
    await world.holds()


async def test_another_customer_than_the_known_payer_is_refused_and_who_was_merged_is_who_stands_for_him(world, tenant, make, client):
    await debtor(world, tenant, make)
    await debtor(world, tenant, make, number="C2", iban="DE89370400440532013999")
    payment = await set_up(world, tenant, make)
    await world.feed(make.invoice(tenant, "F-9", 700, customer="C2"))
    other = {"customer_id": str(make.customer_id(tenant, "C2"))}
    answers = [
        await client.get(f"/v1/payments/{payment}/imputation", params=other),
        await post(client, f"/v1/payments/{payment}/imputation", other),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "payer-is-another")] * 2
    assert await opened(world, tenant) == {"F-1": 1_000, "F-2": 500, "F-9": 700}
    await world.feed(into(make, tenant, "C2", "C1"))
    nobody = await world.pay(await world.account(tenant), 100)
    await world.match(tenant)
    done = await post(client, f"/v1/payments/{nobody}/imputation", other)
    assert (done.status_code, done.json()["payer_customer_id"]) == (200, str(make.customer_id(tenant, "C1")))
    assert await opened(world, tenant) == {"F-1": 1_000, "F-2": 400, "F-9": 700}
    await world.holds()


async def test_it_is_done_by_itself_only_where_an_entity_wants_it_and_only_after_its_days(world, tenant, make, client):
    await debtor(world, tenant, make)
    payment = await set_up(world, tenant, make)
    await world.rows(
        tenant, "UPDATE payment SET confirmation = 'booked', next_look_at = NULL WHERE payment_id = :id RETURNING 1", id=payment
    )
    await run_job(world, tenant, make.NOW + timedelta(days=90))
    assert await opened(world, tenant) == {"F-1": 1_000, "F-2": 500}  # off until it is turned on
    answer = await client.put(f"/v1/imputation-settings/{make.entity_id(tenant)}", json={"after_days": 10})
    assert answer.json() == {"entity_id": str(make.entity_id(tenant)), "interest_first": False, "after_days": 10}
    assert (await client.get("/v1/imputation-settings")).json()["items"] == [answer.json()]
    await run_job(world, tenant, make.NOW + timedelta(days=9))
    assert await opened(world, tenant) == {"F-1": 1_000, "F-2": 500}
    for _ in range(2):
        await run_job(world, tenant, make.NOW + timedelta(days=10))
        assert await opened(world, tenant) == {"F-1": 800, "F-2": 0}
    assert len([m for m in await world.events("PaymentMatched") if m.tenant_id == tenant]) == 1
    await world.holds()


async def test_all_that_wait_are_gone_through_whatever_a_slice_holds(world, tenant, make, client, monkeypatch):
    await debtor(world, tenant, make)
    first, held = await set_up(world, tenant, make), await world.account(tenant)
    second = await world.pay(held, 100, debtor_iban=PAYER, day=date(2026, 3, 3))
    await world.match(tenant)
    await world.rows(tenant, "UPDATE payment SET confirmation = 'booked', next_look_at = NULL RETURNING 1")
    await client.put(f"/v1/imputation-settings/{make.entity_id(tenant)}", json={"after_days": 10})
    monkeypatch.setattr(imputation, "SLICE", 1)
    await run_job(world, tenant, make.NOW + timedelta(days=20))
    rows = await world.rows(tenant, "SELECT payment_id FROM payment WHERE status = 'matched'")
    assert {row[0] for row in rows} == {first, second}
    await world.holds()


async def test_what_a_person_undid_or_disputes_is_left_out(world, tenant, make, client):
    await debtor(world, tenant, make)
    payment = await set_up(world, tenant, make)
    await world.rows(tenant, "UPDATE open_item SET contested_minor = 450 WHERE invoice_number = 'F-2' RETURNING 1")
    answer = await post(client, f"/v1/payments/{payment}/dismiss", {"item_ids": [str(make.invoice_id(tenant, "F-1"))], "reason": "wrong"})
    assert answer.status_code in {200, 201}, answer.text
    lines = (await client.get(f"/v1/payments/{payment}/imputation")).json()["lines"]
    assert [(line["item_id"], line["amount_minor"]) for line in lines] == [(str(make.invoice_id(tenant, "F-2")), 50)]


async def test_many_at_once_take_what_is_owed_once_each_in_the_order_of_the_law(world, tenant, make, client):
    await debtor(world, tenant, make)
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, due=date(2026, 1, 1) + timedelta(days=n)) for n in range(4)))
    payments = [await world.pay(held, 700, number=n, debtor_iban=PAYER) for n in range(6)]
    await world.match(tenant)
    asked = [f"/v1/payments/{payment}/imputation" for payment in payments for _ in range(2)]
    answers = await asyncio.gather(*(post(client, path, {}) for path in asked))
    codes = Counter(answer.status_code for answer in answers)
    assert codes[200] >= 6, [answer.text for answer in answers]
    assert set(codes) <= {200, 409}  # the second of a pair, and who came when nothing was owed any more
    left = await world.rows(tenant, "SELECT sum(open_minor), sum(cash_minor) FROM open_item")
    unapplied = await world.rows(tenant, "SELECT sum(unapplied_minor) FROM payment")
    assert (tuple(left[0]), unapplied[0][0]) == ((0, 4_000), 200)
    await world.holds()


@pytest.mark.parametrize("path", ["imputation", "confirm"])
async def test_hundreds_of_debts_are_settled_at_once(world, tenant, make, client, path):
    """As the law orders them, or as the engine, which finds that all of them come to the sum, has them confirmed."""
    await debtor(world, tenant, make)
    held = await world.account(tenant)
    amounts = [10_000 + n * n * 7 % 9973 for n in range(380)]
    await world.feed(*(make.invoice(tenant, f"F-{n:010}", amount, due=date(2026, 1, 20)) for n, amount in enumerate(amounts)))
    payment = await world.pay(held, sum(amounts), debtor_iban=PAYER)
    await world.match(tenant)
    (waits,) = (await client.get("/v1/review-queue")).json()["items"]
    assert len(waits["candidates"][0]["lines"]) == 380
    body = {"version": waits["version"]} | ({"candidate": 1} if path == "confirm" else {})
    done = await post(client, f"/v1/payments/{payment}/{path}", body)
    assert (done.status_code, done.json()["status"]) == (200, "matched"), done.text
    assert sum((await opened(world, tenant)).values()) == 0
    await world.holds()
