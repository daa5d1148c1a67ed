"""Kept of invoices and what is owed on them: open items with their instalments, what settled them, balances."""

from sqlalchemy import BigInteger, Column, Date, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from dunning.tables.columns import METADATA, key, minor, tenant, version

INVOICE = Table(
    "invoice",
    METADATA,
    tenant(),
    key("invoice_id"),
    version(),
    Column("customer_id", UUID, nullable=False),
    Column("origin", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("payment_reference", Text),
    Column("payment_account", Text),
    Column("reminder_level", Integer),
    # the document that a reminder may carry: the invoice as people read it
    Column("copy_sha256", Text),
)
INVOICE_STATUS = Table(
    "invoice_status",
    METADATA,
    tenant(),
    key("invoice_id"),
    version(),
    Column("outside", JSONB(none_as_null=True)),
    Column("settled_version", BigInteger, nullable=False, server_default="0"),
    Index("invoice_status_waiting", "tenant_id", "invoice_id", postgresql_where="settled_version < version"),
)
"""What buyer or platform last said of an e-invoice; `settled_version`: the version whose dispute is opened or lifted."""
ITEM = Table(
    "item",
    METADATA,
    tenant(),
    key("item_id"),
    version(),
    Column("entity_id", UUID, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("invoice_number", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("issue_date", Date, nullable=False),
    minor("open_minor"),
    minor("disputed_minor"),
    minor("paid_minor"),
    minor("credited_minor"),
    Column("status", Text, nullable=False),
    Index("item_customer", "tenant_id", "customer_id"),
)
"""`paid_minor`: settled by money, agreed discount and tolerance included; `credited_minor`: credit, set-off, write-off."""
INSTALMENT = Table(
    "instalment",
    METADATA,
    tenant(),
    key("item_id"),
    key("number", Integer),
    Column("due_date", Date, nullable=False),
    minor("open_minor"),
    Index("instalment_due", "tenant_id", "due_date", postgresql_where="open_minor > 0"),
)
"""The instalments of the item's kept version: written with it, under its row's lock."""
SETTLEMENT = Table(
    "settlement",
    METADATA,
    tenant(),
    key("item_id"),
    key("version", BigInteger),
    minor("paid_minor"),
    Column("value_date", Date),
)
"""What was paid of an item at each of its versions: which money came by which day, whatever the order of arrival."""
BALANCE = Table(
    "balance",
    METADATA,
    tenant(),
    key("account_id"),
    version(),
    Column("entity_id", UUID, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("currency", Text, nullable=False),
    minor("unapplied_minor"),
    minor("unused_credits_minor"),
    Index("balance_customer", "tenant_id", "customer_id"),
)
