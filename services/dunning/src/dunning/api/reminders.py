"""The policy, reminders that went out or were held, the gate, and the run of a day."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel
from shared import audit
from shared.days import business_day
from shared.web.idempotency import KEYED
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning import models
from dunning.api.common import CustomerFilter, Reader, Writer, database_of, day_after, day_position, done_once, missing, next_cursor, now_of
from dunning.handlers import dispatches, policies, runs
from dunning.handlers.reminders import needed_gate
from dunning.storage import gate as gates
from dunning.storage import lists

ROUTER = Router(prefix="/v1", tags=["dunning"])
MailState = Literal["planned", "sending", "sent", "failed", "in_doubt", "withdrawn"]


# --- policy -----------------------------------------------------------------------------------------------------------
def _policy_view(policy: policies.Policy) -> models.PolicyView:
    return models.PolicyView(
        version=policy.version, enabled=policy.enabled, enabled_from=policy.enabled_from, **{**policies.DEFAULT, **policy.document}
    )


@ROUTER.get("/policy")
async def get_policy(request: Request, caller: Reader) -> models.PolicyView:
    """The policy in force."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        return _policy_view(await policies.policy_of(conn, caller.tenant_id))


@ROUTER.put("/policy")
async def put_policy(request: Request, caller: Writer, change: models.PolicyChange) -> models.PolicyView:
    """A new version of the policy. Switching it on starts today: days before are never caught up."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        try:
            policy = await policies.change(
                conn,
                caller.tenant_id,
                change.document(),
                enabled=change.enabled,
                enabled_from=change.enabled_from,
                by=caller.client,
                now=now_of(request),
                based_on=change.version,
            )
        except policies.StaleError as error:
            raise Problem(412, "version-stale", "The policy has changed since that version", str(error)) from None
        except ValueError as error:
            raise Problem(
                422, "enabled-from-past", "The policy cannot start then", errors=[FieldError("/enabled_from", "past", str(error))]
            ) from None
        detail = {"version": policy.version, "enabled": policy.enabled, "enabled_from": policy.enabled_from}
        await audit.record(conn, caller.tenant_id, [(caller.client, "policy.changed", "policy", detail)])
        return _policy_view(policy)


# --- reminders --------------------------------------------------------------------------------------------------------
@ROUTER.get("/reminders")
async def list_reminders(
    request: Request,
    caller: Reader,
    customer_id: CustomerFilter = None,
    state: MailState | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> models.Reminders:
    """Mails planned, sent, failed or in doubt, newest day first."""
    filters = {"customer_id": customer_id, "state": state}
    position = day_after(request, caller, "reminders", filters, cursor)
    async with database_of(request).transaction(caller.tenant_id) as conn:
        rows = await lists.reminders(conn, caller.tenant_id, customer_id, state, position, limit + 1)
    items = [models.Reminder.model_validate({**row._asdict(), "items": row.asked, "as_of": row.gate_through}) for row in rows[:limit]]
    return models.Reminders(items=items, next_cursor=next_cursor(request, caller, "reminders", filters, rows, limit, day_position))


@ROUTER.post("/reminders/{reminder_id}/resolve", response_model=models.MailResolved, openapi_extra=KEYED)
async def resolve_mail(request: Request, caller: Writer, reminder_id: UUID, resolution: models.MailResolution) -> Response:
    """A person's word on a mail in doubt, or one that failed. Nothing in doubt is ever sent again by itself."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        was_sent = resolution.outcome == "sent"
        if not await dispatches.resolve(conn, caller.tenant_id, reminder_id, was_sent=was_sent, now=now_of(request)):
            raise missing("reminder")
        body = models.MailResolved(reminder_id=reminder_id, outcome=resolution.outcome)
        return body, "reminder.resolved", str(reminder_id), {"outcome": resolution.outcome}

    return await done_once(request, caller, change, status=200)


@ROUTER.get("/held")
async def list_held(
    request: Request,
    caller: Reader,
    customer_id: CustomerFilter = None,
    reason: Annotated[str | None, Query(max_length=64)] = None,
    day: Annotated[date | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> models.HeldPage:
    """Reminders that were not sent, and why, newest day first. What waits for the gate is counted by `/v1/runs/{date}`."""
    filters = {"customer_id": customer_id, "reason": reason, "day": day}
    position = day_after(request, caller, "held", filters, cursor)
    async with database_of(request).transaction(caller.tenant_id) as conn:
        rows = await lists.held(conn, caller.tenant_id, customer_id, reason, day, position, limit + 1)
    items = [models.Held.model_validate(row._asdict()) for row in rows[:limit]]
    return models.HeldPage(items=items, next_cursor=next_cursor(request, caller, "held", filters, rows, limit, day_position))


# --- gate and runs ----------------------------------------------------------------------------------------------------
@ROUTER.get("/gate")
async def get_gate(request: Request, caller: Reader) -> models.Gate:
    """How far the bank's word reaches, and through which day decisions may rely on it."""
    today = business_day(now_of(request))
    async with database_of(request).transaction(caller.tenant_id) as conn:
        policy = await policies.policy_of(conn, caller.tenant_id)
        accounts = await gates.accounts(conn, caller.tenant_id)
        tainted = await gates.tainted(conn, caller.tenant_id)
        by_entity = await gates.gates(conn, caller.tenant_id)
    views = []
    for row in accounts:
        why = None
        if row.matched_through is None:
            why = "never_reconciled"
        elif tainted:
            why = "dead_letters"
        elif row.open_through is None or row.open_through < row.matched_through:
            why = "not_read_yet"
        shown = row._asdict() | {"gaps": row.gaps or [], "why_shut": why, "open_through": None if tainted else row.open_through}
        views.append(models.AccountGate.model_validate(shown))
    entities = sorted({row.entity_id for row in accounts})
    return models.Gate(
        today=today,
        needed_through=needed_gate(policy, today),
        accounts=views,
        entities=[models.EntityGate(entity_id=entity, open_through=by_entity.get(entity)) for entity in entities],
    )


@ROUTER.get("/runs/{day}")
async def get_run(request: Request, caller: Reader, day: date) -> models.RunView:
    """Whether the reminders of a business day are done, how many went out, and how many were held for which reason."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        run = await runs.state_of(conn, caller.tenant_id, day, now_of(request))
    return models.RunView(date=run.day, state=run.state, sent=run.sent, held=dict(run.held))
