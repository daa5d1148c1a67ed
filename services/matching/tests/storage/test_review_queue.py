"""The review queue: what a person sees and confirms there."""

import asyncio

from bankdays import waiting_for_a_lock
from decided import iban, identity, look, replayed
from expecting import items, post
from matching.handlers.allocations import Line, allocate
from shared.clock import machine_now


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


async def told(world, tenant):
    """Who may have paid, as the events said, one after the other."""
    return [m.data.candidate_customer_ids for m in await world.events("PaymentUnapplied") if m.tenant_id == tenant]


async def test_an_item_that_comes_after_its_payment_is_shown_and_told_once(world, tenant, make, client):
    """Neither is sure enough to be settled: one of two of the amount, and a number that nobody known has paid."""
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 1))
    known = await world.pay(held, 1_000, debtor_iban=iban(1), number=1)
    unknown = await world.pay(held, 1_000, remittance=["F-100234"], number=2)
    await world.match(tenant)
    assert sorted(await shown(client)) == [("no_reference", []), ("unknown_party", [])]
    await world.feed(
        make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000), make.invoice(tenant, "F-100234", 2_000, customer="C2")
    )
    for _ in range(3):
        await look(world, tenant)
        assert sorted(await shown(client)) == [("ambiguous", [["F-1"], ["F-2"]]), ("unknown_party", [["F-100234"]])]
    rows = await world.rows(tenant, "SELECT version FROM payment WHERE payment_id IN (:one, :other)", one=known, other=unknown)
    assert [row[0] for row in rows] == [3, 3]
    assert [one for one in await told(world, tenant) if one] == [[make.customer_id(tenant, "C2")]]
    assert (await replayed(world, tenant))["none"] == 4
    await world.holds()


async def test_what_was_somebody_elses_money_is_shown_with_its_payers_items(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), *(make.invoice(tenant, number, 1_000, customer="C2") for number in ("F-2", "F-3")))
    payments = [await world.pay(held, amount, number=amount) for amount in (1_000, 70)]
    await world.match(tenant)
    assert [reason for reason, _ in await shown(client)] == ["unknown_party", "unknown_party"]
    for payment in payments:
        body = {"customer_id": str(make.customer_id(tenant, "C2")), "reason": "his"}
        assert (await post(client, f"/v1/payments/{payment}/move", body)).status_code == 200
    await look(world, tenant)
    assert dict(await shown(client)) == {"ambiguous": [["F-2"], ["F-3"]], "no_reference": []}
    await replayed(world, tenant)
    await world.holds()


async def test_an_advance_waits_for_nobody_and_is_shown_to_who_asks_for_it(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 1), make.invoice(tenant, "FA2026-00001", 4_000))
    await world.pay(held, 250_000, debtor_iban=iban(1), remittance=["ACOMPTE COMMANDE 7596578"], number=1)
    await world.pay(held, 70, remittance=["virement"], number=2)
    await world.match(tenant)
    assert await shown(client) == [("unknown_party", [])]
    assert await shown(client, reason="advance") == [("advance", [])]


async def test_who_owes_what_was_dismissed_has_not_paid(world, tenant, make, client):
    """Reminders spare who may have paid: nobody, once a person has said that it is for none of their items."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000, customer="C2"))
    payment = await world.pay(held, 1_000, number=1)
    await world.match(tenant)
    for number in ("F-1", "F-2"):
        body = {"item_ids": [str(make.invoice_id(tenant, number))], "reason": "not his"}
        assert (await post(client, f"/v1/payments/{payment}/dismiss", body)).status_code == 200
        for _ in range(2):
            await look(world, tenant)
    one, other = (make.customer_id(tenant, name) for name in ("C1", "C2"))
    assert [sorted(ids) for ids in await told(world, tenant)] == [sorted([one, other]), [other], []]
    assert await shown(client) == [("unknown_party", [])]
    await replayed(world, tenant)
    await world.holds()


async def test_what_another_payment_settled_is_meant_no_more(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 1), *(make.invoice(tenant, f"F-{n}", 1_000, reference=f"REF{n:06d}") for n in range(2)))
    await world.pay(held, 1_000, debtor_iban=iban(1), number=1)
    await world.match(tenant)
    assert await shown(client) == [("ambiguous", [["F-0"], ["F-1"]])]
    for n in range(2):
        await world.pay(held, 1_000, f"REF{n:06d}", number=2 + n)
    await world.match(tenant)
    await world.rows(tenant, "UPDATE payment SET next_look_at = now() WHERE status = 'unapplied' RETURNING 1")
    for _ in range(2):
        await look(world, tenant)
        assert await shown(client) == [("no_reference", [])]
    await world.holds()


async def test_what_is_allocated_at_the_same_moment_is_not_dismissed(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000, customer="C2"))
    payment, chosen = await world.pay(held, 1_000, number=1), make.invoice_id(tenant, "F-1")
    await world.match(tenant)
    async with world.database.transaction(tenant) as conn:
        await allocate(conn, tenant, payment, [Line(chosen, 1_000)], customer_id=None, by="anna", now=machine_now())
        dismissing = asyncio.create_task(post(client, f"/v1/payments/{payment}/dismiss", {"item_ids": [str(chosen)], "reason": "no"}))
        await waiting_for_a_lock(world, tenant, 1)
    refused = await dismissing
    assert (refused.status_code, refused.json()["code"]) == (409, "item-is-allocated")
    await world.holds()
