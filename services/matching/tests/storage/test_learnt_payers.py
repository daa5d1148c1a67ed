"""What a person teaches of a payer by confirming or moving, and what is taken back with it."""

import itertools
import json
from datetime import date

import pytest
from contracts.customers import CustomerErased
from decided import iban, identity, look, replayed
from shared.testing.events import message

_KEYS = itertools.count()
PAYER = "DE89370400440532013000"


async def post(client, path, body):
    return await client.post(path, json=body, headers={"idempotency-key": f"y{next(_KEYS)}"})


async def paid(world, tenant, held, amount):
    payment = await world.pay(held, amount, debtor_iban=PAYER, debtor_name="Dupont  Industries", number=next(_KEYS))
    await world.match(tenant)
    return payment


async def confirmed(world, tenant, make, client, held):
    """A payment of nobody known, of which a person says that it is C1's, who owes 70 beside."""
    await world.feed(
        make.invoice(tenant, "F-1", 10_000), make.invoice(tenant, "F-2", 7_000), make.invoice(tenant, "F-3", 10_000, customer="C2")
    )
    payment = await paid(world, tenant, held, 10_000)
    [waits] = (await client.get("/v1/review-queue")).json()["items"]
    [mine] = [one for one in waits["candidates"] if one["lines"][0]["invoice_number"] == "F-1"]
    done = await post(client, f"/v1/payments/{payment}/confirm", {"candidate": mine["rank"], "version": waits["version"]})
    assert done.status_code == 200, done.text
    return payment


async def payer(client, payment):
    return (await client.get(f"/v1/payments/{payment}")).json()["payer_customer_id"]


async def test_what_was_confirmed_is_known_from_then_on(world, tenant, make, client):
    held = await world.account(tenant)
    await confirmed(world, tenant, make, client, held)
    assert await payer(client, await paid(world, tenant, held, 7_000)) == str(make.customer_id(tenant, "C1"))


async def test_what_a_confirmation_had_taught_goes_with_it(world, tenant, make, client):
    held = await world.account(tenant)
    wrong = await confirmed(world, tenant, make, client, held)
    assert (await post(client, f"/v1/payments/{wrong}/unmatch", {"reason": "another customer's"})).status_code == 200
    assert await world.rows(tenant, "SELECT 1 FROM payer_alias") == []
    assert await payer(client, wrong) is None
    assert await payer(client, await paid(world, tenant, held, 7_000)) is None
    await world.holds()


async def test_what_two_confirmations_have_taught_stays_with_one(world, tenant, make, client):
    held = await world.account(tenant)
    await confirmed(world, tenant, make, client, held)
    await client.put("/v1/matching-policy", json={"threshold": 1})  # so that a person confirms the next one, too
    second = await paid(world, tenant, held, 7_000)
    [waits] = (await client.get("/v1/review-queue")).json()["items"]
    assert (await post(client, f"/v1/payments/{second}/confirm", {"candidate": 1, "version": waits["version"]})).status_code == 200
    assert (await post(client, f"/v1/payments/{second}/unmatch", {"reason": "another invoice"})).status_code == 200
    rows = await world.rows(tenant, "SELECT kind, times FROM payer_alias ORDER BY kind")
    assert [tuple(row) for row in rows] == [("iban", 1), ("name", 1)]


async def test_who_was_named_wrongly_is_forgotten_when_another_is_named(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 3_000), make.invoice(tenant, "F-2", 7_000, customer="C2"))
    payment = await paid(world, tenant, held, 500)
    one, other = (str(make.customer_id(tenant, name)) for name in ("C1", "C2"))
    for customer in (one, other):
        assert (await post(client, f"/v1/payments/{payment}/move", {"customer_id": customer, "reason": "his"})).status_code == 200
    assert await payer(client, await paid(world, tenant, held, 7_000)) == other


async def test_of_what_is_paid_for_somebody_else_the_name_is_learnt_and_not_the_account(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 3_000), make.invoice(tenant, "F-2", 7_000))

    async def came(amount, **more):
        payment = await world.pay(held, amount, debtor_iban=PAYER, debtor_name="Agence SA", number=next(_KEYS), **more)
        await world.match(tenant)
        return payment

    first = await came(500, ultimate_name="Dupont  Industries")
    mine = str(make.customer_id(tenant, "C1"))
    assert (await post(client, f"/v1/payments/{first}/move", {"customer_id": mine, "reason": "his"})).status_code == 200
    rows = await world.rows(tenant, "SELECT kind, value FROM payer_alias")
    assert [tuple(row) for row in rows] == [("name", "DUPONT INDUSTRIES")]
    assert await payer(client, await came(3_000)) is None  # the agent may pay for anybody
    assert await payer(client, await came(7_000, ultimate_name="Dupont Industries")) == mine


async def test_what_is_allocated_is_unmatched_and_not_dismissed(world, tenant, make, client):
    held = await world.account(tenant)
    payment = await confirmed(world, tenant, make, client, held)
    body = {"item_ids": [str(make.invoice_id(tenant, "F-1"))], "reason": "not his"}
    refused = await post(client, f"/v1/payments/{payment}/dismiss", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "item-is-allocated")
    assert await world.rows(tenant, "SELECT 1 FROM dismissed_pair") == []


async def seen_of(world, tenant, payment):
    """By what evidence the first reading of the latest decision of the engine knows who paid."""
    rows = await world.rows(
        tenant,
        "SELECT CAST(evidence -> 'candidates' -> 0 -> 'evidence' AS text) FROM decision WHERE payment_id = :id AND inputs IS NOT NULL "
        "ORDER BY payment_version DESC LIMIT 1",
        id=payment,
    )
    return set(json.loads(rows[0][0])) & {"virtual_iban", "own_iban", "learned_iban", "learned_name", "name", "payer_said"}


async def test_whom_a_rule_took_for_the_payer_is_no_surer_at_the_next_look(world, tenant, make, client):
    """Of two items of the amount one comes later: it is looked at again, and who paid is known by what it was known by."""
    held = await world.account(tenant)
    await confirmed(world, tenant, make, client, held)
    payment = await paid(world, tenant, held, 500)
    assert await payer(client, payment) == str(make.customer_id(tenant, "C1"))
    assert await seen_of(world, tenant, payment) == {"learned_iban", "learned_name"}
    await world.feed(*(make.invoice(tenant, f"G-{number}", 500) for number in range(2)))
    await look(world, tenant)
    assert await seen_of(world, tenant, payment) == {"learned_iban", "learned_name"}
    await replayed(world, tenant)


async def test_who_a_person_says_has_paid_is_told_as_that(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"G-{number}", 500) for number in range(2)))
    payment = await world.pay(held, 500, number=next(_KEYS))
    await world.match(tenant)
    body = {"customer_id": str(make.customer_id(tenant, "C1")), "reason": "his"}
    assert (await post(client, f"/v1/payments/{payment}/move", body)).status_code == 200
    await look(world, tenant)
    shown = (await client.get(f"/v1/payments/{payment}")).json()["decisions"]
    assert [one["rule"] for one in shown] == ["none", "moved", "none"]
    assert (shown[1]["evidence"]["by"], shown[1]["evidence"]["payer"]) == ("tester", body["customer_id"])
    assert await seen_of(world, tenant, payment) == {"payer_said"}
    assert (await client.get(f"/v1/payments/{payment}/decisions/4/replay")).json()["differs"] == []
    await replayed(world, tenant)
    await world.holds()


@pytest.mark.parametrize("item_first", [True, False])
async def test_an_item_that_comes_after_its_payment_is_as_sure_as_one_that_came_before(world, tenant, make, client, item_first):
    held = await world.account(tenant)
    amounts = (5, 40_001, 40_002, 40_003, 40_004, 1_000)
    items = [identity(tenant, make, 1), *(make.invoice(tenant, f"F-{n}", amount) for n, amount in enumerate(amounts))]
    await world.feed(*(items if item_first else items[:2]))
    payment = await world.pay(held, 1_000, debtor_iban=iban(1))
    await world.match(tenant)
    await world.feed(*items)
    await look(world, tenant)
    shown = (await client.get(f"/v1/payments/{payment}")).json()
    assert (shown["status"], shown["decisions"][-1]["evidence"]["refused"]) == ("unapplied", "not sure enough")


@pytest.mark.parametrize("named", [False, True])
async def test_whose_item_was_wrong_has_not_paid(world, tenant, make, client, named):
    """All is as it was before, but for what a person has said of who paid."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    payment = await paid(world, tenant, held, 900)
    one = str(make.customer_id(tenant, "C1"))
    body = {"lines": [{"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 900}], **({"customer_id": one} if named else {})}
    assert (await post(client, f"/v1/payments/{payment}/allocations", body)).json()["payer_customer_id"] == one
    assert (await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "another invoice"})).status_code == 200
    assert await payer(client, payment) == (one if named else None)
    rows = await world.rows(tenant, "SELECT unapplied_minor FROM account_balance WHERE unapplied_minor <> 0")
    assert [row[0] for row in rows] == ([900] if named else [])
    await world.holds()


async def test_nothing_is_learnt_of_who_was_erased(world, tenant, make, client):
    """Nobody would forget it: the erasure is over."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), identity(tenant, make, 1))
    customer = make.customer_id(tenant, "C1")
    gone = CustomerErased(version=2, customer_id=customer, source_system="erp", customer_number="C1", erased_on=date(2026, 3, 2))
    await world.feed(message(tenant, gone))
    payment = await paid(world, tenant, held, 500)
    assert (await post(client, f"/v1/payments/{payment}/move", {"customer_id": str(customer), "reason": "his"})).status_code == 200
    assert await payer(client, payment) == str(customer)
    assert await world.rows(tenant, "SELECT 1 FROM payer_alias") == []


async def test_money_that_waits_for_the_same_reason_counts_on_its_payers_account(world, tenant, make, client):
    """By one account two customers pay, then one; of two items of the amount either may be meant, before and after."""
    held = await world.account(tenant)
    items = [make.invoice(tenant, f"F-{number}", 500) for number in range(2)]
    shared = [identity(tenant, make, number) for number in (1, 2)]
    shared[1].data.known_ibans[:] = [iban(1)]
    await world.feed(*items, *shared)
    payment = await world.pay(held, 500, debtor_iban=iban(1))
    await world.match(tenant)
    before = (await client.get(f"/v1/payments/{payment}")).json()
    assert (before["unapplied_reason"], before["payer_customer_id"]) == ("ambiguous", None)
    await world.feed(identity(tenant, make, 2, version=2))
    await look(world, tenant)
    after = (await client.get(f"/v1/payments/{payment}")).json()
    assert (after["unapplied_reason"], after["payer_customer_id"]) == ("ambiguous", str(make.customer_id(tenant, "C1")))
    await world.holds()
