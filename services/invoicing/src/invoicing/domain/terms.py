"""The latest day on which an invoice between businesses may fall due, by the law of the seller's country.

What is told of is a warning: an invoice beyond the term is owed all the same, but its clause may be void, unwritten or fined.
Periods count from the day of issue, the only day that an invoice names; where the law counts from receipt or delivery the
true limit is some days later, and where it allows more by express agreement (`by_agreement`) the contract decides.

Sources: Directive 2011/7/EU article 3(5) and 4; Code de commerce L441-10; loi belge du 2 août 2002 (as of 1 February 2022);
BGB 271a; Ley 3/2004; D.Lgs. 231/2002; BW 6:119a; loi luxembourgeoise du 18 avril 2004. A country that is not in the table has
no rule here, and nothing is said of it.
"""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

_END_OF_MONTH_DAYS = 45


@dataclass(frozen=True, slots=True)
class TermRule:
    """A country's maximum: days from the day of issue. `end_of_month`: or 45 days and the end of a month, in either order."""

    days: int
    source: str
    end_of_month: bool = False
    by_agreement: bool = False


@dataclass(frozen=True, slots=True)
class Excess:
    """A due date beyond the law's maximum: the last lawful day, and the rule."""

    latest: date
    rule: TermRule

    @property
    def detail(self) -> str:
        """A sentence for the sender."""
        more = " unless more was expressly agreed" if self.rule.by_agreement else ""
        return f"falls due after {self.latest.isoformat()}, the latest day by {self.rule.source}{more}"


_RULES: Mapping[str, TermRule] = {
    "FR": TermRule(60, "Code de commerce L441-10 (60 days, or 45 days end of month)", end_of_month=True),
    "BE": TermRule(60, "loi du 2 août 2002 (60 days)"),
    "DE": TermRule(60, "BGB 271a (60 days)", by_agreement=True),
    "NL": TermRule(60, "BW 6:119a (60 days)", by_agreement=True),
    "ES": TermRule(60, "Ley 3/2004 (60 days)"),
    "IT": TermRule(60, "D.Lgs. 231/2002 and Directive 2011/7/EU article 3(5) (60 days)", by_agreement=True),
    "LU": TermRule(60, "loi du 18 avril 2004 (60 days)", by_agreement=True),
}


def excess(country: str, *, issued: date, due: date) -> Excess | None:
    """What is wrong with a due date by the law of a seller's country (ISO 3166-1), or None: it is lawful, or no rule is known."""
    rule = _RULES.get(country)
    if rule is None:
        return None
    latest = issued + timedelta(days=rule.days)
    if rule.end_of_month:
        # both computations are in use: 45 days after the end of the month, and the end of the month 45 days later
        days = timedelta(days=_END_OF_MONTH_DAYS)
        latest = max(latest, _end_of_month(issued) + days, _end_of_month(issued + days))
    return Excess(latest, rule) if due > latest else None


def _end_of_month(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])
