"""What a debtor's list says is done, however it is written, whatever rules had made of its payment before."""

import itertools
from datetime import date

import pytest
from bankdays import job
from contracts.invoices import DiscountTerm
from decided import look, replayed
from handwork import limit
from matching.handlers.matching import look_at_due
from shared.clock import machine_now
from shared.days import business_day

_KEYS = itertools.count()
IBAN_OF_C1 = "FR7630004000031234567890143"
TWO_PERCENT = [DiscountTerm(until=date(2026, 3, 9), percent_bp=200)]


async def send(client, make, tenant, reference, total, *lines):
    """Posts a list of (number, net, deduction, reason)."""
    rows = [
        {"document_number": number, "gross_minor": net + cut, "deduction_minor": cut, "deduction_reason": reason, "net_minor": net}
        for number, net, cut, reason in lines
    ]
    body = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "total_minor": total, "reference": reference, "lines": rows}
    answer = await client.post("/v1/remittances", json=body, headers={"idempotency-key": f"l{next(_KEYS)}"})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def items(world, tenant):
    rows = await world.rows(tenant, "SELECT invoice_number, open_minor, cash_minor, discount_minor FROM open_item")
    return {row[0]: tuple(row[1:]) for row in rows}


@pytest.mark.parametrize("first", ["list", "money"])
async def test_a_list_may_name_an_item_in_several_lines(world, tenant, make, client, first):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, discounts=TWO_PERCENT), make.invoice(tenant, "F-2", 500))
    for step in ("list", "money") if first == "list" else ("money", "list"):
        if step == "list":
            lines = [("F-1", 600, 0, None), ("F-1", 370, 20, "discount"), ("F-1", 5, 5, "bank_charges"), ("F-2", 500, 0, None)]
            await send(client, make, tenant, "TRX 4711", 1_475, *lines)
        else:
            await world.pay(held, 1_475, remittance=["TRX 4711"])
            await world.match(tenant)
    # one payment forgives one item for one reason: the charges stay open, for a person
    assert await items(world, tenant) == {"F-1": (5, 975, 20), "F-2": (0, 500, 0)}
    assert tuple(await world.one(tenant, "SELECT status, unapplied_minor FROM payment")) == ("matched", 0)
    await world.holds()


async def test_a_deduction_is_granted_though_a_rule_had_put_the_money_there_before(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await limit(client, tenant, make, 20)
    await world.pay(held, 980, "REF000001", end_to_end_id="TRX-4711")
    await world.match(tenant)
    assert await items(world, tenant) == {"F-1": (20, 980, 0)}
    said = await send(client, make, tenant, "TRX-4711", 980, ("F-1", 980, 20, "discount"))
    assert said["status"] == "received"
    assert await items(world, tenant) == {"F-1": (0, 980, 20)}
    await world.holds()


@pytest.mark.parametrize("text", ["LISTE DU MOIS, FA-2026-001", "LISTEDUMOIS FA-2026-001"])
async def test_a_list_undoes_what_a_rule_made_of_the_payment_whose_text_says_its_reference(world, tenant, make, client, text):
    held = await world.account(tenant)
    numbers = {"FA-2026-001": 1_234, "FA-2026-002": 600, "FA-2026-003": 634}
    await world.feed(*(make.invoice(tenant, number, amount) for number, amount in numbers.items()))
    day = business_day(machine_now())
    await world.pay(held, 1_234, remittance=[text], debtor_iban=IBAN_OF_C1, day=day)
    await world.match(tenant)
    assert (await items(world, tenant))["FA-2026-001"][0] == 0
    said = await send(client, make, tenant, "Liste du mois", 1_234, ("FA-2026-002", 600, 0, None), ("FA-2026-003", 634, 0, None))
    assert said["status"] == "received"
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {
        "FA-2026-001": 1_234,
        "FA-2026-002": 0,
        "FA-2026-003": 0,
    }
    await world.holds()


@pytest.mark.parametrize("text", ["LISTE DU MOISSON", "UNE LISTEDUMOIS2", "LISTE"])
async def test_a_part_of_a_longer_word_is_no_reference(world, tenant, make, client, text):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 700), make.invoice(tenant, "F-2", 1_000))
    await send(client, make, tenant, "Liste du mois", 700, ("F-2", 700, 0, None))
    await world.pay(held, 700, remittance=[text])
    await world.match(tenant)
    assert (await items(world, tenant))["F-2"] == (1_000, 0, 0)


async def test_no_more_is_deducted_than_the_line_has(world, tenant, make, client):
    line = {"document_number": "F-1", "gross_minor": 50, "deduction_minor": 80, "deduction_reason": "discount", "net_minor": -30}
    other = {"document_number": "F-2", "gross_minor": 100, "net_minor": 100}
    body = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "total_minor": 70, "lines": [other, line]}
    answer = await client.post("/v1/remittances", json=body, headers={"idempotency-key": "more"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/lines/1"
    assert "no more is deducted" in answer.json()["detail"]


@pytest.mark.parametrize("first", ["list", "money"])
@pytest.mark.parametrize(
    ("paid", "said"),
    [
        (1_499, {"remittance": ["TRX 4711"]}),
        (1_501, {"remittance": ["your list TRX-4711 of march"]}),
        (900, {"end_to_end_id": "TRX 4711"}),
        (900, {"reference": "TRX4711"}),
    ],
)
async def test_money_of_another_amount_than_its_list_goes_to_a_person_with_the_list(world, tenant, make, client, paid, said, first):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 500, customer="C2"))
    lines = [("F-1", 1_000, 0, None), ("F-2", 500, 0, None)]
    if first == "money":
        await world.pay(held, paid, **said)
        await world.pay(held, paid, number=2, remittance=["TRX 47110"])
        await world.match(tenant)
        for _ in range(2):  # its own looks are over
            await look(world, tenant)
        assert {one["reason"] for one in (await client.get("/v1/review-queue")).json()["items"]} == {"unknown_party"}
    listed = await send(client, make, tenant, "TRX 4711", 1_500, *lines)
    await send(client, make, tenant, "TRX 4712", 1_500, *lines)
    if first == "list":
        await world.pay(held, paid, **said)
        await world.match(tenant)
    else:
        await look_at_due(job(world), tenant)
    queue = (await client.get("/v1/review-queue")).json()["items"]
    [waits] = [one for one in queue if one["reason"] == "remittance_differs"]
    assert waits["evidence"]["remittance_lists"]["differ"] == [{"expected_id": listed["expected_id"], "amount_minor": 1_500}]
    told = [
        m.data for m in await world.events("PaymentUnapplied") if m.tenant_id == tenant and str(m.data.payment_id) == waits["payment_id"]
    ]
    assert set(max(told, key=lambda one: one.version).candidate_customer_ids) == {make.customer_id(tenant, c) for c in ("C1", "C2")}
    assert {one[0] for one in (await items(world, tenant)).values()} == {1_000, 500}
    before = len(told)
    await world.rows(tenant, "UPDATE payment SET next_look_at = now() RETURNING 1")  # another look has nothing new to say
    await look(world, tenant)
    told = [
        m.data for m in await world.events("PaymentUnapplied") if m.tenant_id == tenant and str(m.data.payment_id) == waits["payment_id"]
    ]
    assert len(told) == before
    await replayed(world, tenant)
    await world.holds()


async def test_what_says_no_list_or_is_settled_by_something_else_is_not_held_up_by_one(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 700, reference="REF000001"), make.invoice(tenant, "F-2", 700))
    await send(client, make, tenant, "TRX 4711", 600, ("F-2", 600, 0, None))
    paid = await world.pay(held, 700, "REF000001", end_to_end_id="TRX-4711", number=1)
    await world.pay(held, 650, remittance=["TRX 47110"], number=2)
    await world.match(tenant)
    shown = (await client.get(f"/v1/payments/{paid}")).json()
    assert (shown["status"], "remittance_lists" in shown["decisions"][-1]["evidence"]) == ("matched", True)
    [waits] = (await client.get("/v1/review-queue")).json()["items"]
    assert "remittance_lists" not in waits["evidence"]
    await world.holds()
