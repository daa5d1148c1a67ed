"""What was said instead of money: promises, payment plans, disputes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel
from shared.ids import new_id
from shared.web.auth import Caller
from shared.web.idempotency import KEYED
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.route import Router
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning import models
from dunning.api.common import CustomerFilter, Reader, Writer, database_of, done_once, id_after, missing, next_cursor, now_of
from dunning.handlers import disputes, plans, promises
from dunning.storage import lists
from dunning.storage import plans as stored

ROUTER = Router(prefix="/v1", tags=["dunning"])


async def _page(
    request: Request,
    caller: Caller,
    route: str,
    find: Callable[[AsyncConnection, UUID, UUID | None, str | None, UUID | None, int], Awaitable[Sequence[Row[Any]]]],
    customer_id: UUID | None,
    status: str | None,
    limit: int,
    cursor: str | None,
) -> tuple[Sequence[Row[Any]], str | None]:
    """A page of what `find` lists by its first column, an id, and the cursor of the next."""
    filters = {"customer_id": customer_id, "status": status}
    after = id_after(request, caller, route, filters, cursor)
    async with database_of(request).transaction(caller.tenant_id) as conn:
        rows = await find(conn, caller.tenant_id, customer_id, status, after, limit + 1)
    return rows[:limit], next_cursor(request, caller, route, filters, rows, limit, lambda row: [str(row[0])])


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
            now=now_of(request),
        )
        return _promise(row), "promise.made", str(row.promise_id), {"customer_id": row.customer_id, "due_on": row.due_on}

    return await done_once(request, caller, change, status=201)


@ROUTER.post("/promises/{promise_id}/cancel", response_model=models.Promise, openapi_extra=KEYED)
async def cancel_promise(request: Request, caller: Writer, promise_id: UUID, reason: models.Reason) -> Response:
    """Takes an open promise back."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        row = await promises.cancel(conn, caller.tenant_id, promise_id, reason=reason.reason, by=caller.client)
        if row is None:
            raise missing("promise")
        return _promise(row), "promise.cancelled", str(promise_id), {"reason": reason.reason}

    return await done_once(request, caller, change, status=200)


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
    rows, following = await _page(request, caller, "promises", lists.promises, customer_id, status, limit, cursor)
    return models.Promises(items=[_promise(row) for row in rows], next_cursor=following)


# --- payment plans ----------------------------------------------------------------------------------------------------
def _plan(row: Row[Any]) -> models.PaymentPlan:
    return models.PaymentPlan.model_validate(row._asdict())


@ROUTER.post("/payment-plans", status_code=201, response_model=models.PaymentPlan, openapi_extra=KEYED)
async def agree_plan(request: Request, caller: Writer, new: models.NewPaymentPlan) -> Response:
    """Items of a customer are paid by instalments. While the plan lives, what it covers is not asked for."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        row = await plans.agree(
            conn,
            caller.tenant_id,
            new_id(),
            customer_id=new.customer_id,
            items=[each.name for each in new.items],
            currency=new.currency,
            instalments=[(each.due_on, each.amount_minor) for each in new.instalments],
            grace_days=new.grace_days,
            now=now_of(request),
        )
        detail = {"customer_id": row.customer_id, "items": len(row.items), "instalments": len(row.instalments)}
        return _plan(row), "payment_plan.agreed", str(row.payment_plan_id), detail

    return await done_once(request, caller, change, status=201)


@ROUTER.post("/payment-plans/{payment_plan_id}/cancel", response_model=models.PaymentPlan, openapi_extra=KEYED)
async def cancel_plan(request: Request, caller: Writer, payment_plan_id: UUID, reason: models.Reason) -> Response:
    """Ends a living plan: what is still owed of its items is asked for again, by their own due dates."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        row = await plans.cancel(conn, caller.tenant_id, payment_plan_id, reason=reason.reason, by=caller.client)
        if row is None:
            raise missing("payment-plan")
        return _plan(row), "payment_plan.cancelled", str(payment_plan_id), {"reason": reason.reason}

    return await done_once(request, caller, change, status=200)


@ROUTER.get("/payment-plans")
async def list_plans(
    request: Request,
    caller: Reader,
    customer_id: CustomerFilter = None,
    status: Literal["active", "completed", "broken", "cancelled"] | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> models.PaymentPlans:
    """Payment plans, by id."""
    rows, following = await _page(request, caller, "payment-plans", lists.payment_plans, customer_id, status, limit, cursor)
    return models.PaymentPlans(items=[_plan(row) for row in rows], next_cursor=following)


@ROUTER.get("/payment-plans/{payment_plan_id}")
async def get_plan(request: Request, caller: Reader, payment_plan_id: UUID) -> models.PaymentPlan:
    """A payment plan: what is left of each item and each instalment."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        row = await stored.get(conn, caller.tenant_id, payment_plan_id, lock=False)
    if row is None:
        raise missing("payment-plan")
    return _plan(row)


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
            raise missing("item")
        return _dispute(row), "dispute.opened", str(row.dispute_id), {"item_id": row.item_id, "reason": row.reason}

    return await done_once(request, caller, change, status=201)


@ROUTER.post("/disputes/{dispute_id}/resolve", response_model=models.Dispute, openapi_extra=KEYED)
async def resolve_dispute(request: Request, caller: Writer, dispute_id: UUID, resolution: models.Resolution) -> Response:
    """Ends a dispute."""

    async def change(conn: AsyncConnection) -> tuple[BaseModel, str, str, dict[str, Any]]:
        row = await disputes.resolve(conn, caller.tenant_id, dispute_id, resolution=resolution.resolution)
        if row is None:
            raise missing("dispute")
        return _dispute(row), "dispute.resolved", str(dispute_id), {"resolution": resolution.resolution}

    return await done_once(request, caller, change, status=200)


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
    rows, following = await _page(request, caller, "disputes", lists.disputes, customer_id, status, limit, cursor)
    return models.Disputes(items=[_dispute(row) for row in rows], next_cursor=following)
