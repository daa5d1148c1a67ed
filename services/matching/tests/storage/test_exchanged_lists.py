"""Remittance lists that are not in one currency with their payment or their items, over HTTP, whichever comes first."""

import itertools
import random

import httpx
import pytest
from handwork import limit
from matching.domain.statements import Amount
from shared.ids import new_id
from shared.service import api
from shared.testing.tokens import token

_KEYS = itertools.count()
USD, GBP = "DE89370400440532013000", "GB33BUKB20201555555555"


async def post(client, path, body):
    return await client.post(path, json=body, headers={"idempotency-key": f"xl{next(_KEYS)}"})


def lists(make, tenant, currency, total, *lines, **more):
    """A list; a line is a document's number, its net, and perhaps what it settles of an item in another currency."""
    rows = [
        {"document_number": number, "gross_minor": net, "net_minor": net}
        | ({"item_amount_minor": other[0], "item_currency": other[1]} if other else {})
        for number, net, *other in lines
    ]
    return {
        "entity_id": str(make.entity_id(tenant)),
        "currency": currency,
        "total_minor": total,
        "lines": rows,
        "reference": "TRX-77",
        **more,
    }


async def items(world, tenant):
    rows = await world.rows(tenant, "SELECT invoice_number, open_minor, cash_minor, credit_minor FROM open_item ORDER BY invoice_number")
    return {row[0]: tuple(row[1:]) for row in rows}


async def seen(world, tenant, make, client, iban=USD, currency="USD", rate="0.9245"):
    """A payment of that currency was exchanged by a person lately: the rate is known."""
    held = await world.account(tenant, iban, currency=currency)
    number = f"S-{currency}"
    await world.feed(make.invoice(tenant, number, 10_000, customer="C9"))
    payment = await world.pay(held, 10_817, number=f"S{currency}")
    await world.match(tenant)
    await limit(client, tenant, make, 10_000)
    exchange = {"item_amount_minor": 10_000, "rate": rate, "rate_source": "ecb"}
    line = {"item_id": str(make.invoice_id(tenant, number)), "amount_minor": 10_817, "exchange": exchange}
    done = await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})
    assert done.status_code == 200, done.text
    return held


async def meet(world, tenant, client, body, first, pay):
    """The list and the money, in either order; returns the payment as it ends."""
    for step in ("list", "money") if first == "list" else ("money", "list"):
        if step == "list":
            answer = await post(client, "/v1/remittances", body)
            assert answer.status_code == 201, answer.text
        else:
            payment = await pay()
            await world.match(tenant)
    (held,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (held["status"], held["payment_id"]) == ("received", str(payment))
    return (await client.get(f"/v1/payments/{payment}")).json()


async def as_before(world, tenant, client, payment, before):
    """Unmatched, everything is as it was."""
    undone = await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "another list"})
    assert undone.status_code == 200, undone.text
    assert await items(world, tenant) == before
    await world.holds()


@pytest.mark.parametrize("first", ["list", "money"])
async def test_a_list_in_the_items_currency_settles_them_at_the_banks_rate(world, tenant, make, client, first):
    held = await world.account(tenant, USD, currency="USD")
    await world.feed(
        make.invoice(tenant, "F-1", 100_000),
        make.invoice(tenant, "F-2", 33_333),
        make.invoice(tenant, "A-1", 5_000, cls=make.Credit),
    )
    before = await items(world, tenant)
    body = lists(make, tenant, "EUR", 128_333, ("F-1", 100_000), ("F-2", 33_333), ("A-1", -5_000))
    shown = await meet(
        world, tenant, client, body, first, lambda: world.pay(held, 138_811, remittance=["TRX-77"], instructed=Amount(128_333, "EUR"))
    )
    assert (shown["status"], shown["unapplied_minor"]) == ("matched", 0)
    assert {(a["invoice_number"], a["item_amount_minor"], a["rate_source"]) for a in shown["allocations"]} == {
        ("F-1", 95_000, "bank"),
        ("F-2", 33_333, "bank"),
    }
    assert sum(a["amount_minor"] for a in shown["allocations"]) == 138_811
    assert await items(world, tenant) == {"A-1": (0, 0, 5_000), "F-1": (0, 95_000, 5_000), "F-2": (0, 33_333, 0)}
    await world.holds()
    await as_before(world, tenant, client, shown["payment_id"], before)


@pytest.mark.parametrize("first", ["list", "money"])
@pytest.mark.parametrize("form", ["amounts", "rate"])
async def test_a_list_in_the_payments_currency_says_what_it_settles(world, tenant, make, client, first, form):
    held = await seen(world, tenant, make, client)
    await world.feed(
        make.invoice(tenant, "F-1", 100_000),
        make.invoice(tenant, "A-1", 5_000, cls=make.Credit),
        make.invoice(tenant, "U-1", 2_500, currency="USD"),
    )
    before = await items(world, tenant)
    other = {"F-1": (100_000, "EUR"), "A-1": (-5_000, "EUR")} if form == "amounts" else {"F-1": (), "A-1": ()}
    rate = {} if form == "amounts" else {"rate": "0.9245", "rate_currency": "EUR"}
    body = lists(make, tenant, "USD", 105_259, ("F-1", 108_167, *other["F-1"]), ("A-1", -5_408, *other["A-1"]), ("U-1", 2_500), **rate)
    shown = await meet(world, tenant, client, body, first, lambda: world.pay(held, 105_259, remittance=["TRX-77"]))
    assert (shown["status"], shown["unapplied_minor"]) == ("matched", 0), shown["decisions"][-1]
    assert {(a["invoice_number"], a["amount_minor"], a["item_amount_minor"], a["rate_source"]) for a in shown["allocations"]} == {
        ("F-1", 102_759, 95_000, "remittance"),
        ("U-1", 2_500, None, None),
    }
    after = await items(world, tenant)
    assert {number: after[number] for number in ("A-1", "F-1", "U-1")} == {
        "A-1": (0, 0, 5_000),
        "F-1": (0, 95_000, 5_000),
        "U-1": (0, 2_500, 0),
    }
    await world.holds()
    await as_before(world, tenant, client, shown["payment_id"], before)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "nobody says a rate"),  # the list names none, and the bank says nothing
        ({"rate": "0.88", "rate_currency": "EUR"}, "not near"),  # five per cent beside those seen
        ({"rate": "9245", "rate_currency": "EUR"}, "not near"),
        ({"rate": "0.9245", "rate_currency": "GBP"}, "nobody says a rate"),
        ({"item": (1, "EUR")}, "not near"),  # a cent for a thousand dollars, or a thousand euro for a cent
        ({"item": (999_999_999, "EUR")}, "not near"),
        ({"item": (100_000, "GBP")}, "currency that the line names"),
        ({"item": (100_001, "EUR")}, "has less"),
    ],
)
async def test_what_nobody_can_vouch_for_is_left_to_a_person_who_is_told_why(world, tenant, make, client, body, why):
    held = await seen(world, tenant, make, client)
    await world.feed(make.invoice(tenant, "F-1", 100_000))
    before = await items(world, tenant)
    item = body.pop("item", ())
    shown = await meet(
        world, tenant, client, lists(make, tenant, "USD", 108_167, ("F-1", 108_167, *item), **body), "list",
        lambda: world.pay(held, 108_167, remittance=["TRX-77"]),
    )  # fmt: skip
    assert (shown["status"], shown["unapplied_reason"], shown["allocations"]) == ("unapplied", "currency", [])
    assert why in shown["decisions"][-1]["evidence"]["refused"][0]["why"]
    assert await items(world, tenant) == before
    queue = (await client.get("/v1/review-queue")).json()["items"]
    assert [waits["payment_id"] for waits in queue] == [shown["payment_id"]]
    await world.holds()


async def test_the_first_rate_of_a_currency_is_a_persons(world, tenant, make, client):
    held = await world.account(tenant, GBP, currency="GBP")
    await world.feed(make.invoice(tenant, "F-1", 100_000))
    body = lists(make, tenant, "GBP", 86_000, ("F-1", 86_000, 100_000, "EUR"))
    shown = await meet(world, tenant, client, body, "list", lambda: world.pay(held, 86_000, remittance=["TRX-77"]))
    assert (shown["status"], shown["unapplied_reason"]) == ("unapplied", "currency")


async def test_a_line_waits_for_its_invoice_by_number_or_id_and_a_credit_note_is_deducted_once(world, tenant, make, client):
    held = await world.account(tenant, USD, currency="USD")
    await world.feed(make.invoice(tenant, "F-1", 100_000), make.invoice(tenant, "A-1", 50_000, cls=make.Credit))
    body = lists(make, tenant, "EUR", 180_000, ("F-1", 100_000), ("A-1", -20_000), ("F-2", 60_000), ("F-3", 40_000))
    body["lines"][3] = {"item_id": str(make.invoice_id(tenant, "F-3")), "gross_minor": 40_000, "net_minor": 40_000}
    assert (await post(client, "/v1/remittances", body)).status_code == 201
    payment = await world.pay(held, 194_700, remittance=["TRX-77"], instructed=Amount(180_000, "EUR"))
    await world.match(tenant)
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (listed["status"], listed["missing"]) == ("partly", ["F2", str(make.invoice_id(tenant, "F-3")).replace("-", "").upper()])
    await world.feed(make.invoice(tenant, "F-2", 60_000))
    await world.feed(make.invoice(tenant, "F-3", 40_000))
    assert (await client.get("/v1/expected-payments")).json()["items"][0]["status"] == "received"
    assert await items(world, tenant) == {
        "A-1": (30_000, 0, 20_000),
        "F-1": (0, 80_000, 20_000),
        "F-2": (0, 60_000, 0),
        "F-3": (0, 40_000, 0),
    }
    assert (await client.get(f"/v1/payments/{payment}")).json()["unapplied_minor"] == 0
    await world.holds()


async def test_any_lists_conserve_money_and_undone_leave_all_as_it_was(world, make):
    for seed in range(12):
        tenant, dice = new_id(), random.Random(seed)
        headers = {"authorization": f"Bearer {token(tenant, 'payments:write', 'payments:read', 'bank:write')}"}
        transport = httpx.ASGITransport(app=api(world.runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://matching.test", headers=headers) as client:
            held = await seen(world, tenant, make, client)
            owed = {f"F-{n}": dice.randint(1, 90_000) for n in range(dice.randint(1, 5))}
            credit = dice.randint(1, max(sum(owed.values()) // 2, 1))
            await world.feed(
                *(make.invoice(tenant, number, amount) for number, amount in owed.items()),
                make.invoice(tenant, "A-9", credit, cls=make.Credit),
            )
            before = await items(world, tenant)
            named = [*owed.items(), ("A-9", -credit)] if sum(owed.values()) > credit else list(owed.items())
            dice.shuffle(named)
            total, money = sum(amount for _, amount in named), {number: round(amount * 1.0817) for number, amount in named}
            if dice.random() < 0.5:
                body, paid = lists(make, tenant, "EUR", total, *named), round(total * 1.0817)
            else:
                paid = sum(money.values())
                body = lists(make, tenant, "USD", max(paid, 1), *((n, money[n], a, "EUR") for n, a in named))
            sent = {"instructed": Amount(total, "EUR")} if body["currency"] == "EUR" else {}
            shown = await meet(
                world, tenant, client, body, dice.choice(["list", "money"]),
                lambda held=held, paid=paid, sent=sent: world.pay(held, max(paid, 1), remittance=["TRX-77"], **sent),
            )  # fmt: skip
            await world.holds()
            if shown["allocations"]:
                await as_before(world, tenant, client, shown["payment_id"], before)
