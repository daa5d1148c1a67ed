"""Money that goes back: refunds, their files for the bank and its reports on them (pain.002), and recalls of banks (camt.056)."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from fastapi import Body, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, Date, Id, Lax, PositiveMinor, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching import pain002
from matching import recalls as camt056
from matching.api.accounts import Iban, database_of
from matching.api.commands import ReasonCode, command, tried
from matching.api.handwork import DecideCommand
from matching.api.pages import page
from matching.bankfiles import BankFileError
from matching.handlers import recalls, refund_reports, refunds
from matching.storage import refunds as stored
from matching.storage.recalls import LISTED

ROUTER = Router(prefix="/v1", tags=["money back"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("payments:read")]
RefundStatus = Literal["requested", "approved", "sent", "paid", "returned", "refused", "cancelled"]
RecallStatus = Literal["open", "requested", "accepted", "refused", "settled"]
Message = TypeVar("Message")


class RefundCommand(Command):
    """Give an amount of a payment back, or all that is unapplied: to its payer, or (then another person approves) to an IBAN."""

    payment_id: Id
    reason: Text
    amount_minor: PositiveMinor | None = None
    creditor_name: Text | None = None
    creditor_iban: Iban | None = None


class CancelCommand(Command):
    """Why a refund is taken back; `bank_refused` for one that was sent."""

    reason: ReasonCode
    bank_refused: bool = False


class RefundView(BaseModel):
    """A refund as it stands. `bank_reason`: why the bank refused it (an ISO code in lower case), where its report said so."""

    refund_id: UUID
    payment_id: UUID
    entity_id: UUID
    bank_account_id: UUID
    currency: str
    amount_minor: int
    reason: str
    creditor_name: str
    creditor_iban: str
    end_to_end_id: str
    status: RefundStatus
    requested_by: str
    decided_by: str | None
    requested_at: datetime
    decided_at: datetime | None
    refund_file_id: UUID | None
    bank_reason: str | None


class RefundList(BaseModel):
    """A page of refunds."""

    items: list[RefundView]
    next_cursor: str | None


class RefundFileCommand(Command):
    """Write a file with the approved refunds of an account, to be executed on a day: today or later, at most 360 days ahead."""

    bank_account_id: Id
    execution_date: Date


class RefundFileView(BaseModel):
    """A file for the bank; its content is at `/v1/refund-files/{id}`."""

    refund_file_id: UUID
    refunds: int
    amount_minor: int
    execution_date: date


class ReportedRefund(RefundView):
    """What became of a bank's word on a refund; `bank_status` is that word, as it came.

    `refused`: the refund is cancelled, now or already. `unchanged`: the booked debit will close it, or has. What is left needs a person:
    `booked` (refused, but its debit is booked), `duplicate` (refused, for the bank has it already: the file was given to it twice),
    `contradictory` (both refused and not), `status_unknown` (a status of no code set).
    """

    outcome: refund_reports.Outcome
    bank_status: str | None


class RefundReportTaken(BaseModel):
    """What became of a report: the file that it is on, if that is ours, its refunds, and the numbers (from 1) of what names none."""

    refund_file_id: UUID | None
    refunds: list[ReportedRefund]
    unknown: list[int]


class RecallView(BaseModel):
    """A recall as it stands. `settled_minor`: how much of it, or all, the bank took, once it has."""

    recall_id: UUID
    payment_id: UUID
    entity_id: UUID
    currency: str
    amount_minor: int
    settled_minor: int | None
    reason: str
    cancellation_id: str
    status: RecallStatus
    requested_by: str | None
    decided_by: str | None
    received_at: datetime
    decided_at: datetime | None


class RecallList(BaseModel):
    """A page of recalls."""

    items: list[RecallView]
    next_cursor: str | None


class RecallsTaken(BaseModel):
    """What became of a message: recalls taken in, and the numbers (from 1) of those that name no payment of ours, or several."""

    taken: list[RecallView]
    unknown: list[int]


class RecallDecision(Command):
    """Whether the bank may have the money."""

    accept: bool
    reason: ReasonCode | None = None


@ROUTER.post("/refunds", status_code=201, response_model=RefundView, openapi_extra=KEYED)
async def post_refund(request: Request, caller: Writer, body: RefundCommand) -> Response:
    """Asks for a refund: approved at once up to the entity's limit and to the payer's own IBAN, else by another person."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        given = await refunds.request(
            conn,
            caller.tenant_id,
            body.payment_id,
            body.amount_minor,
            reason=body.reason,
            creditor_name=body.creditor_name,
            creditor_iban=body.creditor_iban,
            by=caller.subject,
            now=now,
        )
        return await _told(conn, caller, "refund.request", given, status=201)

    return await command(request, caller, produce)


@ROUTER.post("/refunds/{refund_id}/decision", response_model=RefundView, openapi_extra=KEYED)
async def decide_refund(request: Request, caller: Writer, refund_id: Annotated[Id, Path()], body: DecideCommand) -> Response:
    """Approves a requested refund (another person than who asked for it) or refuses it."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        given = await refunds.decide(conn, caller.tenant_id, refund_id, approve=body.approve, by=caller.subject, now=now)
        return await _told(conn, caller, "refund.approve" if body.approve else "refund.refuse", given, reason=body.reason)

    return await command(request, caller, produce)


@ROUTER.post("/refunds/{refund_id}/cancel", response_model=RefundView, openapi_extra=KEYED)
async def cancel_refund(request: Request, caller: Writer, refund_id: Annotated[Id, Path()], body: CancelCommand) -> Response:
    """Takes an approved refund back before it is sent, or a sent one that the bank refused: the money is unapplied again."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        given = await refunds.cancel(conn, caller.tenant_id, refund_id, bank_refused=body.bank_refused, by=caller.subject, now=now)
        return await _told(conn, caller, "refund.cancel", given, reason=body.reason)

    return await command(request, caller, produce)


@ROUTER.get("/refunds")
async def list_refunds(
    request: Request,
    caller: Reader,
    status: RefundStatus | None = None,
    payment_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> RefundList:
    """Refunds by id, of one status or payment where asked."""
    rows, after = await page(
        request,
        caller,
        stored.LISTED,
        {"status": status, "payment_id": payment_id},
        limit=limit,
        cursor=cursor,
    )
    return RefundList(items=[RefundView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.post("/refund-files", status_code=201, response_model=RefundFileView, openapi_extra=KEYED)
async def post_file(request: Request, caller: Writer, body: RefundFileCommand) -> Response:
    """Writes a pain.001 file with the approved refunds of an account; each is in one file, once.

    SEPA credit transfers and others are in files of their own, what waits longest first: ask until nothing waits (409 `nothing-to-send`).
    """
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        file_id, given = await refunds.write_file(
            conn, caller.tenant_id, body.bank_account_id, body.execution_date, by=caller.subject, now=now
        )
        amount = sum(one.amount_minor for one in given)
        detail = {"refunds": len(given), "amount_minor": amount}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "refund_file.write", str(file_id), detail)])
        view = RefundFileView(refund_file_id=file_id, refunds=len(given), amount_minor=amount, execution_date=body.execution_date)
        return JSONResponse(view.model_dump(mode="json"), 201)

    return await command(request, caller, produce)


@ROUTER.get("/refund-files/{refund_file_id}", response_class=Response, responses={200: {"content": {"application/xml": {}}}})
async def get_file(request: Request, caller: Reader, refund_file_id: Annotated[Id, Path()]) -> Response:
    """The file as it is to be given to the bank: pain.001.001.09. The same bytes every time."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        content = await stored.file_content(conn, caller.tenant_id, refund_file_id)
    if content is None:
        raise Problem(404, "refund-file-unknown", "There is no such file")
    return Response(content, media_type="application/xml")


@ROUTER.post("/refund-reports", status_code=201, response_model=RefundReportTaken, max_body_size=pain002.MAX_BYTES)
async def post_report(request: Request, caller: Writer, body: Annotated[bytes, Body(media_type="application/xml")]) -> Response:
    """Takes a pain.002 in, what the bank says of a file: what it refuses is unapplied again. The same again changes nothing."""
    report = await _read(request, body, pain002.parse, "report", "pain.002")
    now = request.app.state.runtime.clock.now()
    file_id, reported, unknown = await tried(
        request, caller, lambda conn: refund_reports.take(conn, caller.tenant_id, report, by=caller.subject, now=now)
    )
    views = [
        ReportedRefund(**RefundView.model_validate(one, from_attributes=True).model_dump(), outcome=outcome, bank_status=status)
        for one, outcome, status in reported
    ]
    return JSONResponse(RefundReportTaken(refund_file_id=file_id, refunds=views, unknown=unknown).model_dump(mode="json"), 201)


@ROUTER.post("/recalls", status_code=201, response_model=RecallsTaken, max_body_size=camt056.MAX_BYTES)
async def post_recalls(request: Request, caller: Writer, body: Annotated[bytes, Body(media_type="application/xml")]) -> Response:
    """Takes a camt.056 in: the payments that it asks back are unmatched and stand as given back. The same again changes nothing."""
    asked = await _read(request, body, camt056.parse, "recall", "camt.056")
    now = request.app.state.runtime.clock.now()
    taken, unknown = await tried(request, caller, lambda conn: recalls.take(conn, caller.tenant_id, asked, by=caller.subject, now=now))
    views = [RecallView.model_validate(one, from_attributes=True) for one in taken]
    return JSONResponse(RecallsTaken(taken=views, unknown=unknown).model_dump(mode="json"), 201)


@ROUTER.post("/recalls/{recall_id}/decision", response_model=RecallView, openapi_extra=KEYED)
async def decide_recall(request: Request, caller: Writer, recall_id: Annotated[Id, Path()], body: RecallDecision) -> Response:
    """Lets the bank have the money, alone up to the entity's limit (`accepted`), else with another person (`requested` until then).

    Or keeps it: then what was undone is allocated again as far as it is still open.
    """
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        decide = recalls.accept if body.accept else recalls.refuse
        held = await decide(conn, caller.tenant_id, recall_id, by=caller.subject, now=now)
        action = "recall.accept" if body.accept else "recall.refuse"
        await audit.record(conn, caller.tenant_id, [(caller.subject, action, str(recall_id), {"reason": body.reason})])
        return JSONResponse(RecallView.model_validate(held, from_attributes=True).model_dump(mode="json"))

    return await command(request, caller, produce)


@ROUTER.get("/recalls")
async def list_recalls(
    request: Request, caller: Reader, status: RecallStatus | None = None, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> RecallList:
    """Recalls by id, of one status where asked."""
    rows, after = await page(
        request,
        caller,
        LISTED,
        {"status": status},
        limit=limit,
        cursor=cursor,
    )
    return RecallList(items=[RecallView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


async def _read(request: Request, body: bytes, parse: Callable[[bytes], Message], what: str, kind: str) -> Message:
    """A message of a bank that is small enough to be read at once."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() not in {"application/xml", "text/xml"}:
        raise Problem(415, "media-type-unsupported", f"A {what} is application/xml")
    try:
        return await run_in_threadpool(parse, body)
    except BankFileError as error:
        raise Problem(422, f"{what}-unreadable", f"The file is no readable {kind}", str(error)[:300]) from None


async def _told(
    conn: AsyncConnection, caller: Caller, action: str, given: stored.Refund, *, reason: str | None = None, status: int = 200
) -> Response:
    detail = {"payment_id": str(given.payment_id), "amount_minor": given.amount_minor, "status": given.status, "reason": reason}
    await audit.record(conn, caller.tenant_id, [(caller.subject, action, str(given.refund_id), detail)])
    return JSONResponse(RefundView.model_validate(given, from_attributes=True).model_dump(mode="json"), status)
