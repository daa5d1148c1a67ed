"""Events of scoring: scores, terms and holds. One aggregate each, by customer."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from contracts.envelope import StateEvent
from contracts.fields import BasisPoints, Code, Count, Currency, Line, Minor, PositiveMinor, Timestamp

Band = Literal["A", "B", "C", "D", "E"]


class ScoreFactor(Struct, frozen=True, kw_only=True, gc=False):
    """One line of the scorecard: what was looked at, its value in words, and the points it gave."""

    name: Code
    value: Line
    points: Annotated[int, Meta(ge=-1000, le=1000)]


class BureauView(Struct, frozen=True, kw_only=True, gc=False):
    """What a bureau last said: its own band, and the limit it advises where it gives one."""

    provider: Code
    band: Band | None
    as_of: Timestamp
    advised_limit_minor: PositiveMinor | None = None
    advised_limit_currency: Currency | None = None


class ScoreChanged(StateEvent, frozen=True, kw_only=True, gc=False):
    """A customer's score, 0 (worst) to 100 (best): the sum of its factors' points, cut to that range."""

    customer_id: UUID
    score: Annotated[int, Meta(ge=0, le=100)]
    band: Band
    factors: list[ScoreFactor]
    bureau: BureauView | None
    reason: Code
    as_of: Timestamp


class CreditTermsChanged(StateEvent, frozen=True, kw_only=True, gc=False):
    """What the credit policy grants a customer."""

    customer_id: UUID
    limit_minor: PositiveMinor
    currency: Currency
    payment_terms_days: Count
    down_payment_bp: BasisPoints
    reason: Code


class CreditHoldState(StateEvent, frozen=True, kw_only=True, gc=False):
    """Whether new business with a customer is held, and on what figures that was decided."""

    customer_id: UUID
    active: bool
    reason: Code
    exposure_minor: Minor
    limit_minor: PositiveMinor
    currency: Currency
    decided_at: Timestamp


class CreditHoldPlaced(CreditHoldState, frozen=True, kw_only=True, gc=False):
    """New business with the customer is held."""


class CreditHoldReleased(CreditHoldState, frozen=True, kw_only=True, gc=False):
    """The hold is lifted."""
