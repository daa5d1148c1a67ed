import hashlib

import pytest
from shared import documents
from shared.ids import new_id
from shared.testing.events import published

PDF = b"%PDF-1.7\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF"


async def add(client, invoice_id, body, **query):
    headers = {**client.headers, "idempotency-key": new_id().hex, "content-type": "application/pdf"}
    return await client.http.post(f"/v1/invoices/{invoice_id}/documents", content=body, params=query, headers=headers)


async def test_a_copy_is_stored_named_by_the_next_version_and_kept_by_changes(client, urls, runtime):
    invoice_id = (await client.post("/v1/invoices", client.invoice())).json()["invoice_id"]
    answer = await add(client, invoice_id, PDF)
    assert answer.status_code == 201, answer.text
    sha256 = hashlib.sha256(PDF).hexdigest()
    assert (answer.json()["version"], answer.json()["documents"]) == (2, [{"kind": "copy", "sha256": sha256}])
    assert documents.load(runtime.settings.documents_dir, client.tenant_id, sha256) == PDF
    assert (await add(client, invoice_id, PDF)).status_code == 200
    [event] = [m.data for m in await published(urls.owner, "InvoiceChanged") if m.tenant_id == client.tenant_id]
    assert [(each.kind, each.sha256) for each in event.documents] == [("copy", sha256)]
    changed = await client.post("/v1/invoices", client.invoice(source_version=2, due_date="2026-04-20"))
    assert [each["kind"] for each in changed.json()["documents"]] == ["copy"]
    back = await client.http.get(f"/v1/invoices/{invoice_id}/documents/{sha256}", headers=client.headers)
    assert (back.content, back.headers["content-type"]) == (PDF, "application/pdf")
    assert back.headers["content-disposition"].startswith("attachment")


async def test_an_xml_file_is_an_attachment_and_no_copy(client):
    invoice_id = (await client.post("/v1/invoices", client.invoice())).json()["invoice_id"]
    assert (await add(client, invoice_id, b"<order/>")).json()["code"] == "document-is-no-pdf"
    assert (await add(client, invoice_id, b"<order/>", kind="attachment")).status_code == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"MZ\x90", 422), (b'<!DOCTYPE a [<!ENTITY b "c">]><a/>', 422), (b"", 422), (b"%PDF-" + b"x" * 2**24, 413)],
)
async def test_what_is_no_document_is_refused(client, body, status):
    invoice_id = (await client.post("/v1/invoices", client.invoice())).json()["invoice_id"]
    assert (await add(client, invoice_id, body, kind="attachment")).status_code == status


async def test_another_tenant_reads_nothing(new_client):
    one, two = await new_client(), await new_client()
    invoice_id = (await one.post("/v1/invoices", one.invoice())).json()["invoice_id"]
    sha256 = (await add(one, invoice_id, PDF)).json()["documents"][0]["sha256"]
    path = f"/v1/invoices/{invoice_id}/documents/{sha256}"
    assert (await one.http.get(path, headers=one.headers)).status_code == 200
    assert (await two.http.get(path, headers=two.headers)).status_code == 404
    assert (await add(two, invoice_id, PDF)).status_code == 404
