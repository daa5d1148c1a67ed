"""How a customer pays: what each item, promise, payment plan, dispute and return contributes, and what the sum of it says.

Invariants:
- a contribution is a function of one source at one version; a customer's behaviour is the sum of contributions, so it
  does not depend on the order, or the number of times, in which events arrive;
- sums are kept per customer, currency and month, because rules look at recent months; amounts of different currencies
  are never added: their means are combined by the number of settled items;
- late charges and credit notes say nothing about how somebody pays and contribute nothing.

Days are business days (`shared.days`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from fractions import Fraction
from operator import attrgetter

UNDATED = date(1970, 1, 1)
"""The month of what carries no date (disputes) and of everything older than the window."""
WINDOW_MONTHS = 12
RECENT_MONTHS = 3
LATE_CLASSES = ((91, "late_91"), (61, "late_61"), (31, "late_31"), (16, "late_16"), (1, "late_1"))
"""Lower bounds in days, worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What is summed. `minor` of `settled_minor`, `late_minor` and `minor_days` is the bucket's currency.

    `minor_days`: amount times days late. `days`: days late. `late_N`: settled items at least N days late, each counted
    in its worst class alone. `written_off`: items of which something was written off.
    """

    items: int = 0
    settled: int = 0
    settled_minor: int = 0
    late_minor: int = 0
    minor_days: int = 0
    days: int = 0
    late_1: int = 0
    late_16: int = 0
    late_31: int = 0
    late_61: int = 0
    late_91: int = 0
    kept: int = 0
    broken: int = 0
    disputes: int = 0
    returns: int = 0
    written_off: int = 0


MEASURES = tuple(field.name for field in fields(Measures))
_values = attrgetter(*MEASURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one source adds to one bucket: a customer's currency and month (its first day)."""

    currency: str
    month: date
    measures: Measures


def month_of(day: date, back: int = 0) -> date:
    """The first day of the month that lies `back` months before the day's own."""
    index = day.year * 12 + day.month - 1 - back
    return date(index // 12, index % 12 + 1, 1)


def settled_item(*, currency: str, amount_minor: int, due: date, paid_on: date) -> Contribution:
    """An item settled by money: its days late are from the last due date to the value date of the last settlement.

    The last one, because earlier settlements of instalments have no date of their own in the item's state, and money
    goes to the oldest instalment first: what came last paid what was due last. Early is on time.
    """
    days = max(0, (paid_on - due).days)
    late = next((name for bound, name in LATE_CLASSES if days >= bound), None)
    measures = {"items": 1, "settled": 1, "settled_minor": amount_minor, "minor_days": amount_minor * days, "days": days}
    if late is not None:
        measures |= {late: 1, "late_minor": amount_minor}
    return Contribution(currency=currency, month=month_of(paid_on), measures=Measures(**measures))


def unsettled_item(*, currency: str, issued: date, written_off: bool) -> Contribution:
    """An item that is open, or closed by anything but money: it has been seen, and perhaps was written off."""
    return Contribution(currency=currency, month=month_of(issued), measures=Measures(items=1, written_off=int(written_off)))


def promise(*, currency: str, due_on: date, status: str) -> Contribution | None:
    """A kept or broken promise; an open or cancelled one says nothing."""
    return _word(currency, due_on, kept=status == "kept", broken=status == "broken")


def plan(*, currency: str, due_on: date, status: str) -> Contribution | None:
    """A payment plan that was completed counts as a kept promise, a broken one as a broken promise. `due_on`: of the instalment that
    was missed, else of the last.
    """
    return _word(currency, due_on, kept=status == "completed", broken=status == "broken")


def _word(currency: str, due_on: date, *, kept: bool, broken: bool) -> Contribution | None:
    if not kept and not broken:
        return None
    return Contribution(currency=currency, month=month_of(due_on), measures=Measures(kept=int(kept), broken=int(broken)))


def dispute(*, currency: str, resolution: str | None) -> Contribution | None:
    """A dispute, unless the debtor turned out to be right."""
    if resolution == "justified":
        return None
    return Contribution(currency=currency, month=UNDATED, measures=Measures(disputes=1))


def returned_payment(*, currency: str, value_date: date, return_class: str | None = None) -> Contribution:
    """A payment that the bank took back: it counts, unless the reason is the banks' or the law's and no word about the debtor."""
    counts = return_class not in {"duplicate", "cancellation", "regulatory"}
    return Contribution(currency=currency, month=month_of(value_date), measures=Measures(returns=int(counts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a customer paid, as the scorecard reads it. Days are in tenths; shares in basis points.

    Means are weighted by amount, over items settled in the window (WINDOW_MONTHS, the current month included); None
    where nothing was settled. `recent` is the last RECENT_MONTHS, `before` the rest of the window. `worst` is the lower
    bound in days of the worst class that an item of the window fell into. Items and disputes are counted for ever.
    """

    items: int
    settled: int
    days_tenths: int | None
    count_days_tenths: int | None
    late_share_bp: int | None
    worst: int
    recent_settled: int
    recent_days_tenths: int | None
    before_settled: int
    before_days_tenths: int | None
    kept: int
    broken: int
    disputes: int
    returns: int
    written_off: int


def summarise(buckets: Sequence[Contribution], today: date) -> Behaviour:
    """The behaviour that a customer's buckets add up to on a day. Buckets before the window may be merged into UNDATED."""
    start, recent_start = month_of(today, WINDOW_MONTHS - 1), month_of(today, RECENT_MONTHS - 1)
    window = [bucket for bucket in buckets if bucket.month >= start]
    recent = [bucket for bucket in window if bucket.month >= recent_start]
    before = [bucket for bucket in window if bucket.month < recent_start]
    total, ever = _add(window), _add(buckets)
    return Behaviour(
        items=ever.items,
        settled=total.settled,
        days_tenths=_weighted(window, "minor_days", 10),
        count_days_tenths=total.days * 10 // total.settled if total.settled else None,
        late_share_bp=_weighted(window, "late_minor", 10_000),
        worst=next((bound for bound, name in LATE_CLASSES if getattr(total, name)), 0),
        recent_settled=_add(recent).settled,
        recent_days_tenths=_weighted(recent, "minor_days", 10),
        before_settled=_add(before).settled,
        before_days_tenths=_weighted(before, "minor_days", 10),
        kept=total.kept,
        broken=total.broken,
        disputes=ever.disputes,
        returns=total.returns,
        written_off=total.written_off,
    )


def _add(buckets: Iterable[Contribution]) -> Measures:
    rows = [_values(bucket.measures) for bucket in buckets]
    return Measures(**dict(zip(MEASURES, map(sum, zip(*rows, strict=True)), strict=True))) if rows else Measures()


def _weighted(buckets: Iterable[Contribution], measure: str, scale: int) -> int | None:
    """`measure` per settled minor unit, times `scale`, rounded down: by amount within a currency, by count across them."""
    by_currency: dict[str, list[int]] = {}
    for bucket in buckets:
        sums = by_currency.setdefault(bucket.currency, [0, 0, 0])
        sums[0] += bucket.measures.settled
        sums[1] += bucket.measures.settled_minor
        sums[2] += getattr(bucket.measures, measure)
    known = [sums for sums in by_currency.values() if sums[1] > 0]
    if not known:
        return None
    count = sum(sums[0] for sums in known)
    return int(sum(Fraction(sums[0] * sums[2], sums[1]) for sums in known) * scale / count)
