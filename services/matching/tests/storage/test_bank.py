"""Bank files and notifications over the HTTP API: one transaction is one payment."""

import json
from datetime import UTC, date, datetime
from uuid import UUID

import asyncpg
import pytest
from matching.domain.statements import Transaction
from matching.handlers import ingest
from matching.handlers.reconciliation import advance
from shared.clock import machine_now
from shared.jobs import JobContext
from shared.kafka import Offsets
from standardwebhooks.webhooks import Webhook

IBAN = "FR7630006000011234567890189"
OTHER = "DE89370400440532013000"


async def put_account(client, make, tenant, iban=IBAN):
    answer = await client.put(
        f"/v1/bank-accounts/{iban}",
        json={"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "holder_name": "Vendeur SA", "start_date": "2026-03-01"},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post_file(client, data: bytes):
    return await client.post("/v1/bank-files", content=data, headers={"content-type": "application/xml"})


def signed(world, body: dict) -> tuple[bytes, dict]:
    data = json.dumps(body).encode()
    now = machine_now()
    signature = Webhook(world.runtime.settings.webhook_secret.get_secret_value()).sign("msg_1", now, data.decode())
    return data, {
        "content-type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }


def notification(**more) -> dict:
    return {
        "account_iban": IBAN,
        "amount_minor": 10_000,
        "currency": "EUR",
        "booking_date": "2026-03-02",
        "value_date": "2026-03-02",
        "bank_reference": "AB1",
        **more,
    }


async def payments(world, tenant):
    return await world.rows(tenant, "SELECT * FROM payment ORDER BY bank_reference, payment_id")


async def test_notification_then_camt_054_then_053_is_one_payment(world, client, tenant, make, camtfile):
    await put_account(client, make, tenant)
    data, headers = signed(world, notification(structured_reference="RF18 5390 0754 7034"))
    first = await client.post("/v1/payments", content=data, headers=headers)
    assert first.status_code == 202, first.text
    again = await client.post("/v1/payments", content=data, headers=headers)
    assert again.json() == first.json()
    line = camtfile.entry("100.00", ref="AB1", structured="RF18539007547034")
    advice = await post_file(client, camtfile.statement(IBAN, "", "", line, kind="054"))
    assert advice.json()["statements"][0] | {"statement_id": None} == {
        "statement_id": None,
        "account": IBAN,
        "iban": IBAN,
        "verdict": "booked",
        "reason": None,
        "detail": None,
        "entries": 1,
        "new_payments": 0,
        "confirmed": 0,
        "returns": 0,
    }
    await world.match(tenant)
    end_of_day = await post_file(client, camtfile.statement(IBAN, "0.00", "150.00", line, camtfile.entry("50.00", ref="AB2")))
    assert [(s["new_payments"], s["confirmed"]) for s in end_of_day.json()["statements"]] == [(1, 1)]
    same = await post_file(client, camtfile.statement(IBAN, "0.00", "150.00", line, camtfile.entry("50.00", ref="AB2")))
    assert same.json()["statements"][0]["verdict"] == "duplicate"
    overlapping = await post_file(
        client,
        camtfile.statement(IBAN, "0.00", "175.00", line, camtfile.entry("50.00", ref="AB2"), camtfile.entry("25.00", ref="AB3"), number=2),
    )
    assert overlapping.json()["statements"][0]["new_payments"] == 1
    found = await payments(world, tenant)
    assert [(p.bank_reference, p.amount_minor, p.confirmation) for p in found] == [
        ("AB1", 10_000, "booked"),
        ("AB2", 5_000, "booked"),
        ("AB3", 2_500, "booked"),
    ]
    assert str(found[0].payment_id) == first.json()["payment_id"]
    await world.match(tenant)
    await world.holds()


async def test_two_genuinely_equal_transactions_are_two(world, client, tenant, make, camtfile):
    await put_account(client, make, tenant)
    twin = camtfile.entry("10.00", text="thank you", iban=OTHER)
    file = camtfile.statement(IBAN, "0.00", "20.00", twin, twin)
    assert (await post_file(client, file)).json()["statements"][0]["new_payments"] == 2
    shared_reference = camtfile.entry("10.00", ref="SAME")
    file = camtfile.statement(IBAN, "20.00", "40.00", shared_reference, shared_reference, number=2, day="2026-03-03")
    assert (await post_file(client, file)).json()["statements"][0]["new_payments"] == 2
    assert len(await payments(world, tenant)) == 4


async def test_a_reference_used_again_on_another_day_is_another_transaction(world, client, tenant, make, camtfile):
    await put_account(client, make, tenant)
    await post_file(client, camtfile.statement(IBAN, "0.00", "10.00", camtfile.entry("10.00", ref="1")))
    second = camtfile.statement(IBAN, "10.00", "20.00", camtfile.entry("10.00", ref="1", day="2026-03-03"), day="2026-03-03", number=2)
    assert (await post_file(client, second)).json()["statements"][0]["new_payments"] == 1
    assert len(await payments(world, tenant)) == 2


async def test_a_statement_that_does_not_add_up_is_quarantined_whole(world, client, tenant, make, camtfile):
    await put_account(client, make, tenant)
    wrong = await post_file(client, camtfile.statement(IBAN, "0.00", "11.00", camtfile.entry("10.00", ref="X")))
    assert wrong.json()["statements"][0]["verdict"] == "rejected"
    assert await payments(world, tenant) == []
    told = [m.data for m in await world.events("StatementRejected") if m.tenant_id == tenant]
    assert [t.reason for t in told] == ["balance_differs"]


async def test_an_account_that_is_not_ours_is_refused_by_name(client, tenant, camtfile):
    answer = await post_file(client, camtfile.statement(OTHER, "0.00", "10.00", camtfile.entry("10.00", ref="X")))
    assert (answer.status_code, answer.json()["code"]) == (422, "account-unknown")
    assert OTHER in answer.json()["detail"]


async def test_entries_before_the_start_date_are_not_ours(world, client, tenant, make, camtfile):
    await put_account(client, make, tenant)
    old = camtfile.entry("10.00", ref="OLD", day="2026-02-27")
    await post_file(client, camtfile.statement(IBAN, "0.00", "30.00", old, camtfile.entry("20.00", ref="NEW")))
    assert [p.bank_reference for p in await payments(world, tenant)] == ["NEW"]


@pytest.mark.parametrize(
    ("reference", "batch"),
    [("<AcctSvcrRef>BATCH</AcctSvcrRef>", ""), ("", "<PmtInfId>COLLECTION-7</PmtInfId>"), ("", "<MsgId>M-7</MsgId>")],
)
async def test_a_batch_total_waits_for_its_details(world, client, tenant, make, camtfile, reference, batch):
    await put_account(client, make, tenant)
    total = (
        '<Ntry><Amt Ccy="EUR">30.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt>'
        f"{reference}<NtryDtls><Btch>{batch}<NbOfTxs>2</NbOfTxs></Btch></NtryDtls></Ntry>"
    )
    await post_file(client, camtfile.statement(IBAN, "0.00", "30.00", total))
    assert await payments(world, tenant) == []

    def detail(amount, ref):
        return f'<TxDtls><Refs><AcctSvcrRef>{ref}</AcctSvcrRef></Refs><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd></TxDtls>'

    details = total.replace("</Btch>", "</Btch>" + detail("10.00", "D1") + detail("20.00", "D2"))
    answer = await post_file(client, camtfile.statement(IBAN, "", "", details, kind="054"))
    assert answer.json()["statements"][0]["new_payments"] == 2
    assert [(p.amount_minor, p.confirmation) for p in await payments(world, tenant)] == [(1_000, "booked"), (2_000, "booked")]
    assert (await world.one(tenant, "SELECT resolved FROM movement")).resolved
    await world.match(tenant)
    await world.holds()


@pytest.mark.parametrize("details_first", [False, True])
async def test_slips_that_a_bank_books_in_one_sum_are_counted_once(world, client, tenant, make, camtfile, details_first):
    await put_account(client, make, tenant)
    head = (
        '<Ntry><Amt Ccy="EUR">30.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt>'
        "<AcctSvcrRef>SUM-1</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>VCOM</SubFmlyCd></Fmly></Domn></BkTxCd>"
    )
    booked = f"{head}<NtryDtls><TxDtls><Refs><AcctSvcrRef>SUM-1</AcctSvcrRef></Refs></TxDtls></NtryDtls></Ntry>"

    def slip(amount, ref):
        return f'<TxDtls><Refs><AcctSvcrRef>{ref}</AcctSvcrRef></Refs><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd></TxDtls>'

    slips = f"{head}<NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>{slip('10.00', 'D1')}{slip('20.00', 'D2')}</NtryDtls></Ntry>"
    files = [camtfile.statement(IBAN, "0.00", "30.00", booked), camtfile.statement(IBAN, "", "", slips, kind="054")]
    for one in reversed(files) if details_first else files:
        await post_file(client, one)
    assert [(p.amount_minor, p.confirmation) for p in await payments(world, tenant)] == [(1_000, "booked"), (2_000, "booked")]
    assert (await world.one(tenant, "SELECT resolved FROM movement")).resolved


async def test_a_return_reopens_the_invoice(world, client, tenant, make, camtfile):
    await put_account(client, make, tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000, reference="RF18539007547034"))
    await post_file(
        client, camtfile.statement(IBAN, "0.00", "100.00", camtfile.entry("100.00", ref="P1", e2e="E1", structured="RF18539007547034"))
    )
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT status FROM open_item")).status == "paid"
    back = camtfile.statement(
        IBAN,
        "100.00",
        "0.00",
        camtfile.entry("100.00", ref="R1", e2e="E1", credit=False, reason="AC04", day="2026-03-03"),
        day="2026-03-03",
        number=2,
    )
    assert (await post_file(client, back)).json()["statements"][0]["returns"] == 1
    item = await world.one(tenant, "SELECT status, open_minor, cash_minor FROM open_item")
    assert tuple(item) == ("open", 10_000, 0)
    returned = [m.data for m in await world.events("PaymentReturned") if m.tenant_id == tenant]
    assert [(r.returned_minor, r.unapplied_minor, r.allocations, r.return_reason) for r in returned] == [(10_000, 0, [], "ac04")]
    assert [m.data.open_minor for m in await world.events("InvoiceReopened") if m.tenant_id == tenant] == [10_000]
    await world.holds()


async def test_reconciliation_advances_when_all_is_looked_at_and_told(world, client, tenant, make, camtfile):
    account = await put_account(client, make, tenant)
    job = JobContext(world.database, machine_now(), Offsets("127.0.0.1:1"), "", "test")

    told = []

    async def relayed():
        told.extend(
            (m.data.booked_through, m.data.matched_through, m.data.gaps)
            for m in await world.events("BankReconciliationAdvanced")
            if m.tenant_id == tenant
        )
        conn = await asyncpg.connect(world.urls.relay)
        await conn.execute("DELETE FROM outbox WHERE $1 = ANY(tenants)", tenant)
        await conn.close()

    async def advanced():
        await advance(job, tenant)
        await relayed()
        return told

    await post_file(client, camtfile.statement(IBAN, "0.00", "10.00", camtfile.entry("10.00", ref="1", day="2026-03-01"), day="2026-03-01"))
    await advance(job, tenant)  # a payment waits
    await world.match(tenant)
    await advance(job, tenant)  # its events have not left
    await relayed()
    assert told == []
    assert await advanced() == [(date(2026, 3, 1), date(2026, 3, 1), [])]
    empty_day = camtfile.statement(IBAN, "10.00", "10.00", day="2026-03-02", number=2)
    await post_file(client, empty_day)
    assert (await advanced())[-1] == (date(2026, 3, 2), date(2026, 3, 2), [])
    await post_file(client, camtfile.statement(IBAN, "15.00", "15.00", day="2026-03-05", number=4))
    booked, matched, gaps = (await advanced())[-1]
    assert (booked, matched) == (date(2026, 3, 5), date(2026, 3, 2))
    assert [(g.first, g.last) for g in gaps] == [(date(2026, 3, 3), date(2026, 3, 4))]
    await post_file(client, camtfile.statement(IBAN, "15.00", "16.00", day="2026-03-06", number=5))
    assert len(await advanced()) == 3  # a statement is in quarantine
    assert UUID(account["bank_account_id"])
    await world.holds()


async def test_a_batch_of_notifications_is_one_transaction_and_each_payment_once(world, client, tenant, make):
    await put_account(client, make, tenant)
    told = [notification(bank_reference=f"AB{number}") for number in range(1, 31)]
    single, headers = signed(world, told[0])
    first = (await client.post("/v1/payments", content=single, headers=headers)).json()["payment_id"]
    data, headers = signed(world, {"payments": [*told, told[3]]})
    before = world.database.statements
    answer = await client.post("/v1/payments/batch", content=data, headers=headers)
    assert answer.status_code == 202, answer.text
    assert world.database.statements - before <= 8  # whatever their number
    ids = answer.json()["payment_ids"]
    assert ids[0] == first
    assert ids[-1] == ids[3]
    assert len(await payments(world, tenant)) == 30
    await world.holds()


@pytest.mark.parametrize(
    ("wrong", "code"), [({"account_iban": "DE89370400440532013000"}, "account-unknown"), ({"currency": "USD"}, "currency-differs")]
)
async def test_one_wrong_payment_refuses_the_whole_batch(world, client, tenant, make, wrong, code):
    await put_account(client, make, tenant)
    data, headers = signed(world, {"payments": [notification(), notification(bank_reference="AB2", **wrong)]})
    answer = await client.post("/v1/payments/batch", content=data, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await payments(world, tenant) == []


@pytest.mark.parametrize("header", ["v1", "v1,", "nonsense", "v1,AAAA v1,%%%", "v2,abc", ""])
async def test_a_bad_signature_is_refused(world, client, tenant, make, header):
    await put_account(client, make, tenant)
    data, headers = signed(world, notification())
    answer = await client.post("/v1/payments", content=data, headers={**headers, "webhook-signature": header})
    assert answer.status_code == 401, answer.text


@pytest.mark.parametrize(
    "data", [b"", b"<a/>", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", b"\xff\xfe", "<!DOCTYPE a><a/>".encode("utf-16")]
)
async def test_what_is_no_bank_file_is_refused(client, tenant, data):
    answer = await post_file(client, data)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("reference", ["00000000000001234561", "1234561", "1234 561"])
async def test_a_finnish_reference_is_the_same_with_zeros_in_front(world, client, tenant, make, camtfile, reference):
    finnish = "FI2112345600000785"
    await put_account(client, make, tenant, finnish)
    await world.feed(make.invoice(tenant, "F-1", 10_000, reference="1234561"))
    await post_file(client, camtfile.statement(finnish, "0.00", "100.00", camtfile.entry("100.00", ref="P1", structured=reference)))
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT status FROM open_item")).status == "paid"
    await world.holds()


async def test_a_notification_names_an_account_without_an_iban_by_its_number(world, client, tenant, make):
    async def notify(body):
        data, headers = signed(world, body)
        return await client.post("/v1/payments", content=data, headers=headers)

    account = {"number": "123 456 789", "clearing": {"system": "USABA", "member_id": "121140399"}}
    fields = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "holder_name": "Seller Inc", "start_date": "2026-03-01"}
    assert (await client.post("/v1/bank-accounts", json=account | fields)).status_code == 200
    told = notification()
    del told["account_iban"]
    answer = await notify(told | {"account_number": "123456789"})
    assert answer.status_code == 202, answer.text
    assert len(await payments(world, tenant)) == 1
    for wrong in (told, told | {"account_number": "123456789", "account_iban": IBAN}):
        assert (await notify(wrong)).status_code == 422
    assert (await notify(told | {"account_number": "987654321"})).json()["code"] == "account-unknown"


async def test_a_notification_says_what_the_payer_told_his_bank_to_pay(world, client, tenant, make):
    await put_account(client, make, tenant)
    told = notification(instructed_minor=10_800, instructed_currency="USD")
    data, headers = signed(world, told)
    assert (await client.post("/v1/payments", content=data, headers=headers)).status_code == 202
    assert tuple(await world.one(tenant, "SELECT instructed_minor, instructed_currency FROM payment")) == (10_800, "USD")
    data, headers = signed(world, notification(bank_reference="AB9", instructed_minor=1))
    assert (await client.post("/v1/payments", content=data, headers=headers)).status_code == 422


async def test_what_a_bank_writes_stays_with_its_payment_whatever_is_in_it(world, tenant):
    """Payments of a batch are stored by one text a column: a separator in one of them must not move the others' words."""
    held = await world.account(tenant)
    hostile = "\x1e{NULL},\"\\ \x1f\n'); --"
    told = [
        Transaction(
            kind="payment",
            credit=True,
            amount_minor=number,
            currency="EUR",
            day=date(2026, 3, 2),
            booking_date=date(2026, 3, 2),
            bank_reference=f"B{number}",
            remittance=words,
            counterparty_name=name,
            end_to_end_id=end,
        )
        for number, words, name, end in ((1, [hostile, "two"], hostile, None), (2, [], None, "E2"), (3, ["three"], "Drei", None))
    ]
    async with world.database.transaction(tenant) as conn:
        await ingest.book_notifications(conn, held, [(one, None) for one in told], datetime(2026, 3, 2, 9, tzinfo=UTC))
    rows = await world.rows(tenant, "SELECT remittance, debtor_name, end_to_end_id FROM payment ORDER BY amount_minor")
    plain = hostile.replace("\x1e", " ")
    assert [tuple(row) for row in rows] == [
        ([plain.replace("\x1f", " "), "two"], plain, None),
        ([], None, "E2"),
        (["three"], "Drei", None),
    ]
