"""Whether a promise was kept or broken.

Rule: kept once money of at least the amount was settled on its items, with a value date on or before its day (no days of
grace), since it was made. Broken when its day has passed, the bank's word is known through that day (the gate), and neither
came the money nor may a payment in review, or money without an item on his account, be it.

Of an invoice that is lowered or credited since, no more is to be paid than it says by then.

Its status says what stands: when the money that kept it goes back (returned, recalled, unmatched) it is open again, as if that had
never come, and judged as any open one from then on; a broken one is kept where money in time is found to stand after all.

Each version of an item says how much is paid of it by then, and the latest value date of what stands. What an item contributes is the
sum of the rises whose value date is in time, less what of them went back since: a returned payment keeps no promise, nor does late
money that comes in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Paid:
    """What was paid of an item at one of its versions."""

    version: int
    paid_minor: int
    value_date: date | None


def received(
    history: Mapping[UUID, Sequence[Paid]], current: Mapping[UUID, int], baseline: Mapping[UUID, tuple[int, int]], *, due_on: date
) -> int:
    """Minor units that came in time on the items of `current` (item -> paid now).

    `baseline`: item -> (version, paid) when the promise was made; an item that is not there counts from nothing.
    """
    return sum(
        received_on(history.get(item_id, ()), paid_now, *baseline.get(item_id, (0, 0)), due_on=due_on)
        for item_id, paid_now in current.items()
    )


def received_on(history: Sequence[Paid], paid_now: int, version: int, before: int, *, due_on: date) -> int:
    """Minor units that came in time on one item since it stood at `version` with `before` paid of it."""
    ordered = sorted(history, key=lambda each: each.version)
    known = [paid.value_date for paid in ordered if paid.version <= version]
    parts, last = [_Part(before, known[-1] if known else None, since=False)], before
    for paid in ordered:
        if paid.version > version:
            if paid.paid_minor > last:
                parts.append(_Part(paid.paid_minor - last, paid.value_date, since=True))
            elif paid.paid_minor < last:
                _go_back(parts, last - paid.paid_minor, paid.value_date)
            last = paid.paid_minor
    _go_back(parts, last - paid_now, None)
    return sum(part.minor for part in parts if part.since and part.value_date is not None and part.value_date <= due_on)


@dataclass(slots=True)
class _Part:
    """What still stands of a rise of what was paid of an item: `since` the promise was made, or all before it."""

    minor: int
    value_date: date | None
    since: bool


def _go_back(parts: Sequence[_Part], amount: int, latest: date | None) -> None:
    """`amount` is paid no more. Money of the day `latest` still stands, so it goes last; before it what is latest, and came last.

    What is left is none of a later day: it came beside such money, whose day it was given.
    """

    def turn_of(at: int) -> tuple[bool, int, int]:
        day = parts[at].value_date
        return day == latest, -(day or date.min).toordinal(), -at

    for part in (parts[at] for at in sorted(range(len(parts)), key=turn_of)):
        step = max(0, min(part.minor, amount))
        part.minor -= step
        amount -= step
        if latest is not None and part.value_date is not None:
            part.value_date = min(part.value_date, latest)


def to_pay(amount_minor: int, current: Mapping[UUID, int], baseline: Mapping[UUID, tuple[int, int]]) -> int:
    """Minor units that keep a promise of an amount: no more than its items (by id: open or paid now) have had to be paid since."""
    most = sum(payable - baseline.get(item_id, (0, 0))[1] for item_id, payable in current.items())
    return min(amount_minor, most) if most > 0 else amount_minor


def judge(
    *, amount_minor: int, received_minor: int, due_on: date, gate: date | None, maybe_covered: bool
) -> Literal["kept", "broken"] | None:
    """Kept, broken, or still open (None). `gate` is the day through which the bank's word is known for every entity concerned."""
    if received_minor >= amount_minor:
        return "kept"
    if gate is not None and gate >= due_on and not maybe_covered:
        return "broken"
    return None


def turn(status: Literal["open", "kept", "broken"], verdict: Literal["kept", "broken"] | None) -> Literal["open", "kept", "broken"]:
    """What a promise that stands at `status` is by a new verdict. What comes short is open before it is broken, so that whatever was said
    of its money at that moment is known when it is judged; what is broken stays so until it was kept.
    """
    if status == "kept":
        return "kept" if verdict == "kept" else "open"
    if status == "broken":
        return "kept" if verdict == "kept" else "broken"
    return verdict or "open"
