"""Money in one currency for what is owed in another, over HTTP: rates of a person and of the bank, gains, losses, and back again."""

import itertools

import pytest
from handwork import limit
from matching.domain.statements import Amount
from matching.storage.parties import set_known_ibans
from shared.money import MAX_MINOR

_KEYS = itertools.count()
PAYER = "FR7630004000031234567890143"


async def post(client, path, body):
    return await client.post(path, json=body, headers={"idempotency-key": f"x{next(_KEYS)}"})


def across(make, tenant, number, amount, settled, **rate):
    return {"item_id": str(make.invoice_id(tenant, number)), "amount_minor": amount, "exchange": {"item_amount_minor": settled, **rate}}


async def dollars(world, tenant, make, amount, **more):
    """A dollar account, an invoice of 1,000.00 euro, and a payment."""
    held = await world.account(tenant, "DE89370400440532013000", currency="USD")
    await world.feed(make.invoice(tenant, "F-1", 100_000))
    payment = await world.pay(held, amount, **more)
    await world.match(tenant)
    return payment


async def ledger(world, tenant):
    rows = await world.rows(
        tenant,
        "SELECT currency, ledger, sum(minor) FROM (SELECT currency, debit AS ledger, amount_minor AS minor FROM ledger_entry UNION ALL "
        "SELECT currency, credit, -amount_minor FROM ledger_entry) l GROUP BY 1, 2 HAVING sum(minor) <> 0",
    )
    return {(row[0], row[1]): int(row[2]) for row in rows}


async def test_a_rate_that_is_given_settles_the_item_and_what_it_loses_is_ours(world, tenant, make, client):
    payment = await dollars(world, tenant, make, 108_000)
    line = across(make, tenant, "F-1", 108_000, 100_000, rate="0.9245", rate_source="ecb")
    refused = await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})
    assert (refused.status_code, refused.json()["code"]) == (403, "difference-above-limit")
    await limit(client, tenant, make, 154)
    done = await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})
    assert done.status_code == 200, done.text
    (held,) = done.json()["allocations"]
    assert held["exchange"] == {"item_amount_minor": 100_000, "rate": "0.9245", "source": "ecb", "difference_minor": -154}
    assert done.json()["payer_customer_id"] == str(make.customer_id(tenant, "C1"))
    item = await world.one(tenant, "SELECT open_minor, cash_minor, status FROM open_item")
    assert tuple(item) == (0, 100_000, "paid")
    assert await ledger(world, tenant) == {
        ("USD", "bank"): 108_000,
        ("USD", "exchange"): -108_000,
        ("EUR", "billed"): -100_000,
        ("EUR", "exchange"): 99_846,
        ("EUR", "fx_loss"): 154,
    }
    (event,) = [m for m in await world.events("PaymentMatched") if m.tenant_id == tenant]
    told = event.data.allocations[0]
    assert (told.amount_minor, told.exchange.item_amount_minor, told.exchange.rate, told.exchange.source) == (
        108_000,
        100_000,
        "0.9245",
        "ecb",
    )
    assert len([m for m in await world.events("InvoicePaid") if m.tenant_id == tenant]) == 1
    shown = (await client.get(f"/v1/payments/{payment}")).json()["allocations"][0]
    assert (shown["item_currency"], shown["item_amount_minor"], shown["rate"]) == ("EUR", 100_000, "0.9245")
    await world.holds()
    export = await client.get(
        "/v1/ledger-export",
        params={"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2030-12-31", "format": "csv"},
    )
    assert export.status_code == 200, export.text
    assert "666000" in export.text
    assert "Perte de change" in export.text


async def test_undoing_an_exchange_is_the_identity(world, tenant, make, client):
    payment = await dollars(world, tenant, make, 110_000)
    before = await ledger(world, tenant)
    await limit(client, tenant, make, 10_000)
    line = across(make, tenant, "F-1", 108_000, 99_000, rate="0.9245", rate_source="ecb")
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).json()["unapplied_minor"] == 2_000
    assert ("EUR", "fx_gain") in await ledger(world, tenant)
    await world.holds()
    undone = await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "wrong"})
    assert undone.status_code == 200, undone.text
    assert await ledger(world, tenant) == before
    assert tuple(await world.one(tenant, "SELECT open_minor, cash_minor, value_date FROM open_item")) == (100_000, 0, None)
    assert await world.rows(tenant, "SELECT 1 FROM allocation_exchange") == []
    await world.holds()


async def test_what_the_payer_told_his_bank_to_pay_is_the_banks_own_rate(world, tenant, make, client):
    payment = await dollars(world, tenant, make, 108_171, instructed=Amount(100_000, "EUR"))
    line = across(make, tenant, "F-1", 108_171, 100_000)
    done = await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})
    assert done.status_code == 200, done.text
    held = done.json()["allocations"][0]["exchange"]
    assert (held["source"], held["difference_minor"], held["rate"][:6]) == ("bank", 0, "0.9244")
    await world.holds()


@pytest.mark.parametrize(
    ("exchange", "status", "code"),
    [
        (None, 422, "item-currency"),
        ({"item_amount_minor": 100_000}, 422, "rate-missing"),
        ({"item_amount_minor": 100_001, "rate": "0.9245", "rate_source": "ecb"}, 409, "item-has-less"),
        ({"item_amount_minor": 100_000, "rate": "0.9245"}, 422, "rate-source"),
        ({"item_amount_minor": 100_000, "rate": "0", "rate_source": "ecb"}, 422, "rate-invalid"),
        *(
            ({"item_amount_minor": 100_000, "rate": "0.9245", "rate_source": one}, 422, "rate-source-ours")
            for one in ("bank", "usual", "confirmed")
        ),
        ({"item_amount_minor": 100_000, "rate": "1e5", "rate_source": "ecb"}, 422, None),
        ({"item_amount_minor": 100_000, "rate": "999999999", "rate_source": "ecb"}, 403, "difference-above-limit"),
    ],
)
async def test_what_cannot_be_exchanged_says_why_and_changes_nothing(world, tenant, make, client, exchange, status, code):
    payment = await dollars(world, tenant, make, 108_000)
    await limit(client, tenant, make, 1_000)
    before = await ledger(world, tenant)
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 108_000} | ({"exchange": exchange} if exchange else {})
    answer = await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})
    assert answer.status_code == status, answer.text
    assert code is None or answer.json()["code"] == code
    assert await ledger(world, tenant) == before
    await world.holds()


async def test_an_item_in_the_payments_own_currency_is_not_exchanged_and_a_pair_only_once(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-2", 500))
    same = await world.pay(held, 700)
    await world.match(tenant)
    line = across(make, tenant, "F-2", 500, 500, rate="1", rate_source="ecb")
    assert (await post(client, f"/v1/payments/{same}/allocations", {"lines": [line]})).json()["code"] == "item-currency"
    payment = await dollars(world, tenant, make, 108_000)
    await limit(client, tenant, make, 100_000)
    half = across(make, tenant, "F-1", 50_000, 50_000, rate="0.9245", rate_source="ecb")
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [half]})).status_code == 200
    again = await post(client, f"/v1/payments/{payment}/allocations", {"lines": [half]})
    assert (again.status_code, again.json()["code"]) == (409, "item-has-exchange")
    await world.holds()


async def test_a_refused_recall_restores_what_was_exchanged(world, tenant, make, client):
    payment = await dollars(world, tenant, make, 108_000, end_to_end_id="E2E-X")
    await limit(client, tenant, make, 154)
    line = across(make, tenant, "F-1", 108_000, 100_000, rate="0.9245", rate_source="ecb")
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).status_code == 200
    before = await ledger(world, tenant)
    asked = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.056.001.08"><FIToFIPmtCxlReq><Undrlyg><TxInf><CxlId>C</CxlId>'
        '<OrgnlEndToEndId>E2E-X</OrgnlEndToEndId><OrgnlIntrBkSttlmAmt Ccy="USD">1080.00</OrgnlIntrBkSttlmAmt></TxInf></Undrlyg>'
        "</FIToFIPmtCxlReq></Document>"
    )
    taken = (await client.post("/v1/recalls", content=asked, headers={"content-type": "application/xml"})).json()["taken"]
    assert tuple(await world.one(tenant, "SELECT open_minor, cash_minor FROM open_item")) == (100_000, 0)
    await world.holds()
    kept = await post(client, f"/v1/recalls/{taken[0]['recall_id']}/decision", {"accept": False})
    assert kept.json()["status"] == "refused", kept.text
    assert await ledger(world, tenant) == before
    assert tuple(await world.one(tenant, "SELECT open_minor, cash_minor FROM open_item")) == (0, 100_000)
    await world.holds()


async def test_what_is_no_rate_between_two_amounts_is_refused(world, tenant, make, client):
    payment = await dollars(world, tenant, make, 9_000_000_000_000, instructed=Amount(1, "EUR"))
    await limit(client, tenant, make, MAX_MINOR)
    answer = await post(client, f"/v1/payments/{payment}/allocations", {"lines": [across(make, tenant, "F-1", 100_000, 100_000)]})
    assert (answer.status_code, answer.json()["code"]) == (422, "rate-invalid")
    await world.holds()


async def test_a_candidate_in_another_currency_is_shown_with_both_amounts_and_confirmed_whole(world, tenant, make, client):
    held = await world.account(tenant, "DE89370400440532013000", currency="USD")
    numbers = [f"FA2026-0000{n}" for n in range(1, 4)]
    await world.feed(*(make.invoice(tenant, number, 100_000, customer="C1") for number in numbers))
    for n, number in enumerate(numbers[:2], 1):  # what a euro costs is known by these
        await world.pay(held, 108_000 + n, remittance=[number], number=n, instructed=Amount(100_000, "EUR"), debtor_iban=PAYER)
        await world.match(tenant)
        (waits,) = await world.rows(tenant, "SELECT payment_id, version, status FROM payment WHERE amount_minor = :a", a=108_000 + n)
        if waits[2] != "matched":
            confirmed = await post(client, f"/v1/payments/{waits[0]}/confirm", {"candidate": 1, "version": waits[1]})
            assert confirmed.json()["allocations"][0]["exchange"]["source"] == "bank", confirmed.text
    payment = await world.pay(held, 108_200, number=9, debtor_iban=PAYER)  # it names nothing: only its worth speaks
    await world.match(tenant)
    (shown,) = (await client.get("/v1/review-queue")).json()["items"]
    first = shown["candidates"][0]["lines"][0]
    assert (first["currency"], first["item_amount_minor"], first["amount_minor"]) == ("EUR", 100_000, 108_200)
    body = {"candidate": shown["candidates"][0]["rank"], "version": shown["version"]}
    done = await post(client, f"/v1/payments/{payment}/confirm", body)
    assert done.status_code == 200, done.text
    (allocated,) = done.json()["allocations"]
    assert (allocated["exchange"]["source"], allocated["exchange"]["difference_minor"]) == ("confirmed", 0)
    assert (done.json()["status"], done.json()["unapplied_minor"]) == ("matched", 0)
    await world.holds()
    undone = await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "wrong"})
    assert undone.status_code == 200
    await world.holds()


async def test_what_is_named_in_a_currency_whose_rate_nobody_knows_is_told_so(world, tenant, make):
    held = await world.account(tenant, "DE89370400440532013000", currency="USD")
    await world.feed(make.invoice(tenant, "FA-2026-0815", 100_000))
    await world.pay(held, 108_000, remittance=["FA-2026-0815"], debtor_name="Payeur SA", debtor_iban=PAYER)
    async with world.database.transaction(tenant) as conn:
        customer = (tenant, make.customer_id(tenant, "C1"))
        await set_known_ibans(conn, [customer], [(*customer, PAYER)])
    await world.match(tenant)
    assert tuple(await world.one(tenant, "SELECT status, unapplied_reason FROM payment")) == ("unapplied", "currency")
