"""The schema, and lists over HTTP."""

from shared.migrations import check_unchanged


async def test_the_migrated_schema_is_that_of_the_code(world):
    await check_unchanged("matching", world.urls.owner)


async def test_lists_balances_and_statistics(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"), make.invoice(tenant, "F-2", 500))
    payment = await world.pay(held, 1_000, "REF000001")
    await world.pay(held, 70)
    await world.match(tenant)
    items = (await client.get("/v1/open-items", params={"invoice_number": "F-1"})).json()["items"]
    assert [(i["open_minor"], i["cash_minor"], i["status"]) for i in items] == [(0, 1_000, "paid")]
    first = (await client.get("/v1/open-items", params={"limit": 1})).json()
    second = (await client.get("/v1/open-items", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert {first["items"][0]["invoice_number"], second["items"][0]["invoice_number"]} == {"F-1", "F-2"}
    assert [b["open_minor"] for b in (await client.get("/v1/balances")).json()["items"]] == [500]
    detail = (await client.get(f"/v1/payments/{payment}")).json()
    assert detail["allocations"][0]["invoice_number"] == "F-1"
    assert detail["decisions"][0]["rule"] == "structured_reference"
    statistics = (await client.get("/v1/statistics/matching")).json()
    assert (statistics["payments"], statistics["unmatched"], statistics["by_rule"]) == (2, 1, {"structured_reference": 1})
    assert statistics["by_reason"] == {"unknown_party": 1}
    assert [p["amount_minor"] for p in (await client.get("/v1/payments", params={"status": "unapplied"})).json()["items"]] == [70]


async def test_unmatching_over_http_happens_once(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    payment = await world.pay(held, 1_000, "REF000001")
    await world.match(tenant)
    path, body = f"/v1/payments/{payment}/unmatch", {"reason": "wrong customer"}
    assert (await client.post(path, json=body)).status_code == 400  # no Idempotency-Key
    answers = [await client.post(path, json=body, headers={"idempotency-key": "k1"}) for _ in range(2)]
    assert [(a.status_code, a.json()["unapplied_minor"]) for a in answers] == [(200, 1_000)] * 2
    assert len([m for m in await world.events("PaymentUnmatched") if m.tenant_id == tenant]) == 1
    assert (await client.post(path, json=body, headers={"idempotency-key": "k2"})).status_code == 404


async def test_virtual_ibans_over_http(world, tenant, make, client):
    held = await world.account(tenant)
    pool = await client.post(f"/v1/bank-accounts/{held.iban}/virtual-ibans/pool", json={"ibans": ["DE89370400440532013000"]})
    assert (pool.status_code, pool.json()) == (200, {"added": 1})
    body = {"bank_account_id": str(held.bank_account_id), "customer_id": str(make.customer_id(tenant, "C1")), "holder_name": "Vendeur SA"}
    assert (await client.post("/v1/virtual-ibans", json=body)).json()["code"] == "idempotency-key-missing"
    told = (await client.get("/openapi.json")).json()["paths"]["/v1/virtual-ibans"]["post"]["parameters"]
    assert [(one["name"], one["required"]) for one in told] == [("Idempotency-Key", True)]
    given = await client.post("/v1/virtual-ibans", json=body, headers={"idempotency-key": "v1"})
    assert (given.status_code, given.json()["virtual_iban"]) == (201, "DE89370400440532013000")
    assert (await client.post("/v1/virtual-ibans", json=body, headers={"idempotency-key": "v2"})).status_code == 409
    released = await client.post(f"/v1/virtual-ibans/{given.json()['virtual_iban_id']}/release")
    assert (released.status_code, released.json()["status"]) == (200, "released")
    listed = (await client.get("/v1/virtual-ibans", params={"customer_id": body["customer_id"]})).json()["items"]
    assert [v["status"] for v in listed] == ["released"]
    names = [type(m.data).__name__ for m in await world.events("VirtualIbanAssigned", "VirtualIbanReleased") if m.tenant_id == tenant]
    assert names == ["VirtualIbanAssigned", "VirtualIbanReleased"]
