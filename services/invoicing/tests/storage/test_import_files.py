"""Imports of spreadsheets and archives, hostile ones included, on a real database."""

import io
import zipfile
from datetime import date, datetime
from typing import Any

import openpyxl
import pytest
from test_imports import errors, finished, imported, mapping, put_mapping, row, send, table
from ublfile import ubl

COLUMNS = ["Company", "Number", "Type", "Customer", "Date", "Due", "Gross", "Tax", "Refers to"]


def workbook(*rows: list[Any], sheets: tuple[str, ...] = ("Export",)) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = sheets[0]
    for name in sheets[1:]:
        book.create_sheet(name)
    for each in (COLUMNS, *rows):
        book.active.append(each)
    found = io.BytesIO()
    book.save(found)
    return found.getvalue()


def archive(files: dict[str, bytes], **options: Any) -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED, **options) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return found.getvalue()


@pytest.fixture
async def sap(client):
    await put_mapping(client)
    return client


async def test_a_spreadsheet_by_its_own_numbers_days_and_texts(sap, runtime):
    data = workbook(
        [
            1000,
            4711,
            "RV",
            "C1",
            date(2026, 3, 5),
            datetime(2026, 4, 4),  # noqa: DTZ001 - a spreadsheet's days have no zone
            1200.5,
            200.1,
            None,
        ],
        ["1000", "F2", "RV", "C1", "05.03.2026", "04.04.2026", "1.200,50", "200,00", ""],
        [],
        ["1000", "F3", "RV", "C1", date(2026, 3, 5), date(2026, 4, 4), 0.1 + 0.2, 0, None],
        ["1000", "F4", "RV", "C1", date(2026, 3, 5), date(2026, 4, 4), 12.345, 0, None],
        [
            "1000",
            "F5",
            "RV",
            "C1",
            datetime(2026, 3, 5, 14, 30),  # noqa: DTZ001 - a spreadsheet's moments have no zone
            date(2026, 4, 4),
            12,
            0,
            None,
        ],
        ["1000", "F6", "RV", "C1", date(2026, 3, 5), date(2026, 4, 4), "=1+1", 0, None],
    )
    found = await imported(runtime, sap, data)
    assert (found["state"], found["format"], found["accepted"], found["rejected"]) == ("done", "xlsx", 3, 3)
    told = [(each["line"], each["rule"]) for each in await errors(sap, found["import_id"])]
    assert told == [("6", "number-places"), ("7", "cell-form"), ("8", "formula")]
    kept = {each["invoice_number"]: each for each in (await sap.get("/v1/invoices")).json()["items"]}
    assert (kept["4711"]["total_minor"], kept["4711"]["tax_minor"], kept["4711"]["issue_date"]) == (120050, 20010, "2026-03-05")
    assert (kept["F2"]["total_minor"], kept["F3"]["total_minor"]) == (120050, 30)


async def test_a_formula_that_was_never_computed_is_no_zero(sap, runtime):
    await put_mapping(sap, file={"formulas": "cached"})
    found = await imported(runtime, sap, workbook(["1000", "F6", "RV", "C1", date(2026, 3, 5), date(2026, 4, 4), "=1+1", 0, None]))
    assert [(each["column"], each["rule"]) for each in await errors(sap, found["import_id"])] == [("7", "formula-without-value")]


async def test_the_sheet_is_named_where_there_are_several(sap, runtime):
    line = ["1000", "F1", "RV", "C1", date(2026, 3, 5), date(2026, 4, 4), 12, 0, None]
    data = workbook(line, sheets=("Export", "Notes"))
    assert (await imported(runtime, sap, data))["failure"]["rule"] == "sheet-unnamed"
    await put_mapping(sap, file={"sheet": "Export"})
    assert (await imported(runtime, sap, data))["accepted"] == 1
    await put_mapping(sap, file={"sheet": "Other"})
    assert (await imported(runtime, sap, data))["failure"]["rule"] == "sheet-missing"


def lying_workbook() -> bytes:
    """A sheet that says it has all the rows and columns there are, and has one cell far away."""
    source = zipfile.ZipFile(io.BytesIO(workbook(["1000", "F1", "RV", "C1", date(2026, 3, 5), date(2026, 4, 4), 12, 0, None])))
    files = {info.filename: source.read(info) for info in source.infolist()}
    sheet = files["xl/worksheets/sheet1.xml"]
    far = b'<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>x</t></is></c></row></sheetData>'
    files["xl/worksheets/sheet1.xml"] = sheet.replace(b'ref="A1:I2"', b'ref="A1:XFD1048576"').replace(b"</sheetData>", far)
    return archive(files)


def bomb_workbook() -> bytes:
    source = zipfile.ZipFile(io.BytesIO(workbook()))
    files = {info.filename: source.read(info) for info in source.infolist()}
    files["xl/sharedStrings.xml"] = b"<sst>" + b" " * 140_000_000 + b"</sst>"
    return archive(files)


async def test_what_a_sheet_says_of_its_size_is_not_believed(sap, runtime):
    found = await imported(runtime, sap, lying_workbook())
    assert (found["state"], found["accepted"]) == ("done", 1)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (bomb_workbook, "xlsx-size"),
        (lambda: workbook()[:-30], "zip-broken"),
        (lambda: archive({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"}), "xlsx-broken"),
    ],
)
async def test_hostile_workbooks(sap, runtime, make, rule):
    answer = await send(sap, make())
    if answer.status_code == 202:
        found = await finished(runtime, sap, answer.json()["import_id"])
        assert (found["state"], found["failure"]["rule"]) == ("failed", rule)
    else:
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, rule)


async def test_an_archive_of_e_invoices_and_tables(sap, runtime, checked):
    files = {
        "one.xml": ubl(number="U1"),
        "folder/two.xml": ubl(number="U2"),
        "broken.xml": b"<Invoice",
        "table.csv": table(row("F1"), row("F2", date="x")),
        "again.xml": ubl(number="U1"),
        "inner.zip": archive({"a.xml": ubl(number="U3")}),
        "other.csv": b"A;B\n1;2\n",
        "empty.xml": b"",
        "sheet.xlsx": workbook(["1000", "F3", "RV", "C1", date(2026, 3, 5), date(2026, 4, 4), 12, 0, None]),
    }
    found = await imported(runtime, sap, archive(files))
    assert (found["state"], found["format"], found["kind"]) == ("done", "zip", "invoices")
    assert (found["received"], found["accepted"], found["duplicate"], found["rejected"]) == (10, 4, 1, 5)
    told = [(each["file"], each["line"], each["rule"]) for each in await errors(sap, found["import_id"])]
    assert told == [
        ("broken.xml", "", "unreadable"),
        ("table.csv", "3", "date-form"),
        ("inner.zip", "", "zip-nested"),
        ("other.csv", "1", "column-missing"),
        ("empty.xml", "", "file-empty"),
    ]
    [first] = (await sap.get("/v1/invoices", invoice_number="U1")).json()["items"]
    assert first["documents"]
    await checked()


async def test_one_e_invoice_needs_no_mapping(client, runtime):
    answer = await client.http.post("/v1/imports", content=ubl(number="U1"), headers=client.headers)
    assert (answer.status_code, answer.json()["mapping"], answer.json()["format"]) == (202, None, "xml")
    found = await imported(runtime, client, ubl(number="U2"), mapping=None)
    assert (found["accepted"], found["rejected"]) == (1, 0)
    for params, code in (({"mode": "history"}, "mode-needs-table"), ({"mode": "opening", "as_of": "2026-04-01"}, "mode-needs-table")):
        refused = await client.http.post("/v1/imports", content=ubl(), params=params, headers=client.headers)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, code)
    refused = await client.http.post("/v1/imports", content=b"a;b\n", headers=client.headers)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "mapping-missing")


def with_link() -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as packed:
        info = zipfile.ZipInfo("link.xml")
        info.external_attr = 0o120777 << 16
        packed.writestr(info, "/etc/passwd")
    return found.getvalue()


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (lambda: archive({"../../out.xml": b"<a/>"}), "zip-path"),
        (lambda: archive({"/etc/passwd": b"<a/>"}), "zip-path"),
        (lambda: archive({"..\\out.xml": b"<a/>"}), "zip-path"),
        (lambda: archive({"C:/out.xml": b"<a/>"}), "zip-path"),
        (with_link, "zip-link"),
        (lambda: archive({"bomb.csv": b"0" * 50_000_000}), "zip-ratio"),
        (lambda: archive({f"{n}.xml": b"" for n in range(20_001)}), "zip-members"),
        (lambda: archive({}), "file-empty"),
    ],
)
async def test_hostile_archives_fail_as_a_whole(sap, runtime, data, rule):
    found = await imported(runtime, sap, data())
    assert (found["state"], found["failure"]["rule"], found["received"]) == ("failed", rule, 0)


async def test_a_member_whose_bytes_are_not_what_the_archive_says_is_rejected_alone(sap, runtime):
    data = bytearray(archive({"a.csv": table(row("F1")), "b.csv": table(row("F2"))}))
    at = data.index(b"a.csv") + 5
    data[at + 4 : at + 12] = b"\xff" * 8
    found = await imported(runtime, sap, bytes(data))
    assert (found["state"], found["accepted"], found["rejected"]) == ("done", 1, 1)
    assert [each["rule"] for each in await errors(sap, found["import_id"])] == ["zip-broken"]


async def test_opening_balances_and_history(client, runtime):
    fields = mapping(client)["fields"] | {
        "open": {"column": "Tax"},
        "reminder_level": {"constant": "2"},
        "last_reminder_on": {"constant": "20.02.2026"},
        "paid_on": {"column": "Refers to"},
    }
    del fields["tax"], fields["preceding_invoice"]
    await put_mapping(client, fields=fields)
    data = table(
        row("F1", tax="500,00"),
        row("F2", tax=""),
        row("F3", tax="1.300,00"),
        row("CN", type="RG", gross="100,00-", tax="40,00-"),
        row("F4", date="02.04.2026", tax="1,00"),
    )
    refused = await send(client, data, mode="opening")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "as-of")
    found = await imported(runtime, client, data, mode="opening", as_of="2026-04-01")
    assert (found["accepted"], found["rejected"]) == (2, 3)
    assert found["sums"]["EUR"]["accepted"] == str(50000 - 4000)
    assert [each["rule"] for each in await errors(client, found["import_id"])] == ["empty", "opening-above-payable", "after-as-of"]
    [kept] = (await client.get("/v1/invoices", invoice_number="F1")).json()["items"]
    assert (kept["origin"], kept["opening_open_minor"], kept["reminder_level"], kept["last_reminder_on"]) == (
        "opening",
        50000,
        2,
        "2026-02-20",
    )
    past = table(row("H1", tax="", refers="20.03.2026"), row("H2", tax=""))
    found = await imported(runtime, client, past, mode="history")
    assert (found["accepted"], [each["rule"] for each in await errors(client, found["import_id"])]) == (1, ["empty"])
    [kept] = (await client.get("/v1/invoices", invoice_number="H1")).json()["items"]
    assert (kept["origin"], kept["paid_on"], kept["payment_reference"]) == ("history", "2026-03-20", None)


async def test_instalments_and_lines_of_one_invoice(client, runtime):
    fields = mapping(client)["fields"] | {"instalment_due_date": {"column": "Due"}, "instalment_amount": {"column": "Tax"}}
    del fields["tax"], fields["due_date"]
    await put_mapping(client, fields=fields, rows="instalment")
    data = table(
        row("F1", tax="500,00"),
        row("F1", tax="700,00", due="04.05.2026"),
        row("F2", tax="1.200,00"),
        row("F3", tax="1,00"),
        row("F3", tax="1,00", customer="C2"),
    )
    found = await imported(runtime, client, data)
    assert (found["rows"], found["received"], found["accepted"], found["rejected"]) == (5, 3, 2, 1)
    assert [each["rule"] for each in await errors(client, found["import_id"])] == ["rows-differ"]
    [kept] = (await client.get("/v1/invoices", invoice_number="F1")).json()["items"]
    assert [(each["due_date"], each["amount_minor"]) for each in kept["instalments"]] == [("2026-04-04", 50000), ("2026-05-04", 70000)]
    await put_mapping(client, rows="line")
    lines = table(row("L1", gross="100,00", tax="20,00"), row("L1", gross="50,00", tax="10,00"))
    assert (await imported(runtime, client, lines))["accepted"] == 1
    [kept] = (await client.get("/v1/invoices", invoice_number="L1")).json()["items"]
    assert (kept["total_minor"], kept["tax_minor"]) == (15000, 3000)
