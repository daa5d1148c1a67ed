"""Days sales outstanding and its kin, as exact rationals.

Invariants: nothing is rounded and nothing is a float; a figure whose denominator is not positive is undefined, never zero.

Sources: the period and count-back (exhaustion) methods as commonly published for credit management (the Oracle Hyperion
documentation describes the latter; its worked example subtracts wrongly and is not followed).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

from reporting.domain.ageing import Ageing

PERIOD_DAYS = 90
"""The period over which a day's own DSO looks back."""
MONTHS_MAX = 36
"""How far back count-back looks for sales."""

_RECEIVABLES = (
    "Receivables = open invoices and deposits, less unused credit notes and unapplied payments, with tax, without late charges. "
    "Credit sales = payable amounts with tax of invoices and deposits by issue date, less credit notes, without cancelled ones; "
    "invoices taken over on go-live count by their own dates."
)
DEFINITIONS: Mapping[str, str] = {
    "dso_period": "Receivables at the end / credit sales of the period x days of the period; undefined where sales are zero or less. "
    f"As a daily figure the period is the {PERIOD_DAYS} days that end with the day. " + _RECEIVABLES,
    "dso_count_back": "From the latest month back: its days are added and its sales taken from the receivables while these are larger; "
    "of the last month the fraction that is left. A month whose sales are zero or less stops it: what is left is then "
    "unexplained and the figure undefined. The latest month counts up to the day. " + _RECEIVABLES,
    "best_possible_dso": "As dso_period, with all that is not due in place of the receivables.",
    "overdue_share": "Overdue / open, by instalment and due date; undefined where nothing is open.",
    "at_risk_share": "More than 90 days overdue / open; undefined where nothing is open.",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure as numerator / denominator; undefined where the denominator is zero."""

    numerator: int
    denominator: int

    @property
    def value(self) -> Fraction | None:
        """The figure, or None where it is undefined."""
        return Fraction(self.numerator, self.denominator) if self.denominator else None


def period(receivables: int, sales: int, days: int) -> Figure:
    """DSO over a period of `days` days (at least one) with that period's credit sales, in minor units of one currency."""
    if days < 1:
        raise ValueError(f"a period has at least one day, not {days}")
    return Figure(receivables * days, max(sales, 0))


def months_back(as_of: date, count: int) -> list[tuple[date, int]]:
    """The first day and the number of days of `count` months, the latest (up to `as_of`) first."""
    found = []
    last = as_of
    for _ in range(count):
        first = last.replace(day=1)
        found.append((first, (last - first).days + 1))
        last = first - timedelta(days=1)
    return found


def sales_between(by_day: Mapping[date, int], first: date, last: date) -> int:
    """Sales from `first` to `last`, both included."""
    return sum(minor for day, minor in by_day.items() if first <= day <= last)


def sales_by_month(by_day: Mapping[date, int], months: Sequence[tuple[date, int]]) -> list[tuple[int, int]]:
    """(days, sales) of months as `months_back` gives them."""
    return [(days, sales_between(by_day, first, first + timedelta(days=days - 1))) for first, days in months]


def count_back(receivables: int, months: Sequence[tuple[int, int]]) -> tuple[Fraction, bool]:
    """(days counted, whether the receivables were used up) for months of (days, sales), the latest first.

    Where they were not, sales ended before the receivables did: the days counted are then a lower bound. Nothing owed is 0 days.
    """
    left, counted = receivables, Fraction(0)
    for days, sales in months:
        if left <= 0 or sales <= 0:
            break
        counted += days * min(Fraction(1), Fraction(left, sales))
        left -= min(left, sales)
    return counted, left <= 0


def measure(ageing: Ageing, by_day: Mapping[date, int], day: date) -> dict[str, Figure]:
    """A day's key figures of one entity and currency, by name, in lowest terms; `by_day` are its sales by day of issue."""
    sales = sales_between(by_day, day - timedelta(days=PERIOD_DAYS - 1), day)
    months = sales_by_month(by_day, months_back(day, MONTHS_MAX))
    counted, exhausted = count_back(ageing.receivables, months)
    figures = {
        "dso_period": period(ageing.receivables, sales, PERIOD_DAYS),
        "dso_count_back": Figure(counted.numerator, counted.denominator) if exhausted else Figure(0, 0),
        "best_possible_dso": period(ageing.not_due, sales, PERIOD_DAYS),
        "overdue_share": Figure(ageing.overdue, ageing.open),
        "at_risk_share": Figure(ageing.days_91_plus, ageing.open),
    }
    return {name: _lowest(figure) for name, figure in figures.items()}


def _lowest(figure: Figure) -> Figure:
    value = figure.value
    return Figure(value.numerator, value.denominator) if value is not None else Figure(0, 0)
