"""What the toy keeps. `account.total_minor` and `reminded.times` are counters on purpose: they show every double effect."""

from shared.aliases import attach_aliases
from shared.tables import attach
from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, MetaData, Table
from sqlalchemy.dialects.postgresql import UUID

METADATA = MetaData()
attach(METADATA)
ALIAS = attach_aliases(METADATA)

ACCOUNT = Table(
    "account",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("account_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
)
PAYMENT = Table(
    "payment",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("payment_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("account_id", UUID, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    CheckConstraint("amount_minor < 1000000000", name="payment_amount"),
)
EFFECT = Table(
    "effect",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", UUID, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Index("effect_customer", "tenant_id", "customer_id"),
)
"""One row per effect of a reminder; nothing in it is unique but its own id."""
REMINDED = Table(
    "reminded",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("times", BigInteger, nullable=False),
)
