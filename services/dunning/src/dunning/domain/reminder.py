"""Whether one customer is reminded: a decision from the money that is known and the words that were given.

Rule, in this order: what is contested, conceded, suspended by the buyer, covered by a payment plan, promised or being collected is not
asked for; when
nothing is left, the reminder is held and the reason says what took it away. What is left is held while the customer is
insolvent, a payment in review may cover it, his credit covers it, it is below the policy's minimum, or nobody may be written to.

Invariants: no line asks for more than is open less what is contested and promised of its item; the sum asked falls by the
whole of what is promised to the customer or on its way from him; the same situation always gives the same decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal
from uuid import UUID

Reason = Literal[
    "paid",
    "disputed",
    "suspended",
    "payment_plan",
    "promised",
    "being_collected",
    "insolvent",
    "payment_in_review",
    "in_credit",
    "below_minimum",
    "no_contact",
]


@dataclass(frozen=True, slots=True)
class Line:
    """An instalment due for a step. `version` is its item's; `open_minor` and `asked_minor` are the instalment's."""

    item_id: UUID
    instalment: int
    level: int
    step: str
    invoice_number: str
    issue_date: date
    due_date: date
    version: int
    open_minor: int
    asked_minor: int


@dataclass(frozen=True, slots=True)
class Promise:
    """An open promise: what of it has not come yet. Without items it is about anything the customer owes."""

    promise_id: UUID
    version: int
    item_ids: tuple[UUID, ...]
    missing_minor: int


@dataclass(frozen=True, slots=True)
class Collection:
    """Money on its way (a direct debit, a cheque in hand): how much is for which item, or for anything he owes (item None)."""

    announcement_id: UUID
    version: int
    item_id: UUID | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Planned:
    """What a living payment plan covers of an item and has not been paid yet."""

    payment_plan_id: UUID
    version: int
    item_id: UUID
    unpaid_minor: int


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision about one customer, entity and currency rests on.

    `contested_minor`: per item, what is disputed or conceded; `credit_minor`: unapplied payments and unused credits on the
    account; `in_review`: payments with money left that he made or may have made, as (id, version); `suspended`: items whose
    e-invoice the buyer has suspended until it is completed.
    """

    lines: tuple[Line, ...]
    contested_minor: dict[UUID, int]
    promises: tuple[Promise, ...]
    in_review: tuple[tuple[UUID, int], ...]
    credit_minor: int
    insolvent: bool
    reachable: bool
    minimum_minor: int
    collections: tuple[Collection, ...] = ()
    suspended: tuple[UUID, ...] = ()
    plans: tuple[Planned, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to ask for, or why nothing is asked. `lines` holds only what is asked; empty when held."""

    lines: tuple[Line, ...]
    held: Reason | None

    @property
    def asked_minor(self) -> int:
        """The sum asked."""
        return sum(line.asked_minor for line in self.lines)


def decide(situation: Situation) -> Decision:
    """The decision on a situation."""
    lines = [replace(line, asked_minor=line.open_minor) for line in sorted(situation.lines, key=_oldest_first) if line.open_minor]
    if not lines:
        return Decision((), "paid")
    for reason, deductions in _taken_off(situation):
        for amount, items in deductions:
            lines = _deduct(lines, amount, items)
        if not lines:
            return Decision((), reason)
    held = _held(situation, sum(line.asked_minor for line in lines))
    return Decision((), held) if held else Decision(tuple(lines), None)


def _taken_off(situation: Situation) -> list[tuple[Reason, list[tuple[int, set[UUID] | None]]]]:
    """What is not asked for, in the order of the rule: reasons with amounts and the items that they fall on (None: any)."""
    everything = sum(line.open_minor for line in situation.lines)
    return [
        ("disputed", [(amount, {item_id}) for item_id, amount in situation.contested_minor.items()]),
        ("suspended", [(everything, {item_id}) for item_id in situation.suspended]),
        ("payment_plan", [(planned.unpaid_minor, {planned.item_id}) for planned in situation.plans]),
        ("promised", [(promise.missing_minor, set(promise.item_ids) or None) for promise in situation.promises]),
        ("being_collected", [(each.amount_minor, {each.item_id} if each.item_id else None) for each in situation.collections]),
    ]


def _held(situation: Situation, asked_minor: int) -> Reason | None:
    if situation.insolvent:
        return "insolvent"
    if situation.in_review:
        return "payment_in_review"
    if situation.credit_minor >= asked_minor:
        return "in_credit"
    if asked_minor < situation.minimum_minor:
        return "below_minimum"
    if not situation.reachable:
        return "no_contact"
    return None


def _oldest_first(line: Line) -> tuple[date, str, UUID, int]:
    return line.due_date, line.invoice_number, line.item_id, line.instalment


def _deduct(lines: Sequence[Line], amount: int, items: set[UUID] | None) -> list[Line]:
    """The lines less an amount that falls on those of some items (None: all), oldest first; what is emptied goes."""
    left = []
    for line in lines:
        taken = min(amount, line.asked_minor) if items is None or line.item_id in items else 0
        amount -= taken
        if line.asked_minor > taken:
            left.append(replace(line, asked_minor=line.asked_minor - taken))
    return left
