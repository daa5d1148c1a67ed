"""Booked movements that wait for a person: returns that name no payment of ours, or several, and what is not surely a refund."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, Id, Lax, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.commands import command
from matching.api.pages import page
from matching.handlers.movements import explain
from matching.storage import movements

ROUTER = Router(prefix="/v1", tags=["bank"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("bank:read")]


class MovementView(BaseModel):
    """A movement that nothing explains. `amount_minor` is below zero where money went out; `reference` is the bank's."""

    movement_id: UUID
    bank_account_id: UUID
    account: str
    iban: str | None
    kind: str
    amount_minor: int
    currency: str
    booking_date: date
    reference: str | None
    end_to_end_id: str | None
    received_at: datetime | None


class MovementList(BaseModel):
    """A page of movements that wait."""

    items: list[MovementView]
    next_cursor: str | None


class Explanation(Command):
    """What a movement is about: a payment of its account, or, without one, what the reason says.

    `return_reason`: the bank's code (ISO 20022) where money of the payment went back.
    """

    reason: Text
    payment_id: Id | None = None
    return_reason: Annotated[str, Field(pattern="^[A-Z0-9]{4}$", examples=["AC04"])] | None = None


class ExplainedView(BaseModel):
    """A movement that waits no more. `moved_minor`: what of it the payment has less (below zero) or again."""

    movement_id: UUID
    amount_minor: int
    currency: str
    payment_id: UUID | None
    moved_minor: int


@ROUTER.get("/unexplained-movements")
async def list_unexplained(
    request: Request,
    caller: Reader,
    bank_account_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> MovementList:
    """Booked movements that took money back, or brought it, and of which nothing says whose; by id, of one account where asked."""
    rows, after = await page(
        request,
        caller,
        movements.UNEXPLAINED,
        {"bank_account_id": bank_account_id},
        limit=limit,
        cursor=cursor,
    )
    return MovementList(items=[MovementView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.post("/unexplained-movements/{movement_id}/explanation", response_model=ExplainedView, openapi_extra=KEYED)
async def explain_movement(request: Request, caller: Writer, movement_id: Annotated[Id, Path()], explanation: Explanation) -> Response:
    """Says what a movement is about. Money that went out takes the payment back, whole or in part, as a return that names it does."""

    async def produce(conn: AsyncConnection) -> Response:
        explained = await explain(
            conn,
            caller.tenant_id,
            movement_id,
            payment_id=explanation.payment_id,
            return_reason=explanation.return_reason,
            now=request.app.state.runtime.clock.now(),
        )
        view = ExplainedView.model_validate(explained, from_attributes=True).model_dump(mode="json")
        detail = {"payment_id": view["payment_id"], "moved_minor": explained.moved_minor, "reason": explanation.reason}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "movement.explain", str(movement_id), detail)])
        return JSONResponse(view)

    return await command(request, caller, produce)
