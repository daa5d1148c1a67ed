from datetime import UTC, datetime
from uuid import UUID

from contracts.credit import CreditHoldPlaced, CreditHoldReleased, CreditTermsChanged
from invoicing.worker import ROUTES
from shared.testing.events import context, message, published

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


async def tell(database, client, data):
    async with database.transaction(client.tenant_id) as conn:
        await ROUTES[type(data)](conn, [message(client.tenant_id, data)], context(NOW))


async def hold(database, client, *, active: bool, version: int):
    [customer] = (await client.get("/v1/customers", number="C1")).json()["items"]
    event = (CreditHoldPlaced if active else CreditHoldReleased)(
        version=version,
        customer_id=UUID(customer["customer_id"]),
        active=active,
        reason="over_limit",
        exposure_minor=9,
        limit_minor=5,
        currency="EUR",
        decided_at=NOW,
    )
    await tell(database, client, event)


async def test_hold_warns_by_default(client, database):
    await hold(database, client, active=True, version=1)
    answer = await client.post("/v1/invoices", client.invoice())
    assert answer.status_code == 201
    assert [each["code"] for each in answer.json()["warnings"]] == ["customer-on-hold"]
    batch = await client.post("/v1/invoices/batch", {"invoices": [client.invoice("F-2")]})
    assert batch.json()["results"][0]["warnings"][0]["detail"].endswith("over_limit")
    await hold(database, client, active=False, version=2)
    assert (await client.post("/v1/invoices", client.invoice("F-3"))).json()["warnings"] == []


async def test_hold_blocks_by_setting_but_for_credit_notes_and_changes(new_client, database):
    client = await new_client(on_hold="block")
    await client.post("/v1/invoices", client.invoice("BEFORE"))
    await hold(database, client, active=True, version=1)
    answer = await client.post("/v1/invoices", client.invoice())
    assert (answer.status_code, answer.json()["code"]) == (409, "customer-on-hold")
    assert "over_limit" in answer.json()["detail"]
    assert (await client.post("/v1/invoices", client.invoice("CN", kind="credit_note"))).status_code == 201
    assert (await client.post("/v1/invoices", client.invoice("BEFORE", source_version=2))).status_code == 200


async def test_granted_terms_say_when_an_invoice_without_date_is_due(client, database):
    [customer] = (await client.get("/v1/customers", number="C1")).json()["items"]
    granted = CreditTermsChanged(
        version=1,
        customer_id=UUID(customer["customer_id"]),
        limit_minor=5,
        currency="EUR",
        payment_terms_days=10,
        down_payment_bp=0,
        reason="scored",
    )
    await tell(database, client, granted)
    body = (await client.post("/v1/invoices", client.invoice(due_date=None))).json()
    assert body["instalments"][0]["due_date"] == "2026-03-15"


async def test_may_i_invoice_this_leaves_nothing(new_client, database, urls):
    client = await new_client(on_hold="block")
    fine = await client.http.post("/v1/invoices/check", json=client.invoice("NEW", customer_number="NOBODY"), headers=client.headers)
    assert (fine.status_code, fine.json()) == (200, {"would_be": "created", "warnings": []})
    assert (await client.get("/v1/invoices")).json()["items"] == []
    assert (await client.get("/v1/customers", number="NOBODY")).json()["items"] == []
    before = len(await published(urls.owner))
    await hold(database, client, active=True, version=1)
    held = await client.http.post("/v1/invoices/check", json=client.invoice(), headers=client.headers)
    assert (held.status_code, held.json()["code"]) == (409, "customer-on-hold")
    assert "over_limit" in held.json()["detail"]
    bad = await client.http.post("/v1/invoices/check", json=client.invoice(total_minor=1), headers=client.headers)
    assert bad.status_code == 422
    assert len(await published(urls.owner)) == before
