"""The dunning policy: steps counted in days from an instalment's due date.

Rules:
- an instalment stands in the window of the highest step it has reached (`days_from_due`), until the next step's first day;
  a step before the due date ends on the due date, for nobody is kindly told in advance of what is already late;
- one step per look, the highest: steps that were passed over (held, or nobody looked) are not made up for;
- a window entered before the policy was switched on (`enabled_from`) is never caught up;
- a level at or below one that was reached before is not sent again, whatever happened to the item in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `days_from_due` may be negative. `template` names the mail; levels rise with the days."""

    code: str
    level: int
    days_from_due: int
    template: str


def check_steps(steps: Sequence[Step]) -> None:
    """Raises ValueError unless codes differ and days and levels both rise from step to step."""
    if not steps:
        raise ValueError("a policy has at least one step")
    if len({step.code for step in steps}) != len(steps):
        raise ValueError("two steps have the same code")
    for before, after in pairwise(steps):
        if after.days_from_due <= before.days_from_due or after.level <= before.level:
            raise ValueError("days_from_due and level must rise from step to step")


def due_step(steps: Sequence[Step], *, due: date, today: date, enabled_from: date, reached: int | None) -> Step | None:
    """The step an instalment due on `due` is to get today, or None. `reached`: its highest level so far, if any."""
    days = (today - due).days
    passed = [step for step in steps if step.days_from_due <= days]
    if not passed:
        return None
    step = passed[-1]
    if step.days_from_due < 0 < days:
        return None
    if due + timedelta(days=step.days_from_due) < enabled_from:
        return None
    if reached is not None and step.level <= reached:
        return None
    return step


def due_dates(steps: Sequence[Step], *, today: date, enabled_from: date) -> tuple[date, date] | None:
    """The first and last due date for which `due_step` can name a step today: what a search needs to look at."""
    last = today - timedelta(days=steps[0].days_from_due)
    first = enabled_from - timedelta(days=steps[-1].days_from_due)
    return (first, last) if first <= last else None
