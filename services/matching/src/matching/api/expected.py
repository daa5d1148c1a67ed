"""What is expected as it stands, and what taking in any of it has in common."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, field_validator
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, Id, Lax
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.accounts import database_of
from matching.api.commands import ReasonCode, command
from matching.api.pages import page
from matching.domain.references import NUMBER_MIN, normalised
from matching.domain.remittances import RemittanceLine, problem
from matching.handlers import announcements, expected, said_again
from matching.handlers.allocations import known_customer
from matching.storage.decisions import refused_of
from matching.storage.expected import LISTED, Expected, load

ROUTER = Router(prefix="/v1", tags=["expected payments"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("payments:read")]
Status = Literal["waiting", "partly", "received", "expired", "cancelled", "failed"]


class EndCommand(Command):
    """Why it will not come: taken back by us, or refused at the bank."""

    status: Literal["cancelled", "failed"]
    reason: ReasonCode


class RemittanceLineView(BaseModel):
    """A line as it was given."""

    document_number: str | None
    item_id: UUID | None
    gross_minor: int
    deduction_minor: int
    deduction_reason: str | None
    net_minor: int
    item_amount_minor: int | None
    item_currency: str | None


class ExpectedView(BaseModel):
    """An expected payment as it stands. `missing`: numbers and ids of items, as they are compared, that are not there yet."""

    expected_id: UUID
    version: int
    entity_id: UUID
    kind: str
    form: str | None
    payer_customer_id: UUID | None
    currency: str
    amount_minor: int
    reference: str | None
    document_number: str | None
    expected_on: date | None
    holds_until: date | None
    status: Status
    payment_id: UUID | None
    missing: list[str]
    created_at: datetime
    rate: str | None
    rate_currency: str | None
    payment_plan_id: UUID | None

    @field_validator("rate", mode="before")
    @classmethod
    def _plain(cls, rate: Decimal | str | None) -> str | None:
        return f"{rate.normalize():f}" if isinstance(rate, Decimal) else rate


class RefusedLine(BaseModel):
    """A line, by its number from 0, that was not carried out as it says, or not all of it: a person looks at it."""

    line: int
    why: str


class Warned(BaseModel):
    """What keeps the money from meeting it, though it is taken in. Codes: `reference-short`."""

    code: str
    detail: str


class ExpectedDetail(ExpectedView):
    """An expected payment with its lines, what of them its payment could not do, and what to know of one that waits."""

    lines: list[RemittanceLineView]
    refused: list[RefusedLine]
    warnings: list[Warned]


class ExpectedList(BaseModel):
    """A page of expected payments."""

    items: list[ExpectedView]
    next_cursor: str | None


def checked(lines: list[RemittanceLine], total: int, of: str = "/total_minor", places: Sequence[str] = ()) -> None:
    """Raises a 422 Problem that names the line that does not add up, or the whole amount, which the body has `of` that place; of a file's
    lines it says their `places` in it.
    """
    wrong = problem(lines, total)
    if wrong:
        at, why = wrong
        pointer = of if at is None else f"/lines/{at}"
        told = f"{places[at]}: {why}" if places and at is not None else why
        raise Problem(422, "remittance-differs", "The list does not add up", told, errors=[FieldError(pointer, "remittance-differs", told)])


def reference_of(text: str | None) -> str | None:
    """The reference as it is compared. Raises a 422 Problem for one without letters and digits."""
    if text is None:
        return None
    if not (value := normalised(text)):
        raise Problem(422, "reference-empty", "The reference has neither letters nor digits")
    return value


def new(  # who, whose, what, how much
    request: Request,
    caller: Caller,
    expected_id: UUID,
    entity_id: UUID,
    form: str,
    payer: UUID | None,
    currency: str,
    total: int,
    lines: list[RemittanceLine],
) -> Expected:
    """A list that waits; what else is said of it, or of an announcement, is set by who makes it."""
    now = request.app.state.runtime.clock.now()
    return Expected(
        caller.tenant_id,
        expected_id,
        1,
        entity_id,
        "remittance",
        form,
        payer,
        currency,
        total,
        None,
        None,
        None,
        None,
        lines,
        [],
        "waiting",
        None,
        caller.subject,
        now,
    )


async def receive(request: Request, caller: Caller, held: Expected, said: str | None) -> Response:
    """Takes it in once per Idempotency-Key; `said` is its reference as it was written."""
    return await command(request, caller, lambda conn: take(conn, request, caller, held, said))


async def take(conn: AsyncConnection, request: Request, caller: Caller, held: Expected, said: str | None) -> Response:
    """Takes it in, unless that was said before. Raises Problem: 404 or 422 for what cannot come true, 409 for what contradicts that."""
    await expected.possible(conn, held)
    await known_customer(
        conn, caller.tenant_id, held.payer_customer_id, "/payer_customer_id" if held.kind == "remittance" else "/customer_id"
    )
    if held.reference is not None:
        held.expected_id = await said_again.known_as(conn, held)
    taken = await expected.receive(conn, held, said, request.app.state.runtime.clock.now())
    detail = {"kind": held.kind, "amount_minor": held.amount_minor, "status": taken.status}
    await audit.record(conn, caller.tenant_id, [(caller.subject, "expected_payment.receive", str(held.expected_id), detail)])
    return JSONResponse((await _detail(conn, taken)).model_dump(mode="json"), 201)


async def _detail(conn: AsyncConnection, held: Expected) -> ExpectedDetail:
    key = (held.tenant_id, held.expected_id)
    refused = (await refused_of(conn, [(*key, held.payment_id)]))[key] if held.payment_id else {}
    view = ExpectedView.model_validate(held, from_attributes=True)
    lines = [RemittanceLineView.model_validate(line, from_attributes=True) for line in held.lines]
    whys = [RefusedLine(line=at, why=refused[at]) for at in sorted(refused)]
    return ExpectedDetail(**view.model_dump(), lines=lines, refused=whys, warnings=_warnings(held))


def _warnings(held: Expected) -> list[Warned]:
    """Of what waits: a reference that a payment's text never says."""
    if held.status != "waiting" or held.reference is None or len(held.reference) >= NUMBER_MIN:
        return []
    met_by = "a structured reference or an EndToEndId" + (", or its payer" if held.payer_customer_id else "")
    detail = f"it has less than {NUMBER_MIN} letters and digits, so no text is taken to say it: the payment is known by {met_by}"
    return [Warned(code="reference-short", detail=detail)]


@ROUTER.post("/expected-payments/{expected_id}/end", response_model=ExpectedDetail, openapi_extra=KEYED)
async def post_end(request: Request, caller: Writer, expected_id: Annotated[Id, Path()], body: EndCommand) -> Response:
    """Says that a list or an announcement will not come true; what it held back is free again.

    A list that has come and waits for an item (`partly`) is `cancelled` where the item will not come.
    """

    async def produce(conn: AsyncConnection) -> Response:
        held = await announcements.end(conn, caller.tenant_id, expected_id, body.status)
        detail = {"reason": body.reason}
        await audit.record(conn, caller.tenant_id, [(caller.subject, f"expected_payment.{body.status}", str(expected_id), detail)])
        return JSONResponse((await _detail(conn, held)).model_dump(mode="json"))

    return await command(request, caller, produce)


@ROUTER.get("/expected-payments")
async def list_expected(
    request: Request,
    caller: Reader,
    status: Status | None = None,
    kind: Literal["remittance", "direct_debit", "cheque", "card", "transfer", "promise", "plan_instalment"] | None = None,
    customer_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> ExpectedList:
    """Expected payments by id, of one status, kind or payer where asked."""
    rows, after = await page(
        request,
        caller,
        LISTED,
        {"status": status, "kind": kind, "customer_id": customer_id},
        limit=limit,
        cursor=cursor,
    )
    return ExpectedList(items=[ExpectedView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.get("/expected-payments/{expected_id}")
async def get_expected(request: Request, caller: Reader, expected_id: Annotated[Id, Path()]) -> ExpectedDetail:
    """An expected payment with its lines."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        found = await load(conn, [(caller.tenant_id, expected_id)], lock=False)
        if not found:
            raise Problem(404, "expected-payment-unknown", "There is no such expected payment")
        return await _detail(conn, found[caller.tenant_id, expected_id])
