from random import Random

import pytest
from shared.money import MAX_MINOR
from test_imports import errors, finished, put_mapping, row, send, table
from ublfile import ubl

HUGE = "\U0001f9fe" * 100


@pytest.mark.parametrize(
    "fields",
    [
        {"issue_date": "9999-12-31", "due_date": None},
        {"issue_date": "0001-01-01"},
        {"due_date": "9999-12-31"},
        {"references": [HUGE[:97] + f"{n:03}" for n in range(30)], "order_numbers": [HUGE[:97] + f"{n:03}" for n in range(30)]},
        {"total_minor": MAX_MINOR, "payable_minor": MAX_MINOR, "prepaid_minor": 0, "tax_minor": MAX_MINOR},
        {"total_minor": MAX_MINOR, "prepaid_minor": -MAX_MINOR, "payable_minor": MAX_MINOR},
        {"total_minor": 0, "tax_minor": 0, "payable_minor": 0, "due_date": None},
        {"tax_minor": -MAX_MINOR},
        {"currency": "XXX"},
        {"currency": "eur"},
        {"source_version": 2**31},
        {"invoice_number": "\u202e1"},
        {"payment_account": "FR" + "9" * 130},
        {"customer_number": "x\x00"},
        {
            "due_date": None,
            "total_minor": 120 * 8 * 10**15,
            "payable_minor": 120 * 8 * 10**15,
            "instalments": [{"number": n, "due_date": "2026-05-04", "amount_minor": 8 * 10**15} for n in range(1, 121)],
        },
    ],
)
async def test_json(client, fields):
    answer = await client.post("/v1/invoices", client.invoice(**fields))
    assert answer.status_code < 500, answer.text


async def test_mutated_files(client):
    random = Random(7)
    whole = ubl()
    values = [b"", b"-1", b"1e9", b"NaN", b"eur", b"9" * 30, b"9999-12-31", b"0000-00-00", b"S", b"x" * 70_000, "\U0001f9fe".encode() * 300]
    for _ in range(150):
        parts = whole.split(b">")
        at = random.randrange(len(parts))
        text, tag, rest = parts[at].partition(b"<")
        parts[at] = (random.choice(values) if text.strip() else text) + tag + rest
        if random.random() < 0.2:
            del parts[random.randrange(len(parts))]
        answer = await client.post("/v1/invoices/files", b">".join(parts))
        assert answer.status_code < 500, answer.text


async def test_openapi_is_made(client):
    answer = await client.http.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["components"]["schemas"]["InvoiceCommand"]["examples"]


async def test_imports_of_any_bytes(client, runtime):
    """Through preview and import alike: a clear error or rejected rows, never a failure of ours."""
    random = Random(11)
    await put_mapping(client)
    whole = table(row("F1"), row("F2", type="RG", gross="1,00-"), row("F3"))
    pieces = [
        b"",
        b"\0",
        b"\xff\xfe",
        b'"',
        b";",
        b"\r",
        b"\n",
        b"9" * 400,
        b"-",
        b"31.02.2026",
        "\u202e".encode(),
        b"=cmd()",
        b"PK\x03\x04",
        b"%PDF-",
    ]
    for number in range(60):
        data = bytearray(whole)
        for _ in range(random.randint(1, 6)):
            at = random.randrange(len(data) + 1)
            data[at : at + random.randint(0, 9)] = random.choice(pieces)
        answer = await client.http.post("/v1/import-mappings/sap/preview", content=bytes(data), headers=client.headers)
        assert answer.status_code < 500, answer.text
        if number % 10 == 0:
            answer = await send(client, bytes(data))
            assert answer.status_code < 500, answer.text
            if answer.status_code == 202:
                found = await finished(runtime, client, answer.json()["import_id"])
                assert found["received"] == found["accepted"] + found["rejected"] + found["duplicate"]
                assert not [each for each in await errors(client, found["import_id"]) if each["rule"] == "not-storable"]


@pytest.mark.parametrize(
    "params",
    [
        {"mapping": "\u202e"},
        {"mapping": "nope"},
        {"mapping_version": "0"},
        {"mapping_version": "99999999999999"},
        {"mode": "other"},
        {"mode": "opening"},
        {"as_of": "2026-02-30"},
        {"as_of": "0"},
        {"file_name": "a\nb"},
        {"file_name": "\U0001f9fe" * 255},
        {"dry_run": "perhaps"},
        {"source_system": "S"},
    ],
)
async def test_import_parameters(client, params):
    await put_mapping(client)
    answer = await send(client, table(row("F1")), **params)
    assert answer.status_code < 500, answer.text
