"""Every decision over HTTP, with what it looked at."""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel
from shared.web.models import Id
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import Problem
from shared.web.route import Router

from scoring.api.edge import Reader, database_of
from scoring.storage import views

ROUTER = Router(prefix="/v1", tags=["decisions"])


class DecisionView(BaseModel):
    """A decision with what it looked at; the same rule on the same inputs gives the same outcome."""

    decision_id: UUID
    customer_id: UUID
    kind: str
    number: int
    rule_version: int
    policy_version: int
    inputs: dict[str, Any]
    outcome: dict[str, Any]
    decided_at: datetime


class DecisionPage(BaseModel):
    """Decisions, newest first."""

    items: list[DecisionView]
    next_cursor: str | None


@ROUTER.get("/customers/{customer_id}/decisions")
async def list_decisions(
    request: Request, customer_id: Id, caller: Reader, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> DecisionPage:
    """Every decision about a customer, newest first: what was looked at and what came of it."""
    bound: dict[str, Any] = {"tenant_id": caller.tenant_id, "route": "decisions", "filters": {"customer_id": customer_id}}
    cursors = request.app.state.cursors
    before = tuple(map(str, cursors.decode(cursor, **bound))) if cursor else None
    async with database_of(request).transaction(caller.tenant_id) as conn:
        rows = await views.decisions(
            conn, caller.tenant_id, customer_id, before=(before[0], before[1]) if before else None, limit=limit + 1
        )
    page = rows[:limit]
    following = cursors.encode([page[-1].decided_at.isoformat(), str(page[-1].decision_id)], **bound) if len(rows) > limit else None
    return DecisionPage(items=[DecisionView.model_validate(row, from_attributes=True) for row in page], next_cursor=following)


@ROUTER.get("/decisions/{decision_id}")
async def read_decision(request: Request, decision_id: Id, caller: Reader) -> DecisionView:
    """One decision, explained."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        row = await views.decision(conn, caller.tenant_id, decision_id)
    if row is None:
        raise Problem(404, "decision-unknown", "No such decision")
    return DecisionView.model_validate(row, from_attributes=True)
