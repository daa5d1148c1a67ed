"""What a notification names for sure is matched when it is answered; nothing that hinders that hinders the money from coming in."""

import asyncio
import json

import asyncpg
import pytest
from bankdays import ahead, waiting_for_a_lock
from decided import undecidable
from matching.handlers.notifications import SETTLED
from matching.storage.bank import hold_account
from shared.clock import machine_now
from shared.ids import new_id
from shared.testing.waiting import eventually
from standardwebhooks.webhooks import Webhook

IBAN = "FR7630006000011234567890189"
SECOND = "GB33BUKB20201555555555"
WAITS = (
    "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = $1 AND l.locktype = 'advisory' "
    "AND NOT l.granted AND l.pid <> $2"
)


def told(reference: str, amount: int = 1_000, structured: str | None = None, **more) -> dict:
    day = {"booking_date": "2026-03-02", "value_date": "2026-03-02"}
    return {
        "account_iban": IBAN,
        "amount_minor": amount,
        "currency": "EUR",
        "bank_reference": reference,
        "structured_reference": structured,
    } | day | more  # fmt: skip


@pytest.fixture
def notify(world, client):
    async def send(*payments: dict):
        data = json.dumps({"payments": payments} if len(payments) > 1 else payments[0])
        name, now = f"msg_{new_id()}", machine_now()
        headers = {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(world.runtime.settings.webhook_secret.get_secret_value()).sign(name, now, data),
        }
        return await client.post("/v1/payments/batch" if len(payments) > 1 else "/v1/payments", content=data, headers=headers)

    return send


async def end_another(admin, database, than):
    """Ends the session of somebody else who waits for an account; returns which."""
    found = []

    async def waits():
        found[:] = await admin.fetch(WAITS, database, than)
        return found

    await eventually(waits, what="waiting for an account")
    await admin.execute("SELECT pg_terminate_backend($1)", found[0][0])
    return found[0][0]


async def statuses(world, tenant):
    rows = await world.rows(tenant, "SELECT bank_reference, status, version FROM payment ORDER BY 1")
    return [tuple(row) for row in rows]


async def events_of(world, tenant):
    return [m for m in await world.events() if m.tenant_id == tenant]


async def test_what_names_its_item_is_matched_when_it_is_answered(world, tenant, make, notify):
    await world.account(tenant, IBAN)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, reference=f"REF00000{n}") for n in range(1, 4)))
    before = world.database.statements
    answer = await notify(*(told(f"B{n}", structured=f"REF00000{n}") for n in range(1, 4)))
    assert answer.status_code == 202, answer.text
    assert world.database.statements - before <= 10  # whatever their number
    assert await statuses(world, tenant) == [("B1", "matched", 2), ("B2", "matched", 2), ("B3", "matched", 2)]
    found = await events_of(world, tenant)
    received = {m.data.payment_id: m.envelope.id for m in found if m.envelope.type == "PaymentReceived"}
    assert sorted(map(str, received)) == sorted(answer.json()["payment_ids"])
    for name in ("PaymentMatched", "InvoicePaid"):
        assert {m.envelope.causationid for m in found if m.envelope.type == name} == set(map(str, received.values()))
    await world.match(tenant)  # when PaymentReceived comes round
    assert await statuses(world, tenant) == [("B1", "matched", 2), ("B2", "matched", 2), ("B3", "matched", 2)]
    assert len(await events_of(world, tenant)) == len(found)
    await world.holds()


async def test_where_many_come_at_once_taking_them_in_goes_first(world, tenant, make, notify):
    await world.account(tenant, IBAN)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await notify(*(told(f"B{n}", structured="REF000001" if n == 7 else None) for n in range(SETTLED + 1)))
    assert {status for _, status, _ in await statuses(world, tenant)} == {"received"}
    await world.match(tenant)
    assert [reference for reference, status, _ in await statuses(world, tenant) if status == "matched"] == ["B7"]


@pytest.mark.parametrize(
    ("days", "where", "code"),
    [
        ({"booking_date": "9999-12-31"}, "/booking_date", "booking-ahead"),
        ({"booking_date": ahead(11), "value_date": ahead(11)}, "/booking_date", "booking-ahead"),
        ({"booking_date": "0001-01-01"}, "/booking_date", "before-start"),
        ({"value_date": "9999-12-31"}, "/value_date", "value-date-apart"),
        ({"value_date": "2025-02-28"}, "/value_date", "value-date-apart"),
        ({"value_date": "0001-01-01"}, "/value_date", "value-date-apart"),
        ({"booking_date": ahead(10), "value_date": ahead(12)}, None, None),
        ({"value_date": "2025-03-01"}, None, None),
    ],
)
async def test_days_that_no_bank_writes_are_refused(world, tenant, notify, days, where, code):
    await world.account(tenant)
    for before, payments in (("", [told("R1", **days)]), ("/payments/1", [told("R1"), told("R2", **days)])):
        answer = await notify(*payments)
        if code is None:
            assert answer.status_code == 202, answer.text
        else:
            problem = answer.json()
            assert (answer.status_code, problem["code"], problem["errors"][0]["pointer"]) == (422, code, before + where)
    assert bool(await world.rows(tenant, "SELECT 1 FROM payment")) == (code is None)


async def test_what_is_left_of_a_payment_gets_its_looks(world, tenant, make, notify):
    await world.account(tenant, IBAN)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await notify(told("B1", 1_500, "REF000001"))
    await world.match(tenant)  # what is too much is not settled as it is booked
    looks = "SELECT status, unapplied_minor, version, looks, next_look_at IS NOT NULL FROM payment"
    before = tuple(await world.one(tenant, looks))
    assert before == ("partly_matched", 500, 2, 1, True)
    await world.match(tenant)
    assert tuple(await world.one(tenant, looks)) == before
    await world.holds()


async def test_what_is_not_sure_waits_for_the_worker(world, tenant, make, notify):
    await world.account(tenant, IBAN)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, reference=f"REF00000{n}") for n in (1, 2)))
    await notify(told("B1", 999, "REF000001"), told("B2", 1_000, "REF000002"), told("B3", 5, "REF000009"), told("B4", 7))
    found = await statuses(world, tenant)  # B1: charges, or an instalment?
    assert found == [("B1", "received", 1), ("B2", "matched", 2), ("B3", "received", 1), ("B4", "received", 1)]
    await world.match(tenant)
    assert [status for _, status, _ in await statuses(world, tenant)] == ["matched", "matched", "unapplied", "unapplied"]
    await world.holds()


async def test_an_item_is_never_paid_twice_however_many_say_so_at_once(world, tenant, make, notify):
    await world.account(tenant, IBAN)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    answers = await asyncio.gather(*(notify(told(f"B{n}", 1_000, "REF000001")) for n in range(5)), notify(told("B0", 1_000, "REF000001")))
    assert {answer.status_code for answer in answers} == {202}
    assert answers[0].json() == answers[-1].json()  # the same payment, told twice
    await world.match(tenant)
    allocated = await world.rows(tenant, "SELECT amount_minor FROM allocation")
    assert [row[0] for row in allocated] == [1_000]
    assert len(await statuses(world, tenant)) == 5
    await world.holds()


async def test_an_item_that_changes_meanwhile_leaves_the_payment_to_the_worker(world, tenant, make, notify):
    await world.account(tenant, IBAN)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    async with world.database.transaction(tenant) as conn:
        await conn.exec_driver_sql("UPDATE open_item SET version = version + 1")  # somebody is at it, and commits
        answering = asyncio.create_task(notify(told("B1", 1_000, "REF000001")))
        await waiting_for_a_lock(world, tenant, 1)
    assert (await answering).status_code == 202
    assert await statuses(world, tenant) == [("B1", "received", 1)]
    await world.match(tenant)
    assert await statuses(world, tenant) == [("B1", "matched", 2)]


async def test_whatever_fails_in_deciding_the_money_is_in(world, tenant, make, notify):
    await world.account(tenant, IBAN)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    async with undecidable(world, tenant):
        answer = await notify(told("B1", 1_000, "REF000001"), told("B2", 5))
    assert answer.status_code == 202, answer.text
    assert await statuses(world, tenant) == [("B1", "received", 1), ("B2", "received", 1)]
    assert [m.envelope.type for m in await events_of(world, tenant) if m.envelope.type.startswith("Payment")] == ["PaymentReceived"] * 2
    await world.match(tenant)
    assert (await statuses(world, tenant))[0] == ("B1", "matched", 2)


async def test_a_database_that_fails_is_asked_twice_and_no_more_for_all_that_waits(world, tenant, notify, infrastructure):
    held = await world.account(tenant, IBAN)
    admin = await asyncpg.connect(infrastructure.admin_dsn)
    try:
        async with world.database.transaction(tenant) as conn:
            await hold_account(conn, held.bank_account_id, alone=True)
            answers = [asyncio.create_task(notify(told("B0")))]
            await waiting_for_a_lock(world, tenant, 1)
            before = world.database.statements
            answers += [asyncio.create_task(notify(told(f"B{n}"))) for n in range(1, 6)]
            ended = 0
            for _ in range(2 + 2):  # those that began, and all others: settling, and alone
                ended = await end_another(admin, world.urls.owner.rsplit("/", 1)[1], ended)
            assert {answer.status_code for answer in await asyncio.gather(*answers)} == {503}
        assert world.database.statements - before == 3 * 3  # scope, account, its lock: but for the one that had begun
    finally:
        await admin.close()
    assert await statuses(world, tenant) == []
    assert (await notify(told("B0"))).status_code == 202


async def test_what_the_payer_has_announced_goes_before_what_the_payment_names(world, tenant, make, client, notify):
    await world.account(tenant, IBAN)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, reference=f"REF00000{n}") for n in (1, 2)))
    line = {"document_number": "F-2", "gross_minor": 1_000, "deduction_minor": 0, "net_minor": 1_000}
    body = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "total_minor": 1_000, "lines": [line], "reference": "LIST-4711"}
    listed = await client.post("/v1/remittances", json=body, headers={"idempotency-key": "list"})
    assert listed.status_code == 201, listed.text
    await notify(told("B1", 1_000, "REF000001", end_to_end_id="LIST-4711"))
    await world.match(tenant)
    settled = "SELECT i.invoice_number FROM allocation a JOIN open_item i USING (tenant_id, item_id)"
    assert [row[0] for row in await world.rows(tenant, settled)] == ["F-2"]
    await world.match(tenant)
    assert [row[0] for row in await world.rows(tenant, settled)] == ["F-2"]
    await world.holds()


async def test_what_comes_while_an_account_is_busy_is_booked_together_and_answered_each_by_itself(world, tenant, make, notify):
    held, other = await world.account(tenant, IBAN), await world.account(tenant, SECOND)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, reference=f"REF00000{n}") for n in range(1, 6)))
    async with world.database.transaction(tenant) as conn:
        await hold_account(conn, held.bank_account_id, alone=True)  # as a file does that is being booked
        first = asyncio.create_task(notify(told("B1", structured="REF000001")))
        await waiting_for_a_lock(world, tenant, 1)
        good = [asyncio.create_task(notify(told(f"B{n}", structured=f"REF00000{n}"), told(f"C{n}"))) for n in (2, 3)]
        bad = asyncio.create_task(notify(told("B9"), told("B8", currency="USD")))
        good += [asyncio.create_task(notify(told("B4", structured="REF000004")))]
        elsewhere = await notify(told("B5", structured="REF000005", account_iban=other.iban))  # nobody holds that one
        assert elsewhere.status_code == 202
    refused = await bad
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/payments/1/currency")
    assert {(await one).status_code for one in [first, *good]} == {202}
    written = await world.rows(
        tenant, "SELECT array_agg(bank_reference ORDER BY bank_reference) FROM payment GROUP BY xmin::text ORDER BY 1"
    )
    assert [row[0] for row in written] == [["B1"], ["B2", "B3", "B4", "C2", "C3"], ["B5"]]
    assert [status for reference, status, _ in await statuses(world, tenant) if reference[0] == "B"] == ["matched"] * 5
    ids = {row[0]: str(row[1]) for row in await world.rows(tenant, "SELECT bank_reference, payment_id FROM payment")}
    assert (await good[1]).json()["payment_ids"] == [ids["B3"], ids["C3"]]
    await world.holds()


@pytest.mark.parametrize("kind", ["053", "054"])
async def test_what_a_file_told_before_by_its_end_to_end_id_alone_is_one_payment(world, tenant, make, client, notify, camtfile, kind):
    """Of a long statement it may be booked a moment before the notification comes."""
    await world.account(tenant, IBAN)
    entries = [camtfile.entry("10.00", e2e=name) for name in ("E1", "E2")]
    told_first = camtfile.statement(IBAN, "0.00", "20.00", *entries, kind=kind)
    answer = await client.post("/v1/bank-files", content=told_first, headers={"content-type": "application/xml"})
    assert answer.status_code == 201, answer.text
    there = {row[0]: str(row[1]) for row in await world.rows(tenant, "SELECT end_to_end_id, payment_id FROM payment")}
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    late = told("N1", structured="REF000001", end_to_end_id="E1")
    for _ in range(2):
        assert (await notify(late)).json() == {"payment_id": there["E1"]}
    others = [told("N3", end_to_end_id="E3"), told("N4", 2_000, end_to_end_id="E2"), told("N2", end_to_end_id="E2")]
    answer = (await notify(*others)).json()["payment_ids"]
    assert (answer[2], len(set(answer)), set(answer[:2]) & set(there.values())) == (there["E2"], 3, set())
    await world.match(tenant)
    found = await world.rows(tenant, "SELECT end_to_end_id, amount_minor, confirmation FROM payment ORDER BY 1, 2")
    first = "booked" if kind == "053" else "notified"
    assert [tuple(row) for row in found] == [
        ("E1", 1_000, first),
        ("E2", 1_000, first),
        ("E2", 2_000, "notified"),
        ("E3", 1_000, "notified"),
    ]
    if kind == "054":  # what was only told of hears what it lacked
        assert (await world.one(tenant, "SELECT status FROM payment WHERE end_to_end_id = 'E1'")).status == "matched"
    await world.holds()


async def test_what_was_booked_under_a_reference_that_its_advice_lacked_is_known_by_it(world, tenant, client, notify, camtfile):
    await world.account(tenant, IBAN)
    for kind, entry in (("054", camtfile.entry("10.00", e2e="E1")), ("053", camtfile.entry("10.00", e2e="E1", ref="N1"))):
        file = camtfile.statement(IBAN, "0.00", "10.00", entry, kind=kind)
        assert (await client.post("/v1/bank-files", content=file, headers={"content-type": "application/xml"})).status_code == 201
    (row,) = await world.rows(tenant, "SELECT payment_id FROM payment")
    assert (await notify(told("N1"))).json() == {"payment_id": str(row[0])}
    assert len(await world.rows(tenant, "SELECT 1 FROM payment")) == 1
    await world.holds()
