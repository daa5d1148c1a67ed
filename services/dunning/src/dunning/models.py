"""What dunning's API takes and answers."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator
from shared.money import MAX_MINOR
from shared.web.models import Command, CurrencyCode, Date, Id, Lax, PositiveMinor, Text

from dunning.domain.policy import Step, check_steps
from dunning.handlers.policies import DEFAULT
from dunning.letters import is_address

Code = Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")]


class PolicyStep(Command):
    """One step: days count from an instalment's due date, before it where negative."""

    code: Code
    level: Annotated[int, Field(ge=0, le=99)]
    days_from_due: Annotated[int, Field(ge=-365, le=3650)]
    template: Literal["courtesy", "reminder", "second_reminder", "formal_notice"]


class Sender(Command):
    """Who the mails come from."""

    name: Text
    email: Annotated[str, Field(min_length=3, max_length=254)]

    @model_validator(mode="after")
    def _is_address(self) -> Self:
        if not is_address(self.email):
            raise ValueError("email is not a mail address")
        return self


class PolicyChange(Command):
    """The whole policy; what is left out is as in the default.

    `enabled_from` is set by the switch; a day before today is refused, unless it is the one in force.
    """

    enabled: bool
    enabled_from: Date | None = None
    version: Annotated[int | None, Field(ge=0, description="The version this is based on: refused where another is in force")] = None
    steps: Annotated[tuple[PolicyStep, ...], Lax, Field(min_length=1, max_length=20)] = tuple(
        PolicyStep(**step) for step in DEFAULT["steps"]
    )
    minimum_minor: Annotated[dict[CurrencyCode, PositiveMinor], Field(default_factory=dict)]
    sender: Sender = Sender(**DEFAULT["sender"])
    gate_lag_days: Annotated[int, Field(ge=1, le=30)] = 1
    attach_copies: Annotated[bool, Field(description="Whether mails carry the invoices they ask for, where there are copies")] = False

    @model_validator(mode="after")
    def _steps_rise(self) -> Self:
        check_steps([Step(**step.model_dump()) for step in self.steps])
        return self

    def document(self) -> dict[str, Any]:
        """What is stored as the version's data."""
        return self.model_dump(mode="json", include={"steps", "minimum_minor", "sender", "gate_lag_days", "attach_copies"})


class PolicyView(BaseModel):
    """The policy in force. Version 0 is the default that nobody has switched on."""

    version: int
    enabled: bool
    enabled_from: date | None
    steps: list[dict[str, Any]]
    minimum_minor: dict[str, int]
    sender: dict[str, str]
    gate_lag_days: int
    attach_copies: bool


class NewPromise(Command):
    """A promise to pay an amount by a day; without items it is about anything the customer owes."""

    customer_id: Id
    item_ids: Annotated[tuple[Id, ...], Lax, Field(max_length=200)] = ()
    amount_minor: PositiveMinor
    currency: CurrencyCode
    due_on: Date


class Reason(Command):
    """Why, as a code: no names or texts of people."""

    reason: Code


class Promise(BaseModel):
    """A promise as it stands."""

    promise_id: UUID
    version: int
    customer_id: UUID
    item_ids: list[UUID]
    amount_minor: int
    currency: str
    made_on: date
    due_on: date
    status: Literal["open", "kept", "broken", "cancelled"]


class Promises(BaseModel):
    """A page of promises."""

    items: list[Promise]
    next_cursor: str | None


class NewPlanItem(Command):
    """An item by its id, or by its invoice number where only one open item of the customer carries it."""

    item_id: Id | None = None
    invoice_number: Text | None = None

    @model_validator(mode="after")
    def _is_named_once(self) -> Self:
        if (self.item_id is None) == (self.invoice_number is None):
            raise ValueError("name the item by item_id or by invoice_number")
        return self

    @property
    def name(self) -> UUID | str:
        """Id or number."""
        return self.item_id or self.invoice_number or ""


class NewInstalment(Command):
    """When how much is to be paid."""

    due_on: Date
    amount_minor: PositiveMinor


class NewPaymentPlan(Command):
    """Items that are paid by instalments: together all that is open and uncontested of them. Money is meant for them in this order."""

    customer_id: Id
    items: Annotated[tuple[NewPlanItem, ...], Lax, Field(min_length=1, max_length=200)]
    currency: CurrencyCode
    instalments: Annotated[tuple[NewInstalment, ...], Lax, Field(min_length=1, max_length=120, description="Dates rise")]
    grace_days: Annotated[int, Field(ge=0, le=60, description="Days after its date in which an instalment is still in time")] = 0

    @model_validator(mode="after")
    def _dates_rise(self) -> Self:
        dates = [each.due_on for each in self.instalments]
        if dates != sorted(set(dates)):
            raise ValueError("the dates of the instalments must rise")
        if sum(each.amount_minor for each in self.instalments) > MAX_MINOR:
            raise ValueError("the instalments add up to more than any amount may be")
        return self


class PlanItem(BaseModel):
    """An item of a plan: the amount agreed, and what of it is still to pay."""

    item_id: UUID
    invoice_number: str
    amount_minor: int
    left_minor: int


class PlanInstalment(BaseModel):
    """An instalment: the amount agreed, and what is still to come of it."""

    number: int
    due_on: date
    amount_minor: int
    open_minor: int


class PaymentPlan(BaseModel):
    """A payment plan as it stands. `missing_minor`: what had not come when it was broken, of all due by the broken instalment's day."""

    payment_plan_id: UUID
    version: int
    customer_id: UUID
    entity_id: UUID
    currency: str
    agreed_on: date
    grace_days: int
    items: list[PlanItem]
    instalments: list[PlanInstalment]
    status: Literal["active", "completed", "broken", "cancelled"]
    broken_instalment: int | None
    missing_minor: int | None


class PaymentPlans(BaseModel):
    """A page of payment plans."""

    items: list[PaymentPlan]
    next_cursor: str | None


class NewDispute(Command):
    """What the debtor contests of an item."""

    item_id: Id
    amount_minor: PositiveMinor
    currency: CurrencyCode
    reason: Code


class Resolution(Command):
    """How a dispute ended; `justified`: the debtor is right."""

    resolution: Literal["justified", "rejected", "withdrawn"]


class Dispute(BaseModel):
    """A dispute as it stands."""

    dispute_id: UUID
    version: int
    item_id: UUID
    customer_id: UUID
    amount_minor: int
    currency: str
    reason: str
    status: Literal["open", "resolved"]
    resolution: Literal["justified", "rejected", "withdrawn"] | None


class Disputes(BaseModel):
    """A page of disputes."""

    items: list[Dispute]
    next_cursor: str | None


class Reminder(BaseModel):
    """A mail: what it asks, and whether it left."""

    reminder_id: UUID
    day: date
    entity_id: UUID
    customer_id: UUID
    currency: str
    step: str | None
    level: int | None
    state: Literal["planned", "sending", "sent", "failed", "in_doubt", "withdrawn"]
    items: list[dict[str, Any]]
    interest_minor: int
    compensation_minor: int
    as_of: date
    message_id: str
    attempts: int
    sent_at: datetime | None
    detail: str | None


class Reminders(BaseModel):
    """A page of mails, newest day first."""

    items: list[Reminder]
    next_cursor: str | None


class Held(BaseModel):
    """A reminder that was not sent, and why. `inputs` is all that the decision rests on."""

    reminder_id: UUID
    day: date
    entity_id: UUID
    customer_id: UUID
    currency: str
    reason: str
    gate_through: date
    inputs: dict[str, Any]


class HeldPage(BaseModel):
    """A page of held reminders, newest day first."""

    items: list[Held]
    next_cursor: str | None


class MailResolution(Command):
    """A person's word on a mail in doubt or failed: did it leave?"""

    outcome: Literal["sent", "not_sent"]


class MailResolved(BaseModel):
    """The mail that was resolved."""

    reminder_id: UUID
    outcome: Literal["sent", "not_sent"]


class AccountGate(BaseModel):
    """One bank account: how far the bank's word reaches, and through which day reminders may rely on it."""

    bank_account_id: UUID
    entity_id: UUID
    booked_through: date | None
    matched_through: date | None
    open_through: date | None
    why_shut: Literal["never_reconciled", "not_read_yet", "dead_letters"] | None
    gaps: list[dict[str, Any]]
    last_rejection: str | None


class EntityGate(BaseModel):
    """One legal entity: the least of its accounts; None is shut."""

    entity_id: UUID
    open_through: date | None


class Gate(BaseModel):
    """The freshness gate of a tenant."""

    today: date
    needed_through: date
    accounts: list[AccountGate]
    entities: list[EntityGate]


class RunView(BaseModel):
    """How a business day's run stands; `held` counts customers by reason."""

    date: date
    state: Literal["done", "waiting"]
    sent: int
    held: dict[str, int]
