from random import Random

import pytest
from ublfile import ubl

HUGE = "\U0001f9fe" * 100


@pytest.mark.parametrize(
    "fields",
    [
        {"issue_date": "9999-12-31", "due_date": None},
        {"issue_date": "0001-01-01"},
        {"due_date": "9999-12-31"},
        {"references": [HUGE[:97] + f"{n:03}" for n in range(30)], "order_numbers": [HUGE[:97] + f"{n:03}" for n in range(30)]},
        {"total_minor": 2**63 - 1, "payable_minor": 2**63 - 1, "prepaid_minor": 0, "tax_minor": 2**63 - 1},
        {"total_minor": 2**63 - 1, "prepaid_minor": -(2**63), "payable_minor": 2**63 - 1},
        {"total_minor": 0, "tax_minor": 0, "payable_minor": 0, "due_date": None},
        {"tax_minor": -(2**63)},
        {"currency": "XXX"},
        {"currency": "eur"},
        {"source_version": 2**31},
        {"invoice_number": "\u202e1"},
        {"payment_account": "FR" + "9" * 130},
        {"customer_number": "x\x00"},
        {
            "due_date": None,
            "total_minor": 120 * 10**16,
            "payable_minor": 120 * 10**16,
            "instalments": [{"number": n, "due_date": "2026-05-04", "amount_minor": 10**16} for n in range(1, 121)],
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
