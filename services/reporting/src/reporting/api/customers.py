"""The 360-degree view of a customer: owed, paid, promised, paid by instalments, disputed, reminded, trusted."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request
from pydantic import BaseModel, Field
from shared.aliases import members, stands_for
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy import Row

from reporting.api import models
from reporting.api.reports import Reader, database, today
from reporting.domain.ageing import DEFINITION
from reporting.storage import customers, reports

ROUTER = Router(prefix="/v1", tags=["customers"])
LIST_MAX = 100


class Balance(BaseModel):
    """What the customer owes one entity in one currency, as matching says it."""

    entity_id: UUID
    currency: str
    open_minor: int
    unapplied_minor: int
    unused_credits_minor: int


class Instalment(BaseModel):
    """A part of an item with its own due date."""

    number: int
    due_date: date
    amount_minor: int
    open_minor: int


class OpenItem(BaseModel):
    """An item that is not settled."""

    item_id: UUID
    entity_id: UUID
    kind: str
    invoice_number: str
    currency: str
    issue_date: date
    original_minor: int
    open_minor: int
    disputed_minor: int
    instalments: list[Instalment]


class Payment(BaseModel):
    """A payment that the customer made."""

    payment_id: UUID
    entity_id: UUID
    currency: str
    booking_date: date
    amount_minor: int
    unapplied_minor: int
    returned_minor: int
    refunded_minor: int
    confirmation: str


class Score(BaseModel):
    """The latest score and what made it."""

    score: int
    band: str
    factors: list[dict[str, Any]]
    bureau: dict[str, Any] | None
    reason: str
    as_of: datetime


class Terms(BaseModel):
    """What the credit policy grants."""

    limit_minor: int
    currency: str
    payment_terms_days: int
    down_payment_bp: int
    reason: str


class Hold(BaseModel):
    """Why new business is held."""

    reason: str
    exposure_minor: int
    limit_minor: int
    currency: str
    decided_at: datetime


class Promise(BaseModel):
    """A promise to pay."""

    promise_id: UUID
    item_ids: list[UUID]
    amount_minor: int
    currency: str
    due_on: date
    status: str


class PaymentPlan(BaseModel):
    """A payment plan: what was agreed, and what is left of each item and each instalment."""

    payment_plan_id: UUID
    currency: str
    agreed_on: date
    grace_days: int
    items: list[dict[str, Any]]
    instalments: list[dict[str, Any]]
    status: str
    broken_instalment: int | None
    missing_minor: int | None


class Dispute(BaseModel):
    """What the customer contests."""

    dispute_id: UUID
    item_id: UUID
    amount_minor: int
    currency: str
    reason: str
    status: str
    resolution: str | None


class Reminder(BaseModel):
    """A reminder that was sent."""

    reminder_id: UUID
    step: str
    level: int
    channel: str
    currency: str
    interest_minor: int
    compensation_minor: int
    sent_at: datetime


class VirtualIban(BaseModel):
    """A virtual IBAN that names the customer."""

    virtual_iban_id: UUID
    virtual_iban: str


class CustomerView(BaseModel):
    """All that is known of a customer. A part that nobody has told of yet is null or empty; lists end after `list_max`.

    `asked_customer_id` was asked for; `customer_id` stands for it, and for `merged_customer_ids`.
    """

    customer_id: UUID
    asked_customer_id: UUID
    merged_customer_ids: list[UUID]
    as_of: date
    source_system: str | None = None
    customer_number: str | None = None
    name: str | None = None
    status: str | None = None
    country: str | None = None
    segment: str | None = None
    payment_terms_days: int | None = None
    parent_customer_id: UUID | None = None
    address: dict[str, Any] | None = None
    contacts: list[dict[str, Any]] = Field(default=[])
    ageing: list[models.AgeingTotal]
    ageing_definition: str
    balances: list[Balance]
    open_items: list[OpenItem]
    payments: list[Payment]
    score: Score | None
    terms: Terms | None
    hold: Hold | None
    promises: list[Promise]
    payment_plans: list[PaymentPlan]
    disputes: list[Dispute]
    reminders: list[Reminder]
    virtual_ibans: list[VirtualIban]
    list_max: int


_LISTS: dict[str, type[BaseModel]] = {
    "balances": Balance,
    "open_items": OpenItem,
    "payments": Payment,
    "promises": Promise,
    "payment_plans": PaymentPlan,
    "disputes": Dispute,
    "reminders": Reminder,
    "virtual_ibans": VirtualIban,
}
_SINGLE: dict[str, type[BaseModel]] = {"score": Score, "terms": Terms, "hold": Hold}


@ROUTER.get("/customers/{customer_id}", response_model=CustomerView)
async def customer(request: Request, caller: Reader, customer_id: Annotated[UUID, Path()]) -> CustomerView:
    """The 360-degree view of a customer, as of today. Of one that was merged, that of the customer which stands for it."""
    day = today(request)
    source = reports.ageing_now(customer=True)
    async with database(request).transaction(caller.tenant_id) as conn:
        asked, customer_id = customer_id, await stands_for(conn, caller.tenant_id, customer_id)
        group = sorted(await members(conn, caller.tenant_id, [customer_id]))
        values = source.values(caller.tenant_id, as_of=day, customers=group)
        parts = await customers.parts(conn, caller.tenant_id, customer_id, group, limit=LIST_MAX)
        ageing = await reports.ageing_totals(conn, source, values)
    if not any(parts.values()):
        raise Problem(404, "not-found", "There is no such customer")
    known = {**_first(parts["identity"]), **_first(parts["customer"])}
    return CustomerView.model_validate(
        {
            **{name: value for name, value in known.items() if name in CustomerView.model_fields},
            "customer_id": customer_id,
            "asked_customer_id": asked,
            "merged_customer_ids": [one for one in group if one != customer_id],
            "name": known.get("name") or None,  # blank: erased
            "as_of": day,
            "ageing": [{"entity_id": row.entity_id, "currency": row.currency, **models.amounts(row._asdict())} for row in ageing],
            "ageing_definition": DEFINITION,
            **{name: [model.model_validate(row._asdict()) for row in parts[name]] for name, model in _LISTS.items()},
            **{name: next((model.model_validate(row._asdict()) for row in parts[name]), None) for name, model in _SINGLE.items()},
            "list_max": LIST_MAX,
        }
    )


def _first(rows: Sequence[Row[Any]]) -> dict[str, Any]:
    return rows[0]._asdict() if rows else {}
