"""A customer's credit over HTTP: score and terms, credit checks, limits, holds."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

import msgspec
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from shared.aliases import stands_for
from shared.days import business_day
from shared.web.auth import Caller
from shared.web.idempotency import once
from shared.web.models import Command, CurrencyCode, Date, Id, LongText, PositiveMinor
from shared.web.problems import FieldError, Problem
from shared.web.route import Router

from scoring.api.edge import Amount, Band, Reader, Writer, audited, database_of, now_of
from scoring.domain.review import review
from scoring.handlers import credit as handlers
from scoring.handlers.credit import UnknownCustomerError
from scoring.storage import credit as storage
from scoring.storage import views

ROUTER = Router(prefix="/v1", tags=["credit"])


# --- bodies and answers ------------------------------------------------------------------------------------------------
class CreditCheckCommand(Command):
    """A sale on credit that somebody wants to make."""

    customer_id: Id
    amount_minor: PositiveMinor
    currency: CurrencyCode


class CreditCheckView(BaseModel):
    """The answer, with the figures it rests on. An approved amount is reserved until `expires_at` or its invoice."""

    credit_check_id: UUID
    decision: Literal["approved", "refused", "review"]
    reasons: list[str]
    exposure_minor: int
    reserved_minor: int
    limit_minor: int
    currency: str
    expires_at: datetime


class LimitCommand(Command):
    """A limit that a person sets."""

    limit_minor: Amount
    currency: CurrencyCode
    reason: LongText
    expires_on: Date | None = None


class HoldCommand(Command):
    """New business is to be held."""

    reason: LongText


class ReleaseCommand(Command):
    """A hold is to be lifted; no rule places it again up to and including `expires_on`."""

    reason: LongText
    expires_on: Date | None = None


class FactorView(BaseModel):
    """One line of the scorecard."""

    name: str
    value: str
    points: int


class HoldView(BaseModel):
    """An active hold and the figures it was decided on."""

    reason: str
    automatic: bool
    note: str | None
    placed_by: str | None
    exposure_minor: int
    limit_minor: int
    currency: str
    decided_at: datetime


class BureauModel(BaseModel):
    """What a bureau said last. `fresh` false: it no longer counts."""

    provider: str
    band: str | None
    as_of: datetime
    fresh: bool
    advised_limit_minor: int | None
    advised_limit_currency: str | None


class CreditView(BaseModel):
    """A customer's credit as it stands. `other_currencies`: exposure that is not in the policy's currency, by currency."""

    customer_id: UUID
    score: int
    band: Band
    factors: list[FactorView]
    limit_minor: int
    limit_reason: str
    currency: str
    payment_terms_days: int
    down_payment_bp: int
    exposure_minor: int
    reserved_minor: int
    other_currencies: dict[str, int]
    hold: HoldView | None
    bureau: BureauModel | None
    behaviour: dict[str, int | None]
    oldest_due: date | None
    policy_version: int


# --- routes ------------------------------------------------------------------------------------------------------------
def _unknown() -> Problem:
    return Problem(404, "customer-unknown", "No such customer", "nothing has been heard of this customer yet")


@ROUTER.get("/customers/{customer_id}/credit")
async def read_credit(request: Request, customer_id: Id, caller: Reader) -> CreditView:
    """A customer's score with its reasons, terms, exposure and hold, computed from what is known now.

    Of a duplicate that was merged, those of the customer that stands for it (`customer_id` of the answer).
    """
    now = now_of(request)
    async with database_of(request).transaction(caller.tenant_id) as conn:
        customer_id = await stands_for(conn, caller.tenant_id, customer_id)
        if not await views.known(conn, caller.tenant_id, customer_id):
            raise _unknown()
        policy = await storage.policy_of(conn, caller.tenant_id)
        (case,) = await storage.cases(conn, caller.tenant_id, [customer_id], policy, now)
        hold = await views.hold(conn, caller.tenant_id, customer_id)
    inputs = handlers.inputs_of(case, policy, now)
    outcome = review(inputs)
    found, terms, bureau = outcome.assessment, outcome.terms, inputs.bureau
    return CreditView(
        customer_id=customer_id,
        score=found.score,
        band=found.band,
        factors=[FactorView(name=each.name, value=each.value, points=each.points) for each in found.factors],
        limit_minor=terms.limit_minor,
        limit_reason=terms.reason,
        currency=terms.currency,
        payment_terms_days=terms.payment_terms_days,
        down_payment_bp=terms.down_payment_bp,
        exposure_minor=inputs.exposure.minor,
        reserved_minor=inputs.exposure.reserved_minor,
        other_currencies=inputs.exposure.other,
        hold=None if hold is None else HoldView.model_validate(hold, from_attributes=True),
        bureau=None
        if bureau is None
        else BureauModel(
            provider=bureau.provider,
            band=bureau.band,
            as_of=datetime.fromisoformat(bureau.as_of),
            fresh=inputs.today <= bureau.fresh_until,
            advised_limit_minor=bureau.advised_limit_minor,
            advised_limit_currency=bureau.advised_limit_currency,
        ),
        behaviour=msgspec.to_builtins(inputs.behaviour),
        oldest_due=inputs.overdue_since,
        policy_version=policy.version,
    )


@ROUTER.post("/credit-checks", status_code=201, response_model=CreditCheckView)
async def check_credit(request: Request, body: CreditCheckCommand, caller: Writer) -> Response:
    """Answers whether a sale may go ahead on credit, and reserves the amount when it may."""
    now = now_of(request)
    async with database_of(request).transaction(caller.tenant_id) as conn:

        async def produce() -> Response:
            try:
                row = await handlers.check_credit(
                    conn, caller.tenant_id, body.customer_id, amount_minor=body.amount_minor, currency=body.currency, now=now
                )
            except UnknownCustomerError:
                raise _unknown() from None
            view = CreditCheckView(**{**row, "currency": row["limit_currency"]})
            await audited(conn, caller, "credit_check", row["credit_check_id"], {"decision": view.decision})
            return JSONResponse(view.model_dump(mode="json"), 201)

        return await once(request, caller, conn, produce)


@ROUTER.put("/customers/{customer_id}/limit")
async def set_limit(request: Request, customer_id: Id, body: LimitCommand, caller: Writer) -> CreditView:
    """Sets a customer's limit, in the policy's currency, in the place of what his band is granted."""
    now = now_of(request)
    _not_past(body.expires_on, now)
    async with database_of(request).transaction(caller.tenant_id) as conn:
        policy = await storage.policy_of(conn, caller.tenant_id)
        if body.currency != policy.currency:
            error = FieldError("/currency", "currency-not-of-policy", f"limits are set in the policy's currency, {policy.currency}")
            raise Problem(422, "currency-not-of-policy", "The limit is in another currency than the policy", errors=[error])
        try:
            await handlers.set_limit(
                conn,
                caller.tenant_id,
                customer_id,
                limit_minor=body.limit_minor,
                currency=body.currency,
                expires_on=body.expires_on,
                note=body.reason,
                actor=caller.subject,
                now=now,
            )
        except UnknownCustomerError:
            raise _unknown() from None
        detail = {"limit_minor": body.limit_minor, "currency": body.currency, "expires_on": body.expires_on}
        await audited(conn, caller, "limit_set", customer_id, detail)
    return await read_credit(request, customer_id, caller)


@ROUTER.post("/customers/{customer_id}/hold")
async def place_hold(request: Request, customer_id: Id, body: HoldCommand, caller: Writer) -> CreditView:
    """Holds new business with a customer until a person releases it. Holding what is held changes nothing."""
    return await _hold(request, customer_id, caller, active=True, note=body.reason, expires_on=None)


@ROUTER.post("/customers/{customer_id}/hold/release")
async def release_hold(request: Request, customer_id: Id, body: ReleaseCommand, caller: Writer) -> CreditView:
    """Lifts a customer's hold, whoever or whatever placed it. Releasing what is not held changes nothing."""
    _not_past(body.expires_on, now_of(request))
    return await _hold(request, customer_id, caller, active=False, note=body.reason, expires_on=body.expires_on)


async def _hold(request: Request, customer_id: UUID, caller: Caller, *, active: bool, note: str, expires_on: date | None) -> CreditView:
    async with database_of(request).transaction(caller.tenant_id) as conn:
        try:
            changed = await handlers.change_hold(
                conn,
                caller.tenant_id,
                customer_id,
                active=active,
                note=note,
                actor=caller.subject,
                expires_on=expires_on,
                now=now_of(request),
            )
        except UnknownCustomerError:
            raise _unknown() from None
        if changed is not None:
            await audited(conn, caller, "hold_placed" if active else "hold_released", customer_id, {"expires_on": expires_on})
    return await read_credit(request, customer_id, caller)


def _not_past(expires_on: date | None, now: datetime) -> None:
    if expires_on is not None and expires_on < business_day(now):
        error = FieldError("/expires_on", "date-past", "lies before today")
        raise Problem(422, "date-past", "The expiry lies in the past", errors=[error])
