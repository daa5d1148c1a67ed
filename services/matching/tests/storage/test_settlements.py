"""Settlements beside the bank: with proof, once, and back again."""

import itertools
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from contracts.customers import CustomerMerged
from handwork import limit
from shared import migrations
from shared.ids import new_id
from shared.testing.databases import fresh_database
from shared.testing.events import message
from stepwise import upgrade

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_KEYS = itertools.count()


async def post(client, path, body, key=None):
    return await client.post(path, json=body, headers={"idempotency-key": key or f"s{next(_KEYS)}"})


def settlement(make, tenant, kind, *lines, proof="N-1", customer="C1"):
    return {
        "kind": kind,
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, customer)),
        "currency": "EUR",
        "value_date": "2026-03-02",
        "proof": {"reference": proof, "document_sha256": "a" * 64},
        "lines": [{"item_id": str(make.invoice_id(tenant, number)), "amount_minor": amount} for number, amount in lines],
    }


async def items(world, tenant):
    rows = await world.rows(
        tenant, "SELECT invoice_number, open_minor, cash_minor, set_off_minor, status, close_cause FROM open_item ORDER BY 1"
    )
    return {row[0]: tuple(row[1:]) for row in rows}


@pytest.mark.parametrize("kind", ["netting", "cash"])
async def test_a_settlement_is_booked_with_proof_once_and_taken_back(world, tenant, make, client, second, kind):
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 500))
    before = await items(world, tenant)
    body = settlement(make, tenant, kind, ("F-1", 1_000), ("F-2", 200))
    asked = (await post(client, "/v1/settlements", body)).json()
    assert (asked["status"], asked["amount_minor"]) == ("requested", 1_200)
    assert await items(world, tenant) == before
    path = f"/v1/settlements/{asked['settlement_id']}"
    assert (await post(client, f"{path}/decision", {"approve": True})).status_code == 403
    booked = await post(second, f"{path}/decision", {"approve": True})
    assert booked.json()["status"] == "booked", booked.text
    after = await items(world, tenant)
    closed = (0, 0, 1_000, "closed", "netting") if kind == "netting" else (0, 1_000, 0, "paid", None)
    assert after["F-1"] == closed
    assert after["F-2"][0] == 300
    assert (await post(client, "/v1/settlements", body)).status_code == 409  # the same proof again
    if kind == "cash":
        await world.match(tenant)  # its own PaymentReceived changes nothing
        assert tuple(await world.one(tenant, "SELECT source, status, allocated_minor FROM payment")) == ("cash", "matched", 1_200)
        assert await items(world, tenant) == after
    await world.holds()
    back = await post(client, f"{path}/reverse", {"reason": "mistake"})
    assert back.json()["status"] == "reversed", back.text
    assert await items(world, tenant) == before
    await world.holds()


async def test_a_proof_that_has_settled_nothing_may_be_given_again(world, tenant, make, client, second):
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    first = (await post(client, "/v1/settlements", settlement(make, tenant, "netting", ("F-1", 900)))).json()["settlement_id"]
    again = settlement(make, tenant, "netting", ("F-2", 900))
    assert (await post(client, "/v1/settlements", again)).json()["code"] == "proof-used"  # it waits
    assert (await post(second, f"/v1/settlements/{first}/decision", {"approve": False})).json()["status"] == "refused"
    wrong = (await post(client, "/v1/settlements", again)).json()["settlement_id"]
    await post(second, f"/v1/settlements/{wrong}/decision", {"approve": True})
    assert (await post(client, f"/v1/settlements/{wrong}/reverse", {"reason": "wrong.item"})).json()["status"] == "reversed"
    right = await post(client, "/v1/settlements", settlement(make, tenant, "netting", ("F-1", 900)))
    assert right.status_code == 201, right.text
    await post(second, f"/v1/settlements/{right.json()['settlement_id']}/decision", {"approve": True})
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 100, "F-2": 1_000}
    await world.holds()


async def test_a_limit_is_not_passed_by_a_proof_for_each_slice(world, tenant, make, client):
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    await limit(client, tenant, make, 500)
    asked = [("netting", "F-1", 400), ("cash", "F-1", 101), ("cash", "F-1", 100), ("netting", "F-2", 500)]
    states = [
        (await post(client, "/v1/settlements", settlement(make, tenant, kind, (number, amount), proof=f"N-{at}"))).json()["status"]
        for at, (kind, number, amount) in enumerate(asked)
    ]
    assert states == ["booked", "requested", "booked", "booked"]
    await world.holds()


@pytest.mark.parametrize(
    ("kind", "number", "amount", "customer", "status"),
    [
        ("netting", "F-1", 1_001, "C1", 409),
        ("cash", "F-1", 1_001, "C1", 409),
        ("netting", "F-1", 10, "C2", 422),
        ("cash", "A-1", 10, "C1", 422),
        ("netting", "F-9", 10, "C1", 404),
    ],
)
async def test_what_a_settlement_may_not_do(world, tenant, make, client, kind, number, amount, customer, status):
    await world.feed(
        make.invoice(tenant, "F-1", 1_000),
        make.invoice(tenant, "A-1", 1_000, cls=make.Credit),
        make.invoice(tenant, "F-2", 1, customer="C2"),
    )
    await limit(client, tenant, make, 10_000)
    before = await items(world, tenant)
    answer = await post(client, "/v1/settlements", settlement(make, tenant, kind, (number, amount), customer=customer))
    assert answer.status_code == status, answer.text
    assert await items(world, tenant) == before
    assert (await client.get("/v1/settlements")).json()["items"] == []
    await world.holds()


@pytest.mark.parametrize("kind", ["netting", "cash"])
async def test_a_merged_customers_settlement_is_booked_for_the_survivor(world, tenant, make, client, second, kind):
    await world.feed(make.invoice(tenant, "F-1", 1_000, customer="A"))
    asked = (await post(client, "/v1/settlements", settlement(make, tenant, kind, ("F-1", 600), customer="A"))).json()
    ids = {"customer_id": make.customer_id(tenant, "A"), "into_customer_id": make.customer_id(tenant, "B")}
    await world.feed(message(tenant, CustomerMerged(version=2, source_system="erp", customer_number="A", status="merged", **ids)))
    booked = await post(second, f"/v1/settlements/{asked['settlement_id']}/decision", {"approve": True})
    assert (booked.status_code, booked.json()["status"]) == (200, "booked")
    for customer in ("A", "B"):
        body = settlement(make, tenant, kind, ("F-1", 100), customer=customer, proof=f"N-{customer}")
        assert (await post(client, "/v1/settlements", body)).json()["status"] == "requested"
        listed = await client.get("/v1/settlements", params={"customer_id": str(make.customer_id(tenant, customer))})
        assert asked["settlement_id"] in {one["settlement_id"] for one in listed.json()["items"]}
    rows = await world.rows(
        tenant, "SELECT customer_id, open_minor, unapplied_minor FROM account_balance WHERE open_minor + unapplied_minor > 0"
    )
    assert [tuple(row) for row in rows] == [(make.customer_id(tenant, "B"), 400, 0)]
    await world.holds()


@pytest.mark.parametrize("how", ["cash", "hand"])
async def test_one_payment_settles_by_hand_more_items_than_its_events_name(world, tenant, make, client, how):
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"FA-2026-{n:04}", 100) for n in range(400)))
    await limit(client, tenant, make, 100_000)
    payment = await world.pay(held, 40_000)
    await world.match(tenant)
    body = settlement(make, tenant, "cash", *((f"FA-2026-{n:04}", 100) for n in range(400)))
    path, asked = ("/v1/settlements", body) if how == "cash" else (f"/v1/payments/{payment}/allocations", {"lines": body["lines"]})
    answer = await post(client, path, asked)
    assert answer.is_success, answer.text
    assert [row[0] for row in (await items(world, tenant)).values()].count(0) == 400
    told = [m.data for m in await world.events("PaymentMatched") if m.tenant_id == tenant]
    assert 200 < len(told[-1].allocations) == 400 - told[-1].further_allocations < 400
    await world.holds()


@pytest.mark.parametrize(
    ("first", "again"), [("N1", "n1"), ("N-1", "N 1"), ("Reçu n° 7", "REÇU N°7"), ("2026/12", "2026-12"), ("ﬁ1", "FI 1")]
)
async def test_a_proof_settles_once_however_its_number_is_written(world, tenant, make, client, first, again):
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await limit(client, tenant, make, 10_000)
    given = await post(client, "/v1/settlements", settlement(make, tenant, "netting", ("F-1", 100), proof=first))
    assert (given.status_code, given.json()["proof_reference"]) == (201, first)
    answer = await post(client, "/v1/settlements", settlement(make, tenant, "netting", ("F-1", 100), proof=again))
    assert (answer.status_code, answer.json()["code"]) == (409, "proof-used")
    assert (await items(world, tenant))["F-1"][0] == 900


async def test_two_papers_are_two_proofs(world, tenant, make, client):
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await limit(client, tenant, make, 10_000)
    for proof in ("2026/1-12", "2026/11-2", "квитанция", "чек", "—", "…"):
        answer = await post(client, "/v1/settlements", settlement(make, tenant, "netting", ("F-1", 100), proof=proof))
        assert answer.status_code == 201, answer.text
    assert (await items(world, tenant))["F-1"][0] == 400


async def test_proofs_that_stand_under_two_writings_already_stay_as_they_are(infrastructure):
    """The one that was booked first refuses others from now on; what settled nothing is in nobody's way."""
    tenant, entity = new_id(), new_id()
    given = [("N1", "requested"), ("n-1", "booked"), ("n 1", "booked"), ("N_1", "refused"), ("N2", "booked")]
    rows = [(tenant, new_id(), entity, proof, status, NOW + timedelta(hours=at)) for at, (proof, status) in enumerate(given)]
    async with fresh_database(infrastructure.admin_dsn, "matching", migrated=False) as urls:
        await upgrade(urls, "0040")
        owner = await asyncpg.connect(urls.owner)
        await owner.execute("ALTER TABLE settlement NO FORCE ROW LEVEL SECURITY")
        await owner.executemany(
            "INSERT INTO settlement (tenant_id, settlement_id, entity_id, customer_id, kind, currency, amount_minor, lines, value_date, "
            "requested_by, proof_reference, status, requested_at) "
            "VALUES ($1, $2, $3, $3, 'netting', 'EUR', 1, '[]', '2026-03-02', 'a', $4, $5, $6)",
            rows,
        )
        await owner.execute("ALTER TABLE settlement FORCE ROW LEVEL SECURITY")
        await migrations.upgrade("matching", urls.owner)
        await owner.execute("SELECT set_config('app.tenants', $1, false)", f"{{{tenant}}}")
        kept = await owner.fetch("SELECT proof_reference, proof_key FROM settlement")
        assert dict(map(tuple, kept)) == {"N1": None, "n-1": "n1", "n 1": None, "N_1": "n1", "N2": "n2"}
        assert await owner.fetchval("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'settlement'")
        await owner.close()


@pytest.mark.parametrize("kind", ["netting", "cash"])
@pytest.mark.parametrize(
    ("day", "code"), [("0001-01-01", "value-date-too-early"), ("1969-12-31", "value-date-too-early"), ("1970-01-01", None)]
)
async def test_a_value_date_is_a_day_on_which_something_may_be_settled(world, tenant, make, client, kind, day, code):
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await limit(client, tenant, make, 10_000)
    answer = await post(client, "/v1/settlements", settlement(make, tenant, kind, ("F-1", 100)) | {"value_date": day})
    assert answer.status_code == (422 if code else 201), answer.text
    assert answer.json().get("code") == code
    assert (await items(world, tenant))["F-1"][0] == (1_000 if code else 900)


@pytest.mark.parametrize("kind", ["netting", "cash"])
async def test_no_period_that_was_exported_changes_by_what_is_settled_later_with_a_day_in_it(world, tenant, make, client, kind):
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await limit(client, tenant, make, 10_000)
    path = f"/v1/ledger-export?entity_id={make.entity_id(tenant)}&format=csv"
    answer = await post(client, "/v1/settlements", settlement(make, tenant, kind, ("F-1", 100)) | {"value_date": "2020-02-29"})
    day = answer.json()["decided_at"][:10]
    past, now = [(await client.get(f"{path}&first={first}&last={last}")).text for first, last in (("2020-01-01", "2020-12-31"), (day, day))]
    assert (len(past.splitlines()), "2020-02-29" in now) == (1, kind == "cash")
    assert len(now.splitlines()) > 1
