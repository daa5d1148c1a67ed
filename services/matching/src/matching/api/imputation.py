"""Legal imputation: what the law makes of a payment that names nothing, and how an entity uses it."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, Id, Lax
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.accounts import database_of
from matching.api.commands import command, tried
from matching.api.handwork import PaymentAfter, payment_after
from matching.handlers import imputation
from matching.storage import imputation as stored

ROUTER = Router(prefix="/v1", tags=["hand work"])
Writer = Annotated[Caller, requires("payments:write")]
Reader = Annotated[Caller, requires("payments:read")]


class ImputedLine(BaseModel):
    """What of the payment goes to a debt, in the order of payment: an item, or one instalment of it."""

    item_id: UUID
    kind: str
    due_date: date
    open_minor: int
    amount_minor: int


class ImputationView(BaseModel):
    """What the law makes of a payment. `version` is the payment's."""

    payment_id: UUID
    version: int
    country: str
    law: str
    interest_first: bool
    unapplied_minor: int
    lines: list[ImputedLine]


class ImputeCommand(Command):
    """Allocate as the law says. `customer_id` names the payer where nobody is known; `version`: the payment that was looked at."""

    customer_id: Annotated[Id | None, Lax] = None
    version: Annotated[int | None, Field(ge=1, le=2**63 - 1)] = None


class SettingCommand(Command):
    """Whether interest comes before principal, and after how many days it is done without being asked for; null: never."""

    interest_first: bool = False
    after_days: Annotated[int | None, Field(ge=0, le=3650)] = None


class SettingView(BaseModel):
    """How an entity uses the law's order."""

    entity_id: UUID
    interest_first: bool
    after_days: int | None


class SettingList(BaseModel):
    """The entities that have set something; all others are asked each time, principal first."""

    items: list[SettingView]


@ROUTER.get("/payments/{payment_id}/imputation")
async def get_imputation(
    request: Request, caller: Reader, payment_id: Annotated[Id, Path()], customer_id: Annotated[UUID | None, Lax] = None
) -> ImputationView:
    """What the law of the debtor's country would make of what is unapplied. Nothing is changed."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        found = await imputation.propose(conn, caller.tenant_id, payment_id, customer_id=customer_id)
    return ImputationView(
        payment_id=payment_id,
        version=found.payment.version,
        country=found.country,
        law=found.law,
        interest_first=found.interest_first,
        unapplied_minor=found.payment.unapplied_minor,
        lines=[
            ImputedLine(item_id=debt.item_id, kind=debt.kind, due_date=debt.due_date, open_minor=debt.open_minor, amount_minor=part)
            for debt, part in found.parts
        ],
    )


@ROUTER.post("/payments/{payment_id}/imputation", response_model=PaymentAfter, openapi_extra=KEYED)
async def post_imputation(request: Request, caller: Writer, payment_id: Annotated[Id, Path()], body: ImputeCommand) -> Response:
    """Allocates what is unapplied in the order of the law of the debtor's country: for who pays without saying what."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> Response:
        payment = await imputation.carry_out(
            conn, caller.tenant_id, payment_id, customer_id=body.customer_id, by=caller.subject, now=now, version=body.version
        )
        await audit.record(
            conn,
            caller.tenant_id,
            [(caller.subject, "payment.impute", str(payment_id), {"version": payment.version, "rule": payment.rule})],
        )
        return payment_after(payment)

    return await command(request, caller, produce)


@ROUTER.put("/imputation-settings/{entity_id}")
async def put_setting(
    request: Request, caller: Annotated[Caller, requires("bank:write")], entity_id: Annotated[Id, Path()], body: SettingCommand
) -> SettingView:
    """Sets how an entity uses the law's order. Who sets it needs `bank:write`, as for limits."""
    setting = stored.Setting(entity_id, body.interest_first, body.after_days)

    async def produce(conn: AsyncConnection) -> None:
        await stored.put_setting(conn, caller.tenant_id, setting)
        await audit.record(
            conn, caller.tenant_id, [(caller.subject, "imputation_setting.put", str(entity_id), body.model_dump(mode="json"))]
        )

    await tried(request, caller, produce)
    return SettingView.model_validate(setting, from_attributes=True)


@ROUTER.get("/imputation-settings")
async def list_settings(request: Request, caller: Reader) -> SettingList:
    """The settings of all entities."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        found = await stored.settings(conn, caller.tenant_id)
    return SettingList(items=[SettingView.model_validate(one, from_attributes=True) for one in found])
