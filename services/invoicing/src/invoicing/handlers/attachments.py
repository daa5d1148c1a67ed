"""Documents that are added to an invoice after it came: its readable copy, and what belongs to it.

Invariants: an invoice names each document once; what was added stays when its source sends a higher version.
"""

from datetime import datetime
from uuid import UUID

import msgspec
from contracts.fields import Document
from contracts.invoices import CreditNoteIssued, InvoiceChanged, InvoiceState
from shared import audit
from shared.outbox import Outgoing, publish
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.handlers.refusals import Refusal
from invoicing.storage import invoices as storage
from invoicing.storage.invoices import Kept

MOST = 20
"""Documents of one invoice: its event names them all."""


async def attach(
    conn: AsyncConnection, tenant_id: UUID, invoice_id: UUID, document: Document, *, now: datetime, actor: str
) -> tuple[Kept, bool]:
    """Adds a stored document and publishes the invoice's next version; returns the invoice, and whether that is new.

    Raises Refusal: 404 no such invoice; 409 it was cancelled, or has `MOST` documents.
    """
    kept = (await storage.lock_invoices(conn, tenant_id, [invoice_id])).get(invoice_id)
    if kept is None:
        raise Refusal(404, "invoice-unknown", "there is no such invoice")
    if any(each.sha256 == document.sha256 for each in kept.state.documents):
        return kept, False
    if kept.state.status == "cancelled":
        raise Refusal(409, "invoice-cancelled", "the invoice was cancelled")
    if len(kept.state.documents) >= MOST:
        raise Refusal(409, "documents-full", f"an invoice has {MOST} documents at most")
    state = msgspec.structs.replace(kept.state, documents=[*kept.state.documents, document], version=kept.state.version + 1)
    kept = msgspec.structs.replace(kept, state=state)
    await storage.update_invoices(conn, tenant_id, [kept], now)
    detail = {"version": state.version, "sha256": document.sha256}
    await audit.record(conn, tenant_id, [(actor, "invoice.document.added", str(invoice_id), detail)])
    event = CreditNoteIssued if state.kind == "credit_note" else InvoiceChanged
    values = {name: getattr(state, name) for name in InvoiceState.__struct_fields__}
    await publish(conn, [Outgoing(tenant_id, event(**values), kept.entity_id)])
    return kept, True
