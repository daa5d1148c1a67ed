"""Nothing of an erased person is in any table of the sub-ledger, and the books stay whole."""

from datetime import date
from uuid import UUID

import asyncpg
from bankdays import ahead
from contracts.customers import Address, CustomerErased, CustomerIdentityChanged
from handwork import limit, post
from matching.handlers import files
from shared.ids import new_id
from shared.testing.events import message
from shared.testing.mentions import mentions

PERSON = ("Yvonne Le Gall", "FR7630004000031234567890143", "merci Yvonne", "3 rue du Port")
IBAN_OF_HER = PERSON[1]
OTHERS = "DE89370400440532013000"
POOL = ["FR1420041010050500013M02606", "BE71096123456769", "ES9121000418450200051332"]


async def forget_outbox(world):
    """As the relay does once it has sent."""
    conn = await asyncpg.connect(world.urls.owner)
    await conn.execute("DELETE FROM outbox")
    await conn.close()


def identity(tenant: UUID, customer: UUID, version: int = 1):
    who = CustomerIdentityChanged(
        version=version,
        customer_id=customer,
        name="Yvonne Le Gall",
        known_ibans=[IBAN_OF_HER],
        address=Address(lines=["3 rue du Port"]),
    )
    return message(tenant, who)


def erased(tenant: UUID, customer: UUID, version: int = 5):
    gone = CustomerErased(version=version, customer_id=customer, source_system="erp", customer_number="P", erased_on=date(2036, 1, 1))
    return message(tenant, gone)


async def test_nothing_of_the_person_is_left_and_nothing_late_brings_it_back(world, make, tenant, client):
    held = await world.account(tenant)
    person = make.customer_id(tenant, "P")
    await world.feed(identity(tenant, person), make.invoice(tenant, "F1", 4_200, customer="P", reference="RF18539007547034"))
    said = {"debtor_name": "Yvonne Le Gall", "debtor_iban": IBAN_OF_HER, "remittance": ("facture F1", "merci Yvonne")}
    said["ultimate_name"] = "Yvonne Le Gall"
    await world.pay(held, 4_200, "RF18539007547034", number=1, **said)
    await world.match(tenant)
    await world.pay(held, 10, number=2, **said)  # hers, and nothing is owed
    await world.match(tenant)
    await forget_outbox(world)
    assert {where.split(": ")[1] for where in await mentions(world.urls.owner, *PERSON)} == set(PERSON) - {"3 rue du Port"}
    other = new_id()
    await world.feed(identity(other, person))
    await world.feed(erased(tenant, person), identity(tenant, person, 4))
    left = await mentions(world.urls.owner, *PERSON)
    assert left == ["customer_identity.name: Yvonne Le Gall", f"payer_iban.iban: {IBAN_OF_HER}"]  # the other tenant's alone
    await world.feed(erased(other, person, 2))
    assert await mentions(world.urls.owner, *PERSON) == []
    rows = await world.rows(tenant, "SELECT amount_minor, payer_customer_id FROM payment ORDER BY amount_minor")
    assert [tuple(row) for row in rows] == [(10, person), (4_200, person)]
    answer = await client.get("/v1/payments")
    assert answer.status_code == 200
    await world.holds()


async def test_what_was_set_apart_from_her_account_or_under_her_name_is_learnt_no_more(world, make, tenant, client):
    held = await world.account(tenant)
    ours, other = {"debtor_name": "Anne  BLANC", "debtor_iban": OTHERS}, {"debtor_name": "Finanzamt"}
    for number, said in enumerate((ours, other)):  # she was no customer then
        payment = await world.pay(held, 10, number=number, **said)
        await world.match(tenant)
        await world.one(tenant, "UPDATE payment SET confirmation = 'booked' WHERE payment_id = :id RETURNING 1", id=payment)
        done = await post(client, f"/v1/payments/{payment}/set-apart", {"reason": "interest"})
        assert done.status_code == 200, done.text
    person = make.customer_id(tenant, "P")
    who = CustomerIdentityChanged(version=1, customer_id=person, name="Anne Blanc", known_ibans=[OTHERS])
    await world.feed(message(tenant, who), erased(tenant, person))
    assert [row[0] for row in await world.rows(tenant, "SELECT value FROM payer_alias")] == ["FINANZAMT"]
    await world.holds()


async def test_what_waits_was_answered_or_is_on_its_way_forgets_her_too(world, make, tenant, client, second, camtfile):
    held = await world.account(tenant)
    person, other = make.customer_id(tenant, "P"), make.customer_id(tenant, "Q")
    await world.feed(
        identity(tenant, person), make.invoice(tenant, "F1", 4_200, customer="P"), make.invoice(tenant, "F2", 100, customer="Q")
    )
    assert (await client.post(f"/v1/bank-accounts/{held.iban}/virtual-ibans/pool", json={"ibans": POOL})).status_code == 200
    account = {"bank_account_id": str(held.bank_account_id)}
    hers = {**account, "holder_name": "Vendeur SA, Yvonne Le Gall"}
    given = [
        {**hers, "customer_id": str(person)},
        {**hers, "invoice_id": str(make.invoice_id(tenant, "F1"))},
        {**account, "holder_name": "Vendeur SA, Q", "customer_id": str(other)},
    ]
    for at, body in enumerate(given):
        answer = await client.post("/v1/virtual-ibans", json=body, headers={"idempotency-key": f"v{at}"})
        assert answer.status_code == 201, answer.text
    # a statement that does not add up waits for a second person, with what she paid and what somebody else did
    entries = [
        camtfile.entry("42.00", ref="B1", iban=IBAN_OF_HER, text="merci Yvonne"),
        camtfile.entry("1.00", ref="B2", iban=OTHERS, text="F2"),
    ]
    taken = await client.post(
        "/v1/bank-files", content=camtfile.statement(held.iban, "0.00", "99.00", *entries), headers={"content-type": "application/xml"}
    )
    (statement,) = taken.json()["statements"]
    assert statement["verdict"] == "rejected"
    # a refund of hers is with the bank
    payment = await world.pay(
        held, 700, number=7, debtor_name="Yvonne Le Gall", debtor_iban=IBAN_OF_HER, remittance=("trop payé, merci Yvonne",)
    )
    await world.match(tenant)
    await limit(client, tenant, make, 1_000)
    body = {"payment_id": str(payment), "reason": "Yvonne Le Gall paid twice"}
    refund = (await client.post("/v1/refunds", json=body, headers={"idempotency-key": "r1"})).json()
    came = camtfile.statement(held.iban, "99.00", "106.00", camtfile.entry("7.00", ref="B7"), day="2026-03-03", number=2)
    assert (await client.post("/v1/bank-files", content=came, headers={"content-type": "application/xml"})).status_code == 201
    file = {"bank_account_id": str(held.bank_account_id), "execution_date": ahead(1)}
    assert (await client.post("/v1/refund-files", json=file, headers={"idempotency-key": "f1"})).status_code == 201
    noted = {"item_ids": [str(make.invoice_id(tenant, "F1"))], "reason": "not what Yvonne Le Gall meant"}
    await client.post(f"/v1/payments/{payment}/dismiss", json=noted, headers={"idempotency-key": "d1"})
    await forget_outbox(world)
    before = await mentions(world.urls.owner, *PERSON)
    assert {where.split(": ")[0] for where in before} >= {
        *("virtual_iban.holder_name", "statement_slice.transactions", "idempotency_key.body", "refund.creditor_name", "refund.reason"),
        "dismissed_pair.reason",
    }
    await world.feed(erased(tenant, person))
    told = {m.data.virtual_iban_id: m.data.holder_name for m in await world.events("VirtualIbanAssigned") if m.tenant_id == tenant}
    assert list(told.values()) == ["Vendeur SA", "Vendeur SA"]  # it is told to all who keep it
    await forget_outbox(world)
    left = await mentions(world.urls.owner, *PERSON)
    kept = {"refund.creditor_iban", "refund.creditor_name", "refund.reason", "refund_file.content"}  # with the bank: it has to be known
    assert {where.split(": ")[0] for where in left} == kept
    names = await world.rows(tenant, "SELECT holder_name FROM virtual_iban ORDER BY 1")
    assert [row[0] for row in names] == ["Vendeur SA", "Vendeur SA", "Vendeur SA, Q"]
    again = await client.post("/v1/refunds", json=body, headers={"idempotency-key": "r1"})
    assert again.status_code == 410  # nothing is done twice, and nothing of her is told again
    # what waited is booked as it was, without her; the other's payment says what it said
    assert (await second.post(f"/v1/statements/{statement['statement_id']}/acceptance", json={"reason": "as it is"})).status_code == 403
    async with world.database.transaction(tenant) as conn:
        await files.accept(conn, tenant, UUID(statement["statement_id"]), reason="as it is", by="second", now=make.NOW)
    rows = await world.rows(tenant, "SELECT amount_minor, debtor_iban, remittance FROM payment WHERE amount_minor <> 700 ORDER BY 1")
    assert [tuple(row) for row in rows] == [(100, OTHERS, ["F2"]), (4_200, None, [])]
    # the bank has carried the refund out: she is not needed any more
    debit = camtfile.entry("7.00", e2e=refund["end_to_end_id"], credit=False, ref="B3")
    done = camtfile.statement(held.iban, "43.00", "36.00", debit, day="2026-03-04", number=3)
    assert (await client.post("/v1/bank-files", content=done, headers={"content-type": "application/xml"})).status_code == 201
    assert tuple(await world.one(tenant, "SELECT status, creditor_name, creditor_iban, reason FROM refund")) == ("paid", "", "", "")
    await world.holds()
