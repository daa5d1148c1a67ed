"""Duplicates: found by their old numbers, billed to the survivor, separated again exactly."""

import asyncio

from shared.ids import named_id
from shared.testing.events import published
from ublfile import party, ubl


async def customer(client, number: str, **fields) -> str:
    answer = await client.put(f"/v1/customers/sap/{number}", {"name": f"Client {number}", **fields})
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()["customer_id"]


async def merge(client, one: str, into: str):
    return await client.post(f"/v1/customers/{one}/merge", {"into": into})


async def told(client, urls, *names):
    return [m.data for m in await published(urls.owner, *names) if m.tenant_id == client.tenant_id]


async def test_invoices_under_the_old_number_bill_the_survivor_and_those_from_before_keep_their_buyer(client, urls, checked):
    old, kept = await customer(client, "A", payment_terms_days=10), await customer(client, "B", payment_terms_days=60)
    before = (await client.post("/v1/invoices", client.invoice("F-1", customer_number="A"))).json()
    answer = await merge(client, old, kept)
    assert (answer.status_code, answer.json()["merged_into"], answer.json()["survivor_id"]) == (200, kept, kept)
    assert (await merge(client, old, kept)).json()["version"] == answer.json()["version"] == 2
    [event] = await told(client, urls, "CustomerMerged")
    assert (str(event.customer_id), str(event.into_customer_id), event.version, event.customer_number) == (old, kept, 2, "A")
    later = client.invoice("F-2", customer_number="A")
    del later["due_date"]
    since = (await client.post("/v1/invoices", later)).json()
    assert (since["customer_id"], since["customer_number"]) == (kept, "A")
    assert since["instalments"][0]["due_date"] == "2026-05-04"  # the survivor's terms: 60 days
    changed = client.invoice("F-1", customer_number="A", source_version=2, due_date="2026-04-30")
    changed = (await client.post("/v1/invoices", changed)).json()
    assert (before["customer_id"], changed["customer_id"]) == (old, old)
    undone = await client.post(f"/v1/customers/{old}/unmerge", {})
    assert (undone.status_code, undone.json()["survivor_id"], undone.json()["version"]) == (200, old, 3)
    assert [each.status for each in await told(client, urls, "CustomerUnmerged")] == ["separate"]
    assert (await client.post("/v1/invoices", client.invoice("F-3", customer_number="A"))).json()["customer_id"] == old
    await checked()


async def test_a_chain_is_followed_to_its_end_and_a_circle_refused(client):
    one, two, three = [await customer(client, number) for number in "ABC"]
    assert (await merge(client, one, two)).status_code == 200
    assert (await merge(client, two, three)).status_code == 200
    assert (await client.post("/v1/invoices", client.invoice("F-1", customer_number="A"))).json()["customer_id"] == three
    for body in ({"into": one}, {"into": two}):
        assert (await client.post(f"/v1/customers/{three}/merge", body)).json()["type"].endswith("merge-circle")
    assert (await merge(client, one, three)).json()["type"].endswith("customer-merged")
    assert (await merge(client, one, one)).status_code == 422
    assert (await merge(client, str(named_id("customer", "none")), one)).status_code == 404
    assert (await merge(client, three, str(named_id("customer", "none")))).status_code == 422
    assert (await client.post(f"/v1/customers/{three}/unmerge", {})).json()["type"].endswith("customer-not-merged")
    assert (await client.post(f"/v1/customers/{two}/unmerge", {})).status_code == 200
    assert (await client.post("/v1/invoices", client.invoice("F-2", customer_number="A"))).json()["customer_id"] == two


async def test_two_merges_at_once_never_close_a_circle(client):
    one, two = [await customer(client, number) for number in "AB"]
    answers = await asyncio.gather(merge(client, one, two), merge(client, two, one))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_register_number_that_two_duplicates_bear_is_no_longer_ambiguous(client):
    twins = {"vat_id": "FR83404833048"}
    one, two = await customer(client, "A", **twins), await customer(client, "B", **twins)
    listed = (await client.get("/v1/customers", company_id="FR 83 404833048")).json()["items"]
    assert {one, two} == {each["customer_id"] for each in listed}
    buyer = party("Twin", vat="FR83404833048")
    assert (await client.post("/v1/invoices/files", ubl("U-1", buyer=buyer))).json()["code"] == "buyer-ambiguous"
    await merge(client, one, two)
    [found] = (await client.get("/v1/customers", name="client a")).json()["items"]
    assert (found["customer_id"], found["survivor_id"]) == (one, two)
    assert (await client.get("/v1/customers", name="%")).status_code == 422
    assert (await client.get("/v1/customers", name="%_")).json()["items"] == []
    answer = await client.post("/v1/invoices/files", ubl("U-1", buyer=buyer))
    assert (answer.status_code, answer.json()["customer_id"]) == (201, two)


async def test_if_match_guards_merges_and_master_data(client):
    one, two = [await customer(client, number) for number in "AB"]
    stale = {**client.headers, "if-match": '"7"'}
    right = {**client.headers, "if-match": '"1"'}
    assert (await client.http.post(f"/v1/customers/{one}/merge", json={"into": two}, headers=stale)).status_code == 412
    assert (await client.http.put("/v1/customers/sap/A", json={"name": "New"}, headers=stale)).status_code == 412
    assert (await client.http.put("/v1/customers/sap/NEW", json={"name": "New"}, headers=right)).status_code == 412
    assert (await client.get("/v1/customers", number="NEW")).json()["items"] == []
    assert (await client.http.put("/v1/customers/sap/A", json={"name": "New"}, headers=right)).status_code == 200
    assert (await client.http.post(f"/v1/customers/{one}/merge", json={"into": two}, headers=right)).status_code == 412


async def test_a_group_has_no_circle_of_parents_merged_ones_included(client):
    one, two, three = [await customer(client, number) for number in "ABC"]
    assert (await client.put("/v1/customers/sap/B", {"name": "B", "parent_customer_id": one})).status_code == 200
    assert (await client.put("/v1/customers/sap/C", {"name": "C", "parent_customer_id": two})).status_code == 200
    for parent in (one, three):
        answer = await client.put("/v1/customers/sap/A", {"name": "A", "parent_customer_id": parent})
        assert answer.json()["type"].endswith("parent-circle")
    assert (await merge(client, one, three)).json()["type"].endswith("parent-circle")
    answer = await client.put("/v1/customers/sap/A", {"name": "A", "parent_customer_id": str(named_id("customer", "none"))})
    assert answer.json()["errors"][0]["code"] == "parent-unknown"


async def test_every_version_can_be_read_as_it_was(client):
    one = await customer(client, "A", payment_terms_days=10, policy="strict", requires_order_number=True)
    middle = (await client.get(f"/v1/customers/{one}/versions")).json()["items"][0]["at"]
    addresses = [{"role": "delivery", "lines": ["Quai 4"], "city": "Brest", "country": "FR"}]
    await client.put("/v1/customers/sap/A", {"name": "Renamed", "addresses": addresses})
    await merge(client, one, await customer(client, "B"))
    found = (await client.get(f"/v1/customers/{one}/versions")).json()["items"]
    assert [(each["version"], each["action"].removeprefix("customer.")) for each in found] == [
        (3, "merged"),
        (2, "changed"),
        (1, "created"),
    ]
    [then] = (await client.get(f"/v1/customers/{one}/versions", at=middle)).json()["items"]
    assert (then["customer"]["policy"], then["customer"]["requires_order_number"]) == ("strict", True)
    assert then["identity"]["name"] == "Client A"
    assert found[0]["identity"]["addresses"][0]["role"] == "delivery"
    first = (await client.get(f"/v1/customers/{one}/versions", limit=2)).json()
    rest = (await client.get(f"/v1/customers/{one}/versions", limit=2, cursor=first["next_cursor"])).json()
    assert [each["version"] for each in first["items"] + rest["items"]] == [3, 2, 1]
    assert (await client.get(f"/v1/customers/{named_id('customer', 'none')}/versions")).status_code == 404


async def test_another_tenant_neither_merges_nor_sees(client, new_client):
    other = await new_client()
    mine, theirs = await customer(client, "A"), await customer(other, "A")
    assert (await merge(other, mine, theirs)).status_code == 404
    assert (await merge(client, mine, theirs)).status_code == 422
