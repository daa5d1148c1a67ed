"""Duplicates: POST /v1/customers/{customer_id}/merge and /unmerge."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from shared.web.auth import Caller, requires
from shared.web.etag import etag
from shared.web.models import Command, Id
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.api.commands import shown
from invoicing.api.customers import CustomerView, view
from invoicing.api.edge import matches, problem_of, runtime_of
from invoicing.handlers import merges as handlers
from invoicing.handlers.refusals import Refusal
from invoicing.storage import customers as storage

ROUTER = Router(prefix="/v1/customers", tags=["customers"])


class MergeCommand(Command):
    """Whom the customer is a duplicate of."""

    model_config = shown({"into": "ec8c3f77-c9c2-5217-a19c-c19e352c07cc"})

    into: Id


@ROUTER.post("/{customer_id}/merge")
async def merge_customer(
    customer_id: UUID,
    command: MergeCommand,
    request: Request,
    response: Response,
    caller: Annotated[Caller, requires("customers:write")],
) -> CustomerView:
    """Says that a customer is a duplicate of another, which stands for it from now on: what either owes is that one's.

    The same again changes nothing. `unmerge` undoes it exactly. With `If-Match`, only at that version of the customer.
    """

    async def change(conn: AsyncConnection) -> None:
        await handlers.merge(conn, caller.tenant_id, customer_id, command.into, actor=caller.subject, seen=matches(request))

    return await _changed(customer_id, request, response, caller, change)


@ROUTER.post("/{customer_id}/unmerge")
async def unmerge_customer(
    customer_id: UUID, request: Request, response: Response, caller: Annotated[Caller, requires("customers:write")]
) -> CustomerView:
    """Undoes a merge: what was the customer's before it is the customer's again; what came since for the other stays there.

    With `If-Match`, only at that version of the customer.
    """

    async def change(conn: AsyncConnection) -> None:
        await handlers.unmerge(conn, caller.tenant_id, customer_id, actor=caller.subject, seen=matches(request))

    return await _changed(customer_id, request, response, caller, change)


async def _changed(
    customer_id: UUID, request: Request, response: Response, caller: Caller, change: Callable[[AsyncConnection], Awaitable[None]]
) -> CustomerView:
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        try:
            await change(conn)
        except Refusal as refusal:
            raise problem_of(refusal) from None
        rows = await storage.customers(conn, caller.tenant_id, filters={"customer_id": customer_id}, after=None, limit=1)
    response.headers["ETag"] = etag(rows[0].version)
    return view(rows[0])
