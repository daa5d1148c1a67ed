"""Tables of partners: the public event log, subscriptions and their deliveries."""

from shared.tables import attach
from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, DateTime, Identity, Index, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import UUID

METADATA = MetaData()
attach(METADATA)

EVENT_LOG = Table(
    "event_log",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("event_id", UUID, primary_key=True),
    Column("arrival", BigInteger, Identity(always=True), nullable=False),
    # given after commit by the sequencer; an entry without one is invisible to every reader
    Column("position", BigInteger),
    Column("cloudevent", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Index("event_log_position", "tenant_id", "position", unique=True),
    Index("event_log_waiting", "tenant_id", "arrival", postgresql_where=Column("position", BigInteger).is_(None)),
)
LOG_HEAD = Table(
    "log_head",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
SUBSCRIPTION = Table(
    "subscription",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("subscription_id", UUID, primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("failing_since", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("status IN ('active', 'disabled', 'deleted')", name="subscription_status"),
)
DELIVERY = Table(
    "delivery",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("delivery_id", UUID, primary_key=True),
    Column("subscription_id", UUID, nullable=False),
    Column("event", Text, nullable=False),
    Column("event_id", UUID, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", DateTime(timezone=True)),
    Column("answered", Integer),
    Column("problem", Text),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="delivery_status"),
    Index("delivery_due", "tenant_id", "next_attempt_at", postgresql_where=Column("status", Text) == "pending"),
    Index("delivery_of", "tenant_id", "subscription_id", "position", unique=True),
)
