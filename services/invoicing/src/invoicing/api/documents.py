"""Documents of an invoice: POST and GET /v1/invoices/{id}/documents."""

import asyncio
import hashlib
from typing import Annotated, Literal
from uuid import UUID

from contracts.fields import Document
from fastapi import Body, Path, Query, Request, Response
from shared import documents
from shared.web.auth import Caller, requires
from shared.web.etag import etag
from shared.web.idempotency import KEYED
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.api.commands import InvoiceView, view
from invoicing.api.edge import as_json, in_one, runtime_of
from invoicing.einvoices import xmlfile
from invoicing.handlers import attachments
from invoicing.storage import invoices as storage

ROUTER = Router(prefix="/v1/invoices", tags=["documents"])
MAX_BYTES = 10 * 1024 * 1024
_PDF_WITHIN = 1024
"""A PDF says that it is one in its first 1,024 bytes (ISO 32000-1, annex H)."""
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@ROUTER.post(
    "/{invoice_id}/documents",
    status_code=201,
    response_model=InvoiceView,
    responses={200: {"model": InvoiceView, "description": "The invoice has this document already"}},
    openapi_extra=KEYED,
    max_body_size=MAX_BYTES,
)
async def post_document(
    invoice_id: UUID,
    body: Annotated[bytes, Body(media_type="application/octet-stream")],
    request: Request,
    caller: Annotated[Caller, requires("invoices:write")],
    kind: Annotated[Literal["copy", "attachment"], Query(description="`copy`: the invoice as people read it, a PDF")] = "copy",
) -> Response:
    """Adds a document to an invoice: a PDF, or an XML file as `attachment`; up to 10 MiB, 20 an invoice, told apart by content.

    It is stored under its SHA-256, which the invoice's next version names; the readable copy is what a reminder can carry.
    """
    _judge(body, kind)
    runtime = runtime_of(request)
    sha256 = hashlib.sha256(body).hexdigest()
    now = runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        document = Document(kind=kind, sha256=sha256)
        kept, new = await attachments.attach(conn, caller.tenant_id, invoice_id, document, now=now, actor=caller.subject)
        if new:
            await asyncio.to_thread(documents.store, runtime.settings.documents_dir, caller.tenant_id, sha256, body)
        return as_json(view(kept), 201 if new else 200, etag=etag(kept.state.version))

    return await in_one(request, caller, produce)


def _judge(body: bytes, kind: str) -> None:
    if b"%PDF-" in body[:_PDF_WITHIN]:
        return
    if kind == "copy":
        raise Problem(422, "document-is-no-pdf", "The readable copy of an invoice is a PDF file")
    try:
        xmlfile.parse(body)
    except xmlfile.UnreadableError as error:
        raise Problem(422, "document-refused", "A document is a PDF or an XML file", str(error)) from None


@ROUTER.get(
    "/{invoice_id}/documents/{sha256}",
    response_class=Response,
    responses={200: {"content": {"application/pdf": {}, "application/xml": {}}, "description": "The document's bytes"}},
)
async def get_document(
    invoice_id: UUID, sha256: Sha256, request: Request, caller: Annotated[Caller, requires("invoices:read")]
) -> Response:
    """A document of an invoice: the file that it came in, its readable copy, an attachment."""
    runtime = runtime_of(request)
    async with runtime.database.transaction(caller.tenant_id) as conn:
        rows = await storage.invoices(conn, caller.tenant_id, filters={"invoice_id": invoice_id}, after=None, limit=1)
    if not rows or all(each.sha256 != sha256 for each in rows[0][0].state.documents):
        raise Problem(404, "document-unknown", "The invoice has no such document")
    data = await asyncio.to_thread(documents.load, runtime.settings.documents_dir, caller.tenant_id, sha256)
    if data is None:
        raise Problem(404, "document-missing", "The document is not in the store")
    is_pdf = b"%PDF-" in data[:_PDF_WITHIN]
    headers = {"Content-Disposition": f'attachment; filename="{sha256[:16]}.{"pdf" if is_pdf else "xml"}"'}
    return Response(data, headers=headers, media_type="application/pdf" if is_pdf else "application/xml")
