"""Invoices and credit notes: POST /v1/invoices, /batch and /files, GET, cancel, credit."""

import asyncio
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import Body, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from shared import documents
from shared.jars import JarError
from shared.web.auth import Caller, requires
from shared.web.etag import etag
from shared.web.idempotency import KEYED
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.problems import problem_of as problem_of_error
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.api.commands import (
    BatchAnswer,
    BatchCommand,
    CancelCommand,
    CheckAnswer,
    CreditCommand,
    InvoiceCommand,
    InvoicePage,
    InvoiceView,
    Warned,
    result,
    view,
)
from invoicing.api.edge import SourceSystem, as_json, in_one, matches, problem_of, runtime_of
from invoicing.einvoices.drafting import draft_of
from invoicing.einvoices.pool import ReadersLostError, read_file
from invoicing.einvoices.xmlfile import MAX_BYTES
from invoicing.handlers import crediting
from invoicing.handlers import invoices as handlers
from invoicing.handlers.entities import find_seller
from invoicing.handlers.invoices import Outcome
from invoicing.storage import invoices as storage
from invoicing.storage.rows import as_dict

ROUTER = Router(prefix="/v1/invoices", tags=["invoices"])
Writer = Annotated[Caller, requires("invoices:write")]
Reader = Annotated[Caller, requires("invoices:read")]
_CREATED: dict[int | str, dict[str, Any]] = {201: {"model": InvoiceView, "description": "The invoice is new"}}
_FINDINGS_SHOWN = 100
Searched = Annotated[str | None, Query(max_length=255)]


def _answer(outcome: Outcome) -> Response:
    if outcome.kept is None:
        raise outcome.refusal or TypeError("an outcome has an invoice or a refusal")
    return as_json(view(outcome.kept), 201 if outcome.status == "created" else 200, etag=etag(outcome.kept.state.version))


@ROUTER.post(
    "",
    status_code=201,
    response_model=InvoiceView,
    responses={200: {"model": InvoiceView, "description": "Changed, or the same again"}},
    openapi_extra=KEYED,
)
async def post_invoice(command: InvoiceCommand, request: Request, caller: Writer) -> Response:
    """Takes an invoice or credit note.

    201 it is new; 200 a higher `source_version` changed it, or it is the same again (or an older version), which changes
    nothing; 409 other content under a known version, a change of a cancelled invoice, or a customer on hold where the
    entity blocks; 422 it contradicts itself, or names an entity or buyer that is unknown.
    """
    now = runtime_of(request).clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        [outcome] = await handlers.receive(conn, caller.tenant_id, [command.draft()], now=now, actor=caller.subject)
        return _answer(outcome)

    return await in_one(request, caller, produce)


@ROUTER.post("/check")
async def post_check(command: InvoiceCommand, request: Request, caller: Reader) -> CheckAnswer:
    """May I invoice this? What POST /v1/invoices would answer now; nothing is stored, published or held.

    200 it would be taken, with what the sender should know; 409 with the reason where the customer is on credit hold and the
    entity blocks, and the other refusals as they would come.
    """
    runtime = runtime_of(request)
    async with runtime.database.transaction(caller.tenant_id) as conn:
        outcome = await handlers.would_receive(conn, caller.tenant_id, command.draft(), now=runtime.clock.now(), actor=caller.subject)
    if outcome.refusal is not None:
        raise problem_of(outcome.refusal)
    warnings = [Warned(code=code, detail=detail) for code, detail in outcome.warnings]
    return CheckAnswer(would_be=outcome.status, warnings=warnings)


@ROUTER.post("/batch", response_model=BatchAnswer, openapi_extra=KEYED)
async def post_batch(command: BatchCommand, request: Request, caller: Writer) -> Response:
    """Takes up to 1,000 invoices in one transaction, each judged by itself; a refused one does not hold up the others."""
    now = runtime_of(request).clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        problems: dict[int, Problem] = {}
        drafts = {}
        for index, said in enumerate(command.invoices):
            try:
                drafts[index] = InvoiceCommand.model_validate(said).draft()
            except ValidationError as error:
                located = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_input=False, include_url=False)]
                problems[index] = problem_of_error(RequestValidationError(located), request)
        found = await handlers.receive(conn, caller.tenant_id, list(drafts.values()), now=now, actor=caller.subject)
        outcomes = dict(zip(drafts, found, strict=True))
        problems |= {index: problem_of(each.refusal) for index, each in outcomes.items() if each.refusal is not None}
        refused = Outcome(status="refused")
        results = [
            result(index, outcomes.get(index, refused), _problem(problems[index]) if index in problems else None)
            for index in range(len(command.invoices))
        ]
        return as_json({"results": results})

    return await in_one(request, caller, produce)


def _problem(problem: Problem) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(bytes(problem.response().body))
    return body


@ROUTER.post(
    "/files",
    status_code=201,
    response_model=InvoiceView,
    responses={200: {"model": InvoiceView, "description": "Changed, or the same again"}},
    openapi_extra={**KEYED, "requestBody": {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}},
    max_body_size=MAX_BYTES,
)
async def post_file(
    body: Annotated[bytes, Body(media_type="application/xml")],
    request: Request,
    caller: Writer,
    source_system: Annotated[SourceSystem, Query()] = "ubl",
    source_version: Annotated[int, Query(ge=1, le=2**31 - 1, description="A file has no version: raise it to change an invoice")] = 1,
) -> Response:
    """Takes an e-invoice: UBL 2.1, UN/CEFACT CII, or a PDF that embeds one (Factur-X, ZUGFeRD); told apart by content.

    The official rules of the profile that it names judge it. 422 names the XPath and the rule that does not hold, or the
    seller that is none of ours. The file's own number (BT-1) is its source id; the file is kept under its SHA-256, which the
    event names.
    """
    runtime = runtime_of(request)
    try:
        reading = await read_file(body)
    except (JarError, ReadersLostError) as error:  # of this machine, not of the file: nothing was taken
        raise Problem(503, "rules-unavailable", "E-invoices cannot be read at the moment", str(error)) from None
    invoice, booked = reading.invoice, reading.booked
    if invoice is None or booked is None:
        errors = [FieldError(each.xpath, each.rule, each.detail) for each in reading.fatal[:_FINDINGS_SHOWN]]
        raise Problem(422, "einvoice-refused", "The file is no sound e-invoice", reading.reason, errors=errors)
    if booked.obstacle is not None:
        each = booked.obstacle
        raise Problem(422, each.rule, "The invoice cannot be booked", errors=[FieldError(each.xpath, each.rule, each.detail)])
    now = runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        seller = await find_seller(conn, caller.tenant_id, invoice.seller)
        draft = draft_of(reading, entity_id=seller.entity_id, source_system=source_system, source_version=source_version)
        [outcome] = await handlers.receive(conn, caller.tenant_id, [draft], now=now, actor=caller.subject, seller=seller)
        if outcome.status in {"created", "changed"}:
            await asyncio.to_thread(documents.store, runtime.settings.documents_dir, caller.tenant_id, reading.sha256, body)
        return _answer(outcome)

    return await in_one(request, caller, produce)


@ROUTER.get("")
async def get_invoices(
    request: Request,
    caller: Reader,
    entity_id: UUID | None = None,
    customer_id: UUID | None = None,
    customer_number: Searched = None,
    source_system: Annotated[SourceSystem | None, Query()] = None,
    source_id: Searched = None,
    invoice_number: Searched = None,
    order_number: Searched = None,
    reference: Annotated[str | None, Query(max_length=255, description="The payment reference, or another that the invoice names")] = None,
    kind: Annotated[Literal["invoice", "credit_note", "deposit"] | None, Query()] = None,
    status: Annotated[Literal["issued", "cancelled"] | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> InvoicePage:
    """Invoices and credit notes by id, narrowed by whatever the source knows them by."""
    given = {
        "entity_id": entity_id,
        "customer_id": customer_id,
        "customer_number": customer_number,
        "source_system": source_system,
        "source_id": source_id,
        "invoice_number": invoice_number,
        "order_number": order_number,
        "reference": reference,
        "kind": kind,
        "status": status,
    }
    filters = {name: value for name, value in given.items() if value is not None}
    cursors, bound = request.app.state.cursors, {"tenant_id": caller.tenant_id, "route": "invoices", "filters": filters}
    after = UUID(str(cursors.decode(cursor, **bound)[0])) if cursor else None
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.invoices(conn, caller.tenant_id, filters=filters, after=after, limit=limit + 1)
    views = [InvoiceView.model_validate(view(kept, as_dict(row))) for kept, row in rows[:limit]]
    more = len(rows) > limit
    return InvoicePage(items=views, next_cursor=cursors.encode([str(views[-1].invoice_id)], **bound) if more else None)


@ROUTER.get("/{invoice_id}")
async def get_invoice(invoice_id: UUID, request: Request, response: Response, caller: Reader) -> InvoiceView:
    """One invoice or credit note."""
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.invoices(conn, caller.tenant_id, filters={"invoice_id": invoice_id}, after=None, limit=1)
    if not rows:
        raise Problem(404, "invoice-unknown", "There is no such invoice")
    [(kept, row)] = rows
    response.headers["ETag"] = etag(kept.state.version)
    return InvoiceView.model_validate(view(kept, as_dict(row)))


@ROUTER.post("/{invoice_id}/cancel", response_model=InvoiceView, openapi_extra=KEYED)
async def post_cancel(invoice_id: UUID, command: CancelCommand, request: Request, caller: Writer) -> Response:
    """Withdraws an invoice or credit note: nothing is owed on it any more. A cancelled one stays as it is.

    With `If-Match`, only where the invoice is still at that version (412).
    """
    now = runtime_of(request).clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        seen = matches(request)
        kept = await handlers.cancel(conn, caller.tenant_id, invoice_id, command.reason, now=now, actor=caller.subject, seen=seen)
        return as_json(view(kept), etag=etag(kept.state.version))

    return await in_one(request, caller, produce)


@ROUTER.post(
    "/{invoice_id}/credit",
    status_code=201,
    response_model=InvoiceView,
    responses={200: {"model": InvoiceView, "description": "The credit note is known already"}},
    openapi_extra=KEYED,
)
async def post_credit(invoice_id: UUID, command: CreditCommand, request: Request, caller: Writer) -> Response:
    """Credits an invoice, whole or in part, by a credit note that is tied to it and has a number of its own.

    Without amounts the whole total is credited. 409 the invoice is cancelled, a credit note itself, or credited up to its
    total already. With `If-Match`, only where the invoice is still at that version (412).
    """
    now = runtime_of(request).clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        seen = matches(request)
        outcome = await crediting.credit(conn, caller.tenant_id, invoice_id, command.asked(), now=now, actor=caller.subject, seen=seen)
        return _answer(outcome)

    return await in_one(request, caller, produce)
