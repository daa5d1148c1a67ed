"""Customers by import, on a real database."""

from typing import Any

import pytest
from shared.testing.events import published
from test_imports import errors, imported, send, work

HEADER = "No,Name,Country,Terms,Parent,Siren scheme,Siren,Role,Mail,Consent"
MAPPING: dict[str, Any] = {
    "kind": "customers",
    "source_system": "sap",
    "rows": "line",
    "fields": {
        "customer_number": {"column": "No"},
        "name": {"column": "Name"},
        "country": {"column": "Country", "values": {"France": "FR", "Belgique": "BE"}},
        "payment_terms_days": {"column": "Terms"},
        "parent_number": {"column": "Parent"},
        "company_id_scheme": {"constant": "0002"},
        "company_id": {"column": "Siren"},
        "contact_role": {"column": "Role"},
        "contact_email": {"column": "Mail"},
        "contact_consent": {"column": "Consent"},
    },
}


def table(*rows: str) -> bytes:
    return "\n".join([HEADER, *rows, ""]).encode()


async def put_mapping(client, **other: Any) -> None:
    answer = await client.http.post("/v1/import-mappings/sap", json={**MAPPING, **other}, headers=client.headers)
    assert answer.status_code == 201, answer.text


@pytest.fixture
async def sap(client):
    await put_mapping(client)
    return client


async def customer(client, number: str) -> dict[str, Any]:
    [found] = (await client.get("/v1/customers", number=number)).json()["items"]
    return found


async def test_customers_are_entered_and_changed_with_their_contacts(sap, runtime, urls, checked):
    data = table(
        "C2,Brasserie Ostende,Belgique,45,C3,,303265045,billing,compta@ostende.example,yes",
        "C2,Brasserie Ostende,Belgique,45,C3,,303265045,dunning,relance@ostende.example,no",
        "C3,Groupe Ostende,Belgique,30,,,,,,",
        "C1,Kervella et fils,France,60,,,,,,",
        "C4,Sans pays,Mars,30,,,,,,",
        "C5,Trop long,France,999,,,,,,",
        "C6,Orphelin,France,30,C99,,,,,",
        "C7,Enfant d'orphelin,France,30,C6,,,,,",
        "C8,A,France,30,C9,,,,,",
        "C9,B,France,30,C8,,,,,",
        "C10,Sans role,France,30,,,,,x@y.example,",
    )
    found = await imported(runtime, sap, data)
    assert (found["rows"], found["received"], found["accepted"], found["rejected"]) == (11, 10, 3, 7)
    told = {(int(each["line"]), each["column"], each["rule"]) for each in await errors(sap, found["import_id"])}
    assert told == {
        (6, "Country", "value-unknown"),
        (7, "Terms", "integer"),
        (8, "Parent", "parent-unknown"),
        (9, "Parent", "parent-unknown"),
        (10, "Parent", "parent-circle"),
        (11, "Parent", "parent-circle"),
        (12, "Role", "empty"),
    }
    second, group, first = await customer(sap, "C2"), await customer(sap, "C3"), await customer(sap, "C1")
    assert second["parent_customer_id"] == group["customer_id"]
    assert [(each["role"], each["consent"]) for each in second["contacts"]] == [("billing", True), ("dunning", False)]
    assert (first["version"], first["name"], first["payment_terms_days"]) == (2, "Kervella et fils", 60)
    assert first["company_ids"] == []
    assert (await sap.get("/v1/customers", number="C8")).json()["items"] == []
    events = [m.data for m in await published(urls.owner, "CustomerChanged", "CustomerIdentityChanged") if m.tenant_id == sap.tenant_id]
    assert len([each for each in events if each.customer_id == events[0].customer_id and each.version == 2]) == 2
    again = await imported(runtime, sap, data, repeat=True)
    assert (again["duplicate"], again["accepted"]) == (3, 0)
    await checked()


async def test_what_a_file_has_no_column_for_stays(sap, runtime):
    fields = {name: source for name, source in MAPPING["fields"].items() if name in {"customer_number", "name", "payment_terms_days"}}
    await put_mapping(sap, fields=fields, rows="one")
    await imported(runtime, sap, table("C1,Nouveau nom,,15,,,,,,", "C1,Dernier nom,,20,,,,,,"))
    found = await customer(sap, "C1")
    assert (found["name"], found["payment_terms_days"], found["version"]) == ("Dernier nom", 20, 2)
    assert found["company_ids"] == [{"scheme": "0002", "value": "552 100 554"}]


async def test_statements_are_the_same_for_ten_customers_and_a_thousand(sap, runtime, database):
    async def count(rows: int, prefix: str) -> int:
        lines = [f"{prefix}{n},Name {n},France,30,{prefix}0,,,billing,a{n}@b.example,yes" for n in range(rows)]
        await send(sap, table(f"{prefix}0,Groupe,France,30,,,,,,", *lines[1:]))
        before = database.statements
        await work(runtime, sap, turn_seconds=100)
        return database.statements - before

    await count(5, "warm")
    assert await count(10, "A") == await count(999, "B") <= 40


async def test_customers_need_their_own_scope(sap):
    answer = await sap.http.post(
        "/v1/imports", params={"mapping": "sap"}, content=table("C2,N,France,30,,,,,,"), headers=sap.headers_with("invoices:write")
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")
