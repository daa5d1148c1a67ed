"""Who owes and who pays: customers, names, IBANs, what was learnt of payers, disputes."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, DateTime, Float, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

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
    Column("number_key", Text),
    Column("parent_customer_id", UUID),
    Index("customer_number_key", "tenant_id", "number_key"),
    Index("customer_parent", "tenant_id", "parent_customer_id", postgresql_where=text("parent_customer_id IS NOT NULL")),
)
"""`number_key` is the number as it is looked for in a text (`domain.engine.text.fold`); `parent_customer_id` may pay for it."""

CUSTOMER_IDENTITY = Table(
    "customer_identity",
    METADATA,
    tenant(),
    Column("customer_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("name", Text),
)

CUSTOMER_NAME = Table(
    "customer_name",
    METADATA,
    tenant(),
    Column("value", Text(collation="C"), primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Index("customer_name_customer", "tenant_id", "customer_id"),
)
"""Names as they are compared (`domain.engine.index.name_keys`), to be found by how they begin."""

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

MATCHING_POLICY = Table(
    "matching_policy",
    METADATA,
    tenant(),
    need("threshold", Float(53)),
    need("set_by", Text),
    need("set_at", DateTime(timezone=True)),
    CheckConstraint("threshold BETWEEN 0.85 AND 1", name="matching_policy_threshold"),
)
"""The least confidence that is automatic for a tenant; without a row that of the model. 1 leaves every reading to a person."""

MATCHING_MODEL = Table(
    "matching_model",
    METADATA,
    tenant(),
    Column("name", Text, primary_key=True),
    need("model", Text),
    need("certificate", JSONB),
    need("learnt_at", DateTime(timezone=True)),
    need("in_force", Boolean),
    Index("matching_model_in_force", "tenant_id", unique=True, postgresql_where=text("in_force")),
)
"""Models learnt from a tenant's own books, as JSON with infinities (JSONB has none); where none is in force the shipped one decides.
Old ones stay: decisions are replayed with them."""
