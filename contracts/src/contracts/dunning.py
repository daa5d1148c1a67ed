"""Events of dunning: reminders, promises, payment plans, disputes."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from contracts.envelope import FactEvent, StateEvent
from contracts.fields import Code, Count, Currency, Date, PositiveMinor, Text, Timestamp


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
    """The customer promised; at a higher version: it is open again, for the money that had kept it went back."""


class PromiseKept(PromiseState, frozen=True, kw_only=True, gc=False):
    """The money came in time. Said of a broken promise, too, where that is found after all: a return that a bank took back."""


class PromiseBroken(PromiseState, frozen=True, kw_only=True, gc=False):
    """The day passed, the bank's word is known beyond it, and the money did not come."""


class PromiseCancelled(PromiseState, frozen=True, kw_only=True, gc=False):
    """The promise was taken back by agreement."""


class PlanItem(Struct, frozen=True, kw_only=True, gc=False):
    """An item that a payment plan covers: the amount agreed, and what of that is still to pay.

    `left_minor` falls by what was paid of the item since, and to what is still owed and undisputed of it.
    """

    item_id: UUID
    invoice_number: Text
    amount_minor: PositiveMinor
    left_minor: PositiveMinor


class PlanInstalment(Struct, frozen=True, kw_only=True, gc=False):
    """An instalment of a payment plan, numbered from 1 by due date: the amount agreed, and what is still to come of it."""

    number: Count
    due_on: Date
    amount_minor: PositiveMinor
    open_minor: PositiveMinor


class PaymentPlanState(StateEvent, frozen=True, kw_only=True, gc=False):
    """A payment plan: items of one customer, entity and currency that are paid by instalments. The items' own due dates stand.

    The amounts of the items add up to those of the instalments, and so does what is left of either. Money meets the instalments in the
    order of their dates and is meant for the items in the order given here; what is credited, cancelled or disputed meanwhile takes
    from the last instalments. An instalment is met by money with a value date of at most `grace_days` after its date.
    `broken_instalment` is the first that was not met, `missing_minor` what was missing of all that was due by then.
    """

    payment_plan_id: UUID
    customer_id: UUID
    currency: Currency
    agreed_on: Date
    grace_days: Count
    items: list[PlanItem]
    instalments: list[PlanInstalment]
    status: Literal["active", "completed", "broken", "cancelled"]
    broken_instalment: Count | None = None
    missing_minor: PositiveMinor | None = None


class PaymentPlanAgreed(PaymentPlanState, frozen=True, kw_only=True, gc=False):
    """The plan was agreed; at a higher version: it goes on, and what is left to pay has changed, or some is owed again."""


class PaymentPlanCompleted(PaymentPlanState, frozen=True, kw_only=True, gc=False):
    """Nothing that it covers is owed any more, and no instalment was missed. It goes on where something of that is owed again."""


class PaymentPlanBroken(PaymentPlanState, frozen=True, kw_only=True, gc=False):
    """An instalment's day and grace passed, the bank's word is known beyond them, and the money did not come."""


class PaymentPlanCancelled(PaymentPlanState, frozen=True, kw_only=True, gc=False):
    """The plan was ended by agreement."""


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
