"""Policies, runs, decisions and what left the house."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, DateTime, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from dunning.tables.columns import METADATA, key, tenant

POLICY = Table(
    "policy",
    METADATA,
    tenant(),
    key("version", BigInteger),
    Column("document", JSONB, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("enabled_from", Date),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("NOT enabled OR enabled_from IS NOT NULL", name="enabled_has_a_first_day"),
)
RUN = Table(
    "run",
    METADATA,
    tenant(),
    key("day", Date),
    key("entity_id"),
    Column("gate_through", Date, nullable=False),
    Column("done_at", DateTime(timezone=True), nullable=False),
)
"""A legal entity's run of a business day that is done: nothing more is decided for it on that day."""
DECISION = Table(
    "decision",
    METADATA,
    tenant(),
    key("day", Date),
    key("entity_id"),
    key("customer_id"),
    key("currency", Text),
    Column("reminder_id", UUID, nullable=False),
    Column("outcome", Text, CheckConstraint("outcome IN ('send', 'held', 'withdrawn')", name="outcome_known"), nullable=False),
    Column("reason", Text),
    Column("step", Text),
    Column("level", Integer),
    Column("policy_version", BigInteger, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("gate_through", Date, nullable=False),
    Column("inputs", JSONB, nullable=False),
    Column("asked", JSONB, nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("as_of <= gate_through", name="as_of_within_gate"),
    CheckConstraint("(outcome = 'send') = (reason IS NULL)", name="reason_unless_sent"),
    Index("decision_reminder", "tenant_id", "reminder_id", unique=True),
    Index("decision_customer", "tenant_id", "customer_id", "day"),
)
"""`inputs`: ids, versions and amounts the decision was taken on; `asked`: its lines. Replaying the rule gives it again."""
REACHED = Table(
    "level_reached",
    METADATA,
    tenant(),
    key("item_id"),
    key("instalment", Integer),
    key("level", Integer),
    Column("reminder_id", UUID, nullable=False),
    Index("level_reached_reminder", "tenant_id", "reminder_id"),
)
"""Each level of an instalment is taken by one reminder: the key is the promise that none is sent twice."""
DISPATCH = Table(
    "dispatch",
    METADATA,
    tenant(),
    key("reminder_id"),
    Column("customer_id", UUID, nullable=False),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('planned', 'sending', 'sent', 'failed', 'in_doubt', 'withdrawn')", name="state_known"),
        nullable=False,
    ),
    Column("message_id", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("mail", LargeBinary, nullable=False),
    Column("interest_minor", BigInteger, nullable=False),
    Column("compensation_minor", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("told", Integer, nullable=False, server_default="0"),
    Column("attempt_at", DateTime(timezone=True), nullable=False),
    Column("claimed_at", DateTime(timezone=True)),
    Column("sent_at", DateTime(timezone=True)),
    Column("detail", Text),
    Index("dispatch_waiting", "tenant_id", "attempt_at", postgresql_where="state IN ('planned', 'sending')"),
    Index("dispatch_state", "tenant_id", "state", "reminder_id"),
)
"""What leaves the house, noted before and after. `told`: how often ReminderSent went into the outbox.

`attempt_at` and `claimed_at` are machine time, `sent_at` is business time.
"""
