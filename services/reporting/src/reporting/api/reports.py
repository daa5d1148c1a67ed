"""Ageing, DSO, unapplied cash, money by state, events: each report says what its figures mean."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request
from shared.days import business_day
from shared.db import Database
from shared.web.auth import Caller, requires
from shared.web.models import Date
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from reporting.api import models
from reporting.domain import dso
from reporting.domain.ageing import DEFINITION, Ageing
from reporting.storage import reports

ROUTER = Router(prefix="/v1/reports", tags=["reports"])
PERIOD_DAYS_MAX = 366
EVENTS_DEFINITION = (
    "Different events of this tenant that were handled, each once however often it was delivered; of a compacted topic the aggregates."
)
Reader = Annotated[Caller, requires("reports:read")]
EntityId = Annotated[UUID | None, Query(description="One legal entity; absent: all")]


def database(request: Request) -> Database:
    """The service's database."""
    found: Database = request.app.state.runtime.database
    return found


def today(request: Request) -> date:
    """The business day by the business clock."""
    return business_day(request.app.state.runtime.clock.now())


async def _source(
    conn: AsyncConnection, tenant_id: UUID, *, as_of: date, now: date, entity_id: UUID | None
) -> tuple[reports.Source, str, set[UUID] | None]:
    """Where receivables as of a day are read: (source, basis, measured entities or None).

    Raises a 422 Problem for the future, and for a day in the past that was not measured: only the latest states are kept.
    """
    if as_of == now:
        return reports.ageing_now(entity=entity_id is not None), "current", None
    if as_of > now:
        raise _refused("lies after the business day of today")
    measured = await reports.measured_day(conn, tenant_id, as_of, entity_id)
    if not measured:
        raise _refused("was not measured: of the past only days are known whose bank statements were in and matched while the service ran")
    return reports.ageing_of_day(entity=entity_id is not None), "measured", {row.entity_id for row in measured}


def _refused(detail: str, field: str = "as_of") -> Problem:
    return Problem(
        422, "day-unknown", "There are no figures for that day", errors=[FieldError(f"/{field}", "day-unknown", detail, "query")]
    )


@ROUTER.get("/ageing", response_model=models.AgeingReport)
async def ageing(
    request: Request,
    caller: Reader,
    entity_id: EntityId = None,
    as_of: Annotated[Date | None, Query(description="Business day; absent: today")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> models.AgeingReport:
    """Receivables by days past due, per entity, currency and customer. A day in the past is answered as it was measured."""
    now = today(request)
    day = as_of or now
    bound: dict[str, Any] = {"tenant_id": caller.tenant_id, "route": "ageing", "filters": {"entity_id": entity_id, "as_of": day}}
    after = _ageing_position(request.app.state.cursors.decode(cursor, **bound)) if cursor is not None else None
    async with database(request).transaction(caller.tenant_id) as conn:
        source, basis, _ = await _source(conn, caller.tenant_id, as_of=day, now=now, entity_id=entity_id)
        values = source.values(caller.tenant_id, as_of=day, entity_id=entity_id)
        rows = await reports.ageing_page(conn, source, values, after=after, limit=limit)
        totals = await reports.ageing_totals(conn, source, values)
        word = await reports.bank_word(conn, caller.tenant_id)
    last = rows[-1] if len(rows) == limit else None
    position = [str(last.entity_id), last.currency, str(last.customer_id)] if last else None
    return models.AgeingReport(
        as_of=day,
        basis=basis,
        definition=DEFINITION,
        bank_word=[models.BankWord(**row._asdict()) for row in word if entity_id in (None, row.entity_id)],
        totals=[models.AgeingTotal(entity_id=row.entity_id, currency=row.currency, **models.amounts(row._asdict())) for row in totals],
        items=[_line(row) for row in rows],
        next_cursor=request.app.state.cursors.encode(position, **bound) if position else None,
    )


def _ageing_position(found: tuple[Any, ...]) -> tuple[UUID, str, UUID]:
    entity, currency, customer = found
    return UUID(entity), currency, UUID(customer)


def _line(row: Row[Any]) -> models.AgeingLine:
    return models.AgeingLine(
        entity_id=row.entity_id,
        currency=row.currency,
        customer_id=None if row.customer_id == reports.UNKNOWN_PAYER else row.customer_id,
        source_system=row.source_system,
        customer_number=row.customer_number,
        name=row.name,
        **models.amounts(row._asdict()),
    )


@ROUTER.get("/dso", response_model=models.DsoReport)
async def days_sales_outstanding(
    request: Request,
    caller: Reader,
    entity_id: EntityId = None,
    first: Annotated[Date | None, Query(alias="from", description=f"Absent: {dso.PERIOD_DAYS} days up to `to`")] = None,
    last: Annotated[Date | None, Query(alias="to", description="Absent: today")] = None,
) -> models.DsoReport:
    """DSO over a period by both methods, with the daily figures measured in it."""
    now = today(request)
    end = last or now
    start = first or _days_before(end, dso.PERIOD_DAYS - 1)
    if start > end or (end - start).days >= PERIOD_DAYS_MAX:
        raise _refused(f"must lie before `to`, by at most {PERIOD_DAYS_MAX} days", "from")
    async with database(request).transaction(caller.tenant_id) as conn:
        source, basis, measured = await _source(conn, caller.tenant_id, as_of=end, now=now, entity_id=entity_id)
        totals = await reports.ageing_totals(conn, source, source.values(caller.tenant_id, as_of=end, entity_id=entity_id))
        months = dso.months_back(end, dso.MONTHS_MAX)
        sold: dict[tuple[UUID, str], dict[date, int]] = defaultdict(dict)
        for row in await reports.sales(conn, caller.tenant_id, entity_id, first=min(start, months[-1][0]), last=end):
            if measured is None or row.entity_id in measured:
                sold[(row.entity_id, row.currency)][row.day] = int(row.minor)
        series = await reports.kpis(conn, caller.tenant_id, entity_id, first=start, last=end)
    receivables = {(row.entity_id, row.currency): Ageing.of(row._asdict()).receivables for row in totals}
    keys = sorted(receivables.keys() | sold.keys())
    return models.DsoReport(
        first=start,
        last=end,
        days=(end - start).days + 1,
        basis=basis,
        definitions=dict(dso.DEFINITIONS),
        items=[_dso(key, receivables.get(key, 0), sold[key], start=start, end=end, months=months) for key in keys],
        series=[
            models.KpiValue(
                entity_id=row.entity_id,
                currency=row.currency,
                as_of=row.as_of,
                kpi=row.kpi,
                **models.figure(int(row.numerator), int(row.denominator)),
            )
            for row in series
        ],
    )


def _days_before(day: date, days: int) -> date:
    """The day so many days before. Raises a 422 Problem before the calendar's beginning."""
    if (day - date.min).days < max(days, 31 * dso.MONTHS_MAX):
        raise _refused("is too long ago", "to")
    return day - timedelta(days=days)


def _dso(
    key: tuple[UUID, str], receivables: int, by_day: Mapping[date, int], *, start: date, end: date, months: list[tuple[date, int]]
) -> models.DsoPeriod:
    sales = dso.sales_between(by_day, start, end)
    over = dso.period(receivables, sales, (end - start).days + 1)
    counted, exhausted = dso.count_back(receivables, dso.sales_by_month(by_day, months))
    back = (counted.numerator, counted.denominator) if exhausted else (0, 0)
    return models.DsoPeriod(
        entity_id=key[0],
        currency=key[1],
        receivables_minor=receivables,
        sales_minor=sales,
        dso_period=models.FigureAnswer(**models.figure(over.numerator, over.denominator)),
        dso_count_back=models.FigureAnswer(**models.figure(*back)),
        count_back_days_at_least=None if exhausted else models.decimal_text(counted),
    )


@ROUTER.get("/unapplied", response_model=models.UnappliedReport)
async def unapplied(request: Request, caller: Reader, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None) -> models.UnappliedReport:
    """Money that came in and has no item: by reason, with age and who it may be from."""
    day = today(request)
    bound: dict[str, Any] = {"tenant_id": caller.tenant_id, "route": "unapplied", "filters": {}}
    after = None
    if cursor is not None:
        booked, payment_id = request.app.state.cursors.decode(cursor, **bound)
        after = (date.fromisoformat(booked), UUID(payment_id))
    async with database(request).transaction(caller.tenant_id) as conn:
        rows, totals = await reports.unapplied(conn, caller.tenant_id, after=after, limit=limit)
    position = [rows[-1].booking_date.isoformat(), str(rows[-1].payment_id)] if len(rows) == limit else None
    return models.UnappliedReport(
        as_of=day,
        totals=[models.UnappliedTotal(**row._asdict()) for row in totals],
        items=[
            models.UnappliedPayment(**row._asdict(), reason=row.unapplied_reason, age_days=max(0, (day - row.booking_date).days))
            for row in rows
        ],
        next_cursor=request.app.state.cursors.encode(position, **bound) if position else None,
    )


@ROUTER.get("/money", response_model=models.MoneyReport)
async def money(request: Request, caller: Reader) -> models.MoneyReport:
    """Money by state: what came in and where it went, what was owed and how it was settled."""
    async with database(request).transaction(caller.tenant_id) as conn:
        payments, items = await reports.money(conn, caller.tenant_id)
    return models.MoneyReport(
        payments=[
            models.PaymentMoney(**{name: value or 0 if name.endswith("_minor") else value for name, value in row._asdict().items()})
            for row in payments
        ],
        items=[models.ItemMoney(**row._asdict()) for row in items],
    )


@ROUTER.get("/events", response_model=models.EventsReport)
async def events(request: Request, caller: Reader) -> models.EventsReport:
    """How many different events of each name were handled."""
    async with database(request).transaction(caller.tenant_id) as conn:
        rows = await reports.events_seen(conn, caller.tenant_id)
    items = [models.EventCount(event=row.event, count=row.count) for row in rows]
    return models.EventsReport(definition=EVENTS_DEFINITION, items=items, total=sum(item.count for item in items))
