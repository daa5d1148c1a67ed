"""What was measured, once, at its moment: no rebuild touches it."""

from sqlalchemy import Column, Date, DateTime, Index, Integer, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from reporting.tables.columns import METADATA

_MONEY = Numeric(38, 0)
"""Minor units of a sum or a product, which a bigint may not hold."""

MEASURED_DAY = Table(
    "measured_day",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("entity_id", UUID, primary_key=True),
    Column("day", Date, primary_key=True),
    # where the topics ended when the bank's word for the day was in: {"topic:partition": offset}
    Column("ends", JSONB, nullable=False),
    Column("noted_at", DateTime(timezone=True), nullable=False),
    Column("taken_at", DateTime(timezone=True)),
    Column("rows", Integer),
    Index("measured_day_waiting", "tenant_id", postgresql_where=Column("taken_at", DateTime(timezone=True)).is_(None)),
)
AGEING_DAY = Table(
    "ageing_day",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("entity_id", UUID, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("currency", Text, primary_key=True),
    # the nil UUID stands for payers that nobody knows
    Column("customer_id", UUID, primary_key=True),
    *(
        Column(f"{name}_minor", _MONEY, nullable=False)
        for name in (
            "not_due",
            "days_1_30",
            "days_31_60",
            "days_61_90",
            "days_91_plus",
            "disputed",
            "late_charges",
            "credit_notes",
            "unapplied",
        )
    ),
    Index("ageing_day_of", "tenant_id", "customer_id", "day"),
)
KPI = Table(
    "kpi",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("entity_id", UUID, primary_key=True),
    Column("kpi", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("as_of", Date, primary_key=True),
    Column("numerator", _MONEY, nullable=False),
    Column("denominator", _MONEY, nullable=False),
)
