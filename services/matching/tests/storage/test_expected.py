"""What is expected of any kind: where it is refused, and what becomes of it when its money goes back."""

from datetime import UTC, datetime

import pytest
from bankdays import Bank
from expecting import announcement, items, post, remittance

CLOCK = datetime(2026, 3, 2, 9, tzinfo=UTC)


async def test_what_is_expected_for_an_entity_that_is_not_there_is_refused(world, tenant, make, client):
    await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "G-1", 1_000, entity="without an account"))
    nobody, invoiced = str(make.entity_id(tenant, "nobody")), str(make.entity_id(tenant, "without an account"))
    listed = remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None), reference="R-1")
    announced = {
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "cheque",
        "amount_minor": 1_000,
        "currency": "EUR",
        "expected_on": "2026-03-02",
    }
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 1_000}
    settled = {
        **{name: announced[name] for name in ("customer_id", "currency")},
        "kind": "netting",
        "value_date": "2026-03-02",
        "proof": {"reference": "N-1"},
        "lines": [line],
    }
    file = {"content": b"document_number;net\nF-1;10,00\n", "headers": {"content-type": "text/csv"}}
    answers = [
        await post(client, "/v1/remittances", {**listed, "entity_id": nobody}),
        await post(client, "/v1/payment-announcements", {**announced, "entity_id": nobody}),
        await client.post("/v1/remittances/file", params={"entity_id": nobody, "currency": "EUR"}, **file),
        await post(client, "/v1/settlements", {**settled, "entity_id": nobody}),
    ]
    said = [(answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) for answer in answers]
    assert said == [(422, "entity-unknown", "/entity_id")] * 3 + [(422, "item-elsewhere", "/lines/0")]
    assert (await client.get("/v1/expected-payments")).json()["items"] == (await client.get("/v1/settlements")).json()["items"] == []
    known = await post(client, "/v1/payment-announcements", {**announced, "entity_id": invoiced})
    assert known.status_code == 201, known.text


@pytest.mark.parametrize("kind", ["list", "announcement"])
async def test_what_is_said_after_its_money_went_back_waits_for_that_which_comes_again(world, tenant, make, client, camtfile, kind):
    bank = Bank(world, client, await world.account(tenant), camtfile)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await world.pay(bank.held, 1_000, end_to_end_id="CHQ-0001", number=1)
    await world.match(tenant)
    await bank.books((1_000, {"ref": "B1", "e2e": "CHQ-0001"}))
    await bank.books((-1_000, {"ref": "R1", "e2e": "CHQ-0001", "reason": "AM04"}))
    item = str(make.invoice_id(tenant, "F-1"))
    announced = {
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "cheque",
        "amount_minor": 1_000,
        "currency": "EUR",
        "expected_on": "2026-03-20",
        "reference": "CHQ-0001",
        "lines": [{"item_id": item, "amount_minor": 1_000}],
    }
    listed = remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None), reference="CHQ-0001")
    path, body = ("/v1/remittances", listed) if kind == "list" else ("/v1/payment-announcements", announced)
    said = (await post(client, path, body)).json()
    assert (said["status"], said["payment_id"]) == ("waiting", None)
    again = await world.pay(bank.held, 1_000, end_to_end_id="CHQ-0001", number=2)
    await world.match(tenant)
    shown = (await client.get(f"/v1/expected-payments/{said['expected_id']}")).json()
    assert (shown["status"], shown["payment_id"], await items(world, tenant)) == ("received", str(again), {"F-1": (0, 1_000, 0, 0)})
    await world.holds()


async def test_a_reference_that_no_text_is_taken_to_say_is_warned_of(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "FA-1001", 300))
    said = await post(client, "/v1/remittances", remittance(make, tenant, 300, ("FA-1001", 300, 0, None), reference="A-12"))
    path = f"/v1/expected-payments/{said.json()['expected_id']}"
    for answer in (said, await client.get(path)):
        (warned,) = answer.json()["warnings"]
        assert (warned["code"], "EndToEndId" in warned["detail"]) == ("reference-short", True)
    await world.pay(held, 300, remittance=["A-12"])
    await world.match(tenant)
    assert (await client.get(path)).json()["status"] == "waiting"
    await world.pay(held, 300, end_to_end_id="A12")
    await world.match(tenant)
    met = (await client.get(path)).json()
    assert (met["status"], met["warnings"]) == ("received", [])
    longer = await post(client, "/v1/remittances", remittance(make, tenant, 300, ("FA-1001", 300, 0, None), reference="A-123"))
    assert longer.json()["warnings"] == []
    await world.holds()


@pytest.mark.parametrize("before", ["announced", "by hand"])
async def test_a_list_that_says_what_was_said_of_its_payment_before_has_come(world, tenant, make, client, before):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "FA-1001", 300), make.invoice(tenant, "FA-1002", 300))
    if before == "announced":
        await post(client, "/v1/payment-announcements", announcement(make, tenant, 300, "FA-1001", kind="transfer", reference="TRX-7777"))
    payment = await world.pay(held, 300, remittance=["TRX-7777"])
    await world.match(tenant)
    if before == "by hand":
        line = {"item_id": str(make.invoice_id(tenant, "FA-1001")), "amount_minor": 300}
        assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).status_code == 200
    for number, status in (("FA-1002", "waiting"), ("FA-1001", "received")):
        listed = await post(client, "/v1/remittances", remittance(make, tenant, 300, (number, 300, 0, None), reference="TRX-7777"))
        assert listed.json()["status"] == status
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"FA-1001": 0, "FA-1002": 300}
    await world.holds()


@pytest.mark.parametrize("days", [{"expected_on": "2026-02-24"}, {"expected_on": "2026-02-01", "holds_until": "2026-03-01"}])
async def test_money_whose_days_are_over_is_not_announced_unless_it_has_come(world, tenant, make, client, days):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    body = announcement(make, tenant, 1_000, "F-2", reference="DD-2026-1", **days)
    answer = await post(client, "/v1/payment-announcements", body)
    assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (422, "holds-over", "/holds_until")
    assert (await client.get("/v1/expected-payments")).json()["items"] == []
    assert [m for m in await world.events("PaymentAnnouncementChanged") if m.tenant_id == tenant] == []
    late = await post(client, "/v1/payment-announcements", {**body, "reference": "DD-2026-2", "holds_until": "2026-03-02"})
    assert (late.status_code, late.json()["status"]) == (201, "waiting")
    await world.pay(held, 1_000, end_to_end_id="DD-2026-1")
    await world.match(tenant)
    for _ in range(2):  # said late, and again
        answer = await post(client, "/v1/payment-announcements", body)
        assert (answer.status_code, answer.json()["status"]) == (201, "received")
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 1_000, "F-2": 0}
    await world.holds()


@pytest.mark.parametrize("announced", [False, True])
async def test_a_list_without_a_reference_that_comes_after_its_payment_has_come(world, tenant, make, client, announced):
    """By amount, payer and items; what was settled otherwise it undoes by no guess, and of two lists each has a payment of its own."""
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, reference=f"REF00000{n}") for n in (1, 2)))
    if announced:
        await post(client, "/v1/payment-announcements", announcement(make, tenant, 1_000, "F-1", reference="DD-1"))
    payment = str(await world.pay(held, 1_000, "REF000001", end_to_end_id="DD-1"))
    await world.match(tenant)
    payer = {"payer_customer_id": str(make.customer_id(tenant, "C1"))}
    other = (await post(client, "/v1/remittances", remittance(make, tenant, 1_000, ("F-2", 1_000, 0, None), **payer))).json()
    assert (other["status"], other["payment_id"]) == ("waiting", None)
    lists = [remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None), **payer) for _ in range(2)]
    taken = [(await post(client, "/v1/remittances", body)).json() for body in lists]
    assert [(one["status"], one["payment_id"]) for one in taken] == [("received", payment), ("waiting", None)]
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 0, "F-2": 1_000}
    await world.holds()
