"""The day's measurement: once the bank's word for a day is in, ageing per customer and key figures per currency are taken.

Invariants:
- a day is measured only after this service has read everything that was on the topics when it learnt of the bank's word;
- it is measured once per entity and never again; what is measured is stored with the day it stands for and when it was taken;
- each figure leaves once, as KpiMeasured, in the transaction that stores it. A day over which the word jumped is not invented.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from uuid import UUID

from contracts.kpis import KpiMeasured
from shared import outbox
from shared.consumer import lag
from shared.jobs import JobContext
from shared.logging import log
from sqlalchemy.ext.asyncio import AsyncConnection

from reporting import tables
from reporting.domain import dso
from reporting.domain.ageing import Ageing
from reporting.handlers import KEPT
from reporting.storage import days, reports

OUTBOX_MAX = 20_000
_INT64 = 2**63
READ_FROM = sorted(
    event.__name__ for event, table in KEPT.items() if table in (tables.items.OPEN_ITEM, tables.money.PAYMENT, tables.items.INVOICE)
)
"""The topics that a measurement rests on."""


async def measure_days(context: JobContext, tenant_id: UUID) -> None:
    """Notes days whose bank's word is in, and measures those whose topics this service has read."""
    async with context.database.transaction(tenant_id) as conn:
        new = await days.days_to_note(conn, tenant_id)
        waiting = await days.waiting_days(conn, tenant_id)
    if new:
        found = await context.offsets.ends(READ_FROM, prefix=context.topic_prefix)
        ends = {f"{topic}:{partition}": offset for (topic, partition), offset in found.items()}
        async with context.database.transaction(tenant_id) as conn:
            await days.note_days(conn, tenant_id, [(row.entity_id, row.day) for row in new], ends=ends, now=context.now)
            waiting = await days.waiting_days(conn, tenant_id)
    if not waiting:
        return
    committed = await context.offsets.committed(context.consumer)
    for row in waiting:
        if lag(_positions(row.ends), committed).total():
            continue
        async with context.database.transaction(tenant_id) as conn:
            if await outbox.depth(conn, OUTBOX_MAX + 1) > OUTBOX_MAX:
                return
            if await days.take_ageing(conn, tenant_id, row.entity_id, row.day, now=context.now):
                await publish_figures(conn, tenant_id, row.entity_id, row.day)


def _positions(ends: Mapping[str, int]) -> dict[tuple[str, int], int]:
    found = {}
    for name, offset in ends.items():
        topic, _, partition = name.rpartition(":")
        found[(topic, int(partition))] = offset
    return found


async def publish_figures(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, day: date) -> None:
    """Measures the figures of a day from its stored ageing, and publishes them."""
    source = reports.ageing_of_day(entity=True)
    totals = await reports.ageing_totals(conn, source, source.values(tenant_id, as_of=day, entity_id=entity_id))
    ageing = {row.currency: Ageing.of(row._asdict()) for row in totals}
    sold: dict[str, dict[date, int]] = defaultdict(dict)
    first = dso.months_back(day, dso.MONTHS_MAX)[-1][0]
    for row in await reports.sales(conn, tenant_id, entity_id, first=first, last=day):
        sold[row.currency][row.day] = int(row.minor)
    figures = [
        (currency, name, figure.numerator, figure.denominator)
        for currency in sorted(ageing.keys() | sold.keys())
        for name, figure in dso.measure(ageing.get(currency, Ageing.none()), sold[currency], day).items()
    ]
    await days.add_kpis(conn, tenant_id, entity_id, day, figures)
    sendable = [figure for figure in figures if max(abs(figure[2]), figure[3]) < _INT64]
    if len(sendable) < len(figures):
        log.warning("kpi_too_large_to_publish", tenant=str(tenant_id), count=len(figures) - len(sendable))
    await outbox.publish(
        conn,
        [
            outbox.Outgoing(
                tenant_id,
                KpiMeasured(entity_id=entity_id, kpi=name, currency=currency, as_of=day, numerator=numerator, denominator=denominator),
                entity_id=entity_id,
            )
            for currency, name, numerator, denominator in sendable
        ],
    )
