"""Events of dunning: reminders, promises, disputes."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from contracts.envelope import FactEvent, StateEvent
from contracts.fields import Code, Count, Currency, Date, PositiveMinor, Timestamp


class ReminderItem(Struct, frozen=True, kw_only=True, gc=False):
    """An item on a reminder: what was asked for, and which level it reached by it."""

    item_id: UUID
    instalment: Count
    level: Count
    due_date: Date
    asked_minor: PositiveMinor


class ReminderSent(FactEvent, frozen=True, kw_only=True, gc=False):
    """A reminder left the house. `as_of` is the day up to which the bank's word was known (the freshness gate).

    Interest and compensation are what the reminder states, in its currency.
    """

    reminder_id: UUID
    customer_id: UUID
    step: Code
    level: Count
    channel: Literal["email"]
    currency: Currency
    items: list[ReminderItem]
    interest_minor: PositiveMinor
    compensation_minor: PositiveMinor
    as_of: Date
    sent_at: Timestamp


class PromiseState(StateEvent, frozen=True, kw_only=True, gc=False):
    """A promise to pay an amount by a day. `item_ids` empty: any item of the customer."""

    promise_id: UUID
    customer_id: UUID
    item_ids: list[UUID]
    amount_minor: PositiveMinor
    currency: Currency
    due_on: Date
    status: Literal["open", "kept", "broken", "cancelled"]


class PromiseMade(PromiseState, frozen=True, kw_only=True, gc=False):
    """The customer promised."""


class PromiseKept(PromiseState, frozen=True, kw_only=True, gc=False):
    """The money came in time."""


class PromiseBroken(PromiseState, frozen=True, kw_only=True, gc=False):
    """The day passed, the bank's word is known beyond it, and the money did not come."""


class PromiseCancelled(PromiseState, frozen=True, kw_only=True, gc=False):
    """The promise was taken back by agreement."""


class DisputeState(StateEvent, frozen=True, kw_only=True, gc=False):
    """A dispute about (part of) an item. Resolution `justified` means the debtor is right.

    `origin` is `outside` where a status of the e-invoice's life cycle opened it, `ours` where somebody entered it here.
    """

    dispute_id: UUID
    item_id: UUID
    customer_id: UUID
    amount_minor: PositiveMinor
    currency: Currency
    reason: Code
    status: Literal["open", "resolved"]
    resolution: Literal["justified", "rejected", "withdrawn"] | None = None
    origin: Literal["ours", "outside"] = "ours"


class DisputeOpened(DisputeState, frozen=True, kw_only=True, gc=False):
    """The debtor contests an amount."""


class DisputeResolved(DisputeState, frozen=True, kw_only=True, gc=False):
    """It was settled, one way or the other."""
