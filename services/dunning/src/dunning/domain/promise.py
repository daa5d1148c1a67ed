"""Whether a promise was kept or broken.

Rule: kept once money of at least the amount was settled on its items, with a value date on or before its day (no days of
grace), since it was made. Broken when its day has passed, the bank's word is known through that day (the gate), and neither
came the money nor may a payment in review, or money without an item on his account, be it.

Each version of an item says how much is paid of it by then, and the latest value date. What an item contributes is the sum
of the rises whose value date is in time, and no more than is still paid of it now: a returned payment keeps no promise.
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
    in_time, last = 0, before
    for paid in sorted(history, key=lambda each: each.version):
        if paid.version <= version:
            continue
        if paid.paid_minor > last and paid.value_date is not None and paid.value_date <= due_on:
            in_time += paid.paid_minor - last
        last = paid.paid_minor
    return max(0, min(in_time, paid_now - before))


def judge(
    *, amount_minor: int, received_minor: int, due_on: date, gate: date | None, maybe_covered: bool
) -> Literal["kept", "broken"] | None:
    """Kept, broken, or still open (None). `gate` is the day through which the bank's word is known for every entity concerned."""
    if received_minor >= amount_minor:
        return "kept"
    if gate is not None and gate >= due_on and not maybe_covered:
        return "broken"
    return None
