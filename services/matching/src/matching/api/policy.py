"""How sure the engine has to be, and its decisions taken again."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request
from pydantic import BaseModel, Field
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.models import Command, Id
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.api.accounts import database_of
from matching.api.commands import tried
from matching.handlers.replaying import again
from matching.storage.models import Certified, Policy, in_force, policy_of, set_policy

ROUTER = Router(prefix="/v1", tags=["hand work"])
Reader = Annotated[Caller, requires("payments:read")]


class PolicyCommand(Command):
    """The least confidence that is settled without a person; null: what is proven of the model. 1: nothing that the engine reads."""

    threshold: Annotated[float, Field(ge=0.85, le=1)] | None


class Proven(BaseModel):
    """What is proven of a threshold, at 95 % at least, on the histories that the shipped model was learnt from, or on the tenant's own
    payments where its own model is in force: of so many automatic ones so many were wrong, and at most this share is.
    """

    threshold: float
    automatic: int
    wrong: int
    upper_limit: float


class PolicyView(BaseModel):
    """The threshold in force, who set it (null: it is the model's), the model, and what is proven of this and other thresholds.

    `learnt_at`: when the model was learnt from the tenant's own payments (null: it is the shipped one).
    """

    threshold: float
    set_by: str | None
    set_at: datetime | None
    model: str
    learnt_at: datetime | None
    bound: Proven | None
    curve: list[Proven]


class ReplayView(BaseModel):
    """A decision taken again from what it was taken on: what comes of it, and what of that differs from then."""

    payment_id: UUID
    payment_version: int
    rule: str
    same: bool
    differs: list[str]
    outcome: dict[str, Any]


@ROUTER.get("/matching-policy")
async def get_policy(request: Request, caller: Reader) -> PolicyView:
    """From which confidence on payments are settled without a person, and how often that is wrong at most."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        return _view(await policy_of(conn, caller.tenant_id), await in_force(conn, caller.tenant_id))


@ROUTER.put("/matching-policy")
async def put_policy(request: Request, caller: Annotated[Caller, requires("bank:write")], body: PolicyCommand) -> PolicyView:
    """Sets the threshold of the whole tenant, for decisions from now on."""
    now = request.app.state.runtime.clock.now()

    async def produce(conn: AsyncConnection) -> PolicyView:
        await set_policy(conn, caller.tenant_id, body.threshold, by=caller.subject, now=now)
        detail = {"threshold": body.threshold}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "matching_policy.put", str(caller.tenant_id), detail)])
        return _view(await policy_of(conn, caller.tenant_id), await in_force(conn, caller.tenant_id))

    return await tried(request, caller, produce)


@ROUTER.get("/payments/{payment_id}/decisions/{payment_version}/replay")
async def get_replay(
    request: Request,
    caller: Reader,
    payment_id: Annotated[Id, Path()],
    payment_version: Annotated[int, Path(ge=1, le=2**63 - 1)],
) -> ReplayView:
    """Takes a decision again, from its stored inputs; nothing is changed. 409 where that cannot be, and why."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        found = await again(conn, caller.tenant_id, payment_id, payment_version)
    return ReplayView(
        payment_id=payment_id,
        payment_version=payment_version,
        rule=found.rule,
        same=not found.differs,
        differs=found.differs,
        outcome=found.outcome,
    )


def _view(policy: Policy, held: Certified) -> PolicyView:
    threshold = held.model.threshold if policy.threshold is None else policy.threshold
    curve = [Proven.model_validate(held.certificate, from_attributes=False)]
    curve += [Proven.model_validate(one) for one in held.certificate.get("curve", ())]
    curve.sort(key=lambda one: one.threshold)
    bound = max((one for one in curve if one.threshold <= threshold), key=lambda one: one.threshold, default=None)
    return PolicyView(
        threshold=threshold,
        set_by=policy.set_by,
        set_at=policy.set_at,
        model=held.model.name,
        learnt_at=held.learnt_at,
        bound=bound,
        curve=curve,
    )
