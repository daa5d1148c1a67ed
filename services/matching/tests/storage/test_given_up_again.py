"""Money that comes for what was written off, and goes back: the write-off stands again, as it was approved."""

from datetime import date

import pytest
from bankdays import Bank, job
from camtfile import camt056
from handwork import item, limit, post
from matching.handlers.late_money import allocate_late_money
from matching.handlers.matching import look_at_due

REFERENCE = "RF18539007547034"
UNDONE = ("returned", "recalled", "unmatched", "withdrawn")


async def given_up(client, tenant, make, amount, number="F-1"):
    body = {"item_id": str(make.invoice_id(tenant, number)), "reason": "uncollectible", "amount_minor": amount}
    answer = await post(client, "/v1/write-offs", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
async def bank(world, tenant, make, client, client_of, camtfile):
    """A bank, and F-1 of 10.00 that was written off, approved by a second person."""
    bank = Bank(world, client, await world.account(tenant), camtfile)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE, due=date(2025, 1, 1)))
    given = await given_up(client, tenant, make, 1_000)
    second = await client_of(tenant, subject="second", scopes=("payments:write", "payments:read"))
    assert (await post(second, f"/v1/write-offs/{given['write_off_id']}/decision", {"approve": True})).json()["status"] == "booked"
    return bank


async def paid(world, tenant, bank, amount=1_000, *, booked=True, number=1):
    """Late money, told of first, and what the late-money job made of it."""
    payment = await world.pay(bank.held, amount, REFERENCE, end_to_end_id=f"E2E-{number}", number=number)
    await world.match(tenant)
    await allocate_late_money(job(world), tenant)
    if booked:
        await bank.books((amount, {"ref": f"B{number}", "e2e": f"E2E-{number}"}))
    return payment


async def taken(bank, client, payment, how):
    if how == "returned":
        await bank.books((-1_000, {"ref": "R1", "e2e": "E2E-1", "reason": "AC04"}))
    elif how == "recalled":
        body = camt056("E2E-1", "10.00")
        assert (await client.post("/v1/recalls", content=body, headers={"content-type": "application/xml"})).status_code == 201
    elif how == "unmatched":
        assert (await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "wrong"})).status_code == 200
    else:
        await bank.goes_on()


async def told(world, tenant, *names):
    """(event, its version, what it says) of each event, in the order of its aggregate."""
    found = [(m.data.version, name, m.data) for name in names for m in await world.events(name) if m.tenant_id == tenant]
    return [(name, data) for _, name, data in sorted(found, key=lambda one: one[:2])]


async def stands(world, tenant, number="F-1"):
    row = await item(world, tenant, number)
    return row.open_minor, row.cash_minor, row.written_off_minor, row.status, row.close_cause


@pytest.mark.parametrize("how", UNDONE)
async def test_a_write_off_stands_again_once_its_money_goes_back(world, tenant, client, bank, how):
    payment = await paid(world, tenant, bank, booked=how != "withdrawn")
    assert await stands(world, tenant) == (0, 1_000, 0, "paid", None)
    await taken(bank, client, payment, how)
    assert await stands(world, tenant) == (0, 0, 1_000, "closed", "written_off")
    [listed] = (await client.get("/v1/write-offs")).json()["items"]
    assert (listed["status"], listed["reversed_minor"], listed["requested_by"], listed["decided_by"]) == ("booked", 0, "tester", "second")
    events = await told(world, tenant, "ReceivableWrittenOff", "WriteOffReversed")
    assert [(name, data.reversed_minor) for name, data in events] == [
        ("ReceivableWrittenOff", 0),
        ("WriteOffReversed", 1_000),
        ("ReceivableWrittenOff", 0),
    ]
    sums = "SELECT sum(CASE 'bad_debt' WHEN debit THEN amount_minor WHEN credit THEN -amount_minor ELSE 0 END) FROM ledger_entry"
    assert (await world.one(tenant, sums))[0] == 1_000
    await allocate_late_money(job(world), tenant)
    assert (await stands(world, tenant))[2] == 1_000  # nothing has come
    await world.holds()


async def test_who_was_told_that_it_is_paid_is_told_that_it_is_not(world, tenant, client, bank):
    """Its e-invoice was reported as collected."""
    await taken(bank, client, await paid(world, tenant, bank), "returned")
    events = await told(world, tenant, "InvoicePaid", "InvoiceReopened", "InvoiceClosed")
    newest = max(data.version for _, data in events)
    assert {(name, data.status, data.settled.cash_minor, data.open_minor) for name, data in events if data.version == newest} == {
        ("InvoiceReopened", "closed", 0, 0),
        ("InvoiceClosed", "closed", 0, 0),
    }


@pytest.mark.parametrize("how", UNDONE)
async def test_the_audit_trail_says_which_payment_brought_it_back(world, tenant, make, client, bank, how):
    payment = await paid(world, tenant, bank, booked=how != "withdrawn")
    await taken(bank, client, payment, how)
    [row] = await world.rows(tenant, "SELECT actor, subject, detail FROM audit WHERE action = 'write_off.stand_again'")
    [listed] = (await client.get("/v1/write-offs")).json()["items"]
    assert (row.actor, row.subject) == ("matching", listed["write_off_id"])
    assert row.detail == {
        "item_id": str(make.invoice_id(tenant, "F-1")),
        "payment_id": str(payment),
        "amount_minor": 1_000,
        "reason": "uncollectible",
    }


@pytest.mark.parametrize("how", UNDONE)
async def test_a_credit_note_that_came_while_it_was_paid_is_no_loss_once_the_money_goes_back(world, tenant, make, client, bank, how):
    payment = await paid(world, tenant, bank, booked=how != "withdrawn")
    await world.feed(make.invoice(tenant, "A-1", 100, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "F-1")))
    assert (await stands(world, tenant, "A-1"))[0] == 100
    await taken(bank, client, payment, how)
    assert await stands(world, tenant) == (0, 0, 900, "closed", "credit")
    assert (await stands(world, tenant, "A-1"))[0] == 0
    [listed] = (await client.get("/v1/write-offs")).json()["items"]
    assert (listed["status"], listed["reversed_minor"]) == ("booked", 100)
    await world.holds()


async def test_what_a_credit_note_reversed_for_the_money_s_sake_stands_again_too(world, tenant, make, client, bank):
    """Without the money it would have met what was owed, and no loss."""
    await limit(client, tenant, make, 5_000)
    await world.feed(make.invoice(tenant, "F-2", 1_000))
    await given_up(client, tenant, make, 100, "F-2")
    payment = await world.pay(bank.held, 100, number=5)
    await world.match(tenant)
    line = {"item_id": str(make.invoice_id(tenant, "F-2")), "amount_minor": 100}
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).status_code == 200
    await world.feed(make.invoice(tenant, "A-2", 900, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "F-2")))
    assert (await stands(world, tenant, "F-2"))[:3] == (0, 100, 0)
    await taken(bank, client, payment, "unmatched")
    assert (await stands(world, tenant, "F-2"))[:3] == (0, 0, 100)
    await world.holds()


@pytest.mark.parametrize(("back", "after"), [((), (0, 600, 400)), ((400,), (0, 1_000, 0))])
async def test_what_is_left_of_the_money_or_comes_again_reverses_as_much_again(world, tenant, bank, back, after):
    await paid(world, tenant, bank)
    await bank.books((-400, {"ref": "R1", "e2e": "E2E-1", "reason": "AC04"}))
    assert await stands(world, tenant) == (0, 0, 1_000, "closed", "written_off")
    await bank.books(*((amount, {"ref": "V1", "e2e": "E2E-1", "reversal": True}) for amount in back))
    await look_at_due(job(world), tenant)
    await allocate_late_money(job(world), tenant)
    assert (await stands(world, tenant))[:3] == after
    await world.holds()


async def test_a_refused_recall_reverses_it_again(world, tenant, client, bank):
    await paid(world, tenant, bank)
    await taken(bank, client, None, "recalled")
    [asked] = (await client.get("/v1/recalls")).json()["items"]
    assert (await post(client, f"/v1/recalls/{asked['recall_id']}/decision", {"accept": False})).status_code == 200
    assert await stands(world, tenant) == (0, 1_000, 0, "paid", None)
    await bank.books((-1_000, {"ref": "R1", "e2e": "E2E-1", "reason": "AC04"}))
    assert await stands(world, tenant) == (0, 0, 1_000, "closed", "written_off")
    await world.holds()


async def test_what_a_person_took_back_stands_no_more(world, tenant, client, bank):
    payment = await paid(world, tenant, bank, 400)
    [given] = (await client.get("/v1/write-offs")).json()["items"]
    path = f"/v1/write-offs/{given['write_off_id']}/reverse"
    assert (await post(client, path, {"reason": "mistake"})).json()["status"] == "reversed"
    await taken(bank, client, payment, "unmatched")
    assert await stands(world, tenant) == (1_000, 0, 0, "open", None)
    await world.holds()


async def test_a_part_that_a_person_took_back_stays_owed(world, tenant, client, bank):
    payment = await paid(world, tenant, bank, 400)
    [given] = (await client.get("/v1/write-offs")).json()["items"]
    path = f"/v1/write-offs/{given['write_off_id']}/reverse"
    assert (await post(client, path, {"reason": "mistake", "amount_minor": 250})).status_code == 200
    await taken(bank, client, payment, "unmatched")
    assert await stands(world, tenant) == (250, 0, 750, "open", None)
    await world.holds()


async def test_money_beside_what_was_written_off_reverses_nothing(world, tenant, make, client, bank):
    await limit(client, tenant, make, 5_000)
    await world.feed(make.invoice(tenant, "F-2", 1_000))
    await given_up(client, tenant, make, 700, "F-2")
    one, other = [await world.pay(bank.held, amount, number=n) for n, amount in enumerate((300, 900), 5)]
    await world.match(tenant)
    for payment, amount in ((one, 300), (other, 700)):
        line = {"item_id": str(make.invoice_id(tenant, "F-2")), "amount_minor": amount}
        assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).status_code == 200
    assert await stands(world, tenant, "F-2") == (0, 1_000, 0, "paid", None)
    await taken(bank, client, one, "unmatched")
    assert await stands(world, tenant, "F-2") == (300, 700, 0, "open", None)
    await taken(bank, client, other, "unmatched")
    assert await stands(world, tenant, "F-2") == (300, 0, 700, "open", None)
    await world.holds()


@pytest.mark.parametrize(("billed", "after"), [(200, (0, 0, 200)), (0, (0, 0, 0)), (1_400, (400, 0, 1_000))])
async def test_of_an_invoice_that_says_less_no_more_stands_again(world, tenant, make, client, bank, billed, after):
    payment = await paid(world, tenant, bank, 700)
    changed = {"cls": make.Changed, "version": 2, "reference": REFERENCE}
    await world.feed(make.invoice(tenant, "F-1", billed, **changed))
    if billed < 700:
        await world.feed(make.invoice(tenant, "F-1", billed, **{**changed, "version": 3}))
    if billed:
        await taken(bank, client, payment, "unmatched")
    assert (await stands(world, tenant))[:3] == after
    await world.holds()


async def test_an_invoice_that_was_lowered_and_raised_again_owes_what_was_not_written_off_then(world, tenant, make, client, bank):
    payment = await paid(world, tenant, bank, 700)
    for version, billed in ((2, 200), (3, 1_000)):
        await world.feed(make.invoice(tenant, "F-1", billed, cls=make.Changed, version=version, reference=REFERENCE))
    await taken(bank, client, payment, "unmatched")
    assert (await stands(world, tenant))[:3] == (800, 0, 200)
    await world.holds()


async def test_two_write_offs_stand_again_as_they_were(world, tenant, make, client, bank):
    await limit(client, tenant, make, 5_000)
    await world.feed(make.invoice(tenant, "F-2", 1_000))
    first, second = [await given_up(client, tenant, make, amount, "F-2") for amount in (600, 400)]
    payment = await world.pay(bank.held, 700, number=5)
    await world.match(tenant)
    line = {"item_id": str(make.invoice_id(tenant, "F-2")), "amount_minor": 700}
    for amount in (300, 400):  # in two steps
        body = {"lines": [line | {"amount_minor": amount}]}
        assert (await post(client, f"/v1/payments/{payment}/allocations", body)).status_code == 200
    listed = {one["write_off_id"]: one for one in (await client.get("/v1/write-offs")).json()["items"]}
    assert [listed[one["write_off_id"]]["reversed_minor"] for one in (first, second)] == [300, 400]
    await taken(bank, client, payment, "unmatched")
    listed = {one["write_off_id"]: one for one in (await client.get("/v1/write-offs")).json()["items"]}
    assert [(listed[one["write_off_id"]]["reversed_minor"], listed[one["write_off_id"]]["status"]) for one in (first, second)] == [
        (0, "booked"),
        (0, "booked"),
    ]
    await world.holds()
