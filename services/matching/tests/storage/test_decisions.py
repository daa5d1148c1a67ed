"""What the engine decides in the service: the same ledger in every order, and every decision again from what it was taken on."""

import asyncio
import contextlib
import json
import random
from datetime import UTC, date, datetime, timedelta

import pytest
from contracts.customers import CustomerChanged, CustomerErased, CustomerIdentityChanged
from contracts.invoices import DiscountTerm
from decided import iban, identity, ledger, look, replayed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matching.domain.engine.inputs import InputsError
from matching.handlers import matching as engine
from matching.handlers.payments import unmatch
from matching.storage.models import shipped
from shared.ids import new_id
from shared.testing.events import message

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = date(2026, 3, 2)


def customer(tenant, make, number, parent=None):
    return message(
        tenant,
        CustomerChanged(
            version=1,
            customer_id=make.customer_id(tenant, f"C{number}"),
            source_system="erp",
            customer_number=f"K{70000 + number}",
            status="confirmed",
            parent_customer_id=make.customer_id(tenant, f"C{parent}") if parent is not None else None,
        ),
    )


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(order=st.randoms(use_true_random=False))
async def test_shuffled_and_repeated_inputs_give_the_same_ledger_where_each_payment_names_its_invoice(world, make, order):
    """Named by structured reference, by an RF reference in the text of a payer whom nobody knows, by number with a known IBAN."""
    tenant = new_id()
    held = await world.account(tenant)
    inputs = [identity(tenant, make, number) for number in range(3)]
    expected = {}
    for n in range(12):
        number, payer = f"FA2026-{n:05d}", n % 3
        reference = f"RF{98 - int(f'{n:06d}271500') % 97:02d}{n:06d}"
        inputs.append(make.invoice(tenant, number, 1_000 + 37 * n, customer=f"C{payer}", reference=reference))
        said = [
            {"reference": reference},
            {"remittance": [f"merci {reference} fin"]},
            {"remittance": [f"Facture {number}"], "debtor_iban": iban(payer)},
        ][n % 3]
        inputs.append((1_000 + 37 * n, n, said))
        expected[number] = (0, 1_000 + 37 * n)
    feed = inputs + order.sample(inputs, len(inputs) // 2)
    order.shuffle(feed)
    for one in feed:
        if isinstance(one, tuple):
            amount, n, said = one
            with contextlib.suppress(IndexError):  # the same transaction again is no new payment
                await world.pay(held, amount, number=n, **said)
            await world.match(tenant)
        else:
            await world.feed(one)
    items, balances, left = await ledger(world, tenant)
    assert {row[0]: (row[1], row[5]) for row in items} == expected
    assert len(items) == 12
    assert balances == []
    assert {row[1:] for row in left} == {("matched", 0)}
    assert sum((await replayed(world, tenant)).values()) >= 12
    await world.feed(*(one for one in inputs if not isinstance(one, tuple)))
    await world.match(tenant)
    assert await ledger(world, tenant) == (items, balances, left)
    await world.holds()


@pytest.mark.parametrize("seed", range(4))
async def test_on_other_histories_money_is_conserved_and_each_decision_replays(world, make, seed):
    tenant, dice = new_id(), random.Random(seed)
    held = await world.account(tenant)
    work = [identity(tenant, make, number) for number in range(4)] + [
        customer(tenant, make, n, parent=0 if n == 3 else None) for n in range(4)
    ]
    amounts = {}
    for n in range(24):
        amounts[n] = dice.choice([dice.randint(200, 90_000), 12_000])
        terms = [DiscountTerm(until=date(2026, 3, 10), percent_bp=200)] if n % 4 == 0 else []
        due = date(2026, 3, 1) + timedelta(days=dice.randint(0, 9) * 3)
        more = {"reference": f"REF{n:06d}"} if n % 5 == 0 else {}
        if n % 11 == 10:
            more["cls"] = make.Credit
        work.append(make.invoice(tenant, f"FA2026-{n:05d}", amounts[n], customer=f"C{n % 4}", due=due, discounts=terms, **more))
    for n in range(30):
        one, two = dice.randrange(24), dice.randrange(24)
        said = dice.choice(
            [
                {"debtor_iban": iban(one % 4)},
                {"debtor_name": f"ACHETEUR {one % 4:03d}", "remittance": [f"FA2026-{one:05d}"]},
                {"debtor_iban": iban(one % 4), "remittance": [f"FA2026 {one:05d}, {two:05d} et FA2026-{(one + 4) % 24:05d}"]},
                {"reference": f"REF{one:06d}"},
                {"remittance": ["virement"]},
                {"debtor_iban": iban(0), "remittance": [f"K7000{one % 4} FA2026-{one:05d}"]},
            ]
        )
        amount = dice.choice([amounts[one], amounts[one] * 98 // 100, amounts[one] + amounts[(one + 4) % 24], amounts[one] // 2 or 1])
        work.append((amount, n, said))
    work += [("unmatch", None, None)] * 4
    dice.shuffle(work)
    pays = []
    for one in work:
        if not isinstance(one, tuple):
            await world.feed(one)
        elif one[0] != "unmatch":
            pays.append(await world.pay(held, one[0], number=one[1], **one[2]))
            await world.match(tenant)
        elif pays:
            async with world.database.transaction(tenant) as conn:
                await unmatch(conn, tenant, dice.choice(pays), None, "wrong", NOW)
    await look(world, tenant)
    await world.holds()
    counts = await replayed(world, tenant)
    assert sum(counts.values()) >= 30
    assert counts.get("none", 0) < sum(counts.values())
    before = await ledger(world, tenant)
    await world.feed(*(one for one in work if not isinstance(one, tuple)))
    await look(world, tenant)
    await world.holds()
    assert await replayed(world, tenant)
    assert {row[0] for row in (await ledger(world, tenant))[0]} == {row[0] for row in before[0]}


async def test_what_no_direct_hit_decides_takes_a_fixed_number_of_statements(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(*(identity(tenant, make, n) for n in range(50)))
    await world.feed(*(make.invoice(tenant, f"FA2026-{n:05d}", 1_000 + n, customer=f"C{n % 50}", due=DAY) for n in range(400)))
    taken = []
    for first, count in ((0, 3), (100, 150)):
        for n in range(first, first + count):
            said = {"remittance": [f"FA2026-{n:05d}"], "debtor_name": f"Acheteur {n % 50:03d}"}
            await world.pay(held, 1_000 + n, number=n, debtor_iban=iban(n % 50), **said)
        before = world.database.statements
        await world.match(tenant)
        taken.append(world.database.statements - before)
    # the hot way's eight, the engine's ten, the payers' accounts (two), what waits, forgets what waited, is looked at again
    assert max(taken) <= 8 + 10 + 2 + 3, taken
    assert (await world.one(tenant, "SELECT count(*) FROM payment WHERE status = 'matched'"))[0] == 153
    await world.holds()


async def test_an_advance_stays_on_its_payers_account_though_an_item_has_the_amount_in_time(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 1), make.invoice(tenant, "FA2026-00001", 4_000, customer="C1"))
    await world.pay(held, 250_000, debtor_iban=iban(1), remittance=["ACOMPTE COMMANDE 7596578"])
    await world.pay(held, 250_000, number=2, debtor_iban=iban(2), remittance=["ACOMPTE COMMANDE 7596579"])
    await world.match(tenant)
    rows = await world.rows(tenant, "SELECT status, unapplied_reason, payer_customer_id FROM payment ORDER BY bank_reference")
    assert [tuple(row) for row in rows] == [
        ("unapplied", "advance", make.customer_id(tenant, "C1")), ("unapplied", "unknown_party", None),
    ]  # fmt: skip
    await world.feed(make.invoice(tenant, "FA2026-00002", 250_000, customer="C1"))
    await look(world, tenant)
    assert (await world.one(tenant, "SELECT open_minor FROM open_item WHERE invoice_number = 'FA2026-00002'"))[0] == 250_000
    assert (await replayed(world, tenant))["advance"] == 1
    await world.holds()


async def test_of_others_who_owe_the_same_nothing_is_kept_where_the_payer_is_known_by_name_or_names_its_item(world, tenant, make):
    """What is not needed to decide is not read, and no other customer's name is kept with the decision."""
    held = await world.account(tenant)
    await world.feed(*(identity(tenant, make, number, f"{word} Handel SA") for number, word in enumerate(("Dupont", "Martin", "Garnier"))))
    await world.feed(*(make.invoice(tenant, f"FA2026-{number:05d}", 1_000, customer=f"C{number}") for number in range(3)))
    for number, said in enumerate([{"debtor_name": "DUPONT HANDEL"}, {"remittance": ["Facture FA2026-00001"]}, {}]):
        await world.pay(held, 1_000, number=number, **said)
    await world.match(tenant)
    rows = await world.rows(
        tenant, "SELECT CAST(d.inputs AS text) FROM decision d JOIN payment p USING (tenant_id, payment_id) ORDER BY p.bank_reference"
    )
    assert [len(json.loads(row[0])["customers"]) for row in rows] == [1, 1, 3]
    assert [row[0] for row in (await ledger(world, tenant))[0] if not row[1]] == ["FA2026-00000", "FA2026-00001"]
    await replayed(world, tenant)


@pytest.mark.parametrize(("each", "said", "read"), [(1, [], 0), (1, ["Zahlung 00001"], 4), (16, ["Zahlung 00001"], 0)])
async def test_what_many_owe_says_who_paid_only_where_one_of_them_is_named(world, tenant, make, each, said, read):
    """Of more than three customers, or sixty items, the engine takes the amount for no sign: nothing of them is read."""
    held = await world.account(tenant)
    await world.feed(*(identity(tenant, make, number) for number in range(4)))
    await world.feed(*(make.invoice(tenant, f"FA2026-{n:05d}", 1_000, customer=f"C{n % 4}") for n in range(4 * each)))
    await world.pay(held, 1_000, debtor_name="Zahlstelle", remittance=said)
    await world.match(tenant)
    (status, inputs) = await world.one(tenant, "SELECT p.status, CAST(d.inputs AS text) FROM payment p JOIN decision d USING (tenant_id)")
    assert (status, len(json.loads(inputs)["items"])) == ("unapplied", read * each)
    await replayed(world, tenant)


async def test_an_order_that_is_written_wrong_is_found_though_nothing_is_looked_up_by_it(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 0))
    await world.feed(make.invoice(tenant, "FA2026-00001", 1_000, customer="C0", order_numbers=["4500071239"]))
    await world.feed(make.invoice(tenant, "FA2026-00002", 1_000, customer="C0"))
    await world.pay(held, 1_000, remittance=["4500O71229"], debtor_iban=iban(0))
    await world.match(tenant)
    (evidence,) = await world.one(tenant, "SELECT CAST(evidence AS text) FROM decision")
    first = json.loads(evidence)["candidates"][0]
    assert first["rule"] == "document_number:exact"
    assert first["evidence"]["weakest_name"] == 1


async def test_a_person_sees_every_item_that_ties_and_confirms_any(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(
        identity(tenant, make, 1), *(make.invoice(tenant, f"FA2026-0000{n}", 1_000, customer="C1", due=DAY) for n in (1, 2, 3)),
        make.invoice(tenant, "FA2026-00009", 5_000, customer="C1"),
    )  # fmt: skip
    payment = await world.pay(held, 1_000, debtor_iban=iban(1))
    await world.match(tenant)
    (waiting,) = (await client.get("/v1/review-queue")).json()["items"]
    assert waiting["reason"] == "ambiguous"
    assert [[line["invoice_number"] for line in one["lines"]] for one in waiting["candidates"]] == [
        ["FA2026-00001"], ["FA2026-00002"], ["FA2026-00003"],
    ]  # fmt: skip
    assert [one["evidence"].get("lost") for one in waiting["candidates"]] == [
        None, *["another item of the same amount would do as well"] * 2,
    ]  # fmt: skip
    assert waiting["evidence"]["runner_up"] == waiting["candidates"][1]["evidence"]["lost"]
    body = {"candidate": 2, "version": waiting["version"]}
    confirmed = await client.post(f"/v1/payments/{payment}/confirm", json=body, headers={"idempotency-key": "t1"})
    assert confirmed.status_code == 200, confirmed.text
    assert [row[:2] for row in (await ledger(world, tenant))[0] if not row[1]] == [("FA2026-00002", 0)]
    await replayed(world, tenant)
    await world.holds()


async def test_an_erased_persons_decisions_say_that_they_cannot_be_replayed(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 1), make.invoice(tenant, "FA2026-00001", 1_000, customer="C1"))
    await world.pay(held, 1_000, debtor_iban=iban(1), remittance=["FA2026-00001"])
    await world.match(tenant)
    assert await replayed(world, tenant) == {"document_number": 1}
    gone = CustomerErased(
        version=9, customer_id=make.customer_id(tenant, "C1"), source_system="erp", customer_number="C1", erased_on=date(2036, 1, 1)
    )
    await world.feed(message(tenant, gone))
    with pytest.raises(InputsError, match="erased"):
        await replayed(world, tenant)


async def test_a_dismissed_pair_is_never_proposed_again_in_no_set(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(
        identity(tenant, make, 1), *(make.invoice(tenant, f"FA2026-0000{n}", 1_000 * n, customer="C1") for n in (1, 2)),
        make.invoice(tenant, "FA2026-00009", 5_000, customer="C1"),
    )  # fmt: skip
    payment = await world.pay(held, 3_000, debtor_iban=iban(1), remittance=["FA2026-00001 FA2026-00002"])
    wrong = str(make.invoice_id(tenant, "FA2026-00002"))
    body = {"item_ids": [wrong], "reason": "paid in cash"}
    assert (await client.post(f"/v1/payments/{payment}/dismiss", json=body, headers={"idempotency-key": "d1"})).status_code == 200
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT open_minor FROM open_item WHERE invoice_number = 'FA2026-00002'"))[0] == 2_000
    (evidence, inputs) = await world.one(tenant, "SELECT CAST(evidence AS text), CAST(inputs AS text) FROM decision")
    assert wrong not in evidence
    assert wrong not in inputs


async def test_a_tenant_sets_how_sure_the_engine_has_to_be_and_a_decision_is_taken_again(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 1), *(make.invoice(tenant, f"FA2026-0000{n}", 1_000 * n, customer="C1") for n in (1, 2)))
    shown = (await client.get("/v1/matching-policy")).json()
    assert (shown["threshold"], shown["set_by"], shown["model"]) == (shipped().model.threshold, None, shipped().model.name)
    assert 0 < shown["bound"]["upper_limit"] < 0.001
    limits = [one["upper_limit"] for one in shown["curve"]]
    assert len(limits) > 5
    for wrong in (0.5, 1.01, "high"):
        assert (await client.put("/v1/matching-policy", json={"threshold": wrong})).status_code == 422
    strict = (await client.put("/v1/matching-policy", json={"threshold": 1})).json()
    assert (strict["threshold"], strict["set_by"] is None) == (1, False)
    first = await world.pay(held, 1_000, debtor_iban=iban(1), remittance=["FA2026-00001"], number=1)
    await world.match(tenant)
    (waiting,) = (await client.get("/v1/review-queue")).json()["items"]
    assert (waiting["reason"], waiting["evidence"]["refused"]) == ("uncertain", "not sure enough")
    assert waiting["candidates"][0]["lines"][0]["invoice_number"] == "FA2026-00001"
    assert waiting["candidates"][0]["evidence"]["confidence"] >= 0.98
    confirmed = await client.post(
        f"/v1/payments/{first}/confirm", json={"candidate": 1, "version": waiting["version"]}, headers={"idempotency-key": "c1"}
    )
    assert confirmed.status_code == 200, confirmed.text
    assert (await client.put("/v1/matching-policy", json={"threshold": None})).json()["set_by"] is None
    second = await world.pay(held, 2_000, debtor_iban=iban(1), remittance=["FA2026-00002"], number=2)
    await world.match(tenant)
    for payment, rule in ((first, "none"), (second, "document_number")):
        decision = (await client.get(f"/v1/payments/{payment}")).json()["decisions"][0]
        again = (await client.get(f"/v1/payments/{payment}/decisions/{decision['payment_version']}/replay")).json()
        assert (decision["rule"], again["rule"], again["same"], again["differs"]) == (rule, rule, True, [])
        assert again["outcome"]["candidates"][0]["moved_by"]
    assert (await client.get(f"/v1/payments/{first}/decisions/99/replay")).status_code == 404
    by_hand = await client.get(f"/v1/payments/{first}/decisions/{confirmed.json()['version']}/replay")
    assert (by_hand.status_code, by_hand.json()["detail"][:15]) == (409, "this is no rule")
    await world.holds()


async def test_a_payer_whose_name_becomes_known_later_is_looked_at_again_and_what_is_settled_is_forgotten(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "FA2026-00001", 1_000, customer="C1", due=DAY))
    await world.pay(held, 1_000, debtor_name="NORDWIND LOGISTIK G", remittance=["Zahlung"])
    await world.match(tenant)
    await look(world, tenant)
    await look(world, tenant)
    assert tuple(await world.one(tenant, "SELECT status, next_look_at IS NULL FROM payment")) == ("unapplied", True)
    who = CustomerIdentityChanged(version=1, customer_id=make.customer_id(tenant, "C1"), name="Nordwind Logistik GmbH", known_ibans=[])
    await world.feed(message(tenant, who))
    assert (await world.one(tenant, "SELECT count(*) FROM payment_clue"))[0] == 3  # as it is written, and a person's family name elsewhere
    await look(world, tenant)
    assert tuple(await world.one(tenant, "SELECT status, rule FROM payment")) == ("matched", "exact_amount")
    assert (await world.one(tenant, "SELECT count(*) FROM payment_clue"))[0] == 0
    await world.holds()


async def test_many_at_once_that_name_one_item_settle_it_once_and_the_others_decide_again(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make, 1), *(make.invoice(tenant, f"FA2026-0000{n}", 1_000, customer="C1", due=DAY) for n in (1, 2)))
    said = {"debtor_iban": iban(1), "remittance": ["FA2026-00001"]}
    pays = [await world.pay(held, 1_000, number=n, **said) for n in range(12)]

    async def match(payment):
        async with world.database.transaction(tenant) as conn:
            await engine.match(conn, [(tenant, payment)], NOW, {})

    await asyncio.gather(*(match(payment) for payment in pays))
    await look(world, tenant)
    rows = await world.rows(tenant, "SELECT invoice_number, open_minor FROM open_item ORDER BY 1")
    assert [tuple(row) for row in rows] == [("FA2026-00001", 0), ("FA2026-00002", 1_000)]  # what is named is never another's
    left = await world.rows(tenant, "SELECT status, unapplied_reason, count(*) FROM payment GROUP BY 1, 2 ORDER BY 3")
    assert [tuple(row) for row in left] == [("matched", None, 1), ("unapplied", "already_paid", 11)]
    assert sum((await replayed(world, tenant)).values()) == 12
    await world.holds()


async def test_what_an_agent_pays_is_for_whom_he_is_said_to_pay(world, tenant, make, client):
    """Both owe as much; the agent's account is known from what he paid for himself. A person decides, for the names are alike."""
    held = await world.account(tenant)
    await world.feed(*(identity(tenant, make, number) for number in range(2)))
    await world.feed(*(make.invoice(tenant, f"FA2026-{n:05d}", 1_000 + 500 * (n == 2), customer=f"C{n % 2}") for n in range(3)))
    agent = {"debtor_name": "ACHETEUR 000", "debtor_iban": "DE89370400440532013000"}
    await world.pay(held, 1_500, remittance=["FA2026-00002"], number=1, **agent)
    await world.match(tenant)
    for_another = await world.pay(held, 1_000, ultimate_name="ACHETEUR 001", number=2, **agent)
    for_himself = await world.pay(held, 1_000, number=3, **agent)
    await world.match(tenant)
    waits = {one["payment_id"]: one for one in (await client.get("/v1/review-queue")).json()["items"]}
    first = {payment: one["candidates"][0]["lines"][0]["invoice_number"] for payment, one in waits.items()}
    assert first == {str(for_another): "FA2026-00001", str(for_himself): "FA2026-00000"}
    shown = (await client.get(f"/v1/payments/{for_another}")).json()
    assert all(
        (one["debtor_name"], one["ultimate_debtor_name"]) == ("ACHETEUR 000", "ACHETEUR 001") for one in (waits[str(for_another)], shown)
    )
    await replayed(world, tenant)
