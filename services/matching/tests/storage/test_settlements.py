"""Settlements beside the bank, and the sub-ledger's export: balanced, complete, in the form that is asked for."""

import csv
import io
import itertools
from datetime import date
from decimal import Decimal

import pytest

_KEYS = itertools.count()
_ITEMS = "SELECT invoice_number, open_minor, cash_minor, set_off_minor, status, close_cause FROM open_item ORDER BY 1"


async def post(client, path, body, key=None):
    return await client.post(path, json=body, headers={"idempotency-key": key or f"s{next(_KEYS)}"})


def settlement(make, tenant, kind, *lines, proof="N-1", customer="C1"):
    return {
        "kind": kind,
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, customer)),
        "currency": "EUR",
        "value_date": "2026-03-02",
        "proof": {"reference": proof, "document_sha256": "a" * 64},
        "lines": [{"item_id": str(make.invoice_id(tenant, number)), "amount_minor": amount} for number, amount in lines],
    }


async def items(world, tenant):
    rows = await world.rows(
        tenant, "SELECT invoice_number, open_minor, cash_minor, set_off_minor, status, close_cause FROM open_item ORDER BY 1"
    )
    return {row[0]: tuple(row[1:]) for row in rows}


async def limit(client, make, tenant, amount):
    await client.put(f"/v1/hand-work-limits/{make.entity_id(tenant)}/EUR", json={"limit_minor": amount})


@pytest.mark.parametrize("kind", ["netting", "cash"])
async def test_a_settlement_is_booked_with_proof_once_and_taken_back(world, tenant, make, client, second, kind):
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 500))
    before = await items(world, tenant)
    body = settlement(make, tenant, kind, ("F-1", 1_000), ("F-2", 200))
    asked = (await post(client, "/v1/settlements", body)).json()
    assert (asked["status"], asked["amount_minor"]) == ("requested", 1_200)
    assert await items(world, tenant) == before
    path = f"/v1/settlements/{asked['settlement_id']}"
    assert (await post(client, f"{path}/decision", {"approve": True})).status_code == 403
    booked = await post(second, f"{path}/decision", {"approve": True})
    assert booked.json()["status"] == "booked", booked.text
    after = await items(world, tenant)
    closed = (0, 0, 1_000, "closed", "netting") if kind == "netting" else (0, 1_000, 0, "paid", None)
    assert after["F-1"] == closed
    assert after["F-2"][0] == 300
    assert (await post(client, "/v1/settlements", body)).status_code == 409  # the same proof again
    if kind == "cash":
        await world.match(tenant)  # its own PaymentReceived changes nothing
        assert tuple(await world.one(tenant, "SELECT source, status, allocated_minor FROM payment")) == ("cash", "matched", 1_200)
        assert await items(world, tenant) == after
    await world.holds()
    back = await post(client, f"{path}/reverse", {"reason": "mistake"})
    assert back.json()["status"] == "reversed", back.text
    assert await items(world, tenant) == before
    await world.holds()


@pytest.mark.parametrize(
    ("kind", "number", "amount", "customer", "status"),
    [
        ("netting", "F-1", 1_001, "C1", 409),
        ("cash", "F-1", 1_001, "C1", 409),
        ("netting", "F-1", 10, "C2", 422),
        ("cash", "A-1", 10, "C1", 422),
        ("netting", "F-9", 10, "C1", 404),
    ],
)
async def test_what_a_settlement_may_not_do(world, tenant, make, client, kind, number, amount, customer, status):
    await world.feed(
        make.invoice(tenant, "F-1", 1_000),
        make.invoice(tenant, "A-1", 1_000, cls=make.Credit),
        make.invoice(tenant, "F-2", 1, customer="C2"),
    )
    await limit(client, make, tenant, 10_000)
    before = await items(world, tenant)
    answer = await post(client, "/v1/settlements", settlement(make, tenant, kind, (number, amount), customer=customer))
    assert answer.status_code == status, answer.text
    assert await items(world, tenant) == before
    assert (await client.get("/v1/settlements")).json()["items"] == []
    await world.holds()


async def busy(world, tenant, make, client):
    """A little of everything that moves the ledger."""
    held = await world.account(tenant)
    await limit(client, make, tenant, 100_000)
    await world.feed(
        make.invoice(tenant, "F-1", 100_000, reference="REF000001"),
        make.invoice(tenant, "=F-2", 50_000),
        make.invoice(tenant, "F-3", 20_000),
        make.invoice(tenant, "A-1", 5_000, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "F-3")),
    )
    await world.pay(held, 100_000, "REF000001", number=1)
    payment = await world.pay(held, 60_000, number=2, debtor_name="Dupont", debtor_iban="DE89370400440532013000")
    await world.match(tenant)
    line = {"item_id": str(make.invoice_id(tenant, "=F-2")), "amount_minor": 49_000, "difference_minor": 1_000, "reason": "discount"}
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).status_code == 200
    assert (
        await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "too much", "amount_minor": 11_000})
    ).status_code == 201
    assert (await post(client, "/v1/settlements", settlement(make, tenant, "cash", ("F-3", 10_000)))).status_code == 201
    written = {"item_id": str(make.invoice_id(tenant, "F-3")), "reason": "uncollectible"}
    assert (await post(client, "/v1/write-offs", written)).status_code == 201
    await world.holds()


async def exported(client, make, tenant, **query):
    params = {"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2036-12-31", **query}
    answer = await client.get("/v1/ledger-export", params=params)
    assert answer.status_code == 200, answer.text
    return answer


async def test_the_fec_has_its_eighteen_columns_and_is_balanced_entry_by_entry(world, tenant, make, client):
    await busy(world, tenant, make, client)
    answer = await exported(client, make, tenant, format="fec", siren="732829320")
    assert answer.headers["content-disposition"] == 'attachment; filename="732829320FEC20361231.txt"'
    rows = [line.split("\t") for line in answer.content.decode().split("\r\n") if line]
    assert rows[0] == [
        *("JournalCode", "JournalLib", "EcritureNum", "EcritureDate", "CompteNum", "CompteLib", "CompAuxNum", "CompAuxLib", "PieceRef"),
        *("PieceDate", "EcritureLib", "Debit", "Credit", "EcritureLet", "DateLet", "ValidDate", "Montantdevise", "Idevise"),
    ]
    assert {len(row) for row in rows} == {18}
    entries = {}
    for row in rows[1:]:
        debit, credit = (Decimal(row[at].replace(",", ".")) for at in (11, 12))
        entries.setdefault(int(row[2]), []).append(debit - credit)
        assert row[3] == row[15] >= "20260302"
        assert row[4][:3].isdigit()
        assert row[8]
    assert list(entries) == list(range(1, len(entries) + 1))
    assert all(sum(sides) == 0 and len(sides) == 2 for sides in entries.values())
    by_account = {}
    for row in rows[1:]:
        by_account[row[4]] = by_account.get(row[4], 0) + Decimal(row[11].replace(",", ".")) - Decimal(row[12].replace(",", "."))
    assert by_account["512000"] == 1_600  # the bank: two payments, the refund is not booked yet
    assert by_account["530000"] == 100
    assert by_account["467000"] == -110
    assert by_account["665000"] == 10
    assert by_account["654000"] == 50
    assert sum(by_account.values()) == 0


async def test_the_csv_says_the_same_in_any_currency_and_is_no_formula(world, tenant, make, client):
    await busy(world, tenant, make, client)
    await world.feed(make.invoice(tenant, "K-1", 12_345, currency="KWD", reference="REFKWD001"))
    held = await world.account(tenant, "GB33BUKB20201555555555", currency="KWD")
    await world.pay(held, 12_345, "REFKWD001", number=9)
    await world.match(tenant)
    rows = list(csv.DictReader(io.StringIO((await exported(client, make, tenant)).content.decode())))
    assert {row["debit"] for row in rows if row["currency"] == "KWD"} == {"12.345", "0.000"}
    assert {row["document"] for row in rows if "F-2" in row["document"]} == {"'=F-2"}
    for currency in ("EUR", "KWD"):
        assert sum(Decimal(row["debit"]) - Decimal(row["credit"]) for row in rows if row["currency"] == currency) == 0
    count = (await world.one(tenant, "SELECT count(*) FROM ledger_entry WHERE debit <> 'billed' AND credit <> 'billed'"))[0]
    assert len(rows) == 2 * count
    params = {"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2036-12-31", "format": "fec"}
    assert (await client.get("/v1/ledger-export", params=params)).status_code == 409  # not all in euro
    assert (await client.get("/v1/ledger-export", params={**params, "last": "2025-01-01"})).status_code == 422
    assert (await client.get("/v1/ledger-export", params={**params, "siren": "732829321"})).status_code == 422
    empty = await exported(client, make, tenant, first="2025-01-01", last="2025-12-31", format="fec")
    assert empty.content.decode().count("\r\n") == 1


async def test_an_entity_has_numbers_of_its_own_and_what_has_none_is_refused(world, tenant, make, client):
    held = await world.account(tenant)
    await limit(client, make, tenant, 10_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    payment = await world.pay(held, 900)
    await world.match(tenant)
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 900, "difference_minor": 100, "reason": "withheld"}
    await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})
    params = {"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2036-12-31"}
    refused = await client.get("/v1/ledger-export", params=params)
    assert (refused.status_code, refused.json()["detail"]) == (409, "without one: withheld")
    path = f"/v1/ledger-accounts/{make.entity_id(tenant)}"
    assert (await client.put(path, json={"accounts": {"nothing": {"number": "411", "label": "x"}}})).status_code == 422
    body = {"accounts": {"withheld": {"number": "445800", "label": "Retenues"}, "bank": {"number": "512100", "label": "BNP"}}}
    chart = (await client.put(path, json=body)).json()["accounts"]
    assert (chart["bank"]["number"], chart["receivables"]["number"]) == ("512100", "411000")
    rows = list(csv.DictReader(io.StringIO((await client.get("/v1/ledger-export", params=params)).content.decode())))
    assert {row["account"] for row in rows} == {"512100", "471000", "411000", "445800"}
    assert min(date.fromisoformat(row["date"]) for row in rows) == make.NOW.date()
