"""The scorecard: points per factor, each with what was looked at. Data first, one function to apply it.

Invariants: the score is base plus the factors' points, cut to 0..100; the same inputs and `today` give the same result;
values are written in classes, not in moving figures, so that a score changes only when something it rests on does.

`firm_score` leaves the overdue factor out. "Overdue" is a conclusion from the absence of money, and automatic holds must
not rest on it before the bank's word is known to be complete: they read the firm band.
The points are the product's own starting values, not estimated from anybody's data.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from scoring.domain.behaviour import Behaviour, month_of

CARD_VERSION = 1
BASE = 55
BANDS = ((80, "A"), (65, "B"), (45, "C"), (25, "D"), (0, "E"))
"""Lowest score of each band."""

DAYS_LATE = ((600, -40), (300, -25), (150, -12), (50, 0), (1, 8), (0, 15))
"""Mean days late in tenths, at least -> points."""
LATE_SHARE = ((6_000, -10), (3_000, -5), (1_000, 0), (0, 5))
"""Share of the settled amount that was paid late, in basis points, at least -> points."""
WORST = ((91, -10), (61, -6), (31, -3), (0, 0))
"""Worst class in days, at least -> points."""
TREND = ((100, -8), (-99, 0), (-(10**9), 4))
"""Recent mean minus the mean before, in tenths of a day, at least -> points; TREND_ITEMS settled in both are needed."""
TREND_ITEMS = 3
OVERDUE = ((91, -30), (61, -20), (31, -12), (6, -5), (0, 0))
"""Days since the oldest unpaid due date, at least -> points."""
EXPERIENCE = ((10, 5), (0, 0))
"""Items seen, at least -> points."""
DISPUTE_SHARE = ((2_000, -5), (0, 0))
"""Disputes per item in basis points, at least -> points; a single dispute is not a habit."""
BUREAU = {"A": 15, "B": 8, "C": 0, "D": -15, "E": -40}
PER_BROKEN, BROKEN_MOST = -6, -18
PER_KEPT, KEPT_MOST = 2, 6
PER_RETURN, RETURN_MOST = -8, -24
WRITTEN_OFF = -20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bureau:
    """What a bureau said last, and until which day it counts as fresh. `band` None: it does not rate the company."""

    provider: str
    band: str | None
    as_of: str
    fresh_until: date
    advised_limit_minor: int | None = None
    advised_limit_currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One line of the scorecard."""

    name: str
    value: str
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The score with its reasons. `next_review` is the first day on which the date alone may change it."""

    score: int
    band: str
    firm_score: int
    firm_band: str
    factors: tuple[Factor, ...]
    next_review: date


def assess(behaviour: Behaviour, *, overdue_since: date | None, bureau: Bureau | None, today: date) -> Assessment:
    """Applies the scorecard. `overdue_since` is the earliest due date with something open and undisputed, past or to come."""
    overdue = (today - overdue_since).days if overdue_since is not None else 0
    fresh = bureau is not None and today <= bureau.fresh_until
    firm = [Factor(name="base", value="", points=BASE), *_paying(behaviour), *_conduct(behaviour)]
    if bureau is not None:
        points = BUREAU.get(bureau.band or "", 0) if fresh else 0
        value = f"{bureau.provider} {bureau.band or 'not rated'}" if fresh else f"{bureau.provider}: too old to count"
        firm.append(Factor(name="bureau", value=value, points=points))
    factors = list(firm)
    if points := _points(OVERDUE, max(0, overdue)):
        bound = next(bound for bound, _ in OVERDUE if overdue >= bound)
        factors.append(Factor(name="oldest_overdue", value=f"{bound} days or more", points=points))
    score, firm_score = _cut(factors), _cut(firm)
    return Assessment(
        score=score,
        band=band_of(score),
        firm_score=firm_score,
        firm_band=band_of(firm_score),
        factors=tuple(factors),
        next_review=_next_review(overdue_since, bureau if fresh else None, today),
    )


def band_of(score: int) -> str:
    """The band of a score from 0 to 100."""
    return next(band for lowest, band in BANDS if score >= lowest)


def main_reason(before: tuple[Factor, ...], after: tuple[Factor, ...]) -> str:
    """The factor whose points moved most between two assessments; `no_change` when none did."""
    old, new = ({factor.name: factor.points for factor in factors} for factors in (before, after))
    moved = {name: abs(new.get(name, 0) - old.get(name, 0)) for name in sorted(old.keys() | new.keys())}
    name = max(moved, key=lambda name: moved[name], default="")
    return name if moved.get(name) else "no_change"


def _paying(behaviour: Behaviour) -> list[Factor]:
    factors = []
    if behaviour.days_tenths is not None:
        text = f"{behaviour.days_tenths // 10} days late on average"
        factors.append(Factor(name="days_beyond_terms", value=text, points=_points(DAYS_LATE, behaviour.days_tenths)))
    if behaviour.late_share_bp is not None:
        text = f"{behaviour.late_share_bp // 100} % of the amount late"
        factors.append(Factor(name="late_share", value=text, points=_points(LATE_SHARE, behaviour.late_share_bp)))
        worst = f"{behaviour.worst} days or more" if behaviour.worst else "never late"
        factors.append(Factor(name="worst_delay", value=worst, points=_points(WORST, behaviour.worst)))
    recent, before = behaviour.recent_days_tenths, behaviour.before_days_tenths
    if recent is not None and before is not None and min(behaviour.recent_settled, behaviour.before_settled) >= TREND_ITEMS:
        points = _points(TREND, recent - before)
        text = "later than before" if points < 0 else "earlier than before" if points > 0 else "as before"
        factors.append(Factor(name="trend", value=text, points=points))
    return factors


def _conduct(behaviour: Behaviour) -> list[Factor]:
    share = behaviour.disputes * 10_000 // behaviour.items if behaviour.items and behaviour.disputes > 1 else 0
    lines = (
        ("broken_promises", f"{behaviour.broken} broken", max(BROKEN_MOST, PER_BROKEN * behaviour.broken)),
        ("kept_promises", f"{behaviour.kept} kept", min(KEPT_MOST, PER_KEPT * behaviour.kept)),
        ("disputes", f"{behaviour.disputes} on {behaviour.items} items", _points(DISPUTE_SHARE, share)),
        ("returned_payments", f"{behaviour.returns} returned", max(RETURN_MOST, PER_RETURN * behaviour.returns)),
        ("written_off", f"{behaviour.written_off} items", WRITTEN_OFF if behaviour.written_off else 0),
        ("experience", "10 items or more", _points(EXPERIENCE, behaviour.items)),
    )
    return [Factor(name=name, value=value, points=points) for name, value, points in lines if points]


def _points(table: tuple[tuple[int, int], ...], value: int) -> int:
    return next(points for bound, points in table if value >= bound)


def _cut(factors: list[Factor]) -> int:
    return max(0, min(100, sum(factor.points for factor in factors)))


def _next_review(overdue_since: date | None, bureau: Bureau | None, today: date) -> date:
    days = [month_of(today, -1)]  # the window of months moves
    if overdue_since is not None:
        classes = (overdue_since + timedelta(days=bound) for bound, _ in OVERDUE)
        days += [day for day in classes if day > today]
    if bureau is not None:
        days.append(bureau.fresh_until + timedelta(days=1))
    return min(days)
