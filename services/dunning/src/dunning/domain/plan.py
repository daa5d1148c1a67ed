"""How a payment plan stands: what was paid of it, what is left, and whether an instalment was missed.

Rules:
- money that was paid on the plan's items since it was agreed, of each at most the amount agreed, meets the instalments in the order of
  their dates, a part of one too;
- what is no longer owed of an item (credited, cancelled, written off) or is contested takes from the last instalments: nothing is
  expected beyond what is owed and undisputed;
- an instalment is met by what came with a value date of at most its date and the days of grace, counted with all before it;
- broken by the first instalment that was not, once the bank's word is known through that day and no payment in review, and no money
  without an item, may be it. Late money heals nothing, as with a promise;
- completed once nothing of what it covers is owed, contested or not, and no instalment was missed; it goes on once something of that is
  owed again, for its money went back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Instalment:
    """An instalment as agreed."""

    number: int
    due_on: date
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Owed:
    """An item as it is now: what is open, and what of that is contested or conceded."""

    open_minor: int
    contested_minor: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A plan as it is now, in minor units. By item: `unpaid`, the amount agreed less what was paid; `left`, what is still expected of
    that. By instalment, in their order: `open`, what is still to come; `missing`, what had not come by its day of all due by then.
    `settled`: nothing of what the plan covers is owed any more.
    """

    unpaid: Mapping[UUID, int]
    left: Mapping[UUID, int]
    open: Sequence[int]
    missing: Sequence[int]
    settled: bool


def deadlines(instalments: Sequence[Instalment], grace_days: int) -> list[date]:
    """The last day on which money meets each instalment."""
    return [min(each.due_on, date.max - timedelta(days=grace_days)) + timedelta(days=grace_days) for each in instalments]


def standing(
    agreed: Mapping[UUID, int],
    instalments: Sequence[Instalment],
    *,
    paid: Mapping[UUID, int],
    in_time: Sequence[Mapping[UUID, int]],
    owed: Mapping[UUID, Owed],
) -> Standing:
    """`agreed`: the plan's items and amounts; `paid`: what was paid of each since; `in_time`: the same through each deadline."""
    paid = {item: min(amount, paid.get(item, 0)) for item, amount in agreed.items()}
    nothing = Owed(0, 0)
    still = {item: min(agreed[item] - paid[item], owed.get(item, nothing).open_minor) for item in agreed}
    left = {item: min(still[item], max(0, now.open_minor - now.contested_minor)) for item in agreed for now in [owed.get(item, nothing)]}
    total_paid = sum(paid.values())
    expected = total_paid + sum(left.values())
    ends = [min(end, expected) for end in accumulate(each.amount_minor for each in instalments)]
    starts = [0, *ends][: len(ends)]
    came = [sum(min(amount, each.get(item, 0)) for item, amount in agreed.items()) for each in in_time]
    return Standing(
        {item: agreed[item] - paid[item] for item in agreed},
        left,
        [max(0, end - max(start, total_paid)) for start, end in zip(starts, ends, strict=True)],
        [max(0, end - got) for end, got in zip(ends, came, strict=True)],
        not any(still.values()),
    )


def judge(
    now: Standing, days: Sequence[date], *, gate: date | None, maybe_covered: bool
) -> tuple[Literal["broken", "completed"], int | None] | None:
    """Broken, with the place of the instalment that was missed; completed; or going on (None). `days`: the instalments' deadlines."""
    missed = next((at for at, missing in enumerate(now.missing) if missing), None)
    if missed is None:
        return ("completed", None) if now.settled else None
    if gate is not None and gate >= days[missed] and not maybe_covered:
        return "broken", missed
    return None
