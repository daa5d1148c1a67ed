"""The credit policy over HTTP: whole and versioned."""

from dataclasses import replace
from typing import Annotated

import msgspec
from fastapi import Request
from pydantic import Field, model_validator
from shared.web.models import Command, CurrencyCode, Lax
from shared.web.route import Router

from scoring.api.edge import Amount, Band, BasisPoints, Days, Reader, Writer, audited, database_of, now_of
from scoring.domain.policy import BANDS, BandTerms, HoldRules, Policy
from scoring.handlers import credit as handlers
from scoring.storage import credit as storage

ROUTER = Router(prefix="/v1", tags=["policy"])


class BandModel(Command):
    """What a band is granted."""

    limit_minor: Amount
    payment_terms_days: Days
    down_payment_bp: BasisPoints


class HoldRulesModel(Command):
    """When new business is held; null switches a rule off. The overdue rule is stated, not yet applied automatically."""

    exposure_bp: Annotated[int, Field(ge=0, le=1_000_000)] | None
    bands: Annotated[tuple[Band, ...], Lax]
    overdue_days: Days | None
    overdue_minor: Amount | None


class PolicyCommand(Command):
    """A credit policy, whole."""

    currency: CurrencyCode
    bands: dict[Band, BandModel]
    bureau_share_bp: BasisPoints | None
    bureau_fresh_days: Annotated[int, Field(ge=1, le=730)]
    check_days: Annotated[int, Field(ge=1, le=365)]
    hold: HoldRulesModel

    @model_validator(mode="after")
    def _every_band(self) -> "PolicyCommand":
        if set(self.bands) != set(BANDS):
            raise ValueError("bands must hold A, B, C, D and E")
        return self


class PolicyView(PolicyCommand):
    """The policy in force. Version 0 is the product's own, until a tenant sets one."""

    version: int


@ROUTER.get("/policy")
async def read_policy(request: Request, caller: Reader) -> PolicyView:
    """The credit policy in force."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        return _policy_view(await storage.policy_of(conn, caller.tenant_id))


@ROUTER.put("/policy")
async def set_policy(request: Request, body: PolicyCommand, caller: Writer) -> PolicyView:
    """Sets the credit policy as a new version; customers are reviewed by it within moments. An unchanged one stays."""
    wanted = Policy(
        currency=body.currency,
        bands={name: BandTerms(**body.bands[name].model_dump()) for name in BANDS if name in body.bands},
        bureau_share_bp=body.bureau_share_bp,
        bureau_fresh_days=body.bureau_fresh_days,
        check_days=body.check_days,
        hold=HoldRules(**{**body.hold.model_dump(), "bands": tuple(body.hold.bands)}),
    )
    async with database_of(request).transaction(caller.tenant_id) as conn:
        now_in_force = await storage.policy_of(conn, caller.tenant_id)
        if now_in_force == replace(wanted, version=now_in_force.version) and now_in_force.version:
            return _policy_view(now_in_force)
        stored = await handlers.set_policy(conn, caller.tenant_id, wanted, actor=caller.subject, now=now_of(request))
        await audited(conn, caller, "policy_set", f"policy {stored.version}", {"version": stored.version})
    return _policy_view(stored)


def _policy_view(policy: Policy) -> PolicyView:
    return PolicyView.model_validate(msgspec.to_builtins(policy))
