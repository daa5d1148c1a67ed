"""Kept of money: payments, what is announced, where it may come in, and how far the bank's word goes (the freshness gate)."""

from sqlalchemy import BigInteger, Column, Date, DateTime, Index, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from dunning.tables.columns import METADATA, key, minor, tenant, version

PAYMENT = Table(
    "payment",
    METADATA,
    tenant(),
    key("payment_id"),
    version(),
    Column("entity_id", UUID),
    Column("currency", Text, nullable=False),
    minor("unapplied_minor"),
    Column("customer_ids", ARRAY(UUID), nullable=False),
    Index("payment_in_review", "customer_ids", postgresql_using="gin", postgresql_where="unapplied_minor > 0"),
)
"""Payments; those with `unapplied_minor` are in review. `customer_ids`: the payer, where known, and the candidates."""
ANNOUNCEMENT = Table(
    "payment_announcement",
    METADATA,
    tenant(),
    key("announcement_id"),
    version(),
    Column("entity_id", UUID, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("currency", Text, nullable=False),
    minor("amount_minor"),
    Column("items", JSONB, nullable=False),
    Column("status", Text, nullable=False),
    Index("payment_announcement_of", "tenant_id", "customer_id", postgresql_where="status = 'announced'"),
)
"""Money on its way: what is being collected is not asked for. `items`: what of it is for which item."""
BANK_ACCOUNT = Table(
    "bank_account",
    METADATA,
    tenant(),
    key("bank_account_id"),
    version(),
    Column("entity_id", UUID, nullable=False),
    Column("iban", Text),
    Column("holder_name", Text, nullable=False),
    Column("status", Text, nullable=False),
)
VIRTUAL_IBAN = Table(
    "virtual_iban",
    METADATA,
    tenant(),
    key("virtual_iban_id"),
    version(),
    Column("iban", Text, nullable=False),
    Column("entity_id", UUID),
    Column("customer_id", UUID),
    Column("invoice_id", UUID),
    Column("status", Text, nullable=False),
    Index("virtual_iban_customer", "tenant_id", "customer_id"),
    Index("virtual_iban_invoice", "tenant_id", "invoice_id"),
)
REJECTED = Table(
    "statement_rejected",
    METADATA,
    tenant(),
    key("statement_id"),
    Column("bank_account_id", UUID),
    Column("statement_number", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rejected_at", DateTime(timezone=True), nullable=False),
    Index("statement_rejected_account", "tenant_id", "bank_account_id"),
)
RECONCILIATION = Table(
    "reconciliation",
    METADATA,
    tenant(),
    key("bank_account_id"),
    version(),
    Column("booked_through", Date, nullable=False),
    Column("matched_through", Date, nullable=False),
    Column("gaps", JSONB, nullable=False),
)
MARK = Table(
    "gate_mark",
    METADATA,
    tenant(),
    key("bank_account_id"),
    key("version", BigInteger),
    Column("matched_through", Date, nullable=False),
    Column("ends", JSONB, nullable=False),
    Column("opened_at", DateTime(timezone=True)),
    Index("gate_mark_shut", "tenant_id", "bank_account_id", postgresql_where="opened_at IS NULL"),
)
"""The topics' ends when a version of the reconciliation was read: it opens once our committed positions are there."""
