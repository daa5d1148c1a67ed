"""Promises, payment plans and disputes."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from dunning.tables.columns import METADATA, key, minor, tenant, version

PROMISE = Table(
    "promise",
    METADATA,
    tenant(),
    key("promise_id"),
    version(),
    Column("customer_id", UUID, nullable=False),
    Column("item_ids", ARRAY(UUID), nullable=False),
    minor("amount_minor"),
    Column("currency", Text, nullable=False),
    Column("made_on", Date, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("status", Text, CheckConstraint("status IN ('open', 'kept', 'broken', 'cancelled')", name="status_known"), nullable=False),
    Column("baseline", JSONB, nullable=False),
    Column("recheck", Boolean, nullable=False),
    Column("decision", JSONB),
    Index("promise_customer", "tenant_id", "customer_id"),
    Index("promise_open", "tenant_id", "due_on", postgresql_where="status = 'open'"),
    Index("promise_recheck", "tenant_id", postgresql_where="recheck"),
)
"""`baseline`: version and paid amount of each item when the promise was made. `decision`: on what it was kept or broken."""
PAYMENT_PLAN = Table(
    "payment_plan",
    METADATA,
    tenant(),
    key("payment_plan_id"),
    version(),
    Column("customer_id", UUID, nullable=False),
    Column("entity_id", UUID, nullable=False),
    Column("currency", Text, nullable=False),
    Column("agreed_on", Date, nullable=False),
    Column("grace_days", Integer, nullable=False),
    Column("items", JSONB, nullable=False),
    Column("instalments", JSONB, nullable=False),
    Column(
        "status",
        Text,
        CheckConstraint("status IN ('active', 'completed', 'broken', 'cancelled')", name="payment_plan_status_known"),
        nullable=False,
    ),
    Column("broken_instalment", Integer),
    Column("missing_minor", BigInteger),
    Column("baseline", JSONB, nullable=False),
    Column("recheck", Boolean, nullable=False),
    Column("next_on", Date),
    Column("decision", JSONB),
    CheckConstraint("(status = 'broken') = (broken_instalment IS NOT NULL)", name="broken_by_an_instalment"),
    Index("payment_plan_customer", "tenant_id", "customer_id"),
    Index("payment_plan_active", "tenant_id", "next_on", postgresql_where="status = 'active'"),
    Index("payment_plan_recheck", "tenant_id", postgresql_where="recheck"),
)
"""`items`, `instalments`: as agreed, and what is left of each; `baseline`: version and paid amount of each item when it was agreed;
`next_on`: the last day of the first instalment that is not met."""
DISPUTE = Table(
    "dispute",
    METADATA,
    tenant(),
    key("dispute_id"),
    version(),
    Column("item_id", UUID, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("entity_id", UUID, nullable=False),
    minor("amount_minor"),
    Column("currency", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Text, CheckConstraint("status IN ('open', 'resolved')", name="dispute_status_known"), nullable=False),
    Column("resolution", Text),
    Column("credited_before_minor", BigInteger, nullable=False),
    Column(
        "origin", Text, CheckConstraint("origin IN ('ours', 'outside')", name="dispute_origin_known"), nullable=False, server_default="ours"
    ),
    Index("dispute_item", "tenant_id", "item_id"),
    Index("dispute_customer", "tenant_id", "customer_id"),
)
"""`credited_before_minor`: what was credited on the item when the dispute was resolved; a credit after it is the concession."""
