import asyncio
from uuid import UUID

from invoicing.domain.reference import is_creditor_reference
from shared.ids import named_id
from shared.testing.events import published


async def events_of(urls, client, *names):
    return [message for message in await published(urls.owner, *names) if message.tenant_id == client.tenant_id]


async def test_invoice_is_created_and_published(client, urls, checked):
    answer = await client.post("/v1/invoices", client.invoice("2026-0001"))
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["invoice_id"] == str(named_id("invoice", client.tenant_id, client.entity_id, "sap", "2026-0001"))
    assert body["version"] == 1
    assert is_creditor_reference(body["payment_reference"])
    [event] = await events_of(urls, client, "InvoiceIssued")
    assert event.data.payable_minor == 12000
    assert event.data.payment_reference == body["payment_reference"]
    assert [each.amount_minor for each in event.data.instalments] == [12000]
    assert event.envelope.entityid == client.entity_id
    again = await client.get(f"/v1/invoices/{body['invoice_id']}")
    assert again.json() == body
    assert (await client.get("/v1/invoices", source_id="2026-0001")).json()["items"] == [body]
    await checked()


async def test_same_version_again_changes_nothing_and_other_content_is_refused(client, urls):
    first = await client.post("/v1/invoices", client.invoice())
    again = await client.post("/v1/invoices", client.invoice())
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    other = await client.post("/v1/invoices", client.invoice(total_minor=13000, payable_minor=13000))
    assert (other.status_code, other.json()["code"]) == (409, "source-version-reused")
    assert len(await events_of(urls, client, "InvoiceIssued", "InvoiceChanged")) == 1


async def test_higher_version_changes_and_lower_is_old_news(client, urls):
    first = (await client.post("/v1/invoices", client.invoice())).json()
    changed = await client.post("/v1/invoices", client.invoice(source_version=3, due_date="2026-05-04"))
    assert changed.status_code == 200
    assert changed.json()["version"] == 2
    assert changed.json()["payment_reference"] == first["payment_reference"]
    old = await client.post("/v1/invoices", client.invoice(source_version=2, due_date="2026-06-04"))
    assert old.status_code == 200
    assert old.json()["instalments"] == changed.json()["instalments"]
    assert [m.data.version for m in await events_of(urls, client, "InvoiceIssued", "InvoiceChanged")] == [1, 2]
    fixed = await client.post("/v1/invoices", client.invoice(source_version=4, currency="USD"))
    assert (fixed.status_code, fixed.json()["code"]) == (409, "invoice-fixed")


async def test_cancel_is_published_once_and_ends_changes(client, urls):
    invoice_id = (await client.post("/v1/invoices", client.invoice())).json()["invoice_id"]
    first = await client.post(f"/v1/invoices/{invoice_id}/cancel", {"reason": "billed twice"})
    again = await client.post(f"/v1/invoices/{invoice_id}/cancel", {"reason": "again"})
    assert first.json() == again.json()
    assert first.json()["status"] == "cancelled"
    [event] = await events_of(urls, client, "InvoiceCancelled")
    assert event.data.version == 2
    late = await client.post("/v1/invoices", client.invoice(source_version=2))
    assert (late.status_code, late.json()["code"]) == (409, "invoice-cancelled")
    missing = await client.post(f"/v1/invoices/{client.entity_id}/cancel", {"reason": "none"})
    assert missing.status_code == 404


async def test_arithmetic_is_checked_with_pointers(client):
    wrong = client.invoice(prepaid_minor=1000, due_date=None, instalments=[{"number": 1, "due_date": "2026-04-01", "amount_minor": 5}])
    answer = await client.post("/v1/invoices", wrong)
    assert answer.status_code == 422
    assert {(each["pointer"], each["code"]) for each in answer.json()["errors"]} == {
        ("/payable_minor", "payable-differs"),
        ("/instalments", "instalments-differ"),
    }


async def test_same_source_id_twenty_times_at_once_is_one_invoice(client, urls, checked):
    answers = await asyncio.gather(*(client.post("/v1/invoices", client.invoice("RACE")) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["invoice_id"] for answer in answers}) == 1
    assert len(await events_of(urls, client, "InvoiceIssued")) == 1
    await checked()


async def test_same_unknown_buyer_twenty_times_at_once_is_one_customer(client, urls):
    made = [client.invoice(f"N{n}", customer_number="NEW") for n in range(20)]
    answers = await asyncio.gather(*(client.post("/v1/invoices", each) for each in made))
    assert {answer.status_code for answer in answers} == {201}
    [customer] = [m.data for m in await events_of(urls, client, "CustomerChanged") if m.data.customer_number == "NEW"]
    assert customer.status == "unconfirmed"


async def test_idempotency_key_replays_and_is_required(client):
    first = await client.post("/v1/invoices", client.invoice(), key="k1")
    again = await client.post("/v1/invoices", client.invoice(), key="k1")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    bare = await client.http.post("/v1/invoices", json=client.invoice(), headers=client.headers)
    assert (bare.status_code, bare.json()["code"]) == (400, "idempotency-key-missing")


async def test_batch_judges_each_by_itself_in_a_handful_of_statements(client, database, urls, checked):
    async def send(count: int, prefix: str) -> int:
        before = database.statements
        batch = [client.invoice(f"{prefix}{n}") for n in range(count)]
        answer = await client.post("/v1/invoices/batch", {"invoices": batch})
        assert answer.status_code == 200, answer.text
        assert {each["status"] for each in answer.json()["results"]} == {"created"}
        return database.statements - before

    await send(1, "warm")
    assert await send(10, "small") == await send(1000, "large") <= 12

    mixed = [
        client.invoice("small1"),
        client.invoice("small2", source_version=2),
        client.invoice("new"),
        client.invoice("new", source_version=2, due_date="2026-05-01"),
        client.invoice("bad", total_minor=1),
        {**client.invoice("alien"), "surprise": 1},
        client.invoice("elsewhere", entity_id=str(client.tenant_id)),
    ]
    results = (await client.post("/v1/invoices/batch", {"invoices": mixed})).json()["results"]
    assert [each["status"] for each in results] == ["unchanged", "changed", "created", "changed", "refused", "refused", "refused"]
    assert results[3]["version"] == 2
    assert results[5]["problem"]["errors"][0]["pointer"] == "/surprise"
    assert results[6]["problem"]["code"] == "entity-unknown"
    assert (await client.get(f"/v1/invoices/{results[2]['invoice_id']}")).json()["version"] == 2
    await checked()


async def test_unknown_buyer_is_created_or_refused_by_setting(new_client):
    strict = await new_client(unknown_buyer="refuse")
    answer = await strict.post("/v1/invoices", strict.invoice(customer_number="nobody"))
    assert (answer.status_code, answer.json()["code"]) == (422, "customer-unknown")
    by_id = await strict.post("/v1/invoices", {**strict.invoice(customer_number=None), "customer_id": str(UUID(int=7))})
    assert by_id.json()["errors"][0]["pointer"] == "/customer_id"


async def test_opening_and_history(client, urls):
    opening = client.invoice("O1", origin="opening", opening_open_minor=500, reminder_level=2, last_reminder_on="2026-02-01")
    history = client.invoice("H1", origin="history", paid_on="2026-03-20")
    assert (await client.post("/v1/invoices", opening)).status_code == 201
    assert (await client.post("/v1/invoices", history)).status_code == 201
    first, second = [message.data for message in await events_of(urls, client, "InvoiceIssued")]
    assert (first.opening_open_minor, first.reminder_level) == (500, 2)
    assert (second.origin, str(second.paid_on), second.payment_reference) == ("history", "2026-03-20", None)
    without = await client.post("/v1/invoices", client.invoice("O2", origin="opening"))
    assert without.json()["errors"][0]["code"] == "opening-amount"


async def test_tenants_with_equal_numbers_are_apart(new_client):
    one, two = await new_client(), await new_client()
    first = (await one.post("/v1/invoices", one.invoice("SAME"))).json()
    second = (await two.post("/v1/invoices", two.invoice("SAME"))).json()
    assert first["invoice_id"] != second["invoice_id"]
    assert first["payment_reference"] != second["payment_reference"]
    assert (await one.get(f"/v1/invoices/{second['invoice_id']}")).status_code == 404
    assert [each["invoice_id"] for each in (await two.get("/v1/invoices", invoice_number="SAME")).json()["items"]] == [second["invoice_id"]]


async def test_pages(client):
    await client.post("/v1/invoices/batch", {"invoices": [client.invoice(f"P{n}") for n in range(7)]})
    seen, cursor = [], None
    while True:
        page = (await client.get("/v1/invoices", limit=3, **({"cursor": cursor} if cursor else {}))).json()
        seen += [each["source_id"] for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == [f"P{n}" for n in range(7)]
