"""An invoice that its source lowers below what is settled already: the rest goes back, and all stands as if it had been said first."""

import asyncio
import itertools
from datetime import date

import pytest
from contracts.customers import CustomerErased, CustomerMerged
from handwork import limit
from shared.testing.events import message

_KEYS = itertools.count()
REFERENCE = "RF18539007547034"
ITEM = (
    "SELECT original_minor, open_minor, cash_minor, discount_minor, credit_minor, written_off_minor, status FROM open_item "
    "WHERE invoice_number = 'F-1'"
)


async def post(client, path, body):
    return await client.post(path, json=body, headers={"idempotency-key": f"l{next(_KEYS)}"})


async def lowered(world, make, tenant, amount, version=2, **more):
    await world.feed(make.invoice(tenant, "F-1", amount, reference=REFERENCE, version=version, cls=make.Changed, **more))


async def payments(world, tenant):
    rows = await world.rows(
        tenant, "SELECT allocated_minor, unapplied_minor, unapplied_reason FROM payment ORDER BY value_date, payment_id"
    )
    return [tuple(row) for row in rows]


def netting(tenant, make, amount, *, number="F-1", proof="N-1"):
    """What we owe the customer is set against his invoice."""
    return {
        "kind": "netting",
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "currency": "EUR",
        "value_date": "2026-03-02",
        "proof": {"reference": proof},
        "lines": [{"item_id": str(make.invoice_id(tenant, number)), "amount_minor": amount}],
    }


@pytest.mark.parametrize("said_first", [True, False])
async def test_whether_the_money_or_the_lower_amount_comes_first_is_one(world, tenant, make, said_first):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE))
    if said_first:
        await lowered(world, make, tenant, 800)
    await world.pay(held, 1_000, REFERENCE)
    await world.match(tenant)
    if not said_first:
        await lowered(world, make, tenant, 800)
    assert tuple(await world.one(tenant, ITEM)) == (800, 0, 800, 0, 0, 0, "paid")
    assert await payments(world, tenant) == [(800, 200, "overpaid")]
    balance = await world.one(tenant, "SELECT open_minor, unapplied_minor FROM account_balance")
    assert tuple(balance) == (0, 200)
    told = [m.data for m in await world.events("OpenItemChanged") if m.tenant_id == tenant][-1]
    assert (told.original_minor, told.open_minor, told.settled.cash_minor) == (800, 0, 800)
    await world.holds()


async def test_a_loss_gives_way_before_money_and_money_before_a_credit_note(world, tenant, make, client):
    held = await world.account(tenant)
    await limit(client, tenant, make, 1_000)
    await world.feed(
        make.invoice(tenant, "F-1", 1_000, reference=REFERENCE),
        make.invoice(tenant, "A-1", 300, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "F-1")),
    )
    await world.pay(held, 500, REFERENCE)
    await world.match(tenant)
    item = str(make.invoice_id(tenant, "F-1"))
    assert (await post(client, "/v1/write-offs", {"item_id": item, "reason": "uncollectible"})).json()["status"] == "booked"
    await lowered(world, make, tenant, 900)
    assert tuple(await world.one(tenant, ITEM)) == (900, 0, 500, 0, 300, 100, "paid")
    [loss] = (await client.get("/v1/write-offs")).json()["items"]
    assert (loss["amount_minor"], loss["reversed_minor"], loss["status"]) == (200, 100, "booked")
    await lowered(world, make, tenant, 700, version=3)
    assert tuple(await world.one(tenant, ITEM)) == (700, 0, 400, 0, 300, 0, "paid")
    assert await payments(world, tenant) == [(400, 100, "overpaid")]
    await lowered(world, make, tenant, 200, version=4)
    assert tuple(await world.one(tenant, ITEM)) == (200, 0, 0, 0, 200, 0, "closed")
    assert await payments(world, tenant) == [(0, 500, "overpaid")]
    assert tuple(await world.one(tenant, "SELECT unused_credits_minor, unapplied_minor FROM account_balance")) == (100, 500)
    await world.holds()


async def test_of_what_was_forgiven_beside_money_only_what_is_needed_stays_forgiven(world, tenant, make, client):
    held = await world.account(tenant)
    await limit(client, tenant, make, 1_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    payment = await world.pay(held, 980)
    await world.match(tenant)
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 980, "difference_minor": 20, "reason": "discount"}
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).status_code == 200
    await lowered(world, make, tenant, 985)
    assert tuple(await world.one(tenant, ITEM)) == (985, 0, 980, 5, 0, 0, "paid")
    await lowered(world, make, tenant, 900, version=3)
    assert tuple(await world.one(tenant, ITEM)) == (900, 0, 900, 0, 0, 0, "paid")
    assert [(*row[:2],) for row in await payments(world, tenant)] == [(900, 80)]
    await world.holds()


async def test_money_in_another_currency_goes_back_whole_and_no_gain_is_left(world, tenant, make, client):
    held = await world.account(tenant, "DE89370400440532013000", currency="USD")
    await limit(client, tenant, make, 1_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    payment = await world.pay(held, 1_100)
    await world.match(tenant)
    across = {"item_amount_minor": 1_000, "rate": "0.9", "rate_source": "ecb"}
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 1_100, "exchange": across}
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).status_code == 200
    await lowered(world, make, tenant, 900)
    assert tuple(await world.one(tenant, ITEM)) == (900, 900, 0, 0, 0, 0, "open")
    assert [(*row[:2],) for row in await payments(world, tenant)] == [(0, 1_100)]
    lost = "SELECT sum(CASE WHEN debit IN ('fx_gain', 'fx_loss') THEN amount_minor ELSE -amount_minor END) FROM ledger_entry WHERE "
    assert (await world.one(tenant, lost + "'fx_loss' IN (debit, credit) OR 'fx_gain' IN (debit, credit)"))[0] in {None, 0}
    await world.holds()


async def test_an_invoice_that_turns_out_to_be_in_another_currency_gives_back_all_that_was_paid(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE))
    await world.pay(held, 600, REFERENCE)
    await world.match(tenant)
    await lowered(world, make, tenant, 1_000, currency="USD")
    assert tuple(await world.one(tenant, "SELECT currency, open_minor, cash_minor FROM open_item")) == ("USD", 1_000, 0)
    assert [(*row[:2],) for row in await payments(world, tenant)] == [(0, 600)]
    await world.holds()


async def test_a_credit_note_that_is_lowered_leaves_its_invoice_owing_the_rest(world, tenant, make):
    invoice = make.invoice_id(tenant, "F-1")
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "A-1", 300, cls=make.Credit, credited_invoice_id=invoice))
    await world.feed(make.invoice(tenant, "A-1", 100, cls=make.Changed, kind="credit_note", credited_invoice_id=invoice, version=2))
    rows = await world.rows(tenant, "SELECT invoice_number, original_minor, open_minor, credit_minor FROM open_item ORDER BY 1")
    assert [tuple(row) for row in rows] == [("A-1", 100, 0, 100), ("F-1", 1_000, 900, 100)]
    assert await world.one(tenant, "SELECT status, close_cause FROM open_item WHERE invoice_number = 'A-1'") == ("closed", "credit")
    await world.holds()


async def test_what_was_netted_has_a_proof_and_stays(world, tenant, make, client):
    await limit(client, tenant, make, 1_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    assert (await post(client, "/v1/settlements", netting(tenant, make, 700))).json()["status"] == "booked"
    await lowered(world, make, tenant, 500)
    assert tuple(await world.one(tenant, "SELECT original_minor, open_minor, set_off_minor FROM open_item")) == (1_000, 300, 700)
    [waits] = (await client.get("/v1/unfollowed-invoices", params={"customer_id": str(make.customer_id(tenant, "C1"))})).json()["items"]
    told = {"invoice_number": "F-1", "invoice_version": 2, "payable_minor": 500, "original_minor": 1_000, "set_off_minor": 700}
    assert waits.items() >= told.items()
    await lowered(world, make, tenant, 800, version=3)  # as much as that it can follow
    assert (await client.get("/v1/unfollowed-invoices")).json()["items"] == []
    await world.holds()


async def taken_back(client, given):
    answer = await post(client, f"/v1/settlements/{given['settlement_id']}/reverse", {"reason": "mistake"})
    assert answer.json()["status"] == "reversed", answer.text


TERMS = "SELECT original_minor, open_minor, cash_minor, set_off_minor, due_date, instalment_amounts, invoice_version, status FROM open_item"


async def test_what_a_netting_held_up_is_followed_once_that_is_taken_back(world, tenant, make, client):
    held = await world.account(tenant)
    await limit(client, tenant, make, 2_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE))
    first = (await post(client, "/v1/settlements", netting(tenant, make, 400))).json()
    second = (await post(client, "/v1/settlements", netting(tenant, make, 300, proof="N-2"))).json()
    await world.pay(held, 300, REFERENCE)
    await world.match(tenant)
    later = date(2026, 4, 5)
    await lowered(world, make, tenant, 600)
    newest = make.invoice(tenant, "F-1", 250, reference=REFERENCE, version=3, cls=make.Changed, due=later)
    await world.feed(newest)
    await world.feed(newest)  # told again
    [waits] = (await client.get("/v1/unfollowed-invoices")).json()["items"]
    assert (waits["invoice_version"], waits["payable_minor"]) == (3, 250)
    await taken_back(client, first)  # what is netted still is more than the invoice says
    assert tuple(await world.one(tenant, TERMS)) == (1_000, 400, 300, 300, date(2026, 3, 6), [1_000], 3, "open")
    assert len((await client.get("/v1/unfollowed-invoices")).json()["items"]) == 1
    await taken_back(client, second)
    assert tuple(await world.one(tenant, TERMS)) == (250, 0, 250, 0, later, [250], 3, "paid")
    assert await payments(world, tenant) == [(250, 50, "overpaid")]
    assert (await client.get("/v1/unfollowed-invoices")).json()["items"] == []
    told = [m for m in await world.events("OpenItemChanged") if m.tenant_id == tenant][-1]
    assert (told.data.original_minor, told.data.open_minor) == (250, 0)
    assert told.envelope.causationid == str(newest.envelope.id)
    await world.holds()


@pytest.mark.parametrize("since", ["followed", "cancelled"])
async def test_what_was_held_up_and_is_overtaken_is_not_followed_any_more(world, tenant, make, client, since):
    await limit(client, tenant, make, 2_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    given = (await post(client, "/v1/settlements", netting(tenant, make, 700))).json()
    await lowered(world, make, tenant, 500)
    if since == "followed":
        await lowered(world, make, tenant, 800, version=3)
    else:
        await world.feed(make.invoice(tenant, "F-1", 1_000, version=3, cls=make.Cancelled))
    assert (await client.get("/v1/unfollowed-invoices")).json()["items"] == []
    await lowered(world, make, tenant, 500)  # late, and known
    await taken_back(client, given)
    assert tuple(await world.one(tenant, "SELECT original_minor, open_minor, set_off_minor, invoice_version FROM open_item")) == (
        (800, 800, 0, 3) if since == "followed" else (1_000, 0, 0, 3)
    )
    assert (await world.one(tenant, "SELECT count(*) FROM item_review"))[0] == 0
    await world.holds()


async def test_an_invoice_in_another_currency_is_held_up_by_a_netting_and_followed_after_it(world, tenant, make, client):
    await limit(client, tenant, make, 2_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    given = (await post(client, "/v1/settlements", netting(tenant, make, 700))).json()
    await lowered(world, make, tenant, 1_000, currency="USD", customer="C2")
    assert [one["invoice_version"] for one in (await client.get("/v1/unfollowed-invoices")).json()["items"]] == [2]
    of = {"customer_id": make.customer_id(tenant, "C2"), "source_system": "erp", "customer_number": "C2"}
    await world.feed(message(tenant, CustomerErased(version=2, erased_on=date(2026, 3, 2), **of)))
    await world.feed(message(tenant, CustomerMerged(version=3, into_customer_id=make.customer_id(tenant, "C3"), status="merged", **of)))
    await taken_back(client, given)
    now = await world.one(tenant, "SELECT currency, open_minor, set_off_minor, customer_id, moved_from_customer_id FROM open_item")
    assert tuple(now) == ("USD", 1_000, 0, make.customer_id(tenant, "C3"), make.customer_id(tenant, "C2"))
    balances = await world.rows(tenant, "SELECT currency, open_minor FROM account_balance WHERE open_minor <> 0")
    assert [tuple(row) for row in balances] == [("USD", 1_000)]
    await world.holds()


async def test_money_and_a_lower_amount_at_the_moment_the_netting_is_taken_back(world, tenant, make, client):
    held = await world.account(tenant)
    await limit(client, tenant, make, 2_000)
    for at in range(6):
        await world.feed(make.invoice(tenant, f"F-{at}", 1_000, reference=f"REF{at:06d}"))
    asked = [netting(tenant, make, 700, number=f"F-{at}", proof=f"N-{at}") for at in range(6)]
    given = [(await post(client, "/v1/settlements", one)).json() for one in asked]
    for at in range(6):
        await world.pay(held, 300, f"REF{at:06d}", number=at)
    versions = [make.invoice(tenant, f"F-{at}", 200, reference=f"REF{at:06d}", version=2, cls=make.Changed) for at in range(6)]

    await asyncio.gather(world.match(tenant), *(world.feed(one) for one in versions), *(taken_back(client, one) for one in given))
    await world.match(tenant)
    rows = await world.rows(tenant, "SELECT DISTINCT original_minor, open_minor, cash_minor, set_off_minor FROM open_item")
    assert [tuple(row) for row in rows] == [(200, 0, 200, 0)]
    await world.holds()


async def test_money_that_comes_at_the_same_moment_is_not_more_than_the_lower_amount(world, tenant, make):
    held = await world.account(tenant)
    numbers = [f"F-{n}" for n in range(12)]
    for at, number in enumerate(numbers):
        await world.feed(make.invoice(tenant, number, 1_000, reference=f"REF{at:06d}"))
        await world.pay(held, 1_000, f"REF{at:06d}", number=at)
    changes = [make.invoice(tenant, n, 600, reference=f"REF{at:06d}", version=2, cls=make.Changed) for at, n in enumerate(numbers)]
    await asyncio.gather(world.match(tenant), *(world.feed(one) for one in changes))
    rows = await world.rows(tenant, "SELECT DISTINCT original_minor, open_minor, cash_minor FROM open_item")
    assert [tuple(row) for row in rows] == [(600, 0, 600)]
    assert set(await payments(world, tenant)) == {(600, 400, "overpaid")}
    await world.holds()


@pytest.mark.parametrize("credited_first", [True, False])
async def test_a_credit_note_for_what_was_written_off_leaves_the_customer_no_credit(world, tenant, make, client, credited_first):
    held = await world.account(tenant)
    await limit(client, tenant, make, 1_000)
    credit = make.invoice(tenant, "A-1", 500, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "F-1"))
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE))
    await world.pay(held, 300, REFERENCE)
    await world.match(tenant)
    if credited_first:
        await world.feed(credit)
    item = str(make.invoice_id(tenant, "F-1"))
    assert (await post(client, "/v1/write-offs", {"item_id": item, "reason": "uncollectible"})).json()["status"] == "booked"
    if not credited_first:
        await world.feed(credit)
    assert tuple(await world.one(tenant, ITEM))[:6] == (1_000, 0, 300, 0, 500, 200)
    assert tuple(await world.one(tenant, "SELECT open_minor, unused_credits_minor FROM account_balance")) == (0, 0)
    await world.holds()


async def test_the_netting_of_an_invoice_that_is_cancelled_may_be_taken_back(world, tenant, make, client):
    await limit(client, tenant, make, 1_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    given = (await post(client, "/v1/settlements", netting(tenant, make, 700))).json()
    await world.feed(make.invoice(tenant, "F-1", 1_000, version=2, cls=make.Cancelled))
    undone = await post(client, f"/v1/settlements/{given['settlement_id']}/reverse", {"reason": "cancelled"})
    assert (undone.status_code, undone.json()["status"]) == (200, "reversed")
    state = "SELECT open_minor, credit_minor, set_off_minor, close_cause FROM open_item"
    assert tuple(await world.one(tenant, state)) == (0, 1_000, 0, "cancelled")
    owed = "SELECT sum(CASE WHEN debit = 'payables' THEN amount_minor ELSE -amount_minor END) FROM ledger_entry "
    assert (await world.one(tenant, owed + "WHERE 'payables' IN (debit, credit)"))[0] == 0  # what we owe him is owed again
    await world.holds()
