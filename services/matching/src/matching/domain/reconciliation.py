"""How far the bank's word about an account reaches, from the statements that are in. It tells "no payments" from "no file".

And what balances prove of statements of the same days: `stands_apart`, `told_days`.

Rules: a statement covers its days; one that begins on the day after what is covered must open with the balance that closed
it, or something on that day is missing; days between two statements count as covered when balances and numbers connect
(a bank writes none for a day without entries), else they are a gap. Nothing is matched through beyond the first gap.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Covered:
    """The days and balances of a booked statement."""

    first_day: date
    last_day: date
    sequence: int | None
    opening_minor: int
    closing_minor: int


@dataclass(frozen=True, slots=True)
class Reach:
    """`gaps` are ranges of days, both ends included."""

    booked_through: date
    matched_through: date
    gaps: list[tuple[date, date]]


@dataclass(frozen=True, slots=True)
class Part:
    """What a statement has of one day: where it opens and closes, and in how many entries."""

    day: date
    opening_minor: int
    closing_minor: int
    entries: int


@dataclass(frozen=True, slots=True)
class Balances:
    """Where a statement opens and closes, what it moves by day (entries, minor units), the kind of its file and its number there.

    `earlier`: it came before the one that is asked about.
    """

    opening_minor: int
    closing_minor: int
    days: Sequence[tuple[date, int, int]]
    kind: str
    number: str
    earlier: bool

    def parts(self) -> Iterator[Part]:
        """Its days, each with its own balances."""
        at = self.opening_minor
        for day, entries, minor in self.days:
            yield Part(day, at, at + minor, entries)
            at += minor


def stands_apart(one: Balances, others: Iterable[Balances]) -> bool:
    """Whether balances prove that a statement has none of the entries of others of its days: one ends where the next begins.

    One that moves nothing in sum, and two that open or close alike (one of them may be the other, or a longer one), prove nothing.
    """
    rest = list(others)
    if not rest or any(each.opening_minor == each.closing_minor for each in (one, *rest)):
        return False
    if any(each.opening_minor == one.opening_minor or each.closing_minor == one.closing_minor for each in rest):
        return False
    first, last = one.opening_minor, one.closing_minor
    while rest:
        before = next((each for each in rest if each.closing_minor == first), None)
        behind = next((each for each in rest if each.opening_minor == last), None)
        if before is not None:
            first = before.opening_minor
            rest.remove(before)
        elif behind is not None:
            last = behind.closing_minor
            rest.remove(behind)
        else:
            return False
    return True


def told_days(one: Balances, others: Iterable[Balances]) -> set[date]:
    """The days of a statement all of whose entries others have told: from where it opens that day they lead to where it closes.

    All of its days, where they lead from end to end in as many entries: each may say the days of its entries otherwise. A day that moves
    nothing in sum proves nothing.
    """
    told = [part for each in others for part in each.parts()]
    mine = list(one.parts())
    if _led(one.opening_minor, one.closing_minor, told) == sum(part.entries for part in mine):
        return {part.day for part in mine}
    return {part.day for part in mine if _led(part.opening_minor, part.closing_minor, [each for each in told if each.day == part.day])}


def _led(opening_minor: int, closing_minor: int, told: Iterable[Part]) -> int | None:
    """In how many entries parts of statements lead from one balance to another; None where they do not, or the two are one."""
    rest, at, entries = list(told), opening_minor, 0
    while at != closing_minor:
        step = next((part for part in rest if part.opening_minor == at), None)
        if step is None:
            return None
        rest.remove(step)
        at, entries = step.closing_minor, entries + step.entries
    return entries or None


def reach(start_date: date, statements: Iterable[Covered]) -> Reach | None:
    """How far the statements reach from the account's start date on; None while none reaches it."""
    ordered = sorted(
        (one for one in statements if one.last_day >= start_date), key=lambda one: (one.last_day, one.sequence or 0, one.first_day)
    )
    through = start_date - _DAY
    ends: list[Covered] = []
    gaps: list[tuple[date, date]] = []
    for one in ordered:
        if not ends:
            if one.first_day > start_date:
                gaps.append((start_date, one.first_day - _DAY))
        elif one.first_day > through:
            connected = [end for end in ends if end.closing_minor == one.opening_minor]
            if not connected or (one.first_day > through + _DAY and not any(_follows(end, one) for end in connected)):
                gaps.append((min(through + _DAY, one.first_day - _DAY), one.first_day - _DAY))
        if one.last_day > through or not ends:
            through, ends = max(through, one.last_day), []
        ends.append(one)
    if not ends:
        return None
    return Reach(through, gaps[0][0] - _DAY if gaps else through, gaps)


def _follows(end: Covered, one: Covered) -> bool:
    """Whether the numbers leave no room for a statement in between; a new year may begin again at 1."""
    if end.sequence is None or one.sequence is None or one.last_day.year != end.last_day.year:
        return True
    return one.sequence <= end.sequence + 1
