"""An erased person is in no table, takes nothing new, and is told to everybody; what hinders an erasure is said."""

from uuid import UUID

import asyncpg
import pytest
from contracts.items import AccountBalanceChanged, OpenItemChanged, Settled
from invoicing.cli import SERVICE
from shared.ids import named_id
from shared.outbox import unfold
from shared.testing.events import context, message, published
from shared.testing.mentions import mentions
from ublfile import party, ubl

PERSON = ("Yvonne Le Gall", "yvonne@legall.example", "3 rue du Port", "FR7630004000031234567890143", "BP 1234")
BODY = {
    "name": "Yvonne Le Gall",
    "address": {"lines": ["3 rue du Port"], "city": "Lorient", "country": "FR"},
    "addresses": [{"role": "billing", "lines": ["BP 1234"], "city": "Lorient"}],
    "contacts": [{"role": "billing", "name": "Yvonne", "email": "yvonne@legall.example"}],
    "known_ibans": ["FR7630004000031234567890143"],
    "company_ids": [{"scheme": "0002", "value": "732829320"}],
}


@pytest.fixture
def erase(client):
    async def run(customer: str):
        return await client.post(f"/v1/customers/{customer}/erase", {})

    return run


@pytest.fixture
def hear(client, database):
    """Hands events of others to the worker's handlers."""

    async def run(*events, entity_id=None):
        async with database.transaction(client.tenant_id) as conn:
            for event in events:
                await SERVICE.routes[type(event)](conn, [message(client.tenant_id, event, entity_id=entity_id)], context(None))

    return run


async def person(client, number: str = "P", **fields) -> str:
    answer = await client.put(f"/v1/customers/sap/{number}", {**BODY, **fields})
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()["customer_id"]


def balance(customer: str, version: int = 1, **amounts) -> AccountBalanceChanged:
    values = {"open_minor": 0, "unapplied_minor": 0, "unused_credits_minor": 0, **amounts}
    return AccountBalanceChanged(
        version=version, account_id=named_id("account", customer), customer_id=UUID(customer), currency="EUR", **values
    )


def settled(invoice: dict) -> OpenItemChanged:
    amount = invoice["payable_minor"]
    return OpenItemChanged(
        version=2,
        item_id=UUID(invoice["invoice_id"]),
        kind="invoice",
        customer_id=UUID(invoice["customer_id"]),
        source_system="sap",
        invoice_number=invoice["invoice_number"],
        currency="EUR",
        issue_date="2026-03-05",
        original_minor=amount,
        open_minor=0,
        disputed_minor=0,
        settled=Settled(cash_minor=amount),
        instalments=[],
        status="paid",
    )


async def faulty(urls, tenant, *said: str) -> None:
    """Lines of the error file of an import, as a reader that quotes what it has read would leave them."""
    conn = await asyncpg.connect(urls.owner)
    await conn.execute("ALTER TABLE import_fault NO FORCE ROW LEVEL SECURITY")
    rows = [(tenant, UUID(int=1), number, "", number, "country", "error", "country", detail) for number, detail in enumerate(said)]
    await conn.copy_records_to_table("import_fault", records=rows)
    await conn.execute("ALTER TABLE import_fault FORCE ROW LEVEL SECURITY")
    await conn.close()


async def details(urls, tenant) -> list[str]:
    conn = await asyncpg.connect(urls.owner)
    await conn.execute("ALTER TABLE import_fault NO FORCE ROW LEVEL SECURITY")
    rows = await conn.fetch("SELECT detail FROM import_fault WHERE tenant_id = $1 ORDER BY number", tenant)
    await conn.execute("ALTER TABLE import_fault FORCE ROW LEVEL SECURITY")
    await conn.close()
    return [row[0] for row in rows]


async def test_nothing_of_the_person_is_left_and_everybody_is_told(client, urls, erase, checked):
    one = await person(client)
    other = await person(client, "Q", name="Anne Still", contacts=[], addresses=[], address=None, known_ibans=[], company_ids=[])
    await client.put("/v1/customers/sap/P", {**BODY, "language": "fr"})
    await faulty(urls, client.tenant_id, "'Yvonne LE GALL' is no country", "3 rue du Port is too long", "is no date")
    assert (await client.post(f"/v1/customers/{one}/merge", {"into": other})).status_code == 200
    assert (await erase(one)).json()["code"] == "customer-merged"
    assert (await client.post(f"/v1/customers/{one}/unmerge", {})).status_code == 200
    erased = await erase(one)
    assert (erased.status_code, erased.json()["version"]) == (200, 5)
    assert {each["ground"][:4] for each in erased.json()["kept"]} <= {"acco", "vouc", "proo"}
    assert (await erase(one)).json() == erased.json()
    [event] = [m.data for m in await published(urls.owner, "CustomerErased") if m.tenant_id == client.tenant_id]
    assert (str(event.customer_id), event.version, event.customer_number) == (one, 5, "P")
    conn = await asyncpg.connect(urls.owner)
    told = {row["id"]: list(unfold(row["topics"], row["batches"])) for row in await conn.fetch("SELECT * FROM outbox ORDER BY id")}
    about = {row: [(topic, value is None) for topic, key, value, _ in events if key.endswith(one)] for row, events in told.items()}
    assert sorted([event for events in about.values() for event in events][-2:]) == [
        ("CustomerErased", False),
        ("CustomerIdentityChanged", True),
    ]
    await conn.execute("DELETE FROM outbox WHERE id = ANY($1)", [row for row, events in about.items() if events])  # as the relay does
    await conn.close()
    assert await mentions(urls.owner, *PERSON) == []
    assert await details(urls, client.tenant_id) == ["was erased", "was erased", "is no date"]
    view = (await client.get(f"/v1/customers/{one}")).json()
    assert (view["name"], view["contacts"], view["addresses"], view["known_ibans"]) == (None, [], [], [])
    assert view["erased_on"] is not None
    assert all(each["identity"] is None for each in (await client.get(f"/v1/customers/{one}/versions")).json()["items"])
    await checked()


async def test_an_erased_customer_takes_nothing_new(client, erase):
    one, other = await person(client), await person(client, "Q", company_ids=[])
    assert (await erase(one)).status_code == 200
    assert (await client.put("/v1/customers/sap/P", BODY)).json()["code"] == "customer-erased"
    assert (await client.post("/v1/invoices", client.invoice(customer_number="P"))).json()["code"] == "buyer-erased"
    for path in (f"/v1/customers/{one}/merge", f"/v1/customers/{other}/merge"):
        into = other if one in path else one
        assert (await client.post(path, {"into": into})).json()["code"] == "customer-erased"
    # the same company again, under its register number: a customer of its own
    again = await client.post("/v1/invoices/files", ubl("U-1", buyer=party("Somebody", siren="732829320")))
    assert (again.status_code, again.json()["customer_id"] == one) == (201, False)


async def test_what_hinders_is_said_until_it_no_longer_does(client, erase, hear):
    one = await person(client)
    invoice = (await client.post("/v1/invoices", client.invoice(customer_number="P"))).json()
    await hear(balance(one, open_minor=12_000))
    refused = await erase(one)
    assert refused.status_code == 409
    assert [each["code"] for each in refused.json()["errors"]] == ["owed", "balance-unknown", "retention"]
    await hear(settled(invoice), balance(one, 2, unapplied_minor=5))
    assert [each["code"] for each in (await erase(one)).json()["errors"]] == ["owed-to-customer", "retention"]
    await hear(balance(one, 3))
    [reason] = (await erase(one)).json()["errors"]
    assert "2037-12-31" in reason["detail"]
    body = {"name": "Ateliers Morvan SAS", "country": "FR", "currency": "EUR", "vat_id": "FR40303265045", "retention_years": 0}
    assert (await client.put(f"/v1/entities/{client.entity_id}", body)).json()["retention_years"] == 0
    assert (await erase(one)).status_code == 200
    assert (await client.get("/v1/invoices", number="F-1")).json()["items"][0]["total_minor"] == 12_000


async def test_duplicates_are_erased_together_and_other_tenants_are_not(client, new_client, erase, urls):
    other = await new_client()
    one, two = await person(client), await person(client, "Q")
    theirs = await person(other, contacts=[], name="Untouched")
    await client.post(f"/v1/customers/{one}/merge", {"into": two})
    assert (await erase(theirs)).status_code == 404
    assert (await erase(two)).status_code == 200
    erased = {str(m.data.customer_id) for m in await published(urls.owner, "CustomerErased") if m.tenant_id == client.tenant_id}
    assert erased == {one, two}
    assert (await client.post(f"/v1/customers/{one}/unmerge", {})).json()["code"] == "customer-erased"
    assert (await other.get(f"/v1/customers/{theirs}")).json()["name"] == "Untouched"
