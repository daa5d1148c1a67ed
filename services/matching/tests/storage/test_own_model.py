"""A tenant's own threshold and model, learnt from what became of its payments."""

import asyncio
import json
import os
import sys
from datetime import date, timedelta

import pytest
from contracts.invoices import DiscountTerm
from decided import iban, identity
from handwork import limit
from matching.domain.engine.confidence import Model
from matching.domain.statements import Transaction
from matching.handlers import allocations, ingest
from matching.handlers.payments import unmatch
from matching.storage.models import Certified, in_force, put_in_force, shipped
from shared.db import fetch, run
from shared.testing.waiting import eventually

DAY = date(2026, 3, 2)


async def debtors(world, tenant, make, numbers, *, overdue=frozenset()):
    """Customers known by their IBAN, each with an item of an amount of its own, FA2026-..., and a larger one, FB2026-..."""
    due = {n: DAY - timedelta(30) if n in overdue else DAY for n in numbers}
    items = [(f"F{kind}2026-{n:05d}", amount, n) for n in numbers for kind, amount in (("A", 10_001 + n), ("B", 500_000 + 3 * n))]
    await world.feed(
        *(identity(tenant, make, n) for n in numbers),
        *(make.invoice(tenant, number, amount, customer=f"C{n}", due=due[n]) for number, amount, n in items),
    )


async def paid(world, held, tenant, numbers, *, silent=()):
    """Each pays its FA, naming it but for the silent ones; returns the payments by number."""
    told = [
        Transaction(
            kind="payment", credit=True, amount_minor=10_001 + n, currency="EUR", day=DAY, booking_date=DAY, value_date=DAY,
            bank_reference=f"B{n}", counterparty_name=f"Acheteur {n:03d} SA", counterparty_iban=iban(n),
            remittance=[] if n in silent else [f"FA2026-{n:05d}"],
        )
        for n in numbers
    ]  # fmt: skip
    async with world.database.transaction(tenant) as conn:
        booked = await ingest.book_notifications(conn, held, [(one, None) for one in told], world.runtime.clock.now())
    await world.match(tenant)
    return dict(zip(numbers, booked, strict=True))


async def corrected(world, tenant, make, payment, number, now):
    """A person says that a payment was for the other item."""
    async with world.database.transaction(tenant) as conn:
        await unmatch(conn, tenant, payment, None, "wrong", now)
    async with world.database.transaction(tenant) as conn:
        line = allocations.Line(make.invoice_id(tenant, f"FB2026-{number:05d}"), 10_001 + number)
        await allocations.allocate(conn, tenant, payment, [line], customer_id=None, by="office", now=now)


async def learn(world, tenant, *more):
    """The command as an operator gives it: exit status, what it printed, what it complained of."""
    command = (sys.executable, "-m", "matching", "learn", str(tenant), *more)
    piped = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": "it.needs.none:9092",
        **os.environ, **world.urls.environment(), "ENCOURS_CURSOR_SECRET": "c" * 32, "ENCOURS_WEBHOOK_SECRET": "whsec_" + "A" * 32,
        "ENCOURS_JWT_PUBLIC_KEY_FILE": str(world.runtime.settings.jwt_public_key_file),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, env=environment, **piped)
    out, complaint = await process.communicate()
    return process.returncode, json.loads(out) if out else None, complaint.decode()


async def decisions(world, tenant, payments):
    """What the engine said of each payment last: automatic or review."""
    rows = await world.rows(
        tenant,
        "SELECT DISTINCT ON (payment_id) payment_id, evidence ->> 'decision' FROM decision WHERE payment_id = ANY(:ids) "
        "ORDER BY payment_id, payment_version DESC",
        ids=list(payments),
    )
    return dict(rows)


async def replays(client, payments):
    """Each rule's decision is the same, taken again."""
    for payment in payments:
        for decision in (await client.get(f"/v1/payments/{payment}")).json()["decisions"]:
            again = await client.get(f"/v1/payments/{payment}/decisions/{decision['payment_version']}/replay")
            assert (again.status_code, again.json().get("same")) == (200, True) or decision["rule"] == "hand", again.text


async def test_of_few_payments_nothing_is_learnt(world, tenant, make):
    held = await world.account(tenant)
    await debtors(world, tenant, make, range(1, 6))
    await paid(world, held, tenant, range(1, 6))
    assert await learn(world, tenant) == (
        1, None, "matching learn: 5 settled payments that the engine has read are too few: at least 300 are needed\n"
    )  # fmt: skip


@pytest.mark.timeout(120)
async def test_a_threshold_is_proven_on_the_tenants_own_payments_and_taken_back(world, tenant, make, client, now):
    held = await world.account(tenant)
    await debtors(world, tenant, make, range(1, 346))
    payments = await paid(world, held, tenant, range(1, 321))
    status, learnt, complaint = await learn(world, tenant)
    assert (status, complaint) == (0, "")
    proven = learnt["certificate"]
    assert (proven["sample"], proven["automatic"], proven["wrong"], proven["threshold"]) == (320, 320, 0, 0.85)
    assert proven["upper_limit"] == pytest.approx(1 - 0.05 ** (1 / 320))  # Clopper and Pearson, none of 320
    shown = (await client.get("/v1/matching-policy")).json()
    assert (shown["model"], shown["threshold"], shown["set_by"]) == (learnt["model"], 0.85, None)
    assert shown["model"].startswith(shipped().model.name.partition("@")[0] + "@")  # of so few only the threshold is the tenant's own
    assert shown["learnt_at"] is not None
    assert (shown["bound"]["automatic"], shown["bound"]["wrong"]) == (320, 0)

    await paid(world, held, tenant, range(341, 346))
    await learn(world, tenant)
    assert (await client.get("/v1/matching-policy")).json()["bound"]["automatic"] == 325  # the same threshold, proven on more
    cancelled = (make.invoice(tenant, f"FA2026-{n:05d}", 10_001 + n, customer=f"C{n}", cls=make.Cancelled, version=2) for n in (11, 12, 13))
    await world.feed(*cancelled)  # takes the money off again, and says nothing of who had paid for what
    _, learnt, _ = await learn(world, tenant)
    assert (learnt["certificate"]["sample"], learnt["certificate"]["wrong"]) == (322, 0)

    for number in (7, 8, 9):  # three of those that look like all others were wrong: nothing is proven any more
        await corrected(world, tenant, make, payments[number], number, now)
    _, learnt, _ = await learn(world, tenant)
    assert (learnt["certificate"]["automatic"], learnt["certificate"]["threshold"]) == (0, 1.0)
    next_ones = await paid(world, held, tenant, range(321, 331))
    assert set((await decisions(world, tenant, next_ones.values())).values()) == {"review"}

    assert await learn(world, tenant, "--undo") == (0, {"model": None}, "")
    shown = (await client.get("/v1/matching-policy")).json()
    assert (shown["model"], shown["learnt_at"]) == (shipped().model.name, None)
    next_ones = await paid(world, held, tenant, range(331, 341))
    assert set((await decisions(world, tenant, next_ones.values())).values()) == {"auto"}
    await world.holds()


@pytest.mark.timeout(120)
async def test_late_discounts_that_people_granted_and_advances_that_were_none_are_learnt(world, tenant, make, client, now):
    """A discount nine days over is granted where it was three times; twelve days over it was refused, and nobody knows of eleven."""
    held = await world.account(tenant)
    await debtors(world, tenant, make, range(1, 301))
    await paid(world, held, tenant, range(1, 301))
    await limit(client, tenant, make, 10_000)
    customers = iter(range(400, 420))

    async def late(days):
        """One pays what an item costs with its discount, so many days too late; returns customer, payment and decision."""
        number = next(customers)
        terms = [DiscountTerm(until=DAY - timedelta(days), percent_bp=200)]
        await world.feed(
            identity(tenant, make, number),
            make.invoice(tenant, f"FD2026-{number:05d}", 100_000, customer=f"C{number}", due=DAY + timedelta(20), discounts=terms),
        )
        payment = await world.pay(held, 98_000, number=number, debtor_iban=iban(number), remittance=[f"FD2026-{number:05d}"])
        await world.match(tenant)
        return number, payment, (await decisions(world, tenant, [payment]))[payment]

    async def refused(number, payment, amount, kind="FD"):
        line = allocations.Line(make.invoice_id(tenant, f"{kind}2026-{number:05d}"), amount)
        async with world.database.transaction(tenant) as conn:
            await allocations.allocate(conn, tenant, payment, [line], customer_id=None, by="office", now=now)

    async def advance():
        number = next(customers)
        await world.feed(identity(tenant, make, number), make.invoice(tenant, f"FC2026-{number:05d}", 9_000, customer=f"C{number}"))
        payment = await world.pay(held, 3_000, number=number, debtor_iban=iban(number), remittance=["ACOMPTE"])
        await world.match(tenant)
        return number, payment, (await decisions(world, tenant, [payment]))[payment]

    for days in (9, 9, 10, 12):
        number, payment, decision = await late(days)
        assert decision == "review"
        if days == 12:
            await refused(number, payment, 98_000)
            continue
        body = {"candidate": 1, "version": 2}
        confirmed = await client.post(f"/v1/payments/{payment}/confirm", json=body, headers={"idempotency-key": f"d{number}"})
        assert confirmed.status_code == 200, confirmed.text
    number, payment, decision = await advance()
    assert decision == "auto"
    await refused(number, payment, 3_000, "FC")
    assert (await late(9))[2] == "review"  # nothing is learnt yet
    status, learnt, complaint = await learn(world, tenant)
    assert (status, complaint) == (0, "")
    assert learnt["certificate"]["past"] == [[[9, 2], [10, 1]], [[12, 1]], 0, 1]
    number, payment, decision = await late(9)
    assert decision == "auto"
    assert (await late(10))[2] == "review"  # granted so late but once
    assert (await advance())[2] == "review"
    await replays(client, [payment])
    await world.holds()


@pytest.mark.timeout(240)
async def test_a_model_of_the_tenants_own_knows_what_the_shipped_one_cannot_know(world, tenant, make, client, now):
    """Nobody writes a word, and where the item is overdue every third payment is for something else than what it adds up to."""
    held = await world.account(tenant)
    everybody = range(1, 2_101)
    overdue = frozenset(range(5, 2_200, 5))
    await debtors(world, tenant, make, range(1, 2_131), overdue=overdue)
    payments = await paid(world, held, tenant, everybody, silent=range(2_200))
    kinds = await decisions(world, tenant, payments.values())
    automatic = [number for number in everybody if kinds[payments[number]] == "auto"]
    assert len(automatic) > 2_050  # what is left to a person is for too round an amount
    wrong = [number for number in automatic if number in overdue][::3]
    for number in wrong:
        await corrected(world, tenant, make, payments[number], number, now)
    status, learnt, complaint = await learn(world, tenant)
    assert (status, complaint) == (0, "")
    proven = learnt["certificate"]
    assert learnt["model"].startswith("own@")
    # all that pay in time, and few others: how many depends on how the customers, whose ids are random, are parted
    assert (proven["sample"], 1_680 <= proven["automatic"] < 1_720, proven["wrong"] <= 5) == (len(automatic), True, True), proven
    next_ones = await paid(world, held, tenant, range(2_101, 2_131), silent=range(2_200))
    kinds = await decisions(world, tenant, next_ones.values())
    assert {kinds[payment] for number, payment in next_ones.items() if number not in overdue} == {"auto"}
    assert [kinds[payment] for number, payment in next_ones.items() if number in overdue].count("review") >= 5  # of 6
    await replays(client, (payments[1], payments[wrong[0]], next_ones[2_101], next_ones[2_105]))  # by the shipped model, and the tenant's
    await world.holds()


async def test_a_model_learnt_on_other_evidence_is_left_out_and_its_decisions_are_not_replayed(world, tenant, make, client):
    held = await world.account(tenant)
    await debtors(world, tenant, make, range(1, 3))
    old = {**shipped().model.as_dict(), "name": "own@old", "threshold": 1.0}
    async with world.database.transaction(tenant) as conn:
        await put_in_force(conn, tenant, Certified(Model.from_dict(old), shipped().certificate, world.runtime.clock.now()))
    (first,) = (await paid(world, held, tenant, [1])).values()
    assert (await decisions(world, tenant, [first]))[first] == "review"  # its threshold is 1
    old["evidence"] = [*old["evidence"][:-1], "of_an_engine_before"]  # a release later
    async with world.database.transaction(tenant) as conn:
        await run(conn, "UPDATE matching_model SET name = 'own@older', model = :model", model=json.dumps(old))
        await run(conn, "UPDATE decision SET inputs = jsonb_set(inputs, '{model}', '\"own@older\"')")
    (second,) = (await paid(world, held, tenant, [2])).values()
    assert (await decisions(world, tenant, [second]))[second] == "auto"
    assert (await client.get("/v1/matching-policy")).json()["model"] == shipped().model.name
    decision = (await client.get(f"/v1/payments/{first}")).json()["decisions"][0]
    again = await client.get(f"/v1/payments/{first}/decisions/{decision['payment_version']}/replay")
    assert (again.status_code, again.json()["detail"]) == (
        409, "the model was learnt on other evidence: learn it again with `matching fit`, a tenant's with `matching learn`"
    )  # fmt: skip


async def test_of_two_models_put_in_force_at_once_the_later_one_decides(world, tenant):
    def own(name):
        return Certified(Model.from_dict({**shipped().model.as_dict(), "name": name}), shipped().certificate, world.runtime.clock.now())

    async def put(name):
        async with world.database.transaction(tenant) as conn:
            await put_in_force(conn, tenant, own(name))

    async def waits():
        async with world.database.transaction(tenant) as conn:
            sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            return later.done() or await fetch(conn, sql)

    await put("own@before")
    async with world.database.transaction(tenant) as conn:
        await put_in_force(conn, tenant, own("own@first"))
        later = asyncio.create_task(put("own@later"))
        await eventually(waits, what="the later one waits")
    await later
    async with world.database.transaction(tenant) as conn:
        assert (await in_force(conn, tenant)).model.name == "own@later"
