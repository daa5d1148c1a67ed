"""The review queue: what a person sees and confirms there."""

from decided import iban, identity
from expecting import items, post


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


async def shown(client, **asked):
    """The queue: of each payment the reason, and the items of each candidate."""
    found = (await client.get("/v1/review-queue", params=asked)).json()["items"]
    return [(one["reason"], [[line["invoice_number"] for line in its["lines"]] for its in one["candidates"]]) for one in found]


async def test_an_advance_waits_for_nobody_and_is_shown_to_who_asks_for_it(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 1), make.invoice(tenant, "FA2026-00001", 4_000))
    await world.pay(held, 250_000, debtor_iban=iban(1), remittance=["ACOMPTE COMMANDE 7596578"], number=1)
    await world.pay(held, 70, remittance=["virement"], number=2)
    await world.match(tenant)
    assert await shown(client) == [("unknown_party", [])]
    assert await shown(client, reason="advance") == [("advance", [])]
