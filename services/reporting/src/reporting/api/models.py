"""What the reports' API answers. Amounts are integers of minor units; a figure that is undefined is null, never zero."""

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from reporting.domain.ageing import BUCKETS, OTHERS, Ageing


class AgeingAmounts(BaseModel):
    """Receivables by days past due; see `definition`."""

    not_due_minor: int
    days_1_30_minor: int
    days_31_60_minor: int
    days_61_90_minor: int
    days_91_plus_minor: int
    open_minor: int
    overdue_minor: int
    disputed_minor: int = Field(description="Part of open")
    late_charges_minor: int = Field(description="Part of open")
    credit_notes_minor: int = Field(description="Unused, negative")
    unapplied_minor: int = Field(description="Payments without an item, negative")
    net_minor: int


class AgeingTotal(AgeingAmounts):
    """One legal entity in one currency."""

    entity_id: UUID
    currency: str


class AgeingLine(AgeingTotal):
    """One customer; `customer_id` is null for money whose payer nobody knows."""

    customer_id: UUID | None
    source_system: str | None
    customer_number: str | None
    name: str | None


class BankWord(BaseModel):
    """How far an entity's banks have spoken, over all its active accounts; null where one has not yet."""

    entity_id: UUID
    booked_through: date | None
    matched_through: date | None


class AgeingReport(BaseModel):
    """Ageing as of a business day. `basis` says whether it is what is known now or what was measured on that day."""

    as_of: date
    basis: Literal["current", "measured"]
    definition: str
    bank_word: list[BankWord]
    totals: list[AgeingTotal]
    items: list[AgeingLine]
    next_cursor: str | None


class FigureAnswer(BaseModel):
    """A figure as an exact quotient, and rounded to four places as text; `value` is null where it is undefined."""

    numerator: int
    denominator: int
    value: str | None


class DsoPeriod(BaseModel):
    """DSO of one entity and currency over the period asked for."""

    entity_id: UUID
    currency: str
    receivables_minor: int
    sales_minor: int
    dso_period: FigureAnswer
    dso_count_back: FigureAnswer
    count_back_days_at_least: str | None = Field(description="Where count-back ran out of sales: the days it had counted")


class KpiValue(FigureAnswer):
    """A daily figure as it was measured and published."""

    entity_id: UUID
    currency: str
    as_of: date
    kpi: str


class DsoReport(BaseModel):
    """DSO of a period, and the daily figures measured in it. `basis` is that of the receivables at its end."""

    first: date = Field(serialization_alias="from")
    last: date = Field(serialization_alias="to")
    days: int
    basis: Literal["current", "measured"]
    definitions: dict[str, str]
    items: list[DsoPeriod]
    series: list[KpiValue]


class UnappliedPayment(BaseModel):
    """A payment with money that has no item: why, since when, and who it may be from."""

    payment_id: UUID
    entity_id: UUID
    currency: str
    amount_minor: int
    unapplied_minor: int
    reason: str | None
    booking_date: date
    age_days: int
    confirmation: str
    payer_customer_id: UUID | None
    candidate_customer_ids: list[UUID]


class UnappliedTotal(BaseModel):
    """Unapplied cash of one entity, currency and reason."""

    entity_id: UUID
    currency: str
    reason: str | None
    payments: int
    unapplied_minor: int
    oldest: date


class UnappliedReport(BaseModel):
    """Unapplied cash, oldest first. Age counts from the booking date."""

    as_of: date
    totals: list[UnappliedTotal]
    items: list[UnappliedPayment]
    next_cursor: str | None


class PaymentMoney(BaseModel):
    """Payments of one entity and currency: received = allocated + unapplied + returned + refunded. Notified is part of received."""

    entity_id: UUID
    currency: str
    count: int
    received_minor: int
    notified_minor: int
    allocated_minor: int
    unapplied_minor: int
    returned_minor: int
    refunded_minor: int


class ItemMoney(BaseModel):
    """Items of one entity, currency and kind: original = open + all that settled them. Disputed is part of open."""

    entity_id: UUID
    currency: str
    kind: str
    count: int
    open_count: int
    original_minor: int
    open_minor: int
    disputed_minor: int
    cash_minor: int
    discount_minor: int
    credit_minor: int
    charges_minor: int
    withheld_minor: int
    set_off_minor: int
    written_off_minor: int


class MoneyReport(BaseModel):
    """Money by state."""

    payments: list[PaymentMoney]
    items: list[ItemMoney]


class EventCount(BaseModel):
    """How many different events of a name arrived here."""

    event: str
    count: int


class EventsReport(BaseModel):
    """Events that reporting has handled, each counted once however often it was delivered."""

    definition: str
    items: list[EventCount]
    total: int


def amounts(row: Mapping[str, Any]) -> dict[str, int]:
    """The amounts of an ageing row, with the sums that follow from them."""
    ageing = Ageing.of(row)
    parts = {f"{name}_minor": getattr(ageing, name) for name in (*BUCKETS, *OTHERS)}
    return parts | {"open_minor": ageing.open, "overdue_minor": ageing.overdue, "net_minor": ageing.net}


def figure(numerator: int, denominator: int) -> dict[str, Any]:
    """A figure with its value as text; undefined where the denominator is zero."""
    value = decimal_text(Fraction(numerator, denominator)) if denominator else None
    return {"numerator": numerator, "denominator": denominator, "value": value}


def decimal_text(value: Fraction) -> str:
    """A rational rounded half-even to four places, for people; the exact one stands beside it."""
    scaled = round(value * 10_000)  # half-even, exact
    whole, part = divmod(abs(scaled), 10_000)
    return f"{'-' if scaled < 0 else ''}{whole}.{part:04d}"
