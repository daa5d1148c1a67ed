"""Booked movements that wait for a person: returns that name no payment of ours, or several, and what does not fit its refund."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel
from shared.web.auth import Caller, requires
from shared.web.models import Lax
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.route import Router

from matching.api.pages import page

ROUTER = Router(prefix="/v1", tags=["bank"])
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
        "SELECT m.movement_id AS at, m.movement_id, m.bank_account_id, a.number AS account, a.iban, m.kind, m.amount_minor, a.currency, "
        "m.booking_date, m.bank_reference AS reference, m.end_to_end_id, m.received_at FROM movement m "
        "JOIN bank_account a USING (tenant_id, bank_account_id) WHERE m.tenant_id = :tenant AND NOT m.resolved AND m.kind <> 'total' "
        "AND (CAST(:bank_account_id AS uuid) IS NULL OR m.bank_account_id = :bank_account_id)",
        {"bank_account_id": bank_account_id},
        limit=limit,
        cursor=cursor,
    )
    return MovementList(items=[MovementView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)
