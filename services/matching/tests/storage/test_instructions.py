"""Virtual IBANs: where an invoice is to be paid before it exists, and when one may be given to somebody else."""

import asyncio
from datetime import timedelta

import pytest
from contracts.customers import CustomerMerged
from decided import replayed
from matching.handlers import accounts
from matching.storage.parties import set_known_ibans
from shared.db import fetch
from shared.ids import new_id
from shared.testing.events import message
from stdnum import iso11649
from stdnum.iso7064 import mod_97_10


def iban(number: int) -> str:
    """A German IBAN with right check digits."""
    body = f"370400440{number:09d}"
    return f"DE{98 - int(body + '131400') % 97:02d}{body}"


async def pool(client, held, count):
    ibans = [iban(n) for n in range(count)]
    answer = await client.post(f"/v1/bank-accounts/{held.iban}/virtual-ibans/pool", json={"ibans": ibans})
    assert answer.json() == {"added": count}, answer.text


def question(held, number="F-1", customer="C1"):
    return {"bank_account_id": str(held.bank_account_id), "source_system": "erp", "invoice_number": number, "customer_number": customer}


async def ask(client, held, *args):
    return await client.post("/v1/payment-instructions", json=question(held, *args))


async def released(world, held, customer, now):
    """One that was the customer's."""
    async with world.database.transaction(held.tenant_id) as conn:
        given = await accounts.assign(
            conn, held.tenant_id, held.bank_account_id, customer_id=customer, invoice_id=None, holder_name="V", quarantine_days=400, now=now
        )
        return await accounts.release(conn, held.tenant_id, given.virtual_iban_id, now=now)


async def test_the_same_question_has_the_same_answer_however_often_it_is_asked_at_once(world, tenant, client):
    held = await world.account(tenant)
    await pool(client, held, 3)
    answers = await asyncio.gather(*(ask(client, held) for _ in range(10)))
    assert {a.status_code for a in answers} == {200}
    assert len({a.text for a in answers}) == 1
    first = answers[0].json()
    assert iso11649.is_valid(first["reference"])
    assert first["reference"].endswith("F1")
    assert (await ask(client, held, "F-1", "C2")).status_code == 409
    other = (await ask(client, held, "F/1")).json()  # reads the same without punctuation: another reference all the same
    assert other["reference"] != first["reference"]
    assert other["virtual_iban"] != first["virtual_iban"]
    assert mod_97_10.is_valid(other["reference"][4:] + other["reference"][:4])
    assert (await ask(client, held, "F-3")).status_code == 200
    assert (await ask(client, held, "F-4")).status_code == 409  # the pool is empty
    assert (await client.post("/v1/payment-instructions", json={**question(held), "bank_account_id": str(new_id())})).status_code == 404


async def test_what_could_never_pay_is_refused_and_what_is_not_known_yet_is_not(world, tenant, make, client):
    held = await world.account(tenant)
    await pool(client, held, 2)
    await world.feed(make.invoice(tenant, "F-1", 700, entity="another"))

    async def assign(key, **more):
        body = {"bank_account_id": str(held.bank_account_id), "holder_name": "Vendeur SA", **more}
        return await client.post("/v1/virtual-ibans", json=body, headers={"idempotency-key": key})

    for key, wrong, told in (
        ("a", {"bank_account_id": str(new_id()), "customer_id": str(new_id())}, (404, "account-unknown", "/bank_account_id")),
        ("b", {"invoice_id": str(make.invoice_id(tenant, "F-1"))}, (422, "item-elsewhere", "/invoice_id")),
    ):
        answer = await assign(key, **wrong)
        assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == told
    for key, early in (("c", {"customer_id": str(new_id())}), ("d", {"invoice_id": str(new_id())})):
        assert (await assign(key, **early)).status_code == 201


async def test_an_account_of_ours_is_no_virtual_iban(world, tenant, client):
    held = await world.account(tenant)
    path = f"/v1/bank-accounts/{held.iban}/virtual-ibans/pool"
    answer = await client.post(path, json={"ibans": [iban(1), held.iban]})
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (409, "iban-of-an-account", f"IBAN {held.iban}")
    assert (await client.post(path, json={"ibans": [iban(1)]})).json() == {"added": 1}


async def test_a_virtual_iban_is_no_account_of_ours(world, tenant, make, client):
    held = await world.account(tenant)
    await pool(client, held, 1)
    body = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "holder_name": "Vendeur SA", "start_date": "2026-01-01"}
    answer = await client.put(f"/v1/bank-accounts/{iban(0)}", json=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (409, "iban-is-virtual", f"IBAN {iban(0)}")
    assert (await client.put(f"/v1/bank-accounts/{held.iban}", json=body)).status_code == 200  # as ever
    # both at once: one of the two
    path = f"/v1/bank-accounts/{held.iban}/virtual-ibans/pool"
    for number in range(1, 21):
        both = await asyncio.gather(
            client.post(path, json={"ibans": [iban(number)]}), client.put(f"/v1/bank-accounts/{iban(number)}", json=body)
        )
        assert sorted(one.status_code for one in both) == [200, 409]


async def test_a_statement_that_names_nobody_but_the_virtual_iban_credited_knows_its_party(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    await pool(client, held, 1)
    told = (await ask(client, held)).json()
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    line = camtfile.entry("10.00", ref="B1", cdtr=told["virtual_iban"])  # no debtor, nor his account
    sent = camtfile.statement(held.iban, "0.00", "10.00", line)
    assert (await client.post("/v1/bank-files", content=sent, headers={"content-type": "application/xml"})).status_code == 201
    await world.match(tenant)
    row = await world.one(tenant, "SELECT status, rule, debtor_iban FROM payment")
    assert tuple(row) == ("matched", "virtual_iban_invoice", None)
    await world.holds()


async def test_money_on_the_virtual_iban_waits_for_its_invoice_and_knows_its_party(world, tenant, make, client):
    held = await world.account(tenant)
    await pool(client, held, 1)
    told = (await ask(client, held)).json()
    await world.pay(held, 1_000, "WRONG0815", virtual_iban=told["virtual_iban"], number=1)
    await world.match(tenant)
    assert tuple(await world.one(tenant, "SELECT status, payer_customer_id FROM payment")) == ("unapplied", make.customer_id(tenant, "C1"))
    await world.feed(make.invoice(tenant, "F-1", 1_500))
    assert tuple(await world.one(tenant, "SELECT status, rule FROM payment")) == ("matched", "virtual_iban_invoice")
    (again,) = [(await ask(client, held)).json()]
    assert (again["invoice_id"], again["virtual_iban"]) == (str(make.invoice_id(tenant, "F-1")), told["virtual_iban"])
    await world.pay(held, 500, told["reference"], number=2)  # the reference alone does too, though the invoice prints another
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT status FROM open_item"))[0] == "paid"
    names = [m.data for m in await world.events("VirtualIbanAssigned") if m.tenant_id == tenant]
    assert [n.version for n in names] == [1, 2]
    assert names[-1].invoice_id == make.invoice_id(tenant, "F-1")
    await world.feed(make.invoice(tenant, "F-1", 1_600, version=2, cls=make.Changed))  # a change keeps the reference
    await world.pay(held, 100, told["reference"], number=3)
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT status FROM open_item"))[0] == "paid"
    await world.holds()


async def test_a_released_one_rests_before_another_party_gets_it(world, tenant, make, client):
    held = await world.account(tenant)
    await pool(client, held, 1)
    one, two = make.customer_id(tenant, "C1"), make.customer_id(tenant, "C2")

    async def assign(customer, now):
        async with world.database.transaction(tenant) as conn:
            return await accounts.assign(
                conn, tenant, held.bank_account_id, customer_id=customer, invoice_id=None, holder_name="V", quarantine_days=400, now=now
            )

    first = await assign(one, make.NOW)
    async with world.database.transaction(tenant) as conn:
        await accounts.release(conn, tenant, first.virtual_iban_id, now=make.NOW)
    assert await assign(two, make.NOW + timedelta(days=400)) is None
    back = await assign(one, make.NOW + timedelta(days=1))
    assert (back.virtual_iban_id, back.version) == (first.virtual_iban_id, 3)
    async with world.database.transaction(tenant) as conn:
        await accounts.release(conn, tenant, first.virtual_iban_id, now=make.NOW)
    given = await assign(two, make.NOW + timedelta(days=400, seconds=1))
    assert (given.virtual_iban_id, given.customer_id) == (first.virtual_iban_id, two)


@pytest.mark.parametrize("known", [False, True])
async def test_a_released_ones_former_holder_has_candidates_where_nothing_else_says_who_paid(world, tenant, make, client, known):
    held = await world.account(tenant)
    await pool(client, held, 1)
    one, two = make.customer_id(tenant, "C1"), make.customer_id(tenant, "C2")
    await world.feed(make.invoice(tenant, "F-1", 10_013, customer="C1"), make.invoice(tenant, "F-2", 10_013, customer="C2"))
    given = await released(world, held, one, make.NOW)
    async with world.database.transaction(tenant) as conn:
        await set_known_ibans(conn, [(tenant, two)], [(tenant, two, iban(9))])
    await world.pay(held, 10_013, virtual_iban=given.virtual_iban, **({"debtor_iban": iban(9)} if known else {}))
    await world.match(tenant)
    if known:
        assert tuple(await world.one(tenant, "SELECT status, payer_customer_id FROM payment")) == ("matched", two)
        return
    (waiting,) = (await client.get("/v1/review-queue")).json()["items"]
    assert (waiting["reason"], waiting["evidence"]["refused"]) == ("unknown_party", "nobody knows the payer")
    shown = {one["lines"][0]["invoice_number"]: one["evidence"].get("former_holder", False) for one in waiting["candidates"]}
    assert shown == {"F-1": True, "F-2": False}
    assert await replayed(world, tenant)
    await world.holds()


async def test_a_former_holder_may_have_paid_though_nothing_has_the_amount(world, tenant, make, client):
    held = await world.account(tenant)
    await pool(client, held, 1)
    await world.feed(make.invoice(tenant, "F-1", 10_013), make.invoice(tenant, "F-2", 20_026))
    one = make.customer_id(tenant, "C1")
    given = await released(world, held, one, make.NOW)
    await world.pay(held, 777, virtual_iban=given.virtual_iban)
    await world.match(tenant)
    assert tuple(await world.one(tenant, "SELECT unapplied_reason, candidate_customer_ids FROM payment")) == ("unknown_party", [one])
    await world.holds()


async def merge(world, make, tenant, one, into):
    ids = {"customer_id": make.customer_id(tenant, one), "into_customer_id": make.customer_id(tenant, into)}
    await world.feed(message(tenant, CustomerMerged(version=2, source_system="erp", customer_number=one, status="merged", **ids)))


async def test_a_duplicates_instruction_is_the_survivors(world, tenant, make, client):
    held = await world.account(tenant)
    await pool(client, held, 3)
    first = (await ask(client, held, "F-1", "A")).json()
    await world.feed(make.invoice(tenant, "F-2", 700, customer="A"))
    assert (await ask(client, held, "F-1", "B")).status_code == 409
    await merge(world, make, tenant, "A", "B")
    for customer in ("A", "B"):
        assert (await ask(client, held, "F-1", customer)).json() == first
        assert (await ask(client, held, "F-2", customer)).json()["invoice_id"] == str(make.invoice_id(tenant, "F-2"))
    assert (await ask(client, held, "F-1", "C")).status_code == 409


async def test_a_duplicates_virtual_ibans_and_payments_are_listed_with_the_survivors(world, tenant, make, client, now):
    held = await world.account(tenant)
    await pool(client, held, 2)
    async with world.database.transaction(tenant) as conn:
        given = await accounts.assign(
            conn,
            tenant,
            held.bank_account_id,
            customer_id=make.customer_id(tenant, "A"),
            invoice_id=None,
            holder_name="V",
            quarantine_days=400,
            now=now,
        )
    await world.feed(make.invoice(tenant, "F-1", 700, customer="A", reference="RF18539007547034"))
    payment = await world.pay(held, 700, "RF18539007547034")
    await world.match(tenant)
    await merge(world, make, tenant, "A", "B")
    for customer in ("A", "B"):
        asked = {"customer_id": str(make.customer_id(tenant, customer))}
        listed = (await client.get("/v1/virtual-ibans", params=asked)).json()["items"]
        assert [one["virtual_iban"] for one in listed] == [given.virtual_iban]
        assert [one["payment_id"] for one in (await client.get("/v1/payments", params=asked)).json()["items"]] == [str(payment)]
    asked = {"customer_id": str(make.customer_id(tenant, "C"))}
    assert (await client.get("/v1/virtual-ibans", params=asked)).json()["items"] == []


async def test_asked_again_after_a_release_it_may_be_paid_to_again(world, tenant, make, client, now):
    held = await world.account(tenant)
    await pool(client, held, 2)
    first = (await ask(client, held)).json()

    async def let_go(moment):
        async with world.database.transaction(tenant) as conn:
            [row] = await fetch(conn, "SELECT virtual_iban_id FROM virtual_iban WHERE iban = :iban", iban=first["virtual_iban"])
            await accounts.release(conn, tenant, row[0], now=moment)

    await let_go(now)
    assert (await ask(client, held)).json() == first
    payment = await world.pay(held, 700, virtual_iban=first["virtual_iban"])
    await world.feed(make.invoice(tenant, "F-1", 700))
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT status FROM payment WHERE payment_id = :id", id=payment)).status == "matched"
    await let_go(now - timedelta(days=500))
    for number in ("F-2", "F-3"):
        await ask(client, held, number)  # the last one takes what rests long enough
    assert (await ask(client, held)).status_code == 409  # its own is somebody else's, and the pool is empty
    await client.post(f"/v1/bank-accounts/{held.iban}/virtual-ibans/pool", json={"ibans": [iban(9)]})
    again = (await ask(client, held)).json()
    assert again == {**first, "virtual_iban": iban(9), "invoice_id": str(make.invoice_id(tenant, "F-1"))}
    assert (await ask(client, held)).json() == again
