"""Imports on a real database: what a file's rows become, in slices that a kill may cut anywhere."""

import asyncio
import csv
import io
from datetime import UTC, datetime
from random import Random
from typing import Any

import asyncpg
import httpx
import pytest
from invoicing.handlers import imports
from shared.jobs import JobContext
from shared.kafka import Offsets
from shared.testing.events import published
from sqlalchemy import event

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
HEADER = "Company;Number;Type;Customer;Date;Due;Gross;Tax;Refers to"


def mapping(client, **other: Any) -> dict[str, Any]:
    return {
        "kind": "invoices",
        "source_system": "sap",
        "file": {"separator": ";"},
        "numbers": {"decimal": ",", "thousands": ".", "negative": "trailing"},
        "dates": ["DD.MM.YYYY"],
        "signs": "signed",
        "fields": {
            "entity_id": {"column": "Company", "values": {"1000": str(client.entity_id), "2000": str(client.tenant_id)}},
            "invoice_number": {"column": "Number"},
            "kind": {"column": "Type", "values": {"RV": "invoice", "RG": "credit_note", "RA": "deposit"}},
            "customer_number": {"column": "Customer"},
            "issue_date": {"column": "Date"},
            "due_date": {"column": "Due"},
            "currency": {"constant": "EUR"},
            "total": {"column": "Gross"},
            "tax": {"column": "Tax"},
            "preceding_invoice": {"column": "Refers to"},
        },
        **other,
    }


def row(number: str, **cells: str) -> str:
    values = {
        "company": "1000",
        "number": number,
        "type": "RV",
        "customer": "C1",
        "date": "05.03.2026",
        "due": "04.04.2026",
        "gross": "1.200,00",
        "tax": "200,00",
        "refers": "",
        **cells,
    }
    return ";".join(values.values())


def table(*rows: str) -> bytes:
    return "\r\n".join([HEADER, *rows, ""]).encode()


async def send(client, data: bytes, **params: Any) -> httpx.Response:
    given = {name: value for name, value in {"mapping": "sap", **params}.items() if value is not None}
    return await client.http.post("/v1/imports", content=data, params=given, headers={**client.headers, "content-type": "text/csv"})


async def work(runtime, client, **options: Any) -> None:
    """A turn of the worker's job for a tenant."""
    context = JobContext(runtime.database, NOW, Offsets("127.0.0.1:1"), "", "test")
    await imports.advance(context, client.tenant_id, runtime.settings.documents_dir, **options)


async def imported(runtime, client, data: bytes, **params: Any) -> dict[str, Any]:
    answer = await send(client, data, **params)
    assert answer.status_code == 202, answer.text
    return await finished(runtime, client, answer.json()["import_id"])


async def finished(runtime, client, import_id: str) -> dict[str, Any]:
    """The import once turns of the worker have brought it to its end."""
    for _ in range(100):
        await work(runtime, client)
        found: dict[str, Any] = (await client.get(f"/v1/imports/{import_id}")).json()
        if found["state"] not in {"waiting", "running"}:
            return found
    raise AssertionError(found)


async def errors(client, import_id: str) -> list[dict[str, str]]:
    answer = await client.http.get(f"/v1/imports/{import_id}/errors", headers=client.headers)
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


async def put_mapping(client, name: str = "sap", **other: Any) -> None:
    answer = await client.http.post(f"/v1/import-mappings/{name}", json=mapping(client, **other), headers=client.headers)
    assert answer.status_code == 201, answer.text


@pytest.fixture
async def sap(client):
    await put_mapping(client)
    return client


async def test_rows_become_invoices_with_control_sums_and_an_error_file(sap, runtime, urls, checked):
    data = table(
        row("F1"),
        row("F2", type="RG", gross="100,00-", tax="0,00", refers="F1"),
        row("F1"),
        row("F3", date="31.02.2026"),
        row("F4", gross="1.23,00"),
        row("F5", company="2000"),
        row("F6", company="3000"),
        row("F7", type="RG"),
        row("F8", customer="NEW"),
        '1000;"F9"x;RV',
        row("F10") + ";more",
    )
    found = await imported(runtime, sap, data)
    assert (found["state"], found["rows"], found["received"]) == ("done", 11, 11)
    assert (found["accepted"], found["duplicate"], found["rejected"], found["unvalued"]) == (3, 1, 7, 3)
    assert found["sums"]["EUR"] == {
        "received": str(120000 * 7 - 10000),
        "accepted": str(120000 * 2 - 10000),
        "duplicate": "120000",
        "rejected": str(120000 * 4),
    }
    told = [(each["line"], each["column"], each["rule"]) for each in await errors(sap, found["import_id"])]
    assert told == [
        ("5", "Date", "date-form"),
        ("6", "Gross", "number-form"),
        ("7", "Company", "entity-unknown"),
        ("8", "Company", "value-unknown"),
        ("9", "Gross", "amount-sign"),
        ("11", "", "csv-form"),
        ("12", "", "row-width"),
    ]
    [credit] = (await sap.get("/v1/invoices", invoice_number="F2")).json()["items"]
    [credited] = (await sap.get("/v1/invoices", invoice_number="F1")).json()["items"]
    assert (credit["kind"], credit["total_minor"], credit["credited_invoice_id"]) == ("credit_note", 10000, credited["invoice_id"])
    await checked()


async def test_a_worker_struck_down_at_any_statement_goes_on_to_the_same_result(new_client, runtime, urls, checked):
    """Slices of seven rows; the database is lost twelve times at random statements, and two workers take turns side by side.

    What comes of it is compared with what an undisturbed tenant gets.
    """
    random = Random(4)
    calm, struck_down = await new_client(), await new_client()
    rows = [row(f"F{n % 90}", gross=f"{n % 90 + 300},{n % 100:02}", due="" if n % 7 else "x", customer=f"C{n % 3}") for n in range(100)]
    for each in (calm, struck_down):
        await put_mapping(each)
    expected = await imported(runtime, calm, table(*rows))
    import_id = (await send(struck_down, table(*rows))).json()["import_id"]
    struck, left = 0, 3

    def strike(*_: object) -> None:
        nonlocal left, struck
        left -= 1
        if left == 0 and struck < 12:
            struck, left = struck + 1, random.randint(1, 45)
            raise ConnectionResetError

    event.listen(runtime.database.engine.sync_engine, "before_cursor_execute", strike)
    try:
        ended: list[object] = [ConnectionResetError()]
        while any(ended):
            ended = await asyncio.gather(*(work(runtime, struck_down, slice_rows=7) for _ in range(2)), return_exceptions=True)
            assert all(each is None or isinstance(each, ConnectionResetError) for each in ended), ended
    finally:
        event.remove(runtime.database.engine.sync_engine, "before_cursor_execute", strike)
    found = (await struck_down.get(f"/v1/imports/{import_id}")).json()
    assert struck == 12
    same = ("state", "rows", "received", "accepted", "rejected", "duplicate", "unvalued", "faults", "sums")
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    assert await errors(struck_down, import_id) == await errors(calm, expected["import_id"])

    async def events(client) -> list[tuple[str, int]]:
        messages = await published(urls.owner, "InvoiceIssued", "InvoiceChanged")
        return sorted((m.data.invoice_number, m.data.payable_minor) for m in messages if m.tenant_id == client.tenant_id)

    assert await events(struck_down) == await events(calm)
    assert len(await events(calm)) == expected["accepted"] > 70
    await checked()


async def test_the_same_file_again_is_a_duplicate_and_says_of_what(sap, runtime):
    data = table(row("F1"), row("F2"))
    first = await imported(runtime, sap, data)
    again = await send(sap, data)
    assert (again.status_code, again.json()["duplicate_file"], again.json()["import_id"]) == (200, True, first["import_id"])
    await put_mapping(sap, dates=["DD.MM.YYYY", "YYYY-MM-DD"])
    other = await imported(runtime, sap, data)
    assert (other["mapping_version"], other["duplicate"], other["accepted"]) == (2, 2, 0)
    repeated = await imported(runtime, sap, data, repeat=True)
    assert repeated["duplicate"] == 2


async def test_a_dry_run_changes_nothing_but_its_report(sap, runtime, urls):
    found = await imported(runtime, sap, table(row("F1", customer="NEW"), row("F2", date="2026-03-05")), dry_run=True)
    assert (found["state"], found["accepted"], found["rejected"]) == ("done", 1, 1)
    assert (await sap.get("/v1/invoices")).json()["items"] == []
    assert [m for m in await published(urls.owner, "InvoiceIssued") if m.tenant_id == sap.tenant_id] == []
    assert [each["rule"] for each in await errors(sap, found["import_id"])] == ["date-form"]
    real = await imported(runtime, sap, table(row("F1", customer="NEW"), row("F2", date="2026-03-05")))
    assert real["import_id"] != found["import_id"]


async def test_statements_of_a_slice_are_the_same_for_one_row_and_a_thousand(sap, runtime, database):
    async def count(rows: int, prefix: str) -> int:
        await send(
            sap,
            table(*(row(f"{prefix}{n}", refers="A1" if n % 3 else "", gross="1,00x" if n % 5 == 4 else "1.200,00") for n in range(rows))),
        )
        before = database.statements
        await work(runtime, sap, turn_seconds=100)
        return database.statements - before

    await count(5, "warm")
    assert await count(10, "A") == await count(1000, "B") <= 60


async def test_preview_tells_what_each_row_would_become(sap):
    answer = await sap.http.post("/v1/import-mappings/sap/preview", content=table(row("F1"), row("F2", gross="12.00")), headers=sap.headers)
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["items"]
    assert (first["status"], first["read"]["total_minor"], first["read"]["issue_date"]) == ("created", 120000, "2026-03-05")
    assert (second["status"], second["faults"][0]["rule"]) == ("rejected", "number-form")
    assert (await sap.get("/v1/invoices")).json()["items"] == []


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"A;B\r\n1;2\r\n", "column-missing"),
        (HEADER.replace("Due", "Date").encode() + b"\r\n", "column-missing"),
        (HEADER.encode() + b";Date\r\n", "column-twice"),
        (b"\n\n", "file-empty"),
        (b"x" * 2_000_000, "line-too-long"),
    ],
)
async def test_a_file_that_does_not_fit_its_mapping_fails_as_a_whole(sap, runtime, data, rule):
    found = await imported(runtime, sap, data)
    assert (found["state"], found["failure"]["rule"], found["received"]) == ("failed", rule, 0)
    assert (await send(sap, data)).status_code == 202


async def test_cancel_keeps_what_was_taken(sap, runtime):
    import_id = (await send(sap, table(row("F1")))).json()["import_id"]
    assert (await sap.post(f"/v1/imports/{import_id}/cancel", {})).json()["state"] == "cancelled"
    await work(runtime, sap)
    assert (await sap.get(f"/v1/imports/{import_id}")).json()["rows"] == 0


async def test_nothing_goes_on_while_the_outbox_overflows(sap, runtime, urls):
    owner = await asyncpg.connect(urls.owner)
    import_id = (await send(sap, table(row("F1")))).json()["import_id"]
    columns = "tenants, events, topics, partitions, batches, trace, created_at"
    fill = (
        f"INSERT INTO outbox ({columns}) SELECT ARRAY[$1::uuid], 500, '{{}}', '{{}}', '{{}}', 'filler', now() FROM generate_series(1, 41)"  # noqa: S608 - our own
    )
    try:
        await owner.execute(fill, sap.tenant_id)
        await work(runtime, sap)
        assert (await sap.get(f"/v1/imports/{import_id}")).json()["state"] == "waiting"
    finally:
        await owner.execute("DELETE FROM outbox WHERE trace = 'filler'")
        await owner.close()
    await work(runtime, sap)
    assert (await sap.get(f"/v1/imports/{import_id}")).json()["state"] == "done"


async def test_versions_in_one_file_keep_their_order_and_a_final_invoice_finds_its_deposit(client, runtime):
    fields = mapping(client)["fields"] | {"source_version": {"column": "Tax"}}
    del fields["tax"]
    await put_mapping(client, fields=fields)
    rows = [
        row("CN", type="RG", gross="50,00-", tax="1", refers="FIN"),
        row("F1", tax="1"),
        row("F1", tax="3", due="05.05.2026"),
        row("F1", tax="2", due="06.06.2026"),
        row("FIN", tax="1", refers="DEP"),
        row("DEP", tax="1", type="RA"),
    ]
    found = await imported(runtime, client, table(*rows))
    assert (found["accepted"], found["duplicate"]) == (5, 1)
    kept = {each["invoice_number"]: each for each in (await client.get("/v1/invoices")).json()["items"]}
    assert (kept["F1"]["source_version"], kept["F1"]["version"]) == (3, 2)
    assert kept["FIN"]["deposit_invoice_ids"] == [kept["DEP"]["invoice_id"]]
    assert kept["CN"]["credited_invoice_id"] == kept["FIN"]["invoice_id"]


async def test_tenants_with_the_same_file_are_apart(new_client, runtime):
    one, two = await new_client(), await new_client()
    for each in (one, two):
        await put_mapping(each)
    data = table(row("F1"))
    first, second = await imported(runtime, one, data), await imported(runtime, two, data)
    assert first["import_id"] != second["import_id"]
    assert (first["rejected"], second["rejected"]) == (0, 0)
    assert (await two.get(f"/v1/imports/{first['import_id']}")).status_code == 404
    assert (await two.get(f"/v1/imports/{first['import_id']}/errors")).status_code == 404
