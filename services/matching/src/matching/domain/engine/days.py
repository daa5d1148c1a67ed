"""What a payer says of when: days, months and weeks in its text, and which items are of them.

A day is written day first or as ISO 8601; a month by number with its year, or by name; a week by ISO 8601's number behind a word for it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from matching.domain.engine.records import OpenItem
from matching.domain.engine.words import MONTHS, plain

OF_DAY, OF_MONTH = 2, 1
"""How an item is of what is said: issued on that very day; issued in that month or week, or due on that day."""
RUN_DAYS = 3
"""A day so shortly before the booking is the payment's own."""
TEXT_MAX = 2_000
"""Characters of one text that are looked through."""
_DAY = re.compile(r"(?<![0-9])([0-3]?[0-9])[./-]([01]?[0-9])(?:[./-](20[0-9]{2}|[0-9]{2})(?![0-9])|\.(?![0-9]))", re.ASCII)
_ISO_DAY = re.compile(r"(?<![0-9])(20[0-9]{2})-([01][0-9])-([0-3][0-9])(?![0-9])", re.ASCII)
_MONTH = re.compile(
    r"(?<![0-9./-])(0?[1-9]|1[0-2])[./-](20[0-9]{2})(?![0-9])|(?<![0-9])(20[0-9]{2})[./-](0[1-9]|1[0-2])(?![0-9./-])", re.ASCII
)
_WEEK = re.compile(r"\b(?:KW|WK|WEEK|SEMAINE|SEMANA|SETTIMANA|UGE|VECKA|UKE)[ .]?([0-5]?[0-9])(?![0-9])", re.ASCII)
_NAME = re.compile(r"[A-Z]{3,}(?: ?(20[0-9]{2}))?(?![0-9])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Days:
    """Days (year if it is said, month, day), months (year if it is said, month) and weeks of the year."""

    days: frozenset[tuple[int | None, int, int]] = frozenset()
    months: frozenset[tuple[int | None, int]] = frozenset()
    weeks: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.days or self.months or self.weeks)

    def of(self, item: OpenItem, booked: date) -> int:
        """OF_DAY, OF_MONTH or 0: whether an item is of what is said in a payment that was booked on a day."""
        if self._is_day(item.issue_date, booked):
            return OF_DAY
        issued = item.issue_date
        in_month = (issued.year, issued.month) in self.months or (None, issued.month) in self.months
        return OF_MONTH if in_month or issued.isocalendar().week in self.weeks or self._is_day(item.due_date, booked) else 0

    def in_year(self, word: str) -> bool:
        """Whether a word is the year of what is said."""
        return any(word == str(year) for year, *_ in (*self.days, *self.months))

    def _is_day(self, day: date, booked: date) -> bool:
        said = (day.year, day.month, day.day) in self.days or (None, day.month, day.day) in self.days
        return said and not 0 <= (booked - day).days <= RUN_DAYS


def named_days(lines: Sequence[str]) -> Days:
    """What the lines of a text say of when, also where a bank has cut it at a fixed width."""
    texts = {" ".join(lines)[:TEXT_MAX], "".join(lines)[:TEXT_MAX]}
    days: set[tuple[int | None, int, int]] = set()
    months: set[tuple[int | None, int]] = set()
    weeks: set[int] = set()
    for text in map(plain, texts):
        days.update((_year(year), int(month), int(day)) for day, month, year in _DAY.findall(text))
        days.update((int(year), int(month), int(day)) for year, month, day in _ISO_DAY.findall(text))
        months.update((int(one[1] or one[2]), int(one[0] or one[3])) for one in _MONTH.findall(text))
        weeks.update(int(week) for week in _WEEK.findall(text))
        for found in _NAME.finditer(text):
            name = found[0].rstrip(" 0123456789")
            if name in MONTHS:
                months.add((int(found[1]) if found[1] else None, MONTHS[name]))
    return Days(frozenset(days), frozenset(months), frozenset(weeks))


def _year(written: str) -> int | None:
    return None if not written else int(written) + 2000 * (len(written) == 2)  # noqa: PLR2004 - of this century
