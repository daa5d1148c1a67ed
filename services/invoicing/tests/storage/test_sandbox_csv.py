"""The simulated ERP's CSV file says the same as its JSON: importing it after the JSON changes nothing."""

from dataclasses import replace

from sandbox.erp import SOURCE_SYSTEM, Erp
from sandbox.world import generate
from test_imports import errors, imported


async def test_the_csv_file_and_the_api_say_the_same(client, runtime):
    world = generate(seed=3, customers=20, days=20)
    erp = Erp(world, tenant_id=client.tenant_id, entity_id=client.entity_id, virtual_ibans={})
    documents = [each for day in world.days for each in day.documents if len(each.instalments) == 1 and each.origin == "issued"]
    assert {"csv"} <= {each.channel for each in documents}
    documents = [replace(each, channel="csv") for each in documents if each.kind == "invoice"]
    answer = await client.http.post(f"/v1/import-mappings/{SOURCE_SYSTEM}", json=erp.csv_mapping(), headers=client.headers)
    assert answer.status_code == 201, answer.text
    found = await imported(runtime, client, erp.csv(documents), mapping=SOURCE_SYSTEM)
    assert (found["accepted"], await errors(client, found["import_id"])) == (len(documents), [])
    for document in documents[:10]:
        [kept] = (await client.get("/v1/invoices", invoice_number=document.number)).json()["items"]
        said = erp.invoice(document)
        assert {name: kept[name] for name in said if name in kept} == said
