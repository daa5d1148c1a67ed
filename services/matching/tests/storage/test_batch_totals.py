"""Batch totals whose details do not come, or come after a person has booked the total: the money counts once."""

import asyncio
from datetime import date

import httpx
import pytest
from matching.handlers.reconciliation import advance
from matching.handlers.slices import import_slices
from shared.clock import machine_now
from shared.ids import new_id
from shared.jobs import JobContext
from shared.kafka import Offsets
from shared.service import api
from shared.testing.tokens import token

IBAN = "FR7630006000011234567890189"
HEAD = (
    '<Ntry><Amt Ccy="EUR">30.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt>'
    "<AcctSvcrRef>BATCH</AcctSvcrRef><NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>"
)
TAIL = "</NtryDtls></Ntry>"


def detail(amount, ref):
    return f'<TxDtls><Refs><AcctSvcrRef>{ref}</AcctSvcrRef></Refs><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd></TxDtls>'


def half(amount, ref, total="30.00"):
    """An advice that has one of the details, under the entry's reference."""
    return HEAD.replace(total, amount).replace("<NbOfTxs>2", "<NbOfTxs>1") + detail(amount, ref) + TAIL


DETAILS = HEAD + detail("10.00", "D1") + detail("20.00", "D2") + TAIL


@pytest.fixture
def files(camtfile):
    """The statement with the total, and advices of what it is made of."""
    return {
        "total": camtfile.statement(IBAN, "0.00", "30.00", HEAD + TAIL),
        "details": camtfile.statement(IBAN, "", "", DETAILS, kind="054"),
        "half": camtfile.statement(IBAN, "", "", half("10.00", "D1"), kind="054", number=2),
        "rest": camtfile.statement(IBAN, "", "", half("20.00", "D2"), kind="054", number=3),
        "again": camtfile.statement(IBAN, "0.00", "30.00", HEAD + TAIL, number=7),
        "details again": camtfile.statement(IBAN, "", "", DETAILS, kind="054", number=8),
    }


async def put_account(client, make, tenant):
    body = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "holder_name": "Vendeur SA", "start_date": "2026-03-02"}
    answer = await client.put(f"/v1/bank-accounts/{IBAN}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post_file(client, data):
    answer = await client.post("/v1/bank-files", content=data, headers={"content-type": "application/xml"})
    assert answer.status_code == 201, answer.text
    return answer.json()["statements"][0]


def job(world):
    return JobContext(world.database, machine_now(), Offsets("127.0.0.1:1"), "", "test")


async def waiting(client, **asked):
    return (await client.get("/v1/batch-totals", params=asked)).json()["items"]


async def book(client, total_id, key=None):
    headers = {"idempotency-key": key or str(new_id())}
    return await client.post(f"/v1/batch-totals/{total_id}/booking", json={"reason": "the bank has no details"}, headers=headers)


async def booked_by_hand(client, make, tenant, files):
    """The payment that the total was booked as."""
    await put_account(client, make, tenant)
    await post_file(client, files["total"])
    (total,) = await waiting(client)
    answer = await book(client, total["batch_total_id"])
    assert answer.status_code == 200, answer.text
    return answer.json()["payment_id"]


async def payments(world, tenant):
    """Reference, and what of the payment counts: amount less what was given back."""
    rows = await world.rows(
        tenant,
        "SELECT bank_reference, amount_minor - returned_minor - refunded_minor AS counts, confirmation, status, return_reason FROM payment "
        "ORDER BY bank_reference",
    )
    return [tuple(row) for row in rows]


async def ledger(world, tenant):
    """What the books say the bank has received."""
    row = await world.one(
        tenant,
        "SELECT CAST(sum(CASE WHEN debit = 'bank' THEN amount_minor WHEN credit = 'bank' THEN -amount_minor ELSE 0 END) AS bigint) AS bank "
        "FROM ledger_entry",
    )
    return row.bank


SWAPPED = [
    ("BATCH", 0, "booked", "returned", "replaced_by_details"),
    ("D1", 1_000, "booked", "unapplied", None),
    ("D2", 2_000, "booked", "unapplied", None),
]


async def test_a_total_without_details_is_listed_booked_matched_and_reconciled(world, client, tenant, make, files):
    account = await put_account(client, make, tenant)
    await post_file(client, files["total"])
    await advance(job(world), tenant)
    assert await world.rows(tenant, "SELECT * FROM reconciliation") == []
    (total,) = await waiting(client, bank_account_id=account["bank_account_id"])
    assert {name: total[name] for name in ("account", "iban", "amount_minor", "currency", "booking_date", "reference")} == {
        "account": IBAN,
        "iban": IBAN,
        "amount_minor": 3_000,
        "currency": "EUR",
        "booking_date": "2026-03-02",
        "reference": "BATCH",
    }
    assert total["received_at"] is not None
    assert await waiting(client, bank_account_id=str(new_id())) == []

    answers = [await book(client, total["batch_total_id"], "once") for _ in range(2)]
    assert answers[0].status_code == 200, answers[0].text
    assert answers[1].json() == answers[0].json()
    again = await book(client, total["batch_total_id"])
    assert (again.status_code, again.json()["code"]) == (409, "batch-total-resolved")
    assert await waiting(client) == []
    assert await payments(world, tenant) == [("BATCH", 3_000, "booked", "received", None)]
    (told,) = [m.data for m in await world.events("PaymentReceived") if m.tenant_id == tenant]
    assert (told.amount_minor, told.confirmation, told.source) == (3_000, "booked", "statement")
    audited = await world.one(tenant, "SELECT CAST(detail AS text) AS detail FROM audit WHERE action = 'batch_total.book'")
    assert "the bank has no details" in audited.detail

    await advance(job(world), tenant)
    assert await world.rows(tenant, "SELECT * FROM reconciliation") == []  # it is not looked at yet
    await world.match(tenant)
    await advance(job(world), tenant)
    assert (await world.one(tenant, "SELECT next_matched_through FROM reconciliation")).next_matched_through == date(2026, 3, 2)
    assert (await post_file(client, files["again"]))["new_payments"] == 0
    assert await waiting(client) == []
    assert await ledger(world, tenant) == 3_000
    await world.holds()


async def test_only_a_total_of_the_tenant_that_waits_is_booked(world, client, tenant, make, files):
    await put_account(client, make, tenant)
    await post_file(client, files["total"])
    (total,) = await waiting(client)

    def other(of, *scopes):
        headers = {"authorization": f"Bearer {token(of, *scopes)}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=api(world.runtime)), base_url="http://matching.test", headers=headers)

    async with other(new_id(), "bank:write", "bank:read") as stranger:
        assert await waiting(stranger) == []
        answer = await book(stranger, total["batch_total_id"])
        assert (answer.status_code, answer.json()["code"]) == (404, "batch-total-unknown")
    async with other(tenant, "bank:read", "payments:write") as reader:
        assert (await book(reader, total["batch_total_id"])).status_code == 403
    unkeyed = await client.post(f"/v1/batch-totals/{total['batch_total_id']}/booking", json={"reason": "x"})
    assert unkeyed.status_code == 400
    await post_file(client, files["details"])  # they came after all, before anybody booked the total
    assert (await book(client, total["batch_total_id"])).json()["code"] == "batch-total-resolved"
    assert await ledger(world, tenant) == 3_000
    await world.holds()


@pytest.mark.parametrize("looked_at", ["not yet", "unapplied", "allocated"])
async def test_details_that_come_after_all_take_its_place(world, client, tenant, make, files, looked_at):
    payment = await booked_by_hand(client, make, tenant, files)
    if looked_at != "not yet":
        await world.match(tenant)
    if looked_at == "allocated":
        await world.feed(make.invoice(tenant, "F-1", 3_000))
        lines = {"lines": [{"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 3_000}]}
        answer = await client.post(f"/v1/payments/{payment}/allocations", json=lines, headers={"idempotency-key": "a"})
        assert answer.status_code == 200, answer.text
        assert (await world.one(tenant, "SELECT status FROM open_item")).status == "paid"
    assert (await post_file(client, files["details"]))["new_payments"] == 2
    await world.match(tenant)
    assert await payments(world, tenant) == SWAPPED
    (returned,) = [m.data for m in await world.events("PaymentReturned") if m.tenant_id == tenant]
    assert (str(returned.payment_id), returned.returned_minor, returned.allocations) == (payment, 3_000, [])
    assert (returned.return_reason, returned.return_class) == ("replaced_by_details", "duplicate")
    if looked_at == "allocated":
        item = await world.one(tenant, "SELECT status, open_minor FROM open_item")
        assert tuple(item) == ("open", 3_000)
    for again in ("again", "details again", "details again"):
        await post_file(client, files[again])
    assert await payments(world, tenant) == SWAPPED
    assert await waiting(client) == []
    assert await ledger(world, tenant) == 3_000
    await world.holds()


async def test_details_count_for_nothing_until_they_are_complete(world, client, tenant, make, files):
    await put_account(client, make, tenant)
    await post_file(client, files["total"])
    await post_file(client, files["half"])  # here already when the total is booked, and its payer known
    await world.match(tenant)
    half_id = (await world.one(tenant, "SELECT payment_id FROM payment")).payment_id
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    lines = {"lines": [{"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 1_000}]}
    assert (await client.post(f"/v1/payments/{half_id}/allocations", json=lines, headers={"idempotency-key": "a"})).status_code == 200
    (total,) = await waiting(client)
    assert (await book(client, total["batch_total_id"])).status_code == 200
    stands = [("BATCH", 3_000, "booked", "received", None), ("D1", 0, "notified", "returned", "withdrawn")]
    assert await payments(world, tenant) == stands
    assert (await world.one(tenant, "SELECT open_minor FROM open_item")).open_minor == 1_000
    await world.holds()
    await post_file(client, files["rest"])
    await world.match(tenant)
    assert await payments(world, tenant) == SWAPPED
    due = await world.one(tenant, "SELECT next_look_at FROM payment WHERE payment_id = :id", id=half_id)
    assert due.next_look_at is not None  # what was withdrawn is looked at anew
    assert await ledger(world, tenant) == 3_000
    await world.holds()


async def test_money_that_was_refunded_is_not_given_back_and_the_details_stay_out(world, client, second, tenant, make, files):
    payment = await booked_by_hand(client, make, tenant, files)
    await world.match(tenant)
    body = {"payment_id": payment, "amount_minor": 500, "reason": "paid twice"}
    body |= {"creditor_name": "Dupont", "creditor_iban": "NL91ABNA0417164300"}
    refund = (await client.post("/v1/refunds", json=body, headers={"idempotency-key": "r"})).json()["refund_id"]
    decided = await second.post(f"/v1/refunds/{refund}/decision", json={"approve": True}, headers={"idempotency-key": "d"})
    assert decided.json()["status"] == "approved", decided.text
    await post_file(client, files["details"])
    await world.match(tenant)
    out = [("D1", 0, "notified", "returned", "withdrawn"), ("D2", 0, "notified", "returned", "withdrawn")]
    assert await payments(world, tenant) == [("BATCH", 2_500, "booked", "unapplied", None), *out]
    await world.holds()
    # a person decides: the refund is taken back, and the details brought again
    cancelled = await client.post(f"/v1/refunds/{refund}/cancel", json={"reason": "later"}, headers={"idempotency-key": "c"})
    assert cancelled.status_code == 200, cancelled.text
    await post_file(client, files["details again"])
    assert await payments(world, tenant) == SWAPPED
    assert await ledger(world, tenant) == 3_000
    await world.holds()


async def test_of_a_total_that_was_moved_to_a_customer_the_balance_is_right_again(world, client, tenant, make, files):
    payment = await booked_by_hand(client, make, tenant, files)
    await world.match(tenant)
    await world.feed(make.invoice(tenant, "F-1", 9_900))
    moved = {"customer_id": str(make.customer_id(tenant, "C1")), "reason": "his"}
    answer = await client.post(f"/v1/payments/{payment}/move", json=moved, headers={"idempotency-key": "m"})
    assert answer.status_code == 200, answer.text
    assert (await world.one(tenant, "SELECT unapplied_minor FROM account_balance")).unapplied_minor == 3_000
    await post_file(client, files["details"])
    assert (await world.one(tenant, "SELECT unapplied_minor FROM account_balance")).unapplied_minor == 0
    assert await ledger(world, tenant) == 3_000
    await world.holds()


async def test_two_totals_that_look_alike_are_two(world, client, tenant, make, camtfile):
    await put_account(client, make, tenant)
    nameless = HEAD.replace("<AcctSvcrRef>BATCH</AcctSvcrRef>", "") + TAIL
    await post_file(client, camtfile.statement(IBAN, "0.00", "60.00", nameless, nameless))
    found = await waiting(client)
    assert [one["reference"] for one in found] == [None, None]
    first = (await client.get("/v1/batch-totals", params={"limit": 1})).json()
    rest = (await client.get("/v1/batch-totals", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert [*first["items"], *rest["items"]] == found
    for one in found:  # by two people at once
        answers = await asyncio.gather(*(book(client, one["batch_total_id"]) for _ in range(2)))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert await ledger(world, tenant) == 6_000
    await world.holds()


async def test_details_that_are_booked_in_slices_take_its_place_when_the_last_is_here(world, client, tenant, make, camtfile):
    await put_account(client, make, tenant)
    head = HEAD.replace("30.00", "1001.00").replace("<NbOfTxs>2", "<NbOfTxs>1001")
    await post_file(client, camtfile.statement(IBAN, "0.00", "1001.00", head + TAIL))
    (total,) = await waiting(client)
    assert (await book(client, total["batch_total_id"])).status_code == 200
    details = head + "".join(detail("1.00", f"D{number}") for number in range(1_001)) + TAIL
    assert (await post_file(client, camtfile.statement(IBAN, "", "", details, kind="054")))["verdict"] == "importing"
    await import_slices(job(world), tenant)
    counted = "SELECT confirmation, count(*) AS n, CAST(sum(unapplied_minor) AS bigint) AS unapplied FROM payment GROUP BY 1"
    assert [tuple(row) for row in await world.rows(tenant, counted)] == [("booked", 1_002, 100_100)]
    assert await ledger(world, tenant) == 100_100
    await world.holds()


@pytest.mark.parametrize("late", [False, True])
async def test_a_batch_of_mt940_waits_for_the_details_of_a_camt_advice(world, tenant, make, client, camtfile, late):
    """ABN AMRO, ING and Rabobank say how many payments an entry stands for (NRTX) and which batch it is (PREF)."""
    await put_account(client, make, tenant)
    said = ":86:/TRTP/SEPA INCASSO BATCH/PREF/PI-1/NRTX/0000002/PIND/BRUTO"
    lines = [":20:A", f":25:{IBAN}", ":28C:1", ":60F:C260302EUR0,", ":61:2603020302C30,N247NONREF", said, ":62F:C260302EUR30,", "-", ""]
    statement = "\r\n".join(lines).encode()
    batch = DETAILS.replace("<AcctSvcrRef>BATCH</AcctSvcrRef>", "").replace("<Btch>", "<Btch><PmtInfId>PI-1</PmtInfId>")
    advice = camtfile.statement(IBAN, "", "", batch, kind="054")
    first, second = (advice, statement) if late else (statement, advice)
    await post_file(client, first)
    assert [one["amount_minor"] for one in await waiting(client)] == ([] if late else [3_000])
    await post_file(client, second)
    assert await waiting(client) == []
    await world.match(tenant)
    assert await payments(world, tenant) == SWAPPED[1:]
    assert await ledger(world, tenant) == 3_000
