"""Kept of what is done about what is owed: reminders (facts: one row each, never changed), promises, plans, disputes."""

from sqlalchemy import ARRAY, Column, DateTime, Index, Integer, Table
from sqlalchemy.dialects.postgresql import UUID

from reporting.tables.columns import METADATA, date, json, kept, minor, text, uuid

REMINDER = Table(
    "reminder",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("reminder_id", UUID, primary_key=True),
    uuid("entity_id", nullable=True),
    uuid("customer_id"),
    text("step"),
    Column("level", Integer, nullable=False),
    text("channel"),
    text("currency"),
    json("items"),
    minor("interest_minor"),
    minor("compensation_minor"),
    date("as_of"),
    Column("sent_at", DateTime(timezone=True), nullable=False),
    Index("reminder_of", "tenant_id", "customer_id", "sent_at"),
)
PROMISE = kept(
    "promise",
    "promise_id",
    uuid("entity_id", nullable=True),
    uuid("customer_id"),
    Column("item_ids", ARRAY(UUID), nullable=False),
    minor("amount_minor"),
    text("currency"),
    date("due_on"),
    text("status"),
    Index("promise_of", "tenant_id", "customer_id"),
)
PAYMENT_PLAN = kept(
    "payment_plan",
    "payment_plan_id",
    uuid("entity_id", nullable=True),
    uuid("customer_id"),
    text("currency"),
    date("agreed_on"),
    Column("grace_days", Integer, nullable=False),
    json("items"),
    json("instalments"),
    text("status"),
    Column("broken_instalment", Integer),
    minor("missing_minor", nullable=True),
    Index("payment_plan_of", "tenant_id", "customer_id"),
)
DISPUTE = kept(
    "dispute",
    "dispute_id",
    uuid("entity_id", nullable=True),
    uuid("item_id"),
    uuid("customer_id"),
    minor("amount_minor"),
    text("currency"),
    text("reason"),
    text("status"),
    text("resolution", nullable=True),
    Index("dispute_of", "tenant_id", "customer_id"),
)
