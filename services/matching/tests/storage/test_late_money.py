"""Money that comes for what was written off."""

import itertools
from datetime import date

import pytest
from decided import iban, identity, look, replayed
from handwork import limit
from matching.domain.proposing import GIVEN_UP
from matching.handlers import late_money
from matching.handlers.late_money import allocate_late_money
from shared.failures import UnavailableError
from shared.jobs import JobContext
from shared.kafka import Offsets

_KEYS = itertools.count()
REFERENCE = "RF18539007547034"


async def post(client, path, body):
    return await client.post(path, json=body, headers={"idempotency-key": f"l{next(_KEYS)}"})


async def written_off(world, tenant, make, client, amount=1_000):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE, due=date(2025, 1, 1)))
    await limit(client, tenant, make, 5_000)
    body = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "uncollectible", "amount_minor": amount}
    assert (await post(client, "/v1/write-offs", body)).status_code == 201
    return held


async def run(world, tenant, now):
    await allocate_late_money(JobContext(world.database, now, Offsets("localhost:1"), "", "matching"), tenant)


async def item(world, tenant):
    return tuple(await world.one(tenant, "SELECT open_minor, cash_minor, written_off_minor, status FROM open_item"))


@pytest.mark.parametrize(("paid", "after"), [(1_000, (0, 1_000, 0, "paid")), (400, (0, 400, 600, "paid")), (1_300, (0, 1_000, 0, "paid"))])
async def test_the_write_off_is_reversed_as_far_as_the_money_goes(world, tenant, make, client, now, paid, after):
    held = await written_off(world, tenant, make, client)
    payment = await world.pay(held, paid, REFERENCE)
    await world.match(tenant)
    assert await item(world, tenant) == (0, 0, 1_000, "closed")
    for _ in range(2):
        await run(world, tenant, now)
    assert await item(world, tenant) == after
    shown = (await client.get(f"/v1/payments/{payment}")).json()
    assert (shown["unapplied_minor"], shown["decisions"][-1]["rule"]) == (max(paid - 1_000, 0), "after_write_off")
    assert len([m for m in await world.events("WriteOffReversed") if m.tenant_id == tenant]) == 1
    await world.holds()


async def test_what_the_payment_does_not_say_waits_for_a_person(world, tenant, make, client, now):
    held = await written_off(world, tenant, make, client)
    await world.pay(held, 1_000, number=1, remittance=["F-1"])
    await world.match(tenant)
    await run(world, tenant, now)
    assert await item(world, tenant) == (0, 0, 1_000, "closed")


async def named_in_text(world, tenant, make, client, paid, *, said="FA2026-00001", given_up=1_000, **more):
    """F-1 under another number, written off; a payment of C1 that says it in its text; how the review queue shows that."""
    held = await world.account(tenant)
    await world.feed(
        identity(tenant, make, 1),
        make.invoice(tenant, "FA2026-00001", 1_000, due=date(2025, 1, 1)),
        make.invoice(tenant, "FA2026-00002", 7_000),
    )
    await limit(client, tenant, make, 5_000)
    body = {"item_id": str(make.invoice_id(tenant, "FA2026-00001")), "reason": "uncollectible", "amount_minor": given_up}
    assert (await post(client, "/v1/write-offs", body)).status_code == 201
    await world.pay(held, paid, number=1, remittance=[said], **{"debtor_iban": iban(1), **more})
    await world.match(tenant)
    await look(world, tenant)
    [waits] = (await client.get("/v1/review-queue")).json()["items"]
    return waits


async def confirm_first(client, waits):
    return await post(client, f"/v1/payments/{waits['payment_id']}/confirm", {"candidate": 1, "version": waits["version"]})


@pytest.mark.parametrize(("paid", "after"), [(1_000, (0, 1_000, 0, "paid")), (400, (0, 400, 600, "paid")), (1_300, (0, 1_000, 0, "paid"))])
async def test_who_confirms_what_a_text_names_reverses_the_write_off(world, tenant, make, client, paid, after):
    waits = await named_in_text(world, tenant, make, client, paid)
    assert (waits["reason"], waits["evidence"]["refused"]) == ("written_off", GIVEN_UP)
    [line] = waits["candidates"][0]["lines"]
    assert (line["invoice_number"], line["written_off_minor"], line["amount_minor"]) == ("FA2026-00001", 1_000, min(paid, 1_000))
    assert (await confirm_first(client, waits)).status_code == 200
    row = await world.one(
        tenant, "SELECT open_minor, cash_minor, written_off_minor, status FROM open_item WHERE invoice_number = 'FA2026-00001'"
    )
    assert tuple(row) == after
    assert len([m for m in await world.events("WriteOffReversed") if m.tenant_id == tenant]) == 1
    assert (await replayed(world, tenant))["none"] == 1
    await world.holds()


async def test_a_payer_whom_nobody_knows_is_shown_what_it_names(world, tenant, make, client):
    waits = await named_in_text(world, tenant, make, client, 1_000, debtor_iban=None)
    assert (waits["reason"], waits["evidence"]["refused"]) == ("unknown_party", GIVEN_UP)
    [told] = [m.data for m in await world.events("PaymentUnapplied") if m.tenant_id == tenant]
    assert told.candidate_customer_ids == [make.customer_id(tenant, "C1")]
    done = (await confirm_first(client, waits)).json()
    assert (done["status"], done["payer_customer_id"]) == ("matched", str(make.customer_id(tenant, "C1")))
    await world.holds()


async def test_what_was_written_off_is_shown_with_what_else_is_named(world, tenant, make, client):
    waits = await named_in_text(world, tenant, make, client, 8_000, said="FA2026-00001 FA2026-00002")
    assert [(line["invoice_number"], line["amount_minor"]) for line in waits["candidates"][0]["lines"]] == [
        ("FA2026-00001", 1_000),
        ("FA2026-00002", 7_000),
    ]
    assert (await confirm_first(client, waits)).json()["status"] == "matched"
    await world.holds()


async def test_what_was_written_off_in_part_is_shown_where_more_comes_than_is_owed(world, tenant, make, client):
    waits = await named_in_text(world, tenant, make, client, 1_000, given_up=600)
    [line] = waits["candidates"][0]["lines"]
    assert (line["open_minor"], line["written_off_minor"], line["amount_minor"]) == (1_000, 600, 1_000)
    assert (await confirm_first(client, waits)).json()["status"] == "matched"
    await replayed(world, tenant)
    await world.holds()


async def test_what_was_written_off_and_dismissed_is_shown_no_more(world, tenant, make, client):
    waits = await named_in_text(world, tenant, make, client, 1_000)
    body = {"item_ids": [str(make.invoice_id(tenant, "FA2026-00001"))], "reason": "other"}
    assert (await post(client, f"/v1/payments/{waits['payment_id']}/dismiss", body)).status_code == 200
    await look(world, tenant)
    [waits] = (await client.get("/v1/review-queue")).json()["items"]
    assert "FA2026-00001" not in {line["invoice_number"] for one in waits["candidates"] for line in one["lines"]}


async def test_what_a_person_has_dismissed_is_left_alone(world, tenant, make, client, now):
    held = await written_off(world, tenant, make, client)
    payment = await world.pay(held, 1_000, REFERENCE)
    await world.match(tenant)
    answer = await post(client, f"/v1/payments/{payment}/dismiss", {"item_ids": [str(make.invoice_id(tenant, "F-1"))], "reason": "other"})
    assert answer.status_code == 200, answer.text
    await run(world, tenant, now)
    assert await item(world, tenant) == (0, 0, 1_000, "closed")
    await world.holds()


@pytest.mark.parametrize("of_a_slice", [1, 2])
async def test_money_that_somebody_is_at_does_not_keep_the_others_waiting(world, tenant, make, client, now, monkeypatch, of_a_slice):
    monkeypatch.setattr(late_money, "SLICE", of_a_slice)
    held = await world.account(tenant)
    numbers = {"F-1": REFERENCE, "F-2": "RF712348231"}
    await world.feed(*(make.invoice(tenant, number, 1_000, reference=reference) for number, reference in numbers.items()))
    await limit(client, tenant, make, 5_000)
    for number in numbers:
        body = {"item_id": str(make.invoice_id(tenant, number)), "reason": "uncollectible", "amount_minor": 1_000}
        assert (await post(client, "/v1/write-offs", body)).status_code == 201
    payments = [await world.pay(held, 1_000, reference, number=n) for n, reference in enumerate(numbers.values())]
    await world.match(tenant)
    allocate = late_money.allocations.allocate

    async def busy(conn, tenant_id, payment_id, *given, **how):
        if payment_id == min(payments):
            raise UnavailableError("a payment was matched at the same moment")
        return await allocate(conn, tenant_id, payment_id, *given, **how)

    with monkeypatch.context() as patched:
        patched.setattr(late_money.allocations, "allocate", busy)
        await run(world, tenant, now)
    rows = await world.rows(tenant, "SELECT payment_id FROM payment WHERE status = 'matched'")
    assert [row[0] for row in rows] == [max(payments)]
    await run(world, tenant, now)
    assert (await world.one(tenant, "SELECT count(*) FROM payment WHERE status = 'matched'"))[0] == 2
    await world.holds()
