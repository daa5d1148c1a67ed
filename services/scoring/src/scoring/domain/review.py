"""The review of a customer: inputs in, score, terms and hold out. What is stored with every decision and can be replayed.

Invariants: `review` is a function of its inputs alone; the inputs hold the policy whole, so that a replay needs nothing
else; only a hold that a rule placed is lifted by a rule, and a person's release outlasts the rule until its day, or
until the rule no longer fires.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from scoring.domain.behaviour import Behaviour
from scoring.domain.policy import Exposure, Override, Policy, Terms, Verdict, check, grant, hold_reason
from scoring.domain.scorecard import Assessment, Bureau, assess


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldState:
    """A customer's hold before the review. `released_through`: a person's release stands up to and including that day.

    `duplicate`: a person holds a customer that was merged into this one.
    """

    active: bool = False
    automatic: bool = False
    released_through: date | None = None
    duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewInputs:
    """Everything that a review looks at."""

    policy: Policy
    behaviour: Behaviour
    overdue_since: date | None
    bureau: Bureau | None
    exposure: Exposure
    override: Override | None
    hold: HoldState
    today: date


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOutcome:
    """What a review found. `hold_action`: `place`, `release`, `forget_release` or `none`; `hold_rule`: the rule that fires."""

    assessment: Assessment
    terms: Terms
    firm_limit_minor: int
    hold_action: str
    hold_rule: str | None
    next_review: date


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInputs:
    """Everything that a credit check looks at: the figures as they stood under the customer's lock."""

    policy: Policy
    amount_minor: int
    currency: str
    limit_minor: int
    exposure: Exposure
    held: bool


def review(inputs: ReviewInputs) -> ReviewOutcome:
    """Scores a customer, grants terms, and says whether a hold is placed or lifted."""
    policy, bureau, today = inputs.policy, inputs.bureau, inputs.today
    assessment = assess(inputs.behaviour, overdue_since=inputs.overdue_since, bureau=bureau, today=today)
    fresh = bureau if bureau is not None and today <= bureau.fresh_until else None

    def granted(band: str) -> Terms:
        return grant(
            policy,
            band,
            advised_minor=fresh.advised_limit_minor if fresh else None,
            advised_currency=fresh.advised_limit_currency if fresh else None,
            override=inputs.override,
            today=today,
        )

    firm_limit = granted(assessment.firm_band).limit_minor
    rule = hold_reason(policy, firm_band=assessment.firm_band, firm_limit_minor=firm_limit, exposure=inputs.exposure)
    if rule is None and inputs.hold.duplicate:
        rule = "duplicate_held"
    expiries = (inputs.override.expires_on if inputs.override else None, inputs.hold.released_through)
    later = [day + timedelta(days=1) for day in expiries if day is not None and today <= day < date.max]
    return ReviewOutcome(
        assessment=assessment,
        terms=granted(assessment.band),
        firm_limit_minor=firm_limit,
        hold_action=_action(inputs.hold, rule, today),
        hold_rule=rule,
        next_review=min([assessment.next_review, *later]),
    )


def decide_check(inputs: CheckInputs) -> Verdict:
    """The answer to a credit check."""
    return check(
        amount_minor=inputs.amount_minor,
        currency=inputs.currency,
        policy=inputs.policy,
        limit_minor=inputs.limit_minor,
        exposure=inputs.exposure,
        held=inputs.held,
    )


def _action(hold: HoldState, rule: str | None, today: date) -> str:
    released = hold.released_through is not None and today <= hold.released_through
    if rule is not None and not hold.active and not released:
        return "place"
    if rule is None and hold.active and hold.automatic:
        return "release"
    if rule is None and hold.released_through is not None:
        return "forget_release"
    return "none"
