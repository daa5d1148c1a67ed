"""Statutory interest for late payment between professionals in France, and the fixed compensation.

Sources: C. com. art. L441-10 II: unless the contract says otherwise, the rate the ECB applied to its latest main refinancing
operation plus 10 points, that of 1 January for the first half of a year and that of 1 July for the second; a contract's rate
is no less than three times the rate of legal interest. Penalties run from the day after the due date, without a reminder.
C. com. art. D441-5: EUR 40 of compensation for recovery costs, per invoice.

Conventions (the law states none): simple interest, ACT/365 fixed also in leap years; the day of payment counts, the due date
does not; a new segment at each 1 January, 1 July and after each partial payment; one rounding at the end, half up.

Invariant: a half-year whose rate is not in the dated tables is refused, never guessed (RateUnknownError).
"""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.resources import files

MARGIN_POINTS = Decimal(10)
COMPENSATION_EUR_MINOR = 4000
_JULY = 7
_ONE_DAY = timedelta(days=1)


class RateUnknownError(ValueError):
    """The rate of a half-year is in no table of ours. The text names it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Days from `first` to `last`, both counted, at one rate on one principal. `interest` is exact, not rounded."""

    first: date
    last: date
    days: int
    principal_minor: int
    percent: Decimal
    interest: Fraction


@cache
def _table(name: str) -> dict[str, Decimal]:
    with (files(__package__) / "data" / name).open(encoding="utf-8") as lines:
        return {row["half"]: Decimal(row["percent"]) for row in csv.DictReader(lines)}


def half_of(day: date) -> str:
    """The half-year a day is in, such as 2026H1."""
    return f"{day.year}H{1 if day.month < _JULY else 2}"


def _rate(table: str, day: date, what: str) -> Decimal:
    half = half_of(day)
    if half not in _table(table):
        raise RateUnknownError(f"{what} of {half} is unknown here: interest that touches it is not computed")
    return _table(table)[half]


def statutory_percent(day: date) -> Decimal:
    """The yearly rate in percent that applies on a day where the contract is silent. Raises RateUnknownError."""
    return _rate("ecb_main_refinancing.csv", day, "the ECB's main refinancing rate") + MARGIN_POINTS


def _contract_percent(percent: Decimal, day: date) -> Decimal:
    floor = 3 * _rate("french_legal_interest.csv", day, "the French rate of legal interest")
    if percent < floor:
        raise ValueError(f"a contract rate of {percent} % is below three times the legal interest rate ({floor} %) in {half_of(day)}")
    return percent


def segments(
    principal_minor: int, *, due: date, paid: date, payments: Sequence[tuple[date, int]] = (), contract_percent: Decimal | None = None
) -> list[Segment]:
    """The segments of interest on what was due on `due` and fully paid (or is asked) on `paid`; empty where in time.

    `payments`: (day, minor units) of partial payments; each lowers the principal from the day after it.
    Raises RateUnknownError, and ValueError where payments exceed the principal or a contract rate is too low.
    """
    if principal_minor < 0 or any(amount < 0 for _, amount in payments) or sum(amount for _, amount in payments) > principal_minor:
        raise ValueError("amounts are not negative and partial payments do not exceed the principal")
    found = []
    first = due + _ONE_DAY
    for last in _ends(due, paid, (day for day, _ in payments)):
        principal = principal_minor - sum(amount for day, amount in payments if day < first)
        if principal:
            days = (last - first).days + 1
            percent = statutory_percent(first) if contract_percent is None else _contract_percent(contract_percent, first)
            found.append(Segment(first, last, days, principal, percent, Fraction(principal * days) * Fraction(percent) / 36_500))
        first = last + _ONE_DAY
    return found


def _ends(due: date, paid: date, payments: Iterable[date]) -> list[date]:
    """The last day of each segment, in order."""
    if paid <= due:
        return []
    halves = (date(year, month, 1) - _ONE_DAY for year in range(due.year, paid.year + 1) for month in (1, _JULY))
    return sorted({day for day in (*halves, *payments) if due < day < paid} | {paid})


def total_minor(parts: Iterable[Segment]) -> int:
    """The interest of all segments in minor units: rounded once, half up."""
    return math.floor(sum((part.interest for part in parts), Fraction(0)) + Fraction(1, 2))


def compensation_minor(currency: str, invoices: int) -> int | None:
    """EUR 40 for each invoice paid late; None in another currency, for which the decree names no amount."""
    return COMPENSATION_EUR_MINOR * invoices if currency == "EUR" else None
