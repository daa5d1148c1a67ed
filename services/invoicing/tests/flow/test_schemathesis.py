"""Every operation of the OpenAPI document: no 5xx, and no answer that the document does not allow."""

from invoicing.cli import SERVICE
from shared.testing.fuzzing import fuzz


async def test_no_answer_breaks_the_document(client, runtime):
    made = (await client.post("/v1/invoices", client.invoice("F-1", order_numbers=["PO-1"]))).json()
    status = {"message_id": "m1", "status": 205, "at": "2026-04-01T10:00:00Z"}
    await client.post(f"/v1/invoices/{made['invoice_id']}/statuses", status)
    known = {
        "entity_id": [str(client.entity_id)],
        "invoice_id": [made["invoice_id"]],
        "customer_id": [made["customer_id"]],
        "credited_invoice_id": [made["invoice_id"]],
        "customer_number": ["C1"],
        "source_system": ["sap"],
    }
    answers = fuzz(SERVICE, runtime.settings, client.tenant_id, known, examples=12)
    answered = {label for label, status in answers if status < 300}
    # not every run hits an invoice that can be posted: the customer may have been erased or merged before
    taken = {
        "PUT /v1/customers/{source_system}/{customer_number}",
        "GET /v1/invoices/{invoice_id}",
        "POST /v1/invoices/{invoice_id}/statuses",
    }
    assert taken <= answered
