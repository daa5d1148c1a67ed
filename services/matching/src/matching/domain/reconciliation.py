"""How far the bank's word about an account reaches, from the statements that are in. It tells "no payments" from "no file".

And what balances prove of statements of the same days: `stands_apart`, `told_days`.

Rules: a statement covers its days; one that begins on the day after what is covered must open with the balance that closed
it, or something on that day is missing; days between two statements count as covered when balances and numbers connect
(a bank writes none for a day without entries), else they are a gap. Nothing is matched through beyond the first gap.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from matching.domain.statements import Day

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
    """What a statement has of one day, and where it opens and closes that day."""

    day: date
    opening_minor: int
    closing_minor: int
    moved: Day


@dataclass(frozen=True, slots=True)
class Balances:
    """Where a statement opens and closes, what it moves by day, the kind of its file and its number there.

    `earlier`: it came before the one that is asked about.
    """

    opening_minor: int
    closing_minor: int
    days: Sequence[tuple[date, Day]]
    kind: str
    number: str
    earlier: bool

    def parts(self) -> Iterator[Part]:
        """Its days, each with its own balances."""
        at = self.opening_minor
        for day, moved in self.days:
            yield Part(day, at, at + moved.minor, moved)
            at += moved.minor


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


def told_days(one: Balances, others: Iterable[Balances], pages: Iterable[Balances] | None = None) -> set[date]:
    """The days of a statement all of whose entries others have told: from where it opens that day they lead to where it closes; or, where
    `pages` of its file are given, it is a page of one of them.

    All of its days, where they lead from end to end in as many entries: each may say the days of its entries otherwise. A day that moves
    nothing in sum proves nothing.
    """
    told, before = ([part for each in some for part in each.parts()] for some in (others, pages or ()))
    mine = list(one.parts())
    whole = _path(one.opening_minor, one.closing_minor, told)
    if whole and sum(part.moved.entries for part in whole) == sum(part.moved.entries for part in mine):
        return {part.day for part in mine}
    days = {part.day: [each for each in told if each.day == part.day] for part in mine}
    return {
        part.day
        for part in mine
        if _path(part.opening_minor, part.closing_minor, days[part.day])
        or (pages is not None and _is_page(part, days[part.day], [each for each in before if each.day == part.day]))
    }


def _is_page(part: Part, told: Iterable[Part], before: Sequence[Part]) -> bool:
    """Whether a part is one of several pages of what was told: it begins where that does, or where pages before it lead to, and has no
    amounts but of those that are left of it.
    """
    if part.opening_minor == part.closing_minor:
        return False
    for whole in told:
        path = _path(whole.opening_minor, part.opening_minor, before)
        if path is not None and all(each.moved.amounts for each in (*path, part)):
            amounts = Counter(minor for each in (*path, part) for minor in each.moved.amounts)
            if amounts <= Counter(whole.moved.amounts):
                return True
    return False


def _path(opening_minor: int, closing_minor: int, told: Sequence[Part]) -> list[Part] | None:
    """The fewest parts of statements that lead from one balance to another, none where the two are one; None where they do not."""
    paths: dict[int, list[Part]] = {opening_minor: []}
    reached = [opening_minor]
    for at in reached:
        if at == closing_minor:
            return paths[at]
        for step in told:
            if step.opening_minor == at and step.closing_minor not in paths:
                paths[step.closing_minor] = [*paths[at], step]
                reached.append(step.closing_minor)
    return None


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
