"""Who owes and who pays: customers, names, IBANs, what was learnt of payers, disputes."""

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from matching.tables.columns import METADATA, need, tenant

CUSTOMER = Table(
    "customer",
    METADATA,
    tenant(),
    Column("customer_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("source_system", Text),
    need("customer_number", Text),
    Column("country", Text),
)

CUSTOMER_IDENTITY = Table(
    "customer_identity",
    METADATA,
    tenant(),
    Column("customer_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("name", Text),
)

PAYER_IBAN = Table(
    "payer_iban",
    METADATA,
    tenant(),
    Column("iban", Text, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Index("payer_iban_customer", "tenant_id", "customer_id"),
)

PAYER_ALIAS = Table(
    "payer_alias",
    METADATA,
    tenant(),
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    need("times", BigInteger),
    need("learnt_by", Text),
    need("learnt_at", DateTime(timezone=True)),
    Index("payer_alias_customer", "tenant_id", "customer_id"),
    CheckConstraint("kind IN ('iban', 'name')", name="payer_alias_kind"),
)
"""What persons taught by confirming: who pays from an IBAN, or under a name (upper case, single spaces), and how often they said so."""

DISMISSED = Table(
    "dismissed_pair",
    METADATA,
    tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    need("reason", Text),
    need("dismissed_at", DateTime(timezone=True)),
)

DISPUTE = Table(
    "dispute",
    METADATA,
    tenant(),
    Column("dispute_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("item_id", UUID),
    need("amount_minor", BigInteger),
    need("status", Text),
    Index("dispute_item", "tenant_id", "item_id"),
)
