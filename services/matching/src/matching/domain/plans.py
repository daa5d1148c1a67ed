"""What is expected of a payment plan: money through each of its instalments that is still to come.

Rules:
- the debtor may pay the next instalment, or that and the ones after it at once, up to all that is left: one expectation each, whose
  amounts differ, so no two fit one payment equally well;
- money is meant for the plan's items in the plan's order;
- dunning says what is left; where matching knows that less is owed by now, that much has met the first instalments meanwhile;
- what is not owed any more, though nobody paid it (an invoice that is lowered, cancelled, credited or written off), takes from the last
  ones, as it will in dunning's next word; owed again before that, it goes back where it was taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from matching.domain.remittances import RemittanceLine


@dataclass(frozen=True, slots=True)
class Instalment:
    """An instalment, what is still to come of it, and what was taken from that since dunning's last word."""

    number: int
    due_on: date
    open_minor: int
    taken_minor: int = 0


@dataclass(frozen=True, slots=True)
class Through:
    """What is expected through an instalment, and for which items; nothing where it has come."""

    number: int
    due_on: date
    amount_minor: int
    lines: Sequence[RemittanceLine]


def through(left: Sequence[tuple[UUID, int]], instalments: Sequence[Instalment], owed: Mapping[UUID, int]) -> list[Through]:
    """`left`: the plan's items in their order with what dunning says is left of each; `owed`: what is open and undisputed of those that
    are known.
    """
    now = [(item_id, min(amount, max(0, owed.get(item_id, amount)))) for item_id, amount in left]
    came = sum(amount for _, amount in left) - sum(amount for _, amount in now)
    found, wanted = [], -came
    for each in instalments:
        wanted += each.open_minor
        amount = wanted if each.open_minor and wanted > 0 else 0
        found.append(Through(each.number, each.due_on, amount, _spread(now, amount)))
    return found


def cut(
    left: Sequence[tuple[UUID, int]], instalments: Sequence[Instalment], owed: Mapping[UUID, tuple[int, int]]
) -> tuple[list[tuple[UUID, int]], list[Instalment]]:
    """What is left of a plan, by item and by instalment, once less is owed of its items; `owed`: what was owed of each, and what is now."""
    less = {item_id: max(0, min(amount, owed[item_id][0]) - min(amount, owed[item_id][1])) for item_id, amount in left if item_id in owed}
    beyond, kept = sum(less.values()), []
    for each in reversed(instalments):
        step = min(each.open_minor, beyond)
        beyond -= step
        kept.append(replace(each, open_minor=each.open_minor - step, taken_minor=each.taken_minor + step))
    return [(item_id, amount - less.get(item_id, 0)) for item_id, amount in left], kept[::-1]


def restore(
    left: Sequence[tuple[UUID, int]], instalments: Sequence[Instalment], taken: Mapping[UUID, int], owed: Mapping[UUID, tuple[int, int]]
) -> tuple[list[tuple[UUID, int]], list[Instalment]]:
    """The same once more is owed of its items, at most what was `taken` from each since dunning's last word: what was cut last first."""
    more = {item_id: max(0, min(taken[item_id], now - was)) for item_id, (was, now) in owed.items() if item_id in taken}
    back, kept = sum(more.values()), []
    for each in instalments:
        step = min(each.taken_minor, back)
        back -= step
        kept.append(replace(each, open_minor=each.open_minor + step, taken_minor=each.taken_minor - step))
    return [(item_id, amount + more.get(item_id, 0)) for item_id, amount in left], kept


def _spread(left: Sequence[tuple[UUID, int]], amount: int) -> list[RemittanceLine]:
    lines = []
    for item_id, most in left:
        share = min(most, amount)
        amount -= share
        if share:
            lines.append(RemittanceLine(None, item_id, share, 0, None, share))
    return lines
