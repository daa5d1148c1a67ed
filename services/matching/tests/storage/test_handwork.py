"""What a person does by hand, over HTTP: once per key, within what is there, and with a second pair of eyes above the limit."""

import asyncio
import contextlib
import itertools

import pytest
from camtfile import camt056
from handwork import item, limit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matching.handlers import allocations
from matching.handlers.payments import unmatch
from shared.ids import new_id
from shared.web.problems import Problem

_KEYS = itertools.count()
NS = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}


async def post(client, path, body, key=None):
    return await client.post(path, json=body, headers={"idempotency-key": key or f"k{next(_KEYS)}"})


def lines(make, tenant, *rows, **more):
    keys = ("amount_minor", "difference_minor", "reason")
    return {"lines": [{"item_id": str(make.invoice_id(tenant, row[0])), **dict(zip(keys, row[1:], strict=False))} for row in rows], **more}


async def test_a_person_allocates_to_several_items_with_a_difference_once_per_key(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 500))
    payment = await world.pay(held, 1_480)
    await world.match(tenant)
    await limit(client, tenant, make, 20)
    body = lines(make, tenant, ("F-1", 980, 20, "discount"), ("F-2", 500))
    answers = [await post(client, f"/v1/payments/{payment}/allocations", body, "once") for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 200], answers[0].text
    after = answers[0].json()
    assert (after["status"], after["unapplied_minor"]) == ("matched", 0)
    assert {(a["amount_minor"], a["diff_minor"], a["diff_reason"]) for a in after["allocations"]} == {(980, 20, "discount"), (500, 0, None)}
    assert after["payer_customer_id"] == str(make.customer_id(tenant, "C1"))
    assert tuple(await item(world, tenant, "F-1"))[:6] == (0, 980, 20, 0, 0, "paid")
    assert len([m for m in await world.events("PaymentMatched") if m.tenant_id == tenant]) == 1
    assert (await client.get(f"/v1/payments/{payment}")).json()["decisions"][-1]["rule"] == "hand"
    actions = [row[0] for row in await world.rows(tenant, "SELECT action FROM audit ORDER BY id")]
    assert actions == ["hand_work_limit.put", "payment.allocate"]
    await world.holds()


@pytest.mark.parametrize(
    ("row", "status", "code"),
    [
        (("F-1", 1_001), 409, "item-has-less"),
        (("F-9", 1), 404, "item-unknown"),
        (("A-1", 1), 422, "item-is-credit"),
        (("U-1", 1), 422, "item-currency"),
        (("F-1", 900, 30, "discount"), 403, "difference-above-limit"),
        (("F-1", 900, 30), 422, "difference-reason"),
        (("F-2", 4_000), 409, "payment-has-less"),
    ],
)
async def test_what_is_refused_says_where_and_changes_nothing(world, tenant, make, client, row, status, code):
    held = await world.account(tenant)
    await world.feed(
        make.invoice(tenant, "F-1", 1_000),
        make.invoice(tenant, "F-2", 9_000),
        make.invoice(tenant, "U-1", 9_000, currency="USD"),
        make.invoice(tenant, "A-1", 1_000, cls=make.Credit),
        make.invoice(tenant, "F-3", 9_000),
    )
    payment = await world.pay(held, 3_000)
    await world.match(tenant)
    answer = await post(client, f"/v1/payments/{payment}/allocations", lines(make, tenant, ("F-3", 1), row))
    assert (answer.status_code, answer.json()["type"].rsplit(":", 1)[1]) == (status, code), answer.text
    if status != 403:
        assert answer.json()["errors"][0]["pointer"].startswith("/lines/1")
    assert (await world.one(tenant, "SELECT unapplied_minor, version FROM payment"))[0] == 3_000
    assert (await post(client, f"/v1/payments/{new_id()}/allocations", lines(make, tenant, ("F-1", 1)))).status_code == 404


async def test_a_hundred_allocations_at_once_take_no_more_than_there_is(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000), make.invoice(tenant, "F-2", 10_000, customer="C2"))
    pays = [await world.pay(held, 1_000, number=n) for n in range(20)]
    await world.match(tenant)

    async def one(n):
        body = lines(make, tenant, (f"F-{1 + n % 2}", 300))
        return await post(client, f"/v1/payments/{pays[n % 20]}/allocations", body)

    answers = await asyncio.gather(*(one(n) for n in range(100)))
    assert {a.status_code for a in answers} <= {200, 409}, [a.text for a in answers if a.status_code not in {200, 409}][:3]
    done = sum(a.status_code == 200 for a in answers)
    total = (await world.one(tenant, "SELECT CAST(sum(cash_minor) AS bigint) FROM open_item"))[0]
    assert total == 300 * done
    assert done == 60  # each payment has three times 300, and the items have room for 66
    await world.holds()


async def test_moving_a_payment_counts_its_rest_on_the_other_customer(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 500), make.invoice(tenant, "F-2", 700, customer="C2"))
    payment = await world.pay(held, 800)
    await world.match(tenant)
    await post(client, f"/v1/payments/{payment}/allocations", lines(make, tenant, ("F-1", 500)))
    two = str(make.customer_id(tenant, "C2"))
    moved = await post(client, f"/v1/payments/{payment}/move", {"customer_id": two, "reason": "theirs"})
    assert (moved.status_code, moved.json()["payer_customer_id"], moved.json()["allocated_minor"]) == (200, two, 500)
    balances = {b["customer_id"]: b["unapplied_minor"] for b in (await client.get("/v1/balances")).json()["items"]}
    assert balances == {str(make.customer_id(tenant, "C1")): 0, two: 300}
    assert (await post(client, f"/v1/payments/{payment}/move", {"customer_id": str(new_id()), "reason": "nobody"})).status_code == 404
    await world.holds()


async def test_a_write_off_above_the_limit_needs_another_person_and_money_reverses_it(world, tenant, make, client, second):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await limit(client, tenant, make, 100)
    body = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "insolvency"}
    small = await post(client, "/v1/write-offs", {**body, "amount_minor": 100})
    assert (small.status_code, small.json()["status"]) == (201, "booked")
    asked = (await post(client, "/v1/write-offs", body)).json()
    assert (asked["status"], asked["amount_minor"]) == ("requested", 900)
    path = f"/v1/write-offs/{asked['write_off_id']}"
    assert (await post(client, f"{path}/decision", {"approve": True})).status_code == 403
    assert (await item(world, tenant, "F-1")).open_minor == 900
    assert (await post(second, f"{path}/decision", {"approve": True})).json()["status"] == "booked"
    assert tuple(await item(world, tenant, "F-1"))[:7] == (0, 0, 0, 0, 1_000, "closed", "written_off")
    assert (await post(second, f"{path}/decision", {"approve": True})).status_code == 409
    payment = await world.pay(held, 950)
    await world.match(tenant)
    answer = await post(client, f"/v1/payments/{payment}/allocations", lines(make, tenant, ("F-1", 950)))
    assert answer.status_code == 200, answer.text
    assert tuple(await item(world, tenant, "F-1"))[:7] == (0, 950, 0, 0, 50, "paid", None)
    rest = (await client.get("/v1/write-offs", params={"status": "booked"})).json()["items"]
    assert [(w["amount_minor"], w["reversed_minor"]) for w in rest] == [(100, 50)]
    undone = await post(client, f"/v1/write-offs/{rest[0]['write_off_id']}/reverse", {"reason": "mistake"})
    assert (undone.status_code, undone.json()["status"]) == (200, "reversed")
    assert tuple(await item(world, tenant, "F-1"))[:6] == (50, 950, 0, 0, 0, "open")
    names = [type(m.data).__name__ for m in await world.events("ReceivableWrittenOff", "WriteOffReversed") if m.tenant_id == tenant]
    assert (names.count("ReceivableWrittenOff"), names.count("WriteOffReversed")) == (2, 3)
    await world.holds()


async def test_what_was_written_off_of_an_invoice_that_is_cancelled_is_no_loss(world, tenant, make, client):
    await limit(client, tenant, make, 1_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    given = (await post(client, "/v1/write-offs", {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "goodwill"})).json()
    await world.feed(make.invoice(tenant, "F-1", 1_000, version=2, cls=make.Cancelled))
    assert tuple(await item(world, tenant, "F-1"))[4:7] == (0, "closed", "cancelled")
    [taken_back] = (await client.get("/v1/write-offs")).json()["items"]
    assert (taken_back["status"], taken_back["reversed_minor"]) == ("reversed", 1_000)
    assert (await post(client, f"/v1/write-offs/{given['write_off_id']}/reverse", {"reason": "mistake"})).status_code == 409
    lost = "SELECT coalesce(sum(CASE WHEN debit = 'bad_debt' THEN amount_minor ELSE -amount_minor END), 0) FROM ledger_entry "
    assert (await world.one(tenant, lost + "WHERE 'bad_debt' IN (debit, credit)"))[0] == 0
    await world.feed(make.invoice(tenant, "F-1", 1_000, version=3, cls=make.Changed))
    assert (await item(world, tenant, "F-1")).open_minor == 1_000
    await world.holds()


async def test_allocating_then_unmatching_leaves_the_ledger_as_it_was(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"), make.invoice(tenant, "F-2", 500))
    first = await world.pay(held, 400, "REF000001", number=1)
    payment = await world.pay(held, 900, number=2)
    await world.match(tenant)

    async def ledger():
        items = [tuple(await item(world, tenant, number)) for number in ("F-1", "F-2")]
        pays = await world.rows(tenant, "SELECT payment_id, allocated_minor, unapplied_minor, status FROM payment ORDER BY 1")
        return items, [tuple(row) for row in pays], [b["open_minor"] for b in (await client.get("/v1/balances")).json()["items"]]

    await limit(client, tenant, make, 1_000)
    await post(client, f"/v1/payments/{first}/unmatch", {"reason": "wrong"})
    assert tuple(await item(world, tenant, "F-1"))[:2] == (1_000, 0)
    assert (await item(world, tenant, "F-1")).value_date is None  # as if it had never been matched: interest runs on
    before = await ledger()
    done = await post(client, f"/v1/payments/{payment}/allocations", lines(make, tenant, ("F-1", 700, 50, "discount"), ("F-2", 200)))
    assert done.status_code == 200, done.text
    assert await ledger() != before
    await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "back"})
    assert await ledger() == before
    await world.holds()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_hand_work_conserves_money_and_undone_is_as_before(world, make, data):
    tenant, now = new_id(), make.NOW
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", data.draw(st.integers(1, 500)), customer=f"C{n % 2}") for n in range(3)))
    pays = [await world.pay(held, data.draw(st.integers(1, 500)), number=n) for n in range(2)]
    query = "SELECT item_id, open_minor, cash_minor, status, value_date FROM open_item ORDER BY 1"
    untouched = [tuple(row) for row in await world.rows(tenant, query)]
    for _ in range(data.draw(st.integers(1, 6))):
        payment, number, amount = data.draw(st.tuples(st.sampled_from(pays), st.integers(0, 2), st.integers(1, 500)))
        wanted = [allocations.Line(make.invoice_id(tenant, f"F-{number}"), amount)]
        async with world.database.transaction(tenant) as conn:
            with contextlib.suppress(Problem):  # more than there is
                await allocations.allocate(conn, tenant, payment, wanted, customer_id=None, by="tester", now=now)
    await world.holds()
    for payment in pays:
        async with world.database.transaction(tenant) as conn:
            await unmatch(conn, tenant, payment, None, "all of it", now)
    assert [tuple(row) for row in await world.rows(tenant, query)] == untouched
    await world.holds()


async def recall(client, body):
    return await client.post("/v1/recalls", content=body, headers={"content-type": "application/xml"})


async def test_a_mix_of_all_hand_work_at_once_keeps_every_invariant(world, tenant, make, client, second):
    held = await world.account(tenant)
    await limit(client, tenant, make, 400)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 2_000, customer=f"C{n % 2}") for n in range(4)))
    pays = [await world.pay(held, 1_000, number=n, debtor_name="D", debtor_iban="DE89370400440532013000") for n in range(6)]
    await world.match(tenant)

    async def act(n):
        payment, number = pays[n % 6], f"F-{n % 4}"
        match n % 5:
            case 0 | 1:
                return await post(client, f"/v1/payments/{payment}/allocations", lines(make, tenant, (number, 350, 10, "rounding")))
            case 2:
                return await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "again"})
            case 3:
                body = {"item_id": str(make.invoice_id(tenant, number)), "reason": "goodwill", "amount_minor": 300}
                return await post(second, "/v1/write-offs", body)
            case _:
                return await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "back", "amount_minor": 200})

    answers = await asyncio.gather(*(act(n) for n in range(60)))
    assert {a.status_code for a in answers} <= {200, 201, 404, 409}, [a.text for a in answers if a.status_code >= 500][:2]
    assert sum(a.status_code in {200, 201} for a in answers) > 20
    await world.holds()


async def dump(world, tenant):
    """Everything that says what is owed and what became of money, without the machine's clock."""
    tables = ("payment", "open_item", "account_balance", "allocation", "ledger_entry", "recall", "refund", "expected_payment", "write_off")
    return {
        table: sorted(str({k: v for k, v in row._mapping.items() if not k.endswith(("_at", "entry_id"))}) for row in rows)
        for table in tables
        for rows in [await world.rows(tenant, f"SELECT * FROM {table}")]  # noqa: S608 - ours
    }


async def test_repeating_all_inputs_changes_nothing(world, tenant, make, client, camtfile):
    held = await world.account(tenant)
    await limit(client, tenant, make, 10_000)
    bodies = camtfile.statement(
        held.iban,
        "0.00",
        "18.00",
        camtfile.entry("10.00", ref="A1", e2e="E-1", structured="REF000001"),
        camtfile.entry("9.00", ref="A2", e2e="E-2"),
        camtfile.entry("1.00", ref="A3", e2e="E-1", credit=False, reason="AM04"),
    )
    invoices = [make.invoice(tenant, "F-1", 1_000, reference="REF000001"), make.invoice(tenant, "F-2", 900)]
    query = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "reference": "E-2"}

    async def everything():
        xml = {"content-type": "application/xml"}
        await world.feed(*invoices)
        assert (await client.post("/v1/bank-files", content=bodies, headers=xml)).status_code == 201
        await world.match(tenant)
        sent = {"params": query, "content": b"document_number;net\nF-2;9.00", "headers": {"content-type": "text/csv"}}
        assert (await client.post("/v1/remittances/file", **sent)).status_code == 201
        written = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "goodwill", "amount_minor": 100}
        assert (await post(client, "/v1/write-offs", written, "w1")).status_code == 201
        assert (await recall(client, camt056("E-2", "9.00"))).status_code == 201

    await everything()
    first = await dump(world, tenant)
    events = len([m for m in await world.events() if m.tenant_id == tenant])
    for _ in range(2):
        await everything()
    assert await dump(world, tenant) == first
    assert len([m for m in await world.events() if m.tenant_id == tenant]) == events
    assert (await item(world, tenant, "F-2")).open_minor == 900  # the recall took its money out
    await world.holds()


async def test_whose_the_money_was_that_went_back_is_told_as_money_that_went_back(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000, customer="C2"))
    await limit(client, tenant, make, 5_000)
    payment = await world.pay(held, 70, debtor_iban="DE89370400440532013000", debtor_name="Dupont SA")
    await world.match(tenant)
    assert (await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "not for us"})).json()["status"] == "approved"
    body = {"customer_id": str(make.customer_id(tenant, "C2")), "reason": "his"}
    assert (await post(client, f"/v1/payments/{payment}/move", body)).json()["status"] == "refunded"
    assert [m for m in await world.events("PaymentMatched") if m.tenant_id == tenant] == []
    told = [m.data.payer_customer_id for m in await world.events("PaymentRefunded") if m.tenant_id == tenant]
    assert told == [None, make.customer_id(tenant, "C2")]
    await world.holds()
