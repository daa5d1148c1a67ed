"""Kept of customers: who they are, how they are scored, what they may owe and whether they are held."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, SmallInteger

from reporting.tables.columns import JSON, json, kept, minor, text, uuid

CUSTOMER = kept(
    "customer",
    "customer_id",
    text("source_system"),
    text("customer_number"),
    text("status"),
    json("company_ids"),
    text("country", nullable=True),
    text("language", nullable=True),
    text("currency", nullable=True),
    Column("payment_terms_days", Integer),
    text("segment", nullable=True),
    uuid("parent_customer_id", nullable=True),
)
CUSTOMER_IDENTITY = kept("customer_identity", "customer_id", text("name"), Column("address", JSON), json("contacts"))
SCORE = kept(
    "score",
    "customer_id",
    Column("score", SmallInteger, nullable=False),
    text("band"),
    json("factors"),
    Column("bureau", JSON),
    text("reason"),
    Column("as_of", DateTime(timezone=True), nullable=False),
)
CREDIT_TERMS = kept(
    "credit_terms",
    "customer_id",
    minor("limit_minor"),
    text("currency"),
    Column("payment_terms_days", Integer, nullable=False),
    Column("down_payment_bp", Integer, nullable=False),
    text("reason"),
)
CREDIT_HOLD = kept(
    "credit_hold",
    "customer_id",
    Column("active", Boolean, nullable=False),
    text("reason"),
    Column("exposure_minor", BigInteger, nullable=False),
    minor("limit_minor"),
    text("currency"),
    Column("decided_at", DateTime(timezone=True), nullable=False),
)
