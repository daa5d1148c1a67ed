"""Decisions about customers: review, credit check, hold, release, limit, policy.

Each loads under the customer's lock, decides by a pure rule (domain/review.py), stores the decision with its inputs, and
publishes what changed, all in the caller's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from contracts.credit import BureauView, CreditHoldPlaced, CreditHoldReleased, CreditTermsChanged, ScoreChanged, ScoreFactor
from contracts.envelope import Event
from shared.days import business_day
from shared.ids import named_id, new_id
from shared.outbox import Outgoing, publish
from sqlalchemy.ext.asyncio import AsyncConnection

from scoring import tables
from scoring.domain.behaviour import summarise
from scoring.domain.policy import Policy, Terms
from scoring.domain.review import CheckInputs, HoldState, ReviewInputs, ReviewOutcome, decide_check, review
from scoring.domain.scorecard import CARD_VERSION, Bureau, Factor, main_reason
from scoring.storage import credit
from scoring.storage.behaviour import DUE_NOW
from scoring.storage.credit import Case


class UnknownCustomerError(Exception):
    """Nothing was ever heard of this customer."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A customer after a review. `held`: whether new business is held now; `automatic`: by a rule."""

    inputs: ReviewInputs
    outcome: ReviewOutcome
    held: bool
    automatic: bool


def inputs_of(case: Case, policy: Policy, now: datetime) -> ReviewInputs:
    """What a review of the case looks at."""
    state, today = case.state, business_day(now)
    hold = (
        HoldState(duplicate=state.held_duplicate)
        if state.hold_version is None
        else HoldState(
            active=state.active, automatic=state.automatic, released_through=state.released_through, duplicate=state.held_duplicate
        )
    )
    return ReviewInputs(
        policy=policy,
        behaviour=summarise(case.buckets, today),
        overdue_since=case.overdue_since,
        bureau=case.bureau,
        exposure=case.exposure,
        override=case.override,
        hold=hold,
        today=today,
    )


async def review_customers(
    conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID], *, policy: Policy, now: datetime
) -> dict[UUID, Reviewed]:
    """Reviews customers (at most 1,000), whose standing the caller has locked; publishes what changed.

    A decision is stored when the score, the terms or the hold changes, and not when all stays as it was.
    """
    results: dict[UUID, Reviewed] = {}
    changes: list[_Change] = []
    for case in await credit.cases(conn, tenant_id, customers, policy, now):
        inputs = inputs_of(case, policy, now)
        outcome = review(inputs)
        change = _Change(case, inputs, outcome)
        held = outcome.hold_action == "place" or (bool(case.state.active) and outcome.hold_action != "release")
        results[case.customer_id] = Reviewed(inputs, outcome, held, automatic=outcome.hold_action == "place" or inputs.hold.automatic)
        if change.anything:
            changes.append(change)
    await _store(conn, tenant_id, changes, now)
    await credit.forget_releases(
        conn, tenant_id, [customer for customer, done in results.items() if done.outcome.hold_action == "forget_release"]
    )
    await credit.reviewed(conn, tenant_id, {customer: done.outcome.next_review for customer, done in results.items()}, policy.version)
    return results


class _Change:
    """What of a review differs from what was last published."""

    def __init__(self, case: Case, inputs: ReviewInputs, outcome: ReviewOutcome) -> None:
        self.customer_id, self.inputs, self.outcome = case.customer_id, inputs, outcome
        state, found = case.state, outcome.assessment
        factors = msgspec.to_builtins(found.factors)
        self.factors: list[dict[str, Any]] = list(factors)
        self.bureau: dict[str, Any] | None = None if inputs.bureau is None else msgspec.to_builtins(_view(inputs.bureau))
        self.score = state.score_version is None or (found.score, found.band, found.firm_band, self.factors, self.bureau) != (
            state.score,
            state.band,
            state.firm_band,
            state.factors,
            state.bureau,
        )
        before = () if state.score_version is None else tuple(msgspec.convert(each, Factor) for each in state.factors)
        self.score_reason = "new_customer" if state.score_version is None else main_reason(before, found.factors)
        self.terms = state.terms_version is None or outcome.terms != Terms(
            limit_minor=state.limit_minor,
            currency=state.currency,
            payment_terms_days=state.payment_terms_days,
            down_payment_bp=state.down_payment_bp,
            reason=state.terms_reason,
        )
        self.hold = outcome.hold_action in {"place", "release"}
        self.hold_reason = outcome.hold_rule or "rule_no_longer_holds"

    @property
    def anything(self) -> bool:
        return self.score or self.terms or self.hold


def _view(bureau: Bureau) -> BureauView:
    return BureauView(
        provider=bureau.provider,
        band=bureau.band,  # type: ignore[arg-type] # a band, by the observation's own rule
        as_of=datetime.fromisoformat(bureau.as_of),
        advised_limit_minor=bureau.advised_limit_minor,
        advised_limit_currency=bureau.advised_limit_currency,
    )


async def _store(conn: AsyncConnection, tenant_id: UUID, changes: Sequence[_Change], now: datetime) -> None:
    if not changes:
        return
    decisions = await _remember(
        conn, tenant_id, "review", [(each.customer_id, each.inputs, each.outcome) for each in changes], changes[0].inputs.policy, now
    )
    scores = await credit.save(conn, tables.SCORE, [_score_row(tenant_id, each, decisions, now) for each in changes if each.score])
    terms = await credit.save(conn, tables.TERMS, [_terms_row(tenant_id, each, decisions) for each in changes if each.terms])
    holds = await credit.save(conn, tables.HOLD, [_hold_row(tenant_id, each, decisions, now) for each in changes if each.hold])
    events: list[Event] = []
    for each in changes:
        if each.score:
            events.append(_score_event(each, scores[each.customer_id], now))
        if each.terms:
            events.append(_terms_event(each.customer_id, each.outcome.terms, terms[each.customer_id]))
        if each.hold:
            row = _hold_row(tenant_id, each, decisions, now)
            events.append(_hold_event(row, holds[each.customer_id]))
    await publish(conn, [Outgoing(tenant_id, event) for event in events])


async def _remember(
    conn: AsyncConnection, tenant_id: UUID, kind: str, made: Sequence[tuple[UUID, Any, Any]], policy: Policy, now: datetime
) -> dict[UUID, UUID]:
    """Stores decisions of one kind, at most one per customer: (customer, inputs, outcome); returns their ids."""
    last = await credit.numbers(conn, tenant_id, [customer for customer, _, _ in made], kind)
    ids = {customer: named_id("decision", tenant_id, customer, kind, last[customer] + 1) for customer, _, _ in made}
    await credit.remember(
        conn,
        [
            {
                "tenant_id": tenant_id,
                "decision_id": ids[customer],
                "customer_id": customer,
                "kind": kind,
                "number": last[customer] + 1,
                "rule_version": CARD_VERSION,
                "policy_version": policy.version,
                "inputs": msgspec.to_builtins(inputs),
                "outcome": msgspec.to_builtins(outcome),
                "decided_at": now,
            }
            for customer, inputs, outcome in made
        ],
    )
    return ids


def _score_row(tenant_id: UUID, change: _Change, decisions: dict[UUID, UUID], now: datetime) -> dict[str, Any]:
    found = change.outcome.assessment
    return {
        "tenant_id": tenant_id,
        "customer_id": change.customer_id,
        "score": found.score,
        "band": found.band,
        "firm_band": found.firm_band,
        "factors": change.factors,
        "bureau": change.bureau,
        "reason": change.score_reason,
        "as_of": now,
        "decision_id": decisions[change.customer_id],
    }


def _terms_row(tenant_id: UUID, change: _Change, decisions: dict[UUID, UUID]) -> dict[str, Any]:
    terms: dict[str, Any] = msgspec.to_builtins(change.outcome.terms)
    return {"tenant_id": tenant_id, "customer_id": change.customer_id, **terms, "decision_id": decisions[change.customer_id]}


def _hold_row(tenant_id: UUID, change: _Change, decisions: dict[UUID, UUID], now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "customer_id": change.customer_id,
        "active": change.outcome.hold_action == "place",
        "automatic": True,
        "reason": change.hold_reason,
        "note": None,
        "placed_by": None,
        "exposure_minor": change.inputs.exposure.minor,
        "limit_minor": change.outcome.firm_limit_minor,
        "currency": change.inputs.policy.currency,
        "decided_at": now,
        "released_through": None,
        "decision_id": decisions[change.customer_id],
    }


def _score_event(change: _Change, version: int, now: datetime) -> ScoreChanged:
    found = change.outcome.assessment
    return ScoreChanged(
        version=version,
        customer_id=change.customer_id,
        score=found.score,
        band=found.band,  # type: ignore[arg-type] # a band, by the scorecard's table
        factors=[ScoreFactor(name=each.name, value=each.value, points=each.points) for each in found.factors],
        bureau=None if change.inputs.bureau is None else _view(change.inputs.bureau),
        reason=change.score_reason,
        as_of=now,
    )


def _terms_event(customer_id: UUID, terms: Terms, version: int) -> CreditTermsChanged:
    return CreditTermsChanged(
        version=version,
        customer_id=customer_id,
        limit_minor=terms.limit_minor,
        currency=terms.currency,
        payment_terms_days=terms.payment_terms_days,
        down_payment_bp=terms.down_payment_bp,
        reason=terms.reason,
    )


def _hold_event(row: dict[str, Any], version: int) -> CreditHoldPlaced | CreditHoldReleased:
    kind = CreditHoldPlaced if row["active"] else CreditHoldReleased
    return kind(
        version=version,
        customer_id=row["customer_id"],
        active=row["active"],
        reason=row["reason"],
        exposure_minor=row["exposure_minor"],
        limit_minor=row["limit_minor"],
        currency=row["currency"],
        decided_at=row["decided_at"],
    )


async def review_one(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, now: datetime) -> Reviewed:
    """Locks a customer, or whoever stands for him, and reviews that one. Raises UnknownCustomerError."""
    customer_id = await _locked(conn, tenant_id, customer_id)
    policy = await credit.policy_of(conn, tenant_id)
    return (await review_customers(conn, tenant_id, [customer_id], policy=policy, now=now))[customer_id]


async def _locked(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> UUID:
    stands = await credit.lock(conn, tenant_id, customer_id)
    if stands is None:
        raise UnknownCustomerError
    return stands


async def check_credit(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, *, amount_minor: int, currency: str, now: datetime
) -> dict[str, Any]:
    """Answers a credit check and, where it is approved, reserves the amount. The row of `credit_check`.

    Two checks at once cannot both take the same room: the second waits at the customer's lock and sees the first's
    reservation. Raises UnknownCustomerError.
    """
    customer_id = await _locked(conn, tenant_id, customer_id)
    reviewed = await review_one(conn, tenant_id, customer_id, now)
    policy, exposure, terms = reviewed.inputs.policy, reviewed.inputs.exposure, reviewed.outcome.terms
    inputs = CheckInputs(
        policy=policy, amount_minor=amount_minor, currency=currency, limit_minor=terms.limit_minor, exposure=exposure, held=reviewed.held
    )
    verdict = decide_check(inputs)
    await _remember(conn, tenant_id, "credit_check", [(customer_id, inputs, verdict)], policy, now)
    row = {
        "tenant_id": tenant_id,
        "credit_check_id": new_id(),
        "customer_id": customer_id,
        "amount_minor": amount_minor,
        "currency": currency,
        "decision": verdict.decision,
        "reasons": list(verdict.reasons),
        "exposure_minor": exposure.minor,
        "reserved_minor": exposure.reserved_minor,
        "limit_minor": terms.limit_minor,
        "limit_currency": terms.currency,
        "decided_at": now,
        "expires_at": now + timedelta(days=policy.check_days),
    }
    await conn.execute(tables.CREDIT_CHECK.insert().values(row))
    return row


async def change_hold(
    conn: AsyncConnection,
    tenant_id: UUID,
    customer_id: UUID,
    *,
    active: bool,
    note: str,
    actor: str,
    expires_on: date | None,
    now: datetime,
) -> dict[str, Any] | None:
    """A person places a hold or releases one (any); the hold's row, or None when it is already as asked.

    A hold that a rule placed becomes the person's: no rule lifts it any more. A release keeps the rules from placing a
    hold again up to and including `expires_on`; without one, until no rule fires any more. Raises UnknownCustomerError.
    """
    customer_id = await _locked(conn, tenant_id, customer_id)
    reviewed = await review_one(conn, tenant_id, customer_id, now)
    if reviewed.held == active and not (active and reviewed.automatic):
        return None
    inputs, outcome = reviewed.inputs, reviewed.outcome
    row: dict[str, Any] = {
        "tenant_id": tenant_id,
        "customer_id": customer_id,
        "active": active,
        "automatic": False,
        "reason": "placed_by_person" if active else "released_by_person",
        "note": note,
        "placed_by": actor,
        "exposure_minor": inputs.exposure.minor,
        "limit_minor": outcome.terms.limit_minor,
        "currency": inputs.policy.currency,
        "decided_at": now,
        "released_through": None if active else expires_on or date.max,
    }
    made = {"held": active, "reason": row["reason"], "released_through": row["released_through"]}
    ids = await _remember(conn, tenant_id, "hold", [(customer_id, inputs, made)], inputs.policy, now)
    version = (await credit.save(conn, tables.HOLD, [{**row, "decision_id": ids[customer_id]}]))[customer_id]
    await publish(conn, [Outgoing(tenant_id, _hold_event(row, version))])
    await credit.reviewed(conn, tenant_id, {customer_id: DUE_NOW}, inputs.policy.version)
    return row


async def set_limit(
    conn: AsyncConnection,
    tenant_id: UUID,
    customer_id: UUID,
    *,
    limit_minor: int,
    currency: str,
    expires_on: date | None,
    note: str,
    actor: str,
    now: datetime,
) -> Reviewed:
    """A person sets a customer's limit; the customer is reviewed with it. Raises UnknownCustomerError."""
    customer_id = await _locked(conn, tenant_id, customer_id)
    await credit.set_override(
        conn, tenant_id, customer_id, limit_minor=limit_minor, currency=currency, expires_on=expires_on, note=note, actor=actor, now=now
    )
    return await review_one(conn, tenant_id, customer_id, now)


async def set_policy(conn: AsyncConnection, tenant_id: UUID, policy: Policy, *, actor: str, now: datetime) -> Policy:
    """Stores a tenant's next policy. Customers are reviewed by it in slices, by the job."""
    return replace(policy, version=await credit.set_policy(conn, tenant_id, policy, actor=actor, now=now))
