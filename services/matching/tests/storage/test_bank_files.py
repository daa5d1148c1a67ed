"""Bank files of every format over the HTTP API, files of any size, quarantine and its two ways out, and what never came."""

import asyncio
import gzip
import io
import zipfile
from datetime import date, timedelta
from uuid import UUID

import bank_samples as samples
import pytest
from bankdays import FIRST, Bank, ahead, book, money, post_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matching.handlers import ingest, slices
from matching.handlers.reconciliation import advance
from shared.db import run
from shared.ids import new_id
from shared.jobs import JobContext
from shared.kafka import Offsets

FORMATS = sorted(samples.ALL)


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    return Bank(world, client, await world.account(tenant), camtfile)


async def put_account(client, make, tenant, iban, start="2026-03-01"):
    answer = await client.put(
        f"/v1/bank-accounts/{iban}",
        json={"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "holder_name": "Vendeur SA", "start_date": start},
    )
    assert answer.status_code == 200, answer.text


def job(world, now=None):
    return JobContext(world.database, now or world.runtime.clock.now(), Offsets("localhost:1"), "", "matching")


async def amounts(world, tenant):
    rows = await world.rows(tenant, "SELECT amount_minor, confirmation, status FROM payment ORDER BY amount_minor, transaction_key")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("name", ["camt", "mt940", "coda", "cfonb120", "aeb43"])
async def test_a_statement_of_any_format_becomes_payments_once(world, client, tenant, make, name):
    await put_account(client, make, tenant, samples.ACCOUNTS[name])
    (first,) = await book(client, samples.ALL[name]())
    assert (first["verdict"], first["entries"], first["new_payments"]) == ("booked", 3, 2), first
    (again,) = await book(client, samples.ALL[name]())
    assert (again["verdict"], again["new_payments"]) == ("duplicate", 0)
    assert await amounts(world, tenant) == [(5_050, "booked", "received"), (10_000, "booked", "received")]
    await world.holds()


async def test_interim_data_of_bai2_notify_and_the_final_ones_confirm(world, client, tenant, make):
    await put_account(client, make, tenant, "DE82370400440123456789")
    final = samples.bai2().replace("260302,,EUR,2/", "260302,,EUR,4/")
    (first,) = await book(client, final.replace("EUR,4/", "EUR,3/"))
    assert (first["verdict"], first["new_payments"]) == ("booked", 2), first
    assert await amounts(world, tenant) == [(5_050, "notified", "received"), (10_000, "notified", "received")]
    (second,) = await book(client, final)
    assert (second["verdict"], second["new_payments"], second["confirmed"]) == ("booked", 0, 2), second
    assert await amounts(world, tenant) == [(5_050, "booked", "received"), (10_000, "booked", "received")]
    await world.holds()


async def test_a_statement_under_the_banks_own_number_is_that_of_the_one_iban_that_ends_with_it(world, client, tenant, make):
    await put_account(client, make, tenant, "DE89370400440532013000")
    for number, entries in (("37040044/0532013000", 2), ("10020030/0532013000", None), ("532013000", 0), ("999999999", None)):
        answer = await post_file(client, samples.mt940().replace("BE71096123456769", number))
        if entries is None:
            assert (answer.status_code, answer.json()["code"]) == (422, "account-unknown"), number
        else:
            assert answer.json()["statements"][0]["new_payments"] == entries, number
    await put_account(client, make, tenant, "DE48500105170532013000")
    assert (await post_file(client, samples.mt940().replace("BE71096123456769", "0532013000"))).status_code == 422


async def test_an_mt940_without_a_currency_is_in_that_of_its_account(world, client, tenant, make):
    bare = samples.mt940().replace("EUR1000", "1000").replace("EUR1145", "1145")
    answer = await post_file(client, bare)
    assert (answer.status_code, answer.json()["code"], "BE71096123456769" in answer.text) == (422, "account-unknown", True)
    await put_account(client, make, tenant, samples.ACCOUNTS["mt940"])
    (booked,) = await book(client, bare)
    assert (booked["verdict"], booked["new_payments"]) == ("booked", 2)
    assert await amounts(world, tenant) == [(5_050, "booked", "received"), (10_000, "booked", "received")]
    (wrong,) = await book(client, bare.replace("1145,50", "1145,51"))
    assert (wrong["verdict"], wrong["reason"]) == ("rejected", "balance_differs")


@pytest.mark.parametrize("day", ["9999-12-31", "ahead"])
async def test_a_statement_of_a_day_that_no_bank_books_on_is_kept_and_nothing_of_it_is_booked(world, client, client_of, tenant, make, day):
    if day == "ahead":
        day = (world.runtime.clock.now().date() + timedelta(days=12)).isoformat()
    await put_account(client, make, tenant, samples.ACCOUNTS["camt"])
    absurd = samples.camt().replace("<BookgDt><Dt>2026-03-02", f"<BookgDt><Dt>{day}", 1)
    (found,) = await book(client, absurd)
    assert (found["verdict"], found["reason"], day in found["detail"]) == ("rejected", "day_absurd", True), found
    assert await amounts(world, tenant) == []
    assert (await accept(await client_of(tenant, subject="second"), found["statement_id"])).status_code == 409
    assert (await book(client, samples.camt()))[0]["new_payments"] == 2  # the bank's good one
    await world.holds()


@pytest.mark.parametrize(("kind", "status"), [("053", "FUTR"), ("053", "PDNG"), ("054", "PDNG")])
async def test_what_is_due_far_ahead_and_pending_holds_no_statement_back(world, tenant, bank, kind, status):
    due = bank.entry(500, ref="B2", day=ahead(30), status=status)
    for _ in range(2):
        (found,) = await bank.brings(kind, "0.00", "10.00", bank.entry(1_000, ref="B1", day=FIRST.isoformat()), due)
        assert found["verdict"] == "booked", found
    booked = "booked" if kind == "053" else "notified"
    assert await amounts(world, tenant) == [(500, "notified", "received"), (1_000, booked, "received")]
    far = bank.entry(500, ref="B3", day=ahead(30))
    (wrong,) = await book(bank.client, bank.camtfile.statement(bank.held.iban, "0.00", "5.00", far, kind=kind))
    assert (wrong["verdict"], wrong["reason"]) == ("rejected", "day_absurd")
    await world.holds()


async def test_the_same_file_brought_twice_at_once_is_booked_once(world, client, tenant, make):
    await put_account(client, make, tenant, samples.ACCOUNTS["camt"])
    answers = await asyncio.gather(
        *(post_file(client, long_statement(1_200)) for _ in range(3)), *(post_file(client, samples.coda()) for _ in range(3))
    )
    assert [answer.status_code for answer in answers] == [201] * 6
    assert sum(answer.json()["statements"][0]["new_payments"] for answer in answers) == 2
    assert (await world.one(tenant, "SELECT count(*) AS n FROM statement")).n == 2


HUGE = "90000000000000000,00"
HOSTILE = {
    "amounts that no bigint holds together": samples.mt940().replace("CR100,", f"CR{HUGE}").replace("CR50,5", f"CR{HUGE}"),
    "balances that no bigint holds together": samples.mt940().replace("EUR1000,00", f"EUR{HUGE}").replace("CR100,", f"CR{HUGE}"),
    "a number of forty digits": samples.mt940().replace(":28C:61/1", ":28C:" + "9" * 40),
    "control characters": samples.mt940().replace("61/1", "6\x001\x07/\x1f1").replace("Frais", "Fr\x00ais\x1f\x7f"),
    "a text of a megabyte": samples.mt940().replace("Frais", "x" * 1_000_000),
    "an entity": samples.camt().replace("<Document", '<!DOCTYPE a [<!ENTITY b "c">]><Document').replace("Frais", "&b;"),
    "a thousand levels": samples.camt().replace("<Ustrd>Frais", "<Ustrd>" + "<a>" * 1_000),
    "no account": samples.camt().replace("BE71096123456769", ""),
    "a line break in the number": samples.camt().replace("<ElctrncSeqNb>61", "<ElctrncSeqNb>6\n1"),
    "half a character": samples.mt940().replace("Frais", "Fr\ud83d").encode("utf-8", "surrogatepass"),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_file_is_refused_quarantined_or_booked_never_a_500(world, client, tenant, make, what):
    await put_account(client, make, tenant, samples.ACCOUNTS["mt940"])
    answer = await post_file(client, HOSTILE[what])
    assert answer.status_code in {201, 422}, answer.text
    await world.holds()


BELGIAN = {
    "report of the day, XML": lambda: samples.camt("052"),
    "notification": lambda: samples.camt("054"),
    "report of the day, SWIFT": samples.mt942,
    "statement, XML": samples.camt,
    "statement, SWIFT": samples.mt940,
    "statement, CODA": samples.coda,
}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(BELGIAN)), min_size=1, max_size=5))
async def test_any_files_of_one_day_in_any_order_are_the_same_payments(world, client_of, make, names):
    tenant = new_id()
    client = await client_of(tenant)
    await put_account(client, make, tenant, samples.ACCOUNTS["camt"])
    for name in names:
        await book(client, BELGIAN[name]())
    final = "booked" if any(name.startswith("statement") for name in names) else "notified"
    assert [row[:2] for row in await amounts(world, tenant)] == [(5_050, final), (10_000, final)]


def long_statement(count: int, *, closing: int | None = None) -> str:
    entries = "".join(
        f'<Ntry><Amt Ccy="EUR">1.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt>'
        f"<AcctSvcrRef>L{number}</AcctSvcrRef></Ntry>"
        for number in range(count)
    )
    plain = samples.camt()
    head, _, rest = plain.partition("<Ntry>")
    tail = rest[rest.rindex("</Ntry>") + len("</Ntry>") :]
    return head.replace("1145.50", f"{1000 + (count if closing is None else closing)}.00") + entries + tail


async def test_a_long_statement_is_booked_slice_by_slice_and_goes_on_after_a_crash(world, client, tenant, make, monkeypatch):
    await put_account(client, make, tenant, samples.ACCOUNTS["camt"])
    (answer,) = await book(client, long_statement(2_500))
    assert (answer["verdict"], answer["entries"]) == ("importing", 2_500)
    assert await amounts(world, tenant) == []
    real, booked = slices.book_lines, []

    async def dies_after_the_first(*given, **how):
        if booked:
            raise ConnectionError("the database went away")
        booked.append(given)
        return await real(*given, **how)

    with monkeypatch.context() as patched:
        patched.setattr(slices, "book_lines", dies_after_the_first)
        with pytest.raises(ConnectionError):
            await slices.import_slices(job(world), tenant)
    assert (await world.one(tenant, "SELECT count(*) AS n FROM payment")).n == 1_000
    await slices.import_slices(job(world), tenant)
    assert (await world.one(tenant, "SELECT count(*) AS n FROM payment")).n == 2_500
    assert (await world.one(tenant, "SELECT verdict FROM statement")).verdict == "booked"
    assert (await world.one(tenant, "SELECT count(*) AS n FROM statement_slice")).n == 0
    (again,) = await book(client, long_statement(2_500))
    assert again["verdict"] == "duplicate"


@pytest.mark.parametrize("apart", [1, 1_200])
async def test_two_entries_of_one_statement_are_two_payments_however_far_apart(world, tenant, bank, apart):
    """With the same EndToEndId, and the bank gave only one of them a reference: of another statement it would be the same payment."""
    day = FIRST.isoformat()
    between = [bank.entry(100, ref=f"L{number}", day=day) for number in range(apart)]
    lines = [bank.entry(1_000, ref="B1", e2e="RENT", day=day), *between, bank.entry(1_000, e2e="RENT", day=day)]
    data = bank.camtfile.statement(bank.held.iban, "0.00", money(2_000 + apart * 100), *lines, kind="053", day=day, number=1)
    for _ in range(2):
        await book(bank.client, data)
        await slices.import_slices(job(world), tenant)
    assert sum(row[0] for row in await amounts(world, tenant)) == 2_000 + apart * 100
    await bank.brings("053", "0.00", "10.00", bank.entry(1_000, e2e="RENT", day=day))  # one of them once more
    assert len(await amounts(world, tenant)) == 2 + apart
    await world.holds()


async def test_a_full_outbox_holds_the_import_back(world, client, tenant, make, monkeypatch):
    await put_account(client, make, tenant, samples.ACCOUNTS["camt"])
    await book(client, long_statement(1_500))
    monkeypatch.setattr(slices, "OUTBOX_FULL", 1)
    await slices.import_slices(job(world), tenant)
    assert await amounts(world, tenant) == []


async def accept(client, statement_id, reason="the bank confirmed it by telephone"):
    return await client.post(
        f"/v1/statements/{statement_id}/acceptance", json={"reason": reason}, headers={"idempotency-key": str(new_id())}
    )


async def test_a_second_person_accepts_a_statement_that_does_not_add_up(world, client, client_of, tenant, make):
    await put_account(client, make, tenant, samples.ACCOUNTS["mt940"])
    wrong = samples.mt940().replace("1145,50", "1145,51")
    (answer,) = await book(client, wrong)
    assert (answer["verdict"], answer["reason"]) == ("rejected", "balance_differs")
    assert await amounts(world, tenant) == []
    (listed,) = (await client.get("/v1/statements?verdict=rejected")).json()["items"]
    assert (listed["statement_id"], listed["entries"], listed["closing_minor"]) == (answer["statement_id"], 3, 114_551)
    own = await accept(client, answer["statement_id"])
    assert (own.status_code, own.json()["code"]) == (403, "four-eyes")
    other = await client_of(tenant, subject="second")
    accepted = await accept(other, answer["statement_id"])
    assert (accepted.status_code, accepted.json()["verdict"]) == (200, "booked"), accepted.text
    assert await amounts(world, tenant) == [(5_050, "booked", "received"), (10_000, "booked", "received")]
    again = await accept(other, answer["statement_id"])
    assert (again.status_code, again.json()["code"]) == (409, "statement-not-rejected")
    assert len(await world.events("StatementRejected")) >= 1
    await world.holds()


async def test_what_could_not_be_read_or_was_replaced_is_not_accepted(world, client, client_of, tenant, make):
    await put_account(client, make, tenant, samples.ACCOUNTS["mt940"])
    other = await client_of(tenant, subject="second")
    (unreadable,) = await book(client, samples.mt940().replace("CR50,5N", "CR50,555N"))
    refused = await accept(other, unreadable["statement_id"])
    assert (refused.status_code, refused.json()["code"]) == (409, "statement-not-readable")
    (wrong,) = await book(client, samples.mt940().replace("1145,50", "1145,51"))
    (good,) = await book(client, samples.mt940())
    assert good["new_payments"] == 2
    refused = await accept(other, wrong["statement_id"])
    assert (refused.status_code, refused.json()["code"]) == (409, "statement-replaced")
    missing = await accept(other, str(new_id()))
    assert missing.status_code == 404


async def test_a_number_that_the_bank_uses_again_next_year_replaces_nothing(world, client, client_of, tenant, make):
    await put_account(client, make, tenant, samples.ACCOUNTS["mt940"], start="2025-03-01")
    a_year_before = samples.mt940().replace("F:C2603", "F:C2503").replace(":61:2603", ":61:2503").replace("BANK-", "BANK-5")
    (wrong,) = await book(client, a_year_before.replace("1145,50", "1145,51"))
    (good,) = await book(client, samples.mt940())
    assert (good["verdict"], good["new_payments"]) == ("booked", 2)
    await settle_reconciliation(world, tenant)
    assert await world.rows(tenant, "SELECT 1 FROM reconciliation WHERE matched_through IS NOT NULL") == []  # it still waits
    accepted = await accept(await client_of(tenant, subject="second"), wrong["statement_id"])
    assert (accepted.status_code, accepted.json()["verdict"]) == (200, "booked"), accepted.text
    assert len(await amounts(world, tenant)) == 4


async def test_a_notified_payment_that_no_statement_has_is_withdrawn_and_may_still_come(world, client, tenant, make, camtfile):
    iban = samples.ACCOUNTS["camt"]
    await put_account(client, make, tenant, iban)
    line = camtfile.entry("70.00", ref="N1", e2e="N1")
    await book(client, camtfile.statement(iban, "", "", line, kind="054"))
    await world.match(tenant)
    for number, day in enumerate((date(2026, 3, 1) + timedelta(days=at) for at in range(1, 8)), 1):
        await book(client, camtfile.statement(iban, "0.00", "0.00", day=day.isoformat(), number=number))
        await settle_reconciliation(world, tenant)
        await ingest.withdraw(job(world), tenant)
        (payment,) = await amounts(world, tenant)
        assert payment[2] == ("returned" if day > date(2026, 3, 7) else "unapplied"), day
    row = await world.one(tenant, "SELECT return_reason, returned_minor, confirmation FROM payment")
    assert tuple(row) == ("withdrawn", 7_000, "notified")
    await book(client, camtfile.statement(iban, "0.00", "70.00", camtfile.entry("70.00", ref="N1", e2e="N1"), day="2026-03-09", number=9))
    row = await world.one(tenant, "SELECT return_reason, returned_minor, unapplied_minor, confirmation FROM payment")
    assert tuple(row) == (None, 0, 7_000, "booked")
    await world.holds()


async def settle_reconciliation(world, tenant: UUID) -> None:
    """Draws up how far the account is reconciled and publishes it, as if the outbox had been sent."""
    await advance(job(world), tenant)
    async with world.database.transaction(tenant) as conn:
        await run(conn, "UPDATE reconciliation SET after_outbox_id = 0 WHERE tenant_id = :tenant", tenant=tenant)
    await advance(job(world), tenant)


async def test_two_tenants_bring_the_same_file(world, client_of, make):
    for tenant in (new_id(), new_id()):
        client = await client_of(tenant)
        await put_account(client, make, tenant, samples.ACCOUNTS["coda"])
        (booked,) = await book(client, samples.coda())
        assert booked["new_payments"] == 2


async def test_a_token_is_needed_for_the_right_thing(client_of, tenant):
    reader = await client_of(tenant, scopes=("bank:read",))
    assert (await post_file(reader, samples.mt940())).status_code == 403
    assert (await accept(reader, str(new_id()))).status_code == 403


async def test_an_archive_of_statements_is_booked_whole_or_not_at_all(world, tenant, make, client_of):
    client = await client_of(tenant)
    await put_account(client, make, tenant, samples.ACCOUNTS["camt"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("2026-03-02.xml", samples.camt())
        archive.writestr("2026-03-02.052.xml", samples.camt("052"))
    answer = await post_file(client, packed.getvalue(), "application/zip")
    assert answer.status_code == 201, answer.text
    assert [(one["verdict"], one["new_payments"]) for one in answer.json()["statements"]] == [("booked", 2), ("booked", 0)]
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("readme.txt", "hello")
    refused = await post_file(client, packed.getvalue(), "application/zip")
    assert (refused.status_code, refused.json()["code"]) == (422, "bank-file-unreadable")
    assert "file 3 of the archive" in refused.json()["detail"]
    await world.holds()


@pytest.mark.parametrize("name", ["camt", "coda"])
async def test_a_file_that_comes_gzipped_is_the_file_in_it(world, tenant, make, client_of, name):
    client = await client_of(tenant)
    await put_account(client, make, tenant, samples.ACCOUNTS[name])
    answer = await post_file(client, gzip.compress(samples.ALL[name]().encode()), "application/gzip")
    assert answer.status_code == 201, answer.text
    assert [(one["verdict"], one["new_payments"]) for one in answer.json()["statements"]] == [("booked", 2)]
    await world.holds()


async def test_a_media_type_that_is_none_of_a_bank_file_is_told_all_that_are(client):
    refused = await client.post("/v1/bank-files", content=b"{}", headers={"content-type": "application/json"})
    assert (refused.status_code, refused.json()["code"]) == (415, "media-type-unsupported")
    said = refused.json()["title"].removeprefix("A bank file is ").split(", ")
    for media in said:
        answer = await client.post("/v1/bank-files", content=b"no statement", headers={"content-type": media})
        assert answer.json()["code"] == "bank-file-unreadable"
    assert "application/gzip" in said
