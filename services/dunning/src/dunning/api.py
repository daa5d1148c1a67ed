"""Dunning's API: policy, promises, disputes, what was sent and what was held, the gate, and the run of a day."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel
from shared import audit
from shared.db import Database
from shared.ids import new_id
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED, once
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning import models
from dunning.domain.days import business_day
from dunning.handlers import dispatches, disputes, policies, promises, runs
from dunning.handlers.promises import RefusedError
from dunning.handlers.reminders import needed_gate
from dunning.storage import gate as gates
from dunning.storage import lists

ROUTER = Router(prefix="/v1", tags=["dunning"])
Reader = Annotated[Caller, requires("dunning:read")]
Writer = Annotated[Caller, requires("dunning:write")]
CustomerFilter = Annotated[UUID | None, Query()]
MailState = Literal["planned", "sending", "sent", "failed", "in_doubt", "withdrawn"]


def _database(request: Request) -> Database:
    database: Database = request.app.state.runtime.database
    return database


def _now(request: Request) -> datetime:
    moment: datetime = request.app.state.runtime.clock.now()
    return moment


def _json(body: BaseModel, status: int) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")


def _refused(error: RefusedError) -> Problem:
    return Problem(422, error.code, "This cannot be done", str(error))


def _missing(what: str) -> Problem:
    return Problem(404, f"{what}-unknown", f"There is no such {what}")


async def _done_once(
    request: Request,
    caller: Caller,
    change: Callable[[AsyncConnection], Awaitable[tuple[BaseModel, str, str, dict[str, Any]]]],
    *,
    status: int,
) -> Response:
    """A change under an Idempotency-Key, with its audit row: `change` gives the answer, action, subject and detail."""
    async with _database(request).transaction(caller.tenant_id) as conn:

        async def produce() -> Response:
            try:
                body, action, subject, detail = await change(conn)
            except RefusedError as error:
                raise _refused(error) from None
            await audit.record(conn, caller.tenant_id, [(caller.client, action, subject, detail)])
            return _json(body, status)

        return await once(request, caller, conn, produce)


# --- policy -----------------------------------------------------------------------------------------------------------
def _policy_view(policy: policies.Policy) -> models.PolicyView:
    return models.PolicyView(
        version=policy.version, enabled=policy.enabled, enabled_from=policy.enabled_from, **{**policies.DEFAULT, **policy.document}
    )


@ROUTER.get("/policy")
async def get_policy(request: Request, caller: Reader) -> models.PolicyView:
    """The policy in force."""
    async with _database(request).transaction(caller.tenant_id) as conn:
        return _policy_view(await policies.policy_of(conn, caller.tenant_id))


@ROUTER.put("/policy")
async def put_policy(request: Request, caller: Writer, change: models.PolicyChange) -> models.PolicyView:
    """A new version of the policy. Switching it on starts today: days before are never caught up."""
    async with _database(request).transaction(caller.tenant_id) as conn:
        try:
            policy = await policies.change(
                conn,
                caller.tenant_id,
                change.document(),
                enabled=change.enabled,
                enabled_from=change.enabled_from,
                by=caller.client,
                now=_now(request),
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


# --- promises ---------------------------------------------------------------------------------------------------------
def _promise(row: Row[Any]) -> models.Promise:
    return models.Promise.model_validate(row._asdict())


@ROUTER.post("/promises", status_code=201, response_model=models.Promise, openapi_extra=KEYED)
async def make_promise(request: Request, caller: Writer, new: models.NewPromise) -> Response:
    """A promise of a customer to pay. While it is open, that amount is not asked for."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        row = await promises.make(
            conn,
            caller.tenant_id,
            new_id(),
            customer_id=new.customer_id,
            item_ids=new.item_ids,
            amount_minor=new.amount_minor,
            currency=new.currency,
            due_on=new.due_on,
            now=_now(request),
        )
        return _promise(row), "promise.made", str(row.promise_id), {"customer_id": row.customer_id, "due_on": row.due_on}

    return await _done_once(request, caller, change, status=201)


@ROUTER.post("/promises/{promise_id}/cancel", response_model=models.Promise, openapi_extra=KEYED)
async def cancel_promise(request: Request, caller: Writer, promise_id: UUID, reason: models.Reason) -> Response:
    """Takes an open promise back."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        row = await promises.cancel(conn, caller.tenant_id, promise_id, reason=reason.reason, by=caller.client)
        if row is None:
            raise _missing("promise")
        return _promise(row), "promise.cancelled", str(promise_id), {"reason": reason.reason}

    return await _done_once(request, caller, change, status=200)


@ROUTER.get("/promises")
async def list_promises(
    request: Request,
    caller: Reader,
    customer_id: CustomerFilter = None,
    status: Literal["open", "kept", "broken", "cancelled"] | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> models.Promises:
    """Promises, by id."""
    filters = {"customer_id": customer_id, "status": status}
    after = _id_after(request, caller, "promises", filters, cursor)
    async with _database(request).transaction(caller.tenant_id) as conn:
        rows = await lists.promises(conn, caller.tenant_id, customer_id, status, after, limit + 1)
    following = _next(request, caller, "promises", filters, rows, limit, lambda row: [str(row.promise_id)])
    return models.Promises(items=[_promise(row) for row in rows[:limit]], next_cursor=following)


# --- disputes ---------------------------------------------------------------------------------------------------------
def _dispute(row: Row[Any]) -> models.Dispute:
    return models.Dispute.model_validate(row._asdict())


@ROUTER.post("/disputes", status_code=201, response_model=models.Dispute, openapi_extra=KEYED)
async def open_dispute(request: Request, caller: Writer, new: models.NewDispute) -> Response:
    """A debtor contests part of an item: that part is not asked for, the rest is."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        row = await disputes.open_dispute(
            conn, caller.tenant_id, new_id(), item_id=new.item_id, amount_minor=new.amount_minor, currency=new.currency, reason=new.reason
        )
        if row is None:
            raise _missing("item")
        return _dispute(row), "dispute.opened", str(row.dispute_id), {"item_id": row.item_id, "reason": row.reason}

    return await _done_once(request, caller, change, status=201)


@ROUTER.post("/disputes/{dispute_id}/resolve", response_model=models.Dispute, openapi_extra=KEYED)
async def resolve_dispute(request: Request, caller: Writer, dispute_id: UUID, resolution: models.Resolution) -> Response:
    """Ends a dispute."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        row = await disputes.resolve(conn, caller.tenant_id, dispute_id, resolution=resolution.resolution)
        if row is None:
            raise _missing("dispute")
        return _dispute(row), "dispute.resolved", str(dispute_id), {"resolution": resolution.resolution}

    return await _done_once(request, caller, change, status=200)


@ROUTER.get("/disputes")
async def list_disputes(
    request: Request,
    caller: Reader,
    customer_id: CustomerFilter = None,
    status: Literal["open", "resolved"] | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> models.Disputes:
    """Disputes, by id."""
    filters = {"customer_id": customer_id, "status": status}
    after = _id_after(request, caller, "disputes", filters, cursor)
    async with _database(request).transaction(caller.tenant_id) as conn:
        rows = await lists.disputes(conn, caller.tenant_id, customer_id, status, after, limit + 1)
    following = _next(request, caller, "disputes", filters, rows, limit, lambda row: [str(row.dispute_id)])
    return models.Disputes(items=[_dispute(row) for row in rows[:limit]], next_cursor=following)


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
    position = _day_after(request, caller, "reminders", filters, cursor)
    async with _database(request).transaction(caller.tenant_id) as conn:
        rows = await lists.reminders(conn, caller.tenant_id, customer_id, state, position, limit + 1)
    items = [models.Reminder.model_validate({**row._asdict(), "items": row.asked, "as_of": row.gate_through}) for row in rows[:limit]]
    return models.Reminders(items=items, next_cursor=_next(request, caller, "reminders", filters, rows, limit, _day_position))


@ROUTER.post("/reminders/{reminder_id}/resolve", response_model=models.MailResolved, openapi_extra=KEYED)
async def resolve_mail(request: Request, caller: Writer, reminder_id: UUID, resolution: models.MailResolution) -> Response:
    """A person's word on a mail in doubt, or one that failed. Nothing in doubt is ever sent again by itself."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        was_sent = resolution.outcome == "sent"
        if not await dispatches.resolve(conn, caller.tenant_id, reminder_id, was_sent=was_sent, now=_now(request)):
            raise _missing("reminder")
        body = models.MailResolved(reminder_id=reminder_id, outcome=resolution.outcome)
        return body, "reminder.resolved", str(reminder_id), {"outcome": resolution.outcome}

    return await _done_once(request, caller, change, status=200)


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
    position = _day_after(request, caller, "held", filters, cursor)
    async with _database(request).transaction(caller.tenant_id) as conn:
        rows = await lists.held(conn, caller.tenant_id, customer_id, reason, day, position, limit + 1)
    items = [models.Held.model_validate(row._asdict()) for row in rows[:limit]]
    return models.HeldPage(items=items, next_cursor=_next(request, caller, "held", filters, rows, limit, _day_position))


# --- gate and runs ----------------------------------------------------------------------------------------------------
@ROUTER.get("/gate")
async def get_gate(request: Request, caller: Reader) -> models.Gate:
    """How far the bank's word reaches, and through which day decisions may rely on it."""
    today = business_day(_now(request))
    async with _database(request).transaction(caller.tenant_id) as conn:
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
    async with _database(request).transaction(caller.tenant_id) as conn:
        run = await runs.state_of(conn, caller.tenant_id, day, _now(request))
    return models.RunView(date=run.day, state=run.state, sent=run.sent, held=dict(run.held))


# --- pages ------------------------------------------------------------------------------------------------------------
def _position(
    request: Request, caller: Caller, route: str, filters: Mapping[str, object], cursor: str | None
) -> tuple[str | int | None, ...] | None:
    if cursor is None:
        return None
    found: tuple[str | int | None, ...] = request.app.state.cursors.decode(cursor, tenant_id=caller.tenant_id, route=route, filters=filters)
    return found


def _id_after(request: Request, caller: Caller, route: str, filters: Mapping[str, object], cursor: str | None) -> UUID | None:
    found = _position(request, caller, route, filters, cursor)
    return UUID(str(found[0])) if found else None


def _day_after(request: Request, caller: Caller, route: str, filters: Mapping[str, object], cursor: str | None) -> lists.Position:
    found = _position(request, caller, route, filters, cursor)
    return (date.fromisoformat(str(found[0])), UUID(str(found[1]))) if found else None


def _day_position(row: Row[Any]) -> list[str]:
    return [row.day.isoformat(), str(row.reminder_id)]


def _next(
    request: Request,
    caller: Caller,
    route: str,
    filters: Mapping[str, object],
    rows: Sequence[Row[Any]],
    limit: int,
    position: Callable[[Row[Any]], list[str]],
) -> str | None:
    """The cursor after a page, where more rows were found than it shows."""
    if len(rows) <= limit:
        return None
    found: str = request.app.state.cursors.encode(position(rows[limit - 1]), tenant_id=caller.tenant_id, route=route, filters=filters)
    return found
