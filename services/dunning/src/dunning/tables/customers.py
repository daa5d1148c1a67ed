"""Kept of customers: who they are, how they are scored, what they may owe and whether they are held."""

from sqlalchemy import Boolean, Column, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from dunning.tables.columns import METADATA, key, minor, tenant, version

CUSTOMER = Table(
    "customer",
    METADATA,
    tenant(),
    key("customer_id"),
    version(),
    Column("customer_number", Text, nullable=False),
    Column("language", Text),
    Column("country", Text),
)
IDENTITY = Table(
    "customer_identity",
    METADATA,
    tenant(),
    key("customer_id"),
    version(),
    Column("name", Text, nullable=False),
    Column("contacts", JSONB, nullable=False),
)
SCORE = Table("score", METADATA, tenant(), key("customer_id"), version(), Column("band", Text, nullable=False))
TERMS = Table(
    "credit_terms",
    METADATA,
    tenant(),
    key("customer_id"),
    version(),
    minor("limit_minor"),
    Column("currency", Text, nullable=False),
)
HOLD = Table(
    "credit_hold",
    METADATA,
    tenant(),
    key("customer_id"),
    version(),
    Column("active", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
)
