"""The e-invoice life cycle: POST and GET /v1/invoices/{id}/statuses, POST /v1/statuses, and our own statuses to pass on."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from contracts.invoices import StatusAmount, StatusReason
from fastapi import Body, Request, Response
from pydantic import BaseModel, Field, JsonValue
from shared.web.auth import Caller, requires
from shared.web.etag import etag
from shared.web.idempotency import KEYED
from shared.web.models import AmountMinor, Command, Instant, Lax, Line, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing import statusfiles
from invoicing.api.commands import shown
from invoicing.api.edge import as_json, in_one, runtime_of
from invoicing.domain.lifecycle import STATUSES
from invoicing.handlers import statuses as handlers
from invoicing.handlers.statuses import Recorded, Said
from invoicing.storage import statuses as storage
from invoicing.storage.statuses import Entry

ROUTER = Router(prefix="/v1", tags=["life cycle"])
Writer = Annotated[Caller, requires("invoices:write")]
Reader = Annotated[Caller, requires("invoices:read")]
LifecycleCode = Annotated[str, Field(pattern="^[A-Z0-9_]{1,40}$")]
_NAMES = ", ".join(f"{code} {name}" for code, name in STATUSES.items())


EXAMPLE: dict[str, JsonValue] = {
    "message_id": "2026-004711_207_20260416",
    "status": 207,
    "at": "2026-04-16T18:00:00+02:00",
    "reasons": [{"code": "TX_TVA_ERR", "action": "NIN"}],
    "amounts": [{"kind": "MNATTC", "amount_minor": 60000, "tax_rate_bp": 2000}],
    "note": "rate of 10 % instead of 20 %",
}
_LINE: dict[str, JsonValue] = {
    **EXAMPLE,
    "entry_id": "4f6b8f0a-4a43-5a0e-9a36-0c2f1a1f7d11",
    "invoice_id": "9709d039-6a4d-53f2-81fc-f10cebe495cc",
    "origin": "outside",
    "source": "api",
    "name": "En litige",
    "lifts": None,
    "received_at": "2026-04-16T16:05:00Z",
    "acknowledged_at": None,
}
_OURS: dict[str, JsonValue] = {
    **_LINE,
    "message_id": "collected:9",
    "status": 212,
    "name": "Encaissée",
    "origin": "ours",
    "source": "payment",
    "reasons": [],
    "amounts": [{"kind": "MEN", "amount_minor": 90000, "tax_rate_bp": None}, {"kind": "RAP", "amount_minor": 0, "tax_rate_bp": None}],
    "note": None,
}
_RECORDED: dict[str, JsonValue] = {"entry": _LINE, "created": True, "status": 207, "origin": "outside", "version": 3}
_MESSAGE = """<ApplicationResponse xmlns="urn:oasis:names:specification:ubl:schema:xsd:ApplicationResponse-2"
 xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
 xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">
 <cbc:ID>r-1</cbc:ID><cbc:IssueDate>2026-04-16</cbc:IssueDate><cac:DocumentResponse>
 <cac:Response><cbc:ResponseCode>AP</cbc:ResponseCode></cac:Response>
 <cac:DocumentReference><cbc:ID>2026-004711</cbc:ID></cac:DocumentReference></cac:DocumentResponse></ApplicationResponse>"""


class ReasonCommand(Command):
    """Why, and what is asked for: codes of the reform's lists, such as TX_TVA_ERR and NIN."""

    code: Annotated[LifecycleCode, Field(examples=["TX_TVA_ERR"])]
    action: Annotated[LifecycleCode, Field(examples=["NIN"])] | None = None


class StatusAmountCommand(Command):
    """An amount in the invoice's currency: MEN collected, MPA paid, RAP left to pay, MNATTC not approved."""

    kind: Annotated[LifecycleCode, Field(examples=["MNATTC"])]
    amount_minor: AmountMinor
    tax_rate_bp: Annotated[int, Field(ge=0, le=10_000, description="VAT rate in hundredths of a percent")] | None = None


class StatusCommand(Command):
    """A status that a buyer or a platform has set."""

    model_config = shown(EXAMPLE)

    message_id: Annotated[Text, Field(description="The sender's id of the message: the same again changes nothing")]
    status: Annotated[int, Field(ge=200, le=213, description=_NAMES)]
    at: Annotated[Instant, Field(description="The status' own date: what puts late and reordered messages in order")]
    reasons: Annotated[tuple[ReasonCommand, ...], Lax, Field(max_length=20)] = ()
    amounts: Annotated[tuple[StatusAmountCommand, ...], Lax, Field(max_length=20)] = ()
    note: Annotated[str, Field(min_length=1, max_length=2000), Line] | None = None

    def said(self) -> Said:
        """As the handlers take it."""
        return Said(
            source="api",
            message_id=self.message_id,
            status=self.status,
            at=self.at,
            reasons=tuple(StatusReason(code=each.code, action=each.action) for each in self.reasons),
            amounts=tuple(
                StatusAmount(kind=each.kind, amount_minor=each.amount_minor, tax_rate_bp=each.tax_rate_bp) for each in self.amounts
            ),
            note=self.note,
        )


class StatusView(BaseModel):
    """A line of an invoice's log. A line without status takes back the message that it `lifts` (our dispute is resolved)."""

    entry_id: UUID
    invoice_id: UUID
    origin: str
    source: str
    message_id: str
    status: int | None
    name: str | None
    lifts: str | None
    at: datetime
    reasons: list[dict[str, Any]]
    amounts: list[dict[str, Any]]
    note: str | None
    received_at: datetime
    acknowledged_at: datetime | None


class RecordedView(BaseModel):
    """What became of a status, and what stands of its invoice now."""

    model_config = shown(_RECORDED)

    entry: StatusView
    created: bool
    status: int | None
    origin: str | None
    version: int


class MessageAnswer(BaseModel):
    """One result for each invoice that the message speaks of, in order."""

    model_config = shown({"results": [_RECORDED]})

    results: list[RecordedView]


class StatusPage(BaseModel):
    """A page of statuses."""

    model_config = shown({"items": [_LINE, _OURS], "next_cursor": None})

    items: list[StatusView]
    next_cursor: str | None


def _view(entry: Entry) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.to_builtins(entry)
    del said["tenant_id"]
    said["name"] = STATUSES.get(entry.status or 0)
    return said


def _recorded(found: Recorded) -> dict[str, Any]:
    return {
        "entry": _view(found.entry),
        "created": found.created,
        "status": found.status,
        "origin": found.origin,
        "version": found.version,
    }


@ROUTER.post(
    "/invoices/{invoice_id}/statuses",
    status_code=201,
    response_model=RecordedView,
    responses={200: {"model": RecordedView, "description": "The message is known: nothing changed"}},
    openapi_extra=KEYED,
)
async def post_status(invoice_id: UUID, command: StatusCommand, request: Request, caller: Writer) -> Response:
    """Enters a status that somebody outside has set.

    Late, doubled and reordered messages are welcome: the log keeps each once, and what stands follows from the statuses' own
    dates. 207, 208, 210 and 213 open a dispute or a pause in dunning. 409: the message id is known with other content.
    """
    now = runtime_of(request).clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        found = await handlers.record(conn, caller.tenant_id, invoice_id, command.said(), now=now, actor=caller.subject)
        status = 201 if found.created else 200
        return Response(msgspec.json.encode(_recorded(found)), status, headers={"ETag": etag(found.version)}, media_type="application/json")

    return await in_one(request, caller, produce)


@ROUTER.post("/statuses", response_model=MessageAnswer, openapi_extra=KEYED, max_body_size=statusfiles.MAX_BYTES)
async def post_message(
    body: Annotated[bytes, Body(media_type="application/xml", examples=[_MESSAGE])], request: Request, caller: Writer
) -> Response:
    """Takes a CDAR message (French reform) or a Peppol Invoice Response; which one is seen from its content.

    The invoices are found by number (BT-1), day of issue and seller. All that the message says is entered, or nothing: 422
    names the path that is wrong, or the invoice that is none of ours.
    """
    now = runtime_of(request).clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        results = []
        for meant in statusfiles.read(body):
            invoice_id = await handlers.find_invoice(
                conn, caller.tenant_id, invoice_number=meant.invoice_number, issue_date=meant.issue_date, seller=meant.seller
            )
            results.append(await handlers.record(conn, caller.tenant_id, invoice_id, meant.said, now=now, actor=caller.subject))
        return as_json({"results": [_recorded(each) for each in results]})

    return await in_one(request, caller, produce)


@ROUTER.get("/invoices/{invoice_id}/statuses")
async def get_statuses(
    invoice_id: UUID, request: Request, caller: Reader, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> StatusPage:
    """The log of an invoice, by the statuses' own dates: what was said outside, and what we said."""
    cursors = request.app.state.cursors
    bound: dict[str, Any] = {"tenant_id": caller.tenant_id, "route": "statuses", "filters": {"invoice_id": invoice_id}}
    after = None
    if cursor:
        at, entry_id = cursors.decode(cursor, **bound)
        after = datetime.fromisoformat(str(at)), UUID(str(entry_id))
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        if not await storage.invoices(conn, [(caller.tenant_id, invoice_id)]):
            raise Problem(404, "invoice-unknown", "There is no such invoice")
        rows = await storage.page(conn, caller.tenant_id, invoice_id, after=after, limit=limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    position = None if last is None else cursors.encode([last.at.isoformat(), str(last.entry_id)], **bound)
    return StatusPage(items=[StatusView.model_validate(_view(each)) for each in rows[:limit]], next_cursor=position)


@ROUTER.get("/statuses/outgoing")
async def get_outgoing(request: Request, caller: Reader, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None) -> StatusPage:
    """Our own statuses that nobody has acknowledged: what a connector passes on to the platform (207 our dispute, 212 money)."""
    cursors, bound = request.app.state.cursors, {"tenant_id": caller.tenant_id, "route": "outgoing", "filters": {}}
    after = UUID(str(cursors.decode(cursor, **bound)[0])) if cursor else None
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.outgoing(conn, caller.tenant_id, after, limit + 1)
    position = cursors.encode([str(rows[limit - 1].entry_id)], **bound) if len(rows) > limit else None
    return StatusPage(items=[StatusView.model_validate(_view(each)) for each in rows[:limit]], next_cursor=position)


@ROUTER.post("/statuses/outgoing/{entry_id}/acknowledge", status_code=204)
async def post_acknowledge(entry_id: UUID, request: Request, caller: Writer) -> Response:
    """Notes that a status of ours was passed on; it is not listed as outgoing any more. Again is as good as once."""
    runtime = runtime_of(request)
    async with runtime.database.transaction(caller.tenant_id) as conn:
        if not await storage.acknowledge(conn, caller.tenant_id, entry_id, runtime.clock.now()):
            raise Problem(404, "status-unknown", "There is no such status of ours")
    return Response(status_code=204)
