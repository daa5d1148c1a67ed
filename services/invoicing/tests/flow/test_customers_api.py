import asyncio

from shared.ids import named_id
from shared.testing.events import published

BODY = {
    "name": "Kervella",
    "company_ids": [{"scheme": "0002", "value": "552100554"}],
    "vat_id": "FR83404833048",
    "country": "FR",
    "payment_terms_days": 45,
    "address": {"lines": ["1 quai"], "postcode": "29200", "city": "Brest", "country": "FR"},
    "contacts": [{"role": "billing", "email": "compta@kervella.example", "consent": True}],
    "known_ibans": ["FR76 3000 6000 0112 3456 7890 189"],
}


async def test_put_publishes_what_changed_and_only_that(client, urls):
    made = await client.put("/v1/customers/sap/K", BODY)
    assert made.status_code == 201
    customer_id = named_id("customer", client.tenant_id, "sap", "K")
    assert made.json()["customer_id"] == str(customer_id)
    assert made.json()["known_ibans"] == ["FR7630006000011234567890189"]
    same = await client.put("/v1/customers/sap/K", BODY)
    assert (same.status_code, same.json()) == (200, made.json())
    moved = await client.put("/v1/customers/sap/K", {**BODY, "address": None})
    assert moved.json()["version"] == 2
    terms = await client.put("/v1/customers/sap/K", {**BODY, "address": None, "payment_terms_days": 10})
    assert terms.json()["version"] == 3
    events = [
        m.data for m in await published(urls.owner, "CustomerChanged", "CustomerIdentityChanged") if m.data.customer_id == customer_id
    ]
    assert [(type(each).__name__, each.version) for each in events] == [
        ("CustomerChanged", 1),
        ("CustomerIdentityChanged", 1),
        ("CustomerIdentityChanged", 2),
        ("CustomerChanged", 3),
    ]
    assert {"scheme": "vat", "value": "FR83404833048"} in made.json()["company_ids"]
    listed = (await client.get("/v1/customers", number="K", source_system="sap")).json()
    assert [each["customer_id"] for each in listed["items"]] == [str(customer_id)]


async def test_twenty_puts_at_once_are_one_customer(client):
    answers = await asyncio.gather(*(client.put("/v1/customers/sap/RACE", {**BODY, "payment_terms_days": n}) for n in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 21))


async def test_unconfirmed_customer_is_confirmed_by_its_erp(client):
    invoice = (await client.post("/v1/invoices", client.invoice(customer_number="LATER"))).json()
    confirmed = await client.put("/v1/customers/sap/LATER", BODY)
    assert (confirmed.status_code, confirmed.json()["status"], confirmed.json()["version"]) == (200, "confirmed", 2)
    assert confirmed.json()["customer_id"] == invoice["customer_id"]


async def test_bad_iban_and_unknown_field_are_refused(client):
    answer = await client.put("/v1/customers/sap/K", {**BODY, "known_ibans": ["FR0030006000011234567890189"], "colour": "red"})
    assert answer.status_code == 422
    assert {each["pointer"] for each in answer.json()["errors"]} == {"/known_ibans/0", "/colour"}


async def test_numbers_with_wrong_check_digits_are_refused_where_they_stand(client):
    wrong = [{"scheme": "0002", "value": "552100555"}, {"scheme": "0009", "value": "55210055400015"}, {"scheme": "0060", "value": "12"}]
    answer = await client.put("/v1/customers/sap/K", {**BODY, "company_ids": wrong, "vat_id": "FR00404833048"})
    assert answer.status_code == 422
    assert {each["pointer"] for each in answer.json()["errors"]} == {"/company_ids/0", "/company_ids/1", "/company_ids/2", "/vat_id"}
    unknown = [{"scheme": "0199x", "value": "anything"}, {"scheme": "duns-like", "value": "1"}]
    assert (await client.put("/v1/customers/sap/K", {**BODY, "company_ids": unknown})).status_code in {200, 201}


async def test_entities_are_listed_and_scopes_are_asked(client):
    [entity] = (await client.get("/v1/entities")).json()["items"]
    assert (entity["entity_id"], entity["unknown_buyer"], entity["on_hold"]) == (str(client.entity_id), "create", "warn")
    assert (await client.http.get("/v1/entities")).status_code == 401
